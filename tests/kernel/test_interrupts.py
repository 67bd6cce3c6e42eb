"""SIGINT and SIGTERM, sent to real programs: all ends in order, or at once the second time."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import signal
# Whatever started the tests may ignore SIGINT, as a shell does for what it runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
import logging
import trio, trio.testing
import exeunt
from exeunt import *

logging.basicConfig()

def say(*words):
    print(*words, flush=True)

def catching(function, *args):
    try:
        function(*args)
    except KeyboardInterrupt:
        say("interrupted")

async def noting(label, seconds=0):
    try:
        await trio.sleep_forever()
    finally:
        say(label, "told")
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        say(label, "ended")
"""


class Program:
    """A running Python program, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.said: list[str] = []

    def wait_for(self, line: str) -> None:
        """Read what the program says up to this line."""
        assert self._process.stdout is not None
        for said in self._process.stdout:
            self.said.append(said.strip())
            if self.said[-1] == line:
                return
        raise AssertionError(f"it never said {line!r}, but {self.said}; {self._errors()}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, within: float = 20) -> tuple[int, str]:
        """Wait for its end; return its status and what it wrote to stderr."""
        self.status = self._process.wait(within)
        assert self._process.stdout is not None
        self.said += [line.strip() for line in self._process.stdout]
        return self.status, self._errors()

    def _errors(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()


@contextmanager
def program(*sources: str) -> Iterator[Program]:
    """Run the prelude and these sources, one after the other, as one program."""
    process = subprocess.Popen(
        [sys.executable, "-c", "\n".join([PRELUDE, *map(textwrap.dedent, sources)])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


THREE = """
    async def main():
        for label in "abc":
            spawn(noting, label)
        await trio.testing.wait_all_tasks_blocked()
        try:
            say("ready")
            await trio.sleep_forever()
        finally:
            say("block left")
"""

IN_ORDER = ["block left", *(f"{label} {what}" for label in "cba" for what in ("told", "ended"))]


def test_sigint_ends_everything_in_order_and_is_raised_at_the_end() -> None:
    with program(THREE, "catching(exeunt.run, main)") as running:
        running.wait_for("ready")
        started = time.monotonic()
        running.send(signal.SIGINT)
        assert running.end() == (0, "")
        assert time.monotonic() - started < 5
        assert running.said == ["ready", *IN_ORDER, "interrupted"]


def test_sigterm_ends_everything_in_order_and_exits_with_143() -> None:
    with program(THREE, "catching(exeunt.run, main)") as running:
        running.wait_for("ready")
        running.send(signal.SIGTERM)
        assert running.end() == (143, "")
        assert running.said == ["ready", *IN_ORDER]


def test_a_sigint_that_nobody_catches_ends_the_program_as_python_does() -> None:
    source = """
        async def main():
            spawn(noting, "a")
            say("ready")
            await trio.sleep_forever()

        exeunt.run(main)
    """
    with program(source) as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        status, errors = running.end()
        assert status == -signal.SIGINT
        assert errors.rstrip().endswith("KeyboardInterrupt")
        assert "Exception Group" not in errors


def test_a_second_sigint_ends_at_once_what_would_take_its_time() -> None:
    source = """
        async def stubborn():
            trap_exit()
            await receive()
            say("takes its time")
            await trio.sleep_forever()

        async def main():
            async with open_node(shutdown=1_000):
                spawn(stubborn)
                say("ready")
                await trio.sleep_forever()

        catching(trio.run, main)
    """
    with program(source) as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        running.wait_for("takes its time")
        started = time.monotonic()
        running.send(signal.SIGINT)
        assert running.end() == (0, "")
        assert time.monotonic() - started < 5
        assert running.said[-1] == "interrupted"


def test_without_signal_handling_trios_own_keyboard_interrupt_is_an_ordered_shutdown_too() -> None:
    rest = """
        async def program():
            async with open_node(signals=False):
                await main()

        catching(trio.run, program)
    """
    with program(THREE, rest) as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        assert running.end() == (0, "")
        assert running.said == ["ready", *IN_ORDER, "interrupted"]


def test_nested_nodes_end_from_within() -> None:
    source = """
        async def main():
            async with open_node():
                spawn(noting, "outer")
                async with open_node():
                    spawn(noting, "inner")
                    await trio.testing.wait_all_tasks_blocked()
                    say("ready")
                    await trio.sleep_forever()

        catching(trio.run, main)
    """
    with program(source) as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        assert running.end() == (0, "")
        ends = [f"{label} {what}" for label in ("inner", "outer") for what in ("told", "ended")]
        assert running.said == ["ready", *ends, "interrupted"]


def test_a_supervised_program_says_nothing_on_stderr_when_it_is_interrupted() -> None:
    source = """
        class Server(GenServer):
            async def init(self, label):
                trap_exit()
                self.label = label

            async def terminate(self, reason):
                say(self.label, reason)

        async def main():
            await Supervisor.start_link([
                Server.child("one").replace(id=1),
                child(noting, "plain"),
                Server.child("two").replace(id=2),
            ])
            await trio.testing.wait_all_tasks_blocked()
            say("ready")
            await trio.sleep_forever()

        catching(exeunt.run, main)
    """
    with program(source) as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        assert running.end() == (0, "")
        order = ["two shutdown", "plain told", "plain ended", "one shutdown"]
        assert running.said == ["ready", *order, "interrupted"]


def test_a_program_that_keeps_the_processor_can_be_interrupted_all_the_same() -> None:
    source = """
        async def busy():
            say("ready")
            while True:
                pass

        async def main():
            spawn(busy)
            await trio.sleep_forever()

        catching(exeunt.run, main)
    """
    with program(source) as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        # Not so soon that the two could be taken for one.
        time.sleep(0.5)
        running.send(signal.SIGINT)
        assert running.end()[0] == 0
        assert running.said == ["ready", "interrupted"]


def test_a_sigint_while_the_program_starts_up_ends_it() -> None:
    source = """
        class Hangs(GenServer):
            async def init(self):
                say("ready")
                await trio.sleep_forever()

        async def main():
            await Supervisor.start_link([Hangs.child()])

        catching(exeunt.run, main)
    """
    with program(source) as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        assert running.end() == (0, "")
        assert running.said == ["ready", "interrupted"]

"""Servers in processes of their own, which no test leaves behind.

A test that is killed outright cannot clean up, so where the system can do it (`setpriv`), the
kernel ends the server together with the test. `survivors` finds what is left all the same.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]

MARK = "EXEUNT_E2E_RUN"
"""The environment variable by which everything that a run of the tests starts is known."""

WITHIN = 15.0
"""Seconds that a program has to start, and to end, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program has ended: `seconds` after it was told to."""

    status: int
    stdout: str
    stderr: str
    seconds: float


class Program:
    """`python -m MODULE ARGUMENT...` in a process of its own, killed on leaving the block."""

    def __init__(self, module: str, *arguments: str) -> None:
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*guard, sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # A session of its own: no Ctrl-C meant for the tests reaches it.
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._lines: list[str] = []
        self._arrivals: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._arrivals.put(line)
        self._arrivals.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line of its output that fits."""
        deadline = time.monotonic() + WITHIN
        while True:
            try:
                line = self._arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {pattern!r} within {WITHIN} s: {self._said()}") from None
            if line is None:
                raise AssertionError(f"ended without {pattern!r}: {self._said()}")
            self._lines.append(line)
            if found := re.search(pattern, line):
                return found

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> Ended:
        """Wait for its end."""
        started = time.monotonic()
        try:
            status = self._process.wait(WITHIN)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"runs on after {WITHIN} s: {self._said()}") from None
        seconds = time.monotonic() - started
        self._collect()
        return Ended(status, "".join(self._lines), self.stderr(), seconds)

    def end(self, number: signal.Signals) -> Ended:
        """Send a signal and wait for the end."""
        self.tell(number)
        return self.wait()

    def stderr(self) -> str:
        """Return what it has written to its standard error so far."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode(errors="replace")

    def _collect(self) -> None:
        self._reader.join(WITHIN)
        while not self._arrivals.empty():
            if line := self._arrivals.get():
                self._lines.append(line)

    def _said(self) -> str:
        return f"stdout {''.join(self._lines)!r}, stderr {self.stderr()!r}"

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # SIGKILL reaches a stopped process too.
        self._process.kill()
        self._process.wait()
        self._reader.join(WITHIN)
        if error is not None and hasattr(error, "add_note") and (said := self.stderr()):
            error.add_note(f"standard error of the server:\n{said}")
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


@contextmanager
def marked(name: str) -> Generator[None]:
    """Have everything that is started in the block carry a mark in its environment."""
    before = os.environ.get(MARK)
    os.environ[MARK] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before


def survivors(name: str) -> list[tuple[int, str]]:
    """Return the processes that carry a mark: their ids and what they are.

    Zombies are not counted, and nothing is found where there is no /proc.
    """
    wanted = f"{MARK}={name}".encode()
    found: list[tuple[int, str]] = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append((int(folder.name), command.strip()))
        except OSError:
            pass  # ended meanwhile, or somebody else's
    return found

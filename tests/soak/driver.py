"""The driver of a soak: it starts the server, has the clients live, kills, measures, and judges.

A soak has two halves, which are alike. In the first, everything happens that will happen, so that
what the server keeps for good (code that is loaded late, pools, caches) is there; then all clients
leave, and the server is measured. The second is the soak proper; then all leave again, the server
is measured again, and the two are compared.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from .crowd import Chronicle, Crowd, Habits
from .killer import PARTS, Kill, script
from .ledger import Audit, audit
from .onlooker import Onlooker

ROOT: Final = Path(__file__).parents[2]

ONLOOKERS: Final = 4

SETTLING: Final = 90.0
"""Seconds that the server has, after the last client has gone, to have run the last leave."""


class ServerLost(Exception):
    """The server has ended by itself."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a soak is to be like: `seconds` in all, but for what the settling takes."""

    seconds: float = 600.0
    clients: int = 2000
    seed: int = 1

    @property
    def warming(self) -> float:
        """Seconds of the first half."""
        return max(20.0, self.seconds * 0.2)

    @property
    def mean(self) -> float:
        """Seconds that a client stays, in the mean, and between two things that it does.

        With many clients, that makes about sixty visits a second.
        """
        return max(5.0, self.clients / 60)

    @property
    def timeout(self) -> float:
        """Seconds of silence after which a client is gone."""
        return 6.0 if self.seconds < 180 else 15.0

    @property
    def rooms(self) -> int:
        """So many that twenty clients share one."""
        return max(4, self.clients // 20)


@dataclass(slots=True)
class Outcome:
    """What came of a soak."""

    plan: Plan
    seconds: float = 0.0
    is_interrupted: bool = False
    before: dict[str, Any] = field(default_factory=dict[str, Any])
    after: dict[str, Any] = field(default_factory=dict[str, Any])
    kills: Counter[str] = field(default_factory=Counter[str])
    chronicle: Chronicle = field(default_factory=Chronicle)
    audit: Audit | None = None
    pictures: list[str] = field(default_factory=list[str])
    exit_status: int | None = None
    stderr: str = ""
    lost: str | None = None


class Remote:
    """The server's process, and the pipe by which it is told what to do."""

    def __init__(self, process: trio.Process, port: int) -> None:
        self.process = process
        self.port = port
        self._unread = b""
        self._lock = trio.Lock()

    async def line(self) -> dict[str, Any]:
        """Read one answer."""
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            data = await self.process.stdout.receive_some()
            if not data:
                raise ServerLost("the server has ended in the middle of the soak")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, do: str, **more: object) -> dict[str, Any]:
        """Have the server do something; return its answer."""
        assert self.process.stdin is not None
        async with self._lock:
            # An answer that nobody takes would be that of the next question.
            with trio.CancelScope(shield=True):
                try:
                    await self.process.stdin.send_all(
                        json.dumps({"do": do, **more}).encode() + b"\n"
                    )
                except trio.BrokenResourceError:
                    raise ServerLost("the server has ended in the middle of the soak") from None
                with trio.move_on_after(60):
                    return await self.line()
        raise ServerLost("the server does not answer any more")


@asynccontextmanager
async def open_server(plan: Plan, folder: Path, outcome: Outcome) -> AsyncGenerator[Remote]:
    """Run the server for the block; afterwards end it by SIGTERM, and note how it ended."""
    port = free_port()
    said = folder / "stderr"
    with said.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [
                *(sys.executable, "-m", "tests.soak.server"),
                *("--port", str(port), "--rooms", str(plan.rooms)),
                *("--timeout", str(plan.timeout), "--folder", str(folder)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                # Python's own allocator gives memory back by the megabyte, and only if nothing is
                # left in it: it would show the peak, and not what is held.
                "PYTHONMALLOC": "malloc",
                "MALLOC_ARENA_MAX": "1",
            },
            # A Ctrl-C is the driver's alone: it has a summary to make.
            start_new_session=True,
        )
    try:
        remote = Remote(process, port)
        with trio.fail_after(60):
            ready = await remote.line()
        assert ready == {"ready": port}
        yield remote
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            with trio.move_on_after(60) as patience:
                await process.wait()
            if patience.cancelled_caught:
                process.kill()
                await process.wait()
            outcome.exit_status = process.returncode
            outcome.stderr = said.read_text(errors="replace")
            assert process.stdin is not None and process.stdout is not None
            await process.stdin.aclose()
            await process.stdout.aclose()


def free_port() -> int:
    """Return a port that nobody has, and that the system gives to nobody by itself.

    The endpoint has to find it free each time it is restarted, and clients come from ports, too.
    """
    for port in random.sample(range(10_000, 32_000), 100):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port from 10,000 to 32,000")


class Driver:
    """One soak."""

    def __init__(self, plan: Plan, folder: Path, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._tell = tell
        self._began = 0.0
        self._last: dict[str, Any] = {}
        # The most memory that was seen in this half, in bytes.
        self._peak = 0
        self._interrupted = trio.Event()
        self.outcome = Outcome(plan)

    async def run(self) -> Outcome:
        """Soak; a Ctrl-C cuts it short, and it is judged all the same."""
        outcome = self.outcome
        allow_many_files()
        self._began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._catch_interrupts)
            try:
                async with open_server(self._plan, self._folder, outcome) as remote:
                    outcome.before = await self._phase(remote, "w", self._plan.warming)
                    outcome.after = await self._phase(
                        remote, "c", self._plan.seconds - self._plan.warming
                    )
            except ServerLost as lost:
                outcome.lost = str(lost)
            nursery.cancel_scope.cancel()
        outcome.seconds = trio.current_time() - self._began
        outcome.is_interrupted = self._interrupted.is_set()
        with (self._folder / "ledger").open(errors="replace") as lines:
            outcome.audit = audit(lines, outcome.chronicle.confirmed)
        return outcome

    async def _catch_interrupts(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                if self._interrupted.is_set():
                    raise KeyboardInterrupt
                self._tell("interrupted: all clients leave now; once more to give up")
                self._interrupted.set()

    async def _phase(self, remote: Remote, name: str, seconds: float) -> dict[str, Any]:
        """Have a crowd live for so long, with kills; return what the server is like afterwards."""
        plan, chronicle = self._plan, self.outcome.chronicle
        self._peak = 0
        habits = Habits(
            port=remote.port,
            clients=plan.clients,
            rooms=plan.rooms,
            seed=plan.seed,
            timeout=plan.timeout,
            stay=plan.mean,
            act=plan.mean,
            rest=max(1.0, plan.clients / 400),
        )
        crowd = Crowd(habits, chronicle, name)
        onlookers = [
            Onlooker(habits, chronicle, f"{name}o{number}", number) for number in range(ONLOOKERS)
        ]
        onlookers_over = trio.Event()
        async with trio.open_nursery() as onlooking:
            for one in onlookers:
                onlooking.start_soon(one.live, onlookers_over)
            async with trio.open_nursery() as living, trio.open_nursery() as troubling:
                living.start_soon(crowd.live)
                troubling.start_soon(self._progress, remote)
                troubling.start_soon(self._kill, remote, name, seconds)
                with trio.move_on_after(seconds):
                    await self._interrupted.wait()
                troubling.cancel_scope.cancel()
                crowd.over.set()
            await self._until_gone(remote, onlookers)
            for one in onlookers:
                self.outcome.pictures += [f"{name}: {who}" for who in one.strangers]
            onlookers_over.set()
        return {**await self._settled(remote), "peak": self._peak}

    async def _kill(self, remote: Remote, name: str, seconds: float) -> None:
        """Kill by the script. While the server warms up each part has its turn, too.

        But not before everybody is there: tables that grow with a throng stay as they are.
        """
        plan = self._plan
        if name == "w":
            await trio.sleep(seconds / 2)
            every = seconds / 2 / (len(PARTS) + 1)
            kills = iter([Kill(every, part, 0.5) for part in PARTS])
        else:
            kills = script(
                plan.seed,
                every=0.25,
                heavy_every=max(8.0, seconds / 40, plan.clients / 150),
            )
        for kill in kills:
            await trio.sleep(kill.after)
            answer = await remote.ask("kill", part=kill.part, pick=kill.pick)
            if answer["killed"] is not None:
                self.outcome.kills[kill.part] += 1

    async def _progress(self, remote: Remote) -> None:
        while True:
            await trio.sleep(1)
            self._last = await remote.ask("look")
            self._peak = max(self._peak, self._last["memory"])
            self._tell(self._line())

    def _line(self) -> str:
        seen, chronicle = self._last, self.outcome.chronicle
        beats = sorted(chronicle.latencies[-500:])
        p99 = beats[int(len(beats) * 0.99)] * 1000 if beats else 0.0
        return (
            f"{trio.current_time() - self._began:4.0f} s"
            f"  {chronicle.connected:5,} connected"
            f"  {seen['joins']:8,} joins  {seen['leaves']:8,} leaves"
            f"  {sum(self.outcome.kills.values()):5,} kills"
            f"  heartbeat p99 {p99:5.0f} ms  {seen['memory'] / 1e6:6.1f} MB"
            + (f"  {len(seen['faults'])} FAULTS" if seen["faults"] else "")
            + (f"  {len(chronicle.violations)} VIOLATIONS" if chronicle.violations else "")
        )

    async def _until_gone(self, remote: Remote, onlookers: list[Onlooker]) -> None:
        """Wait until the server and the onlookers see nobody but the onlookers any more."""
        with trio.move_on_after(SETTLING):
            while True:
                seen = self._last = await remote.ask("look")
                if seen["present"] <= len(onlookers) and not any(
                    one.strangers for one in onlookers
                ):
                    return
                await trio.sleep(0.2)

    async def _settled(self, remote: Remote) -> dict[str, Any]:
        """Wait until nothing is left of the clients, as far as that comes; measure the server."""
        with trio.move_on_after(SETTLING):
            while True:
                seen = await remote.ask("measure")
                if "failed" not in seen and not any(
                    (
                        seen["present"],
                        seen["serving"],
                        seen["watched"],
                        seen["leaving"],
                        seen["presences"],
                        seen["topics"],
                        seen["unwritten"],
                    )
                ):
                    break
                await trio.sleep(0.5)
        # What is cut off late, such as a thread that has no work any more, has a moment to go.
        await trio.sleep(1)
        return await remote.ask("measure")


def allow_many_files() -> None:
    """Have as many sockets as this process may ever have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


__all__ = ["Driver", "Outcome", "Plan", "ServerLost"]

"""One client floods: the others' heartbeats go on as if there were just one busy program more.

The server and the flooder are programs of their own. The others are measured twice: while another
program keeps a processor busy, as the flooder does, and right afterwards during the flood. What
counts is the median: one answer that is late tells of the machine, and half of them of the server.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from statistics import median

import pytest
import trio

from tests.e2e.programs import ROOT, Program
from tests.faults.client import Client

from .flooder import KINDS

FACTOR = 10
"""How much later an answer may be in a flood than beside a program that is just busy."""

FLOOR = 0.01
"""What counts as the least that an answer takes, in seconds: below that, chance decides."""


@pytest.fixture(scope="module")
def port() -> Generator[int]:
    with Program("tests.overload.server", json.dumps({"timeout": 10.0})) as program:
        yield int(program.line(r"ready at .*:(\d+)")[1])


def beside_a_busy_program(port: int) -> float:
    """Return how long half of the answers take when a processor is busy with something else."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            return median(trio.run(beat, port, 0.7))
        finally:
            busy.kill()


async def beat(port: int, seconds: float) -> list[float]:
    """Have eight clients send heartbeats; return how long each took."""
    latencies: list[float] = []

    async def one() -> None:
        async with await Client.connect(port) as client:
            end = trio.current_time() + seconds
            while (now := trio.current_time()) < end:
                with trio.fail_after(20):
                    assert await client.sync() == []
                latencies.append(trio.current_time() - now)
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(one)
    return latencies


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_does_not_stop_the_heartbeats_of_others(kind: str, port: int) -> None:
    quiet = beside_a_busy_program(port)
    flooder = subprocess.Popen(
        [sys.executable, "-m", "tests.overload.flooder", str(port), kind, "2.5"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with flooder:
        try:
            assert flooder.stdout is not None
            assert flooder.stdout.readline() == "flooding\n"
            latencies = trio.run(beat, port, 1.5)
            says = flooder.communicate(timeout=20)[0].splitlines()[-1]
        finally:
            flooder.kill()
    sent, cuts = (int(word) for word in says.replace(",", "").split() if word.isdigit())
    assert sent > 100_000, says
    # What is against the rules has the flooder cut off, each time; what is not, never.
    assert (cuts > 0) == (kind in ("oversized", "garbage")), says
    bound = FACTOR * max(quiet, FLOOR)
    assert median(latencies) < bound, (
        f"heartbeats took {median(latencies) * 1000:.0f} ms, and {quiet * 1000:.0f} ms before"
    )
    assert len(latencies) > 20

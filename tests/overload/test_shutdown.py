"""SIGTERM under load: it ends within its budget, every leave has run; a second one ends it at once.

How a node takes signals is tested in tests/kernel/test_interrupts.py, and what the clients of an
endpoint that stops are told in tests/faults/test_server_stop.py; here a whole program is busy.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio

from tests.e2e.programs import Ended, Program
from tests.faults.client import Client, Closed, Frame, Gone, raise_file_limit, text

CLIENTS = 1000

DRAIN_BUDGET = 20.0
"""Seconds for a thousand clients, on a busy machine: what the watcher waits for leaves (5 s), what
connections wait for the clients' close frames (0.5 s), and the work itself."""


async def end(program: Program, clients: list[Client]) -> Ended:
    """Send SIGTERM and wait for the end, while the clients do nothing."""
    ended = await trio.to_thread.run_sync(program.end, signal.SIGTERM)
    for client in clients:
        client.close()
    return ended


@contextmanager
def serving(**options: object) -> Generator[tuple[Program, int]]:
    with Program("tests.overload.server", json.dumps(options)) as program:
        yield program, int(program.line(r"ready at .*:(\d+)")[1])


async def fill(port: int, number: int) -> list[Client]:
    """Have clients join, some at a time, twenty to a room."""
    clients: list[Client] = []
    waiting = list(range(number))

    async def join_some() -> None:
        while waiting:
            one = waiting.pop()
            client = await Client.connect(port)
            clients.append(client)
            await client.say(
                "1", "1", f"room:{one // 20}", "phx_join", {"who": f"user{one}", "is_watched": True}
            )
            while (await client.receive(30))[1] != "1":  # type: ignore[index]
                pass

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(join_some)
    return clients


async def talk(client: Client, room: str, ends: Counter[str]) -> None:
    """Shout and read, without a pause worth the name, until the server ends it."""
    shout = text(["1", "2", room, "shout", {"text": "x" * 20}])
    frames: list[Frame] = []
    while not frames or not isinstance(frames[-1], (Closed, Gone)):
        frames = []
        with trio.move_on_after(0.5):
            frames.append(await client.receive(60))
        if not frames:
            try:
                await client.send(shout)
            except OSError:
                frames.append(Gone("reset"))
    match frames[-1]:
        case Closed(code):
            ends[str(code)] += 1
        case Gone(how):
            ends[how] += 1
    client.close()


@pytest.mark.slow
def test_a_thousand_busy_clients_have_left_when_sigterm_has_ended_the_server() -> None:
    assert raise_file_limit(CLIENTS + 100)
    # What waits while a thousand talk is not to be complained of here.
    with serving(watchdog=None) as (program, port):
        ends: Counter[str] = Counter()

        async def main() -> float:
            clients = await fill(port, CLIENTS)
            async with trio.open_nursery() as nursery:
                for number, client in enumerate(clients):
                    nursery.start_soon(talk, client, f"room:{number // 20}", ends)
                await trio.sleep(1.0)
                program.tell(signal.SIGTERM)
                return time.monotonic()

        told_at = trio.run(main)
        ended = program.wait()
        seconds = time.monotonic() - told_at
    assert ended.status == 128 + signal.SIGTERM
    # Some still talk to rooms that have ended, which is told as a warning; no more than that.
    assert "ERROR" not in ended.stderr and "Traceback" not in ended.stderr
    assert seconds < DRAIN_BUDGET
    lines = [line.split() for line in ended.stdout.splitlines()]
    everybody = Counter(f"user{number}" for number in range(CLIENTS))
    assert Counter(line[1] for line in lines if line[0] == "joined") == everybody
    assert Counter(line[1] for line in lines if line[0] == "left") == everybody
    reasons = Counter(line[2] for line in lines if line[0] == "left")
    assert reasons == {"Shutdown(detail='draining')": CLIENTS}
    # They are told, but for those whose socket was full in the end.
    assert ends["1012"] > CLIENTS * 0.9, ends
    assert sum(ends.values()) == CLIENTS


@pytest.mark.slow
def test_leaves_that_take_their_time_are_waited_for_all_at_once() -> None:
    """A hundred run at a time, each for half a second: three hundred are done in their budget."""
    assert raise_file_limit(500)
    with serving(leave_takes=0.5) as (program, port):

        async def main() -> Ended:
            return await end(program, await fill(port, 300))

        ended = trio.run(main)
    assert ended.status == 128 + signal.SIGTERM and "ERROR" not in ended.stderr
    assert 1.5 <= ended.seconds < DRAIN_BUDGET
    left = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("left ")]
    assert sorted(left) == sorted(f"user{number}" for number in range(300))


@pytest.mark.slow
def test_leaves_that_are_not_done_in_the_budget_are_told_of() -> None:
    with serving(leave_takes=60.0) as (program, port):

        async def main() -> Ended:
            return await end(program, await fill(port, 5))

        ended = trio.run(main)
    assert ended.status == 128 + signal.SIGTERM
    assert "left " not in ended.stdout
    assert "5 leave functions of the watcher 'watcher' have not run" in ended.stderr


@pytest.mark.slow
def test_a_second_sigterm_ends_at_once_what_would_take_its_time() -> None:
    with serving(leave_takes=60.0, close_within=60.0) as (program, port):

        async def main() -> Ended:
            clients = await fill(port, 50)
            program.tell(signal.SIGTERM)
            await trio.sleep(1.0)
            return await end(program, clients)

        ended = trio.run(main)
    assert ended.status == 128 + signal.SIGTERM
    assert ended.seconds < 2
    # Said, and not forgotten.
    assert "have not run" in ended.stderr

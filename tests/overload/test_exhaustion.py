"""What the system runs out of, or changes: it is said once, nothing spins, and it is mended after.

What becomes of a client whose connection cannot be accepted is in tests/faults/test_bad_input.py,
and what a listener does in tests/channels/test_listeners.py; here it is a whole program that meets
the trouble.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.programs import ROOT, Program
from tests.faults.client import Client, Closed


@contextmanager
def serving(**options: object) -> Generator[tuple[Program, int]]:
    """Run a server; yield it and its port."""
    with Program("tests.overload.server", json.dumps(options)) as program:
        yield program, int(program.line(r"ready at .*:(\d+)")[1])


async def join(port: int, who: str, **params: object) -> Client:
    client = await Client.connect(port)
    await client.join("room:a", {"who": who, **params})
    return client


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- file descriptors


@pytest.mark.slow
def test_without_file_descriptors_a_server_says_so_once_waits_and_goes_on() -> None:
    with serving(files=6) as (program, port):

        async def main() -> None:
            waiting = [await Client.dial(port) for _ in range(12)]
            # Those who have a descriptor are served, the others wait in the backlog.
            await trio.sleep(0.3)
            before = cpu_seconds(program.pid)
            await trio.sleep(1.5)
            taken = cpu_seconds(program.pid) - before
            assert taken < 0.3, f"{taken:.2f} s of processor time in 1.5 s, with nothing to do"
            [said] = [one for one in program.stderr().splitlines() if "cannot accept" in one]
            assert said == (
                "ERROR cannot accept connections: [Errno 24] Too many open files; they wait until "
                "that has ended"
            )
            # The condition ends: some of them go.
            for client in waiting[:8]:
                client.reset()
            for client in waiting[8:]:
                client.close()
            inside = [await join(port, "ada") for _ in range(3)]
            for client in inside:
                assert (await client.ask("1", "room:a", "echo", 1))["response"] == 1
                client.close()
            # And comes again: it is told of once more, and only once.
            await trio.sleep(0.2)
            again = [await Client.dial(port) for _ in range(12)]
            await trio.sleep(0.5)
            assert program.stderr().count("cannot accept") == 2
            for client in again:
                client.close()
            (await join(port, "eve")).close()

        trio.run(main)


# -- the port


@pytest.mark.parametrize("times", [1, 2])
def test_a_port_in_use_ends_the_program_with_a_line_that_says_so(times: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for _ in range(times):
            ended = subprocess.run(
                [sys.executable, "-m", "tests.overload.server", json.dumps({"port": port})],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert ended.returncode == 1
            assert ended.stdout == ""
            assert "Traceback" not in ended.stderr
            last = ended.stderr.splitlines()[-1]
            assert last.startswith("cannot start: ")
            assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in last
            assert "choose another port" in last


# -- the disk


@contextmanager
def small_disk(folder: Path) -> Generator[Path]:
    """Mount a disk of 1 MB, where that is allowed."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here; the other test limits the size of files instead")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def fill_the_roll(port: int, end_trouble: Callable[[], object], program: Program) -> None:
    """Have clients join until the roll is full; see who is refused, who not, and what is said."""
    inside: list[Client] = []
    refused = 0
    with trio.fail_after(60):
        while refused < 3:
            client = await Client.connect(port)
            # Arguments of some size, so that it is soon done.
            who = f"user{len(inside)}-{'x' * 4000}"
            await client.say("1", "1", "room:a", "phx_join", {"who": who, "is_watched": True})
            answer = await client.receive()
            assert isinstance(answer, list)
            if answer[4]["status"] == "ok":
                assert not refused, "it recovers before the disk does"
                inside.append(client)
            else:
                assert answer[4]["response"] == {"reason": "join crashed"}
                refused += 1
                # The connection, and all that is not for the roll, goes on.
                assert await client.sync() == []
                client.close()
    assert len(inside) > 3
    said = [one for one in program.stderr().splitlines() if "nobody can be entered" in one]
    assert len(said) == 1
    assert "the roll in " in said[0] and "cannot be written" in said[0]
    for client in inside:
        assert await client.sync() == []
    # Who is inside leaves as ever, though it cannot be crossed off.
    gone = inside.pop(0)
    gone.reset()
    program.line("left user0-x+ ")
    before = cpu_seconds(program.pid)
    await trio.sleep(1.5)
    assert cpu_seconds(program.pid) - before < 0.4
    end_trouble()
    with trio.fail_after(20):
        while True:
            late = await Client.connect(port)
            await late.say("1", "1", "room:a", "phx_join", {"who": "late", "is_watched": True})
            answer = await late.receive()
            assert isinstance(answer, list)
            if answer[4]["status"] == "ok":
                break
            late.close()
            await trio.sleep(0.2)
    assert program.stderr().count("can be written again") == 1
    for one in (*inside, late):
        one.close()
    program.line("left late ")


@pytest.mark.slow
def test_a_full_disk_keeps_newcomers_out_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        with serving(roll=str(disk / "roll.db")) as (program, port):
            trio.run(fill_the_roll, port, ballast.unlink, program)


@pytest.mark.slow
def test_a_file_that_may_not_grow_keeps_newcomers_out_until_it_may(tmp_path: Path) -> None:
    roll = tmp_path / "roll.db"
    with serving(roll=str(roll), file_size=200_000) as (program, port):

        def raise_limit() -> None:
            _, most = resource.prlimit(program.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (most, most))

        trio.run(fill_the_roll, port, raise_limit, program)
    # It is a roll as ever: the next server takes it.
    with sqlite3.connect(roll) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


# -- the clock


@pytest.mark.parametrize("how", ["set the clock back", "set the clock forward"])
def test_a_clock_that_is_set_does_not_touch_timers_nor_timeouts(how: str) -> None:
    with serving(timeout=1.0) as (_, port):

        async def main() -> None:
            client = await join(port, "ada")
            silent = await join(port, "eve")
            await client.say("1", "7", "room:a", "later", {"seconds": 0.5})
            started = trio.current_time()
            assert (await client.ask("1", "room:a", "do", {"what": how}))["status"] == "ok"
            # The timer that ran then, and one that is started afterwards.
            answer = await client.receive()
            assert isinstance(answer, list) and answer[1] == "7"
            assert 0.4 < trio.current_time() - started < 5
            started = trio.current_time()
            await client.say("1", "8", "room:a", "later", {"seconds": 0.5})
            answer = await client.receive()
            assert isinstance(answer, list) and answer[1] == "8"
            assert 0.4 < trio.current_time() - started < 5
            # One who is silent is gone in its time, not at once and not in an hour.
            assert await silent.receive_until_end() == [Closed(1002)]
            silent.close()
            assert (await client.ask("1", "room:a", "echo", 1))["response"] == 1
            client.close()

        trio.run(main)

"""A roll in a file: it outlives the node, and a file that cannot be used harms nobody."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import exeunt
from exeunt import (
    NODE_LOST,
    CallFailed,
    Departure,
    StartFailed,
    Supervisor,
    Watcher,
    spawn,
    stop,
)
from exeunt.kernel.events import CrashReport
from exeunt.otp import roll_file
from exeunt.otp.reports import SupervisorReport
from exeunt.otp.roll_file import (
    RollError,
    RollFile,
    Row,
    _Change,
    find_function,
    name_function,
    read_arguments,
    write_arguments,
)
from exeunt.otp.watcher import LeaveFailed, LeavesNotRun, NodeWasLost
from tests.kernel.nodes import idle, node

LEFT: list[tuple[Departure, tuple[Any, ...], dict[str, Any]]] = []
FAILING: list[bool] = []


@pytest.fixture(autouse=True)
def _nobody_has_left() -> Iterator[None]:
    LEFT.clear()
    FAILING.clear()
    yield


async def leave(departure: Departure, *args: Any, **kwargs: Any) -> None:
    LEFT.append((departure, args, kwargs))
    if FAILING:
        raise ValueError("in leave")


async def until(is_so: Any) -> None:
    with trio.fail_after(10):
        while not is_so():  # noqa: ASYNC110
            await trio.sleep(0.005)


def rows_in(path: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(path) as connection:
        found = list(connection.execute("SELECT function, arguments, who FROM entries"))
    connection.close()
    return found


# -- in one node


async def test_who_is_watched_stands_in_the_file_and_is_crossed_off(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    async with node() as stage:
        not_run = stage.gathers(LeavesNotRun)
        await Watcher.named("rooms").start_link(file=path)
        stays, goes = spawn(idle), spawn(idle)
        await Watcher.watch("rooms", stays, leave, "lobby", 7, user="Ada")
        await Watcher.watch("rooms", goes, leave)
        exeunt.exit(goes, "bye")
        await until(lambda: LEFT)
        [(departure, args, kwargs)] = LEFT
        assert (departure.pid, departure.reason, departure.attempt) == (goes, "bye", 1)
        assert (args, kwargs) == ((), {})
        assert await Watcher.unwatch("rooms", stays) is True
        third = spawn(idle)
        await Watcher.watch("rooms", third, leave, [1, None], {"a": True}, text="ü")
        await stop("rooms")
    assert [(one.number, one.path) for one in not_run] == [(1, str(path))]
    assert rows_in(path) == [
        (f"{__name__}:leave", '[[[1,null],{"a":true}],{"text":"\\u00fc"}]', str(third))
    ]


async def test_arguments_come_as_they_are_read_from_a_file(tmp_path: Path) -> None:
    async with node():
        await Watcher.named("rooms").start_link(file=tmp_path / "roll.db")
        pid = spawn(idle)
        await Watcher.watch("rooms", pid, leave, (1, 2), {3: 4})
        exeunt.exit(pid, "bye")
        await until(lambda: LEFT)
    assert LEFT[0][1] == ([1, 2], {"3": 4})


class Here:
    async def method(self, departure: Departure) -> None: ...


async def test_what_cannot_be_written_is_refused_and_nobody_is_watched(tmp_path: Path) -> None:
    async def inner(departure: Departure) -> None: ...

    path = tmp_path / "roll.db"
    async with node():
        await Watcher.named("rooms").start_link(file=path)
        pid = spawn(idle)
        for function in (inner, Here().method, lambda departure: None):
            with pytest.raises(RollError, match="found again by its name"):
                await Watcher.watch("rooms", pid, function)  # type: ignore[arg-type]
        for argument in (object(), {1, 2}, float("nan"), b"bytes"):
            with pytest.raises(RollError, match="as JSON"):
                await Watcher.watch("rooms", pid, leave, argument)
        assert await Watcher.watched("rooms") == []
    assert rows_in(path) == []


async def test_a_hundred_that_enter_at_once_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    write = RollFile._commit

    def counted(self: RollFile, batch: Any, outcome: Any) -> None:
        commits.append(len(batch))
        write(self, batch, outcome)

    monkeypatch.setattr(RollFile, "_commit", counted)
    async with node():
        await Watcher.named("rooms").start_link(file=tmp_path / "roll.db")
        pids = [spawn(idle) for _ in range(100)]
        async with trio.open_nursery() as nursery:
            for pid in pids:
                nursery.start_soon(Watcher.watch, "rooms", pid, leave)
        assert sorted(await Watcher.watched("rooms")) == pids
        # One has those who came first, and one all those who came while it was written.
        assert sum(commits) == 100 and len(commits) <= 3


async def test_a_process_that_ends_before_it_is_written_leaves_afterwards(tmp_path: Path) -> None:
    async with node():
        await Watcher.named("rooms").start_link(file=tmp_path / "roll.db")
        pid = spawn(idle)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Watcher.watch, "rooms", pid, leave)
            while not await Watcher.watched("rooms"):
                pass
            exeunt.exit(pid, "at once")
        await until(lambda: LEFT)
    assert LEFT[0][0].reason == "at once"


async def test_a_watch_that_is_given_up_is_none(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    async with node() as stage:
        stage.gathers(LeavesNotRun)
        await Watcher.named("rooms").start_link(file=path)
        pid = spawn(idle)
        with trio.CancelScope() as scope:
            scope.cancel()
            await Watcher.watch("rooms", pid, leave)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(Watcher.watch, "rooms", spawn(idle), leave)
                await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        other = spawn(idle)
        await Watcher.watch("rooms", other, leave)
        assert await Watcher.watched("rooms") == [other]
        await stop("rooms")
    assert len(rows_in(path)) == 1


async def test_the_next_watcher_goes_on_with_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    async with node() as stage:
        stage.gathers(SupervisorReport)
        lost = stage.events(NodeWasLost)
        spec = Watcher.named("rooms").child(file=path)
        await Supervisor.start_link([spec], max_restarts=100)
        pids = [spawn(idle) for _ in range(30)]
        for number, pid in enumerate(pids):
            await Watcher.watch("rooms", pid, leave, number)
            if number % 5 == 0:
                watcher = exeunt.whereis("rooms")
                assert watcher is not None
                exeunt.exit(watcher, "kill")
                await until(lambda: exeunt.whereis("rooms") not in (None, watcher))  # noqa: B023
                await until(lambda: exeunt.whereis("rooms") is not None)
        for pid in pids:
            exeunt.exit(pid, "bye")
        await until(lambda: len(LEFT) == 30)
        assert sorted(args for _, args, _ in LEFT) == [(number,) for number in range(30)]
        assert lost == []
        assert len({departure.key for departure, _, _ in LEFT}) == 30
    assert rows_in(path) == []


async def test_a_killed_writer_is_replaced(tmp_path: Path) -> None:
    async with node():
        await Watcher.named("rooms").start_link(file=tmp_path / "roll.db")
        for _ in range(3):
            [writer] = [
                pid
                for pid in exeunt.processes()
                if "writer of the roll" in str(exeunt.process_info(pid))
            ]
            exeunt.exit(writer, "kill")
            await Watcher.watch("rooms", spawn(idle), leave)
        assert len(await Watcher.watched("rooms")) == 3


async def test_a_writer_that_outlives_its_watcher_does_not_keep_news_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher is killed while its roll is being written: what the next one enters is written."""
    commit, commits, go_on = RollFile._commit, [0], threading.Event()

    def slow(self: RollFile, *args: Any) -> None:
        commits[0] += 1
        if commits[0] == 1:
            go_on.wait(10)
        commit(self, *args)

    monkeypatch.setattr(RollFile, "_commit", slow)
    path = tmp_path / "roll.db"
    async with node() as stage:
        stage.gathers(SupervisorReport)
        await Supervisor.start_link([Watcher.named("rooms").child(file=path)])
        first = exeunt.whereis("rooms")
        assert first is not None

        async def enter() -> None:
            await Watcher.watch("rooms", exeunt.self_pid(), leave)

        too_early = spawn(enter)
        await until(lambda: commits[0] == 1)
        exeunt.exit(first, "kill")
        await until(lambda: exeunt.whereis("rooms") not in (None, first))
        # Both writers wait for news now, the old one only until it notices that it is killed.
        await trio.testing.wait_all_tasks_blocked(0.01)
        go_on.set()
        await exeunt.wait_exit(too_early)
        stage.crash(CallFailed, too_early)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(5):
            await Watcher.watch("rooms", spawn(idle), leave)
        # Who was too early is not watched, and is crossed off.
        connection = (await exeunt.get_state("rooms"))["_roll"].file._connection
        await until(lambda: connection.execute("SELECT count(*) FROM entries").fetchone() == (1,))


async def test_a_killed_writer_ends_though_there_is_always_more_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, commits = RollFile._commit, [0]

    def more(self: RollFile, *args: Any) -> None:
        commits[0] += 1
        # Whoever leaves meanwhile; the writer need not be woken, it is at work.
        self._changes.append(_Change(None, "nobody", None))
        commit(self, *args)

    async with node():
        await Watcher.named("rooms").start_link(file=tmp_path / "roll.db")
        [writer] = [
            pid
            for pid in exeunt.processes()
            if "writer of the roll" in str(exeunt.process_info(pid))
        ]
        monkeypatch.setattr(RollFile, "_commit", more)
        await Watcher.watch("rooms", spawn(idle), leave)
        await until(lambda: commits[0] > 2)
        exeunt.exit(writer, "kill")
        with trio.fail_after(3):
            await exeunt.wait_exit(writer)
        # The next one goes on where it stopped.
        monkeypatch.undo()
        await Watcher.watch("rooms", spawn(idle), leave)


# -- after a node that was lost


async def lose_a_node(path: Path, number: int) -> None:
    """Leave a file behind as a crash would: with entries that nobody has crossed off."""
    file = RollFile(path)
    assert await file.open() == []
    for one in range(number):
        arguments = write_arguments(("lobby", one), {})
        row = Row(f"key-{one}", f"{__name__}:leave", arguments, f"<1.{one}>")
        file.add(row, lambda error: None)
    assert await file.write_once()
    file.close()


async def test_who_was_on_the_roll_of_a_lost_node_has_left_before_the_watcher_is_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "roll.db"
    await lose_a_node(path, 250)
    async with node() as stage:
        [was_lost] = [stage.gathers(NodeWasLost)]
        await Watcher.named("rooms").start_link(file=path, max_running=10)
        assert len(LEFT) == 250 and was_lost[0].number == 250
        assert (Departure(None, NODE_LOST, "key-3", 1), ("lobby", 3), {}) in LEFT
        assert len({departure.key for departure, _, _ in LEFT}) == 250
    assert rows_in(path) == []


async def test_one_that_fails_then_is_tried_again_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    await lose_a_node(path, 1)
    FAILING.append(True)
    async with node() as stage:
        for kind in (NodeWasLost, LeaveFailed, CrashReport):
            stage.gathers(kind)
        backoff = exeunt.Backoff(initial=0.3, jitter=0)
        await Watcher.named("rooms").start_link(file=path, attempts=5, backoff=backoff)
        assert len(LEFT) == 1
        FAILING.clear()
        await until(lambda: len(LEFT) == 2)
        assert [departure.attempt for departure, _, _ in LEFT] == [1, 2]
        assert {departure.key for departure, _, _ in LEFT} == {"key-0"}
        await stop("rooms")
    assert rows_in(path) == []


async def test_a_leave_that_is_cut_off_by_the_end_of_the_node_runs_at_the_next_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "roll.db"
    FAILING.append(True)
    async with node() as stage:
        for kind in (LeaveFailed, CrashReport):
            stage.gathers(kind)
        await Watcher.named("rooms").start_link(
            file=path, attempts=5, backoff=exeunt.Backoff(initial=30)
        )
        pid = spawn(idle)
        await Watcher.watch("rooms", pid, leave, "lobby")
        exeunt.exit(pid, "bye")
        await until(lambda: LEFT)
        stage.at_close("1 leave function of the watcher 'rooms' has not run; it stands in")
    [(_, _, _), (second, _, _)] = LEFT
    assert second.attempt == 2
    assert len(rows_in(path)) == 1
    FAILING.clear()
    async with node() as stage:
        stage.gathers(NodeWasLost)
        await Watcher.named("rooms").start_link(file=path)
    assert [departure.reason for departure, _, _ in LEFT] == ["bye", "bye", NODE_LOST]
    assert len({departure.key for departure, _, _ in LEFT}) == 1
    assert rows_in(path) == []


async def test_a_function_that_is_gone_stays_on_the_roll(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    file = RollFile(path)
    await file.open()
    for one, function in enumerate(("no_such.module:f", f"{__name__}:gone", f"{__name__}:LEFT")):
        file.add(Row(str(one), function, "[[],{}]", "<1.1>"), lambda error: None)
    file.add(Row("4", f"{__name__}:leave", "[not JSON", "<1.1>"), lambda error: None)
    assert await file.write_once()
    file.close()
    async with node() as stage:
        await Watcher.named("rooms").start_link(file=path)
        for part in ("no_such.module:f", "gone", "is no function", "Expecting value"):
            stage.logged(part)
        assert LEFT == []
        await stop("rooms")
    assert len(rows_in(path)) == 4


# -- files that cannot be used


async def refused(path: Path, says: str) -> None:
    async with node() as stage:
        exeunt.trap_exit()
        with pytest.raises(StartFailed, match=says):
            await Watcher.named("rooms").start_link(file=path)
        assert stage.node.processes.keys() == {0}


@pytest.mark.parametrize("damage", ["no database", "a page of zeros", "cut short"])
async def test_a_damaged_file_is_told_of_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "roll.db"
    await lose_a_node(path, 500)
    good = path.read_bytes()
    if damage == "no database":
        path.write_bytes(b"this is no database, but a letter of some length\n" * 50)
    elif damage == "cut short":
        path.write_bytes(good[: len(good) // 2])
    else:
        path.write_bytes(good[:4096] + bytes(len(good) - 4096))
    before = path.read_bytes()
    await refused(path, "(?s)cannot be read .* move it away")
    assert path.read_bytes() == before


async def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "books.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE books (title)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    await refused(path, "not that of a roll")
    assert path.read_bytes() == before


async def test_a_file_of_another_format_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    await lose_a_node(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    await refused(path, "format 7")


async def test_a_file_in_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    async with node():
        await Watcher.named("rooms").start_link(file=path)
        other = RollFile(path)
        with pytest.raises(RollError, match="in use by another server"):
            await other.open()


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    await refused(tmp_path / "nowhere" / "roll.db", "is there such a directory")
    await refused(tmp_path, "is there such a directory")


async def test_a_watcher_cannot_change_its_file(tmp_path: Path) -> None:
    async with node():
        exeunt.trap_exit()
        await Watcher.named("rooms").start_link(file=tmp_path / "one.db")
        await stop("rooms")
        with pytest.raises(StartFailed, match=r"one\.db"):
            await Watcher.named("rooms").start_link(file=tmp_path / "two.db")


async def test_a_full_disk_refuses_who_enters_and_loses_nobody(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    async with node() as stage:
        stage.gathers(LeavesNotRun)
        await Watcher.named("rooms").start_link(file=path)
        first = spawn(idle)
        await Watcher.watch("rooms", first, leave, "first")
        roll = await exeunt.get_state("rooms")
        connection = roll["_roll"].file._connection
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RollError, match="cannot be written"):
            for _ in range(100):
                await Watcher.watch("rooms", spawn(idle), leave, "x" * 1000)
        stage.logged("nobody can be entered until that has ended")
        exeunt.exit(first, "bye")
        await until(lambda: LEFT)
        connection.execute("PRAGMA max_page_count = 100000")
        await Watcher.watch("rooms", spawn(idle), leave, "again")
        stage.logged("can be written again")
        await stop("rooms")
    assert '[["first"],{}]' not in {arguments for _, arguments, _ in rows_in(path)}


@pytest.mark.parametrize("ends", ["before", "afterwards"])
async def test_a_watch_that_could_not_replace_another_leaves_it_as_it_was(
    tmp_path: Path, ends: str
) -> None:
    path = tmp_path / "roll.db"
    async with node() as stage:
        await Watcher.named("rooms").start_link(file=path)
        pid = spawn(idle)
        await Watcher.watch("rooms", pid, leave, "the first")
        roll = (await exeunt.get_state("rooms"))["_roll"]
        [pages] = roll.file._connection.execute("PRAGMA page_count").fetchone()
        roll.file._connection.execute(f"PRAGMA max_page_count = {pages}")
        async with trio.open_nursery() as nursery:

            async def replace() -> None:
                with pytest.raises(RollError, match="cannot be written"):
                    await Watcher.watch("rooms", pid, leave, "x" * 100_000)

            nursery.start_soon(replace)
            if ends == "before":
                while roll.watched[pid].standing != "entering":
                    await trio.lowlevel.checkpoint()
                exeunt.exit(pid, "bye")
        stage.logged("nobody can be entered until that has ended")
        if ends == "afterwards":
            assert await Watcher.watched("rooms") == [pid]
            exeunt.exit(pid, "bye")
        roll.file._connection.execute("PRAGMA max_page_count = 100000")
        await until(lambda: LEFT)
        await Watcher.watch("rooms", spawn(idle), leave)
        stage.logged("can be written again")
    [(departure, args, _)] = [one for one in LEFT if one[1]]
    assert (departure.reason, args) == ("bye", ("the first",))
    assert rows_in(path) == []


@pytest.mark.parametrize("fails", ["the newer", "the older", "both"])
async def test_of_two_watches_that_are_written_one_after_the_other_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    # So that each has a transaction of its own.
    monkeypatch.setattr(roll_file, "LARGEST_BATCH", 1)
    monkeypatch.setattr(roll_file, "RETRY_SECONDS", 0.0)
    path = tmp_path / "roll.db"
    refused: list[str] = []
    async with node() as stage:
        await Watcher.named("rooms").start_link(file=path)
        pid = spawn(idle)
        await Watcher.watch("rooms", pid, leave, "the first")
        roll = (await exeunt.get_state("rooms"))["_roll"]
        [pages] = roll.file._connection.execute("PRAGMA page_count").fetchone()
        roll.file._connection.execute(f"PRAGMA max_page_count = {pages}")
        async with trio.open_nursery() as nursery:

            async def watch(who: str) -> None:
                too_large = "x" * 100_000 if fails in (who, "both") else ""
                try:
                    await Watcher.watch("rooms", pid, leave, who, too_large)
                except RollError:
                    refused.append(who)

            nursery.start_soon(watch, "the older")
            while roll.watched[pid].standing != "entering":
                await trio.lowlevel.checkpoint()
            nursery.start_soon(watch, "the newer")
        roll.file._connection.execute("PRAGMA max_page_count = 100000")
        assert await Watcher.watched("rooms") == [pid]
        [[row]] = roll.file._connection.execute("SELECT arguments FROM entries").fetchall()
        exeunt.exit(pid, "bye")
        await until(lambda: LEFT)
        stage.logged("nobody can be entered until that has ended")
        await Watcher.watch("rooms", spawn(idle), leave)
        stage.logged("can be written again")
    stands = {"the newer": "the older", "the older": "the newer", "both": "the first"}[fails]
    assert sorted(refused) == (["the newer", "the older"] if fails == "both" else [fails])
    assert stands in row
    [args] = [args for departure, args, _ in LEFT if departure.reason == "bye"]
    assert args[0] == stands


async def test_a_watch_that_replaces_another_takes_its_row(tmp_path: Path) -> None:
    path = tmp_path / "roll.db"
    async with node() as stage:
        stage.gathers(LeavesNotRun)
        await Watcher.named("rooms").start_link(file=path)
        pid = spawn(idle)
        for number in range(3):
            await Watcher.watch("rooms", pid, leave, number)
        await stop("rooms")
    assert [arguments for _, arguments, _ in rows_in(path)] == ["[[2],{}]"]


# -- names and arguments


def test_functions_are_found_by_their_names() -> None:
    assert find_function(name_function(leave)) is leave
    assert find_function("os.path:join") is os.path.join


@pytest.mark.parametrize(
    "written", ["", "os", "os:", ":x", "os:nothing", "nothing.at.all:x", "os:sep"]
)
def test_names_of_nothing_are_errors(written: str) -> None:
    with pytest.raises(RollError):
        find_function(written)


def test_arguments_are_read_as_they_were_written() -> None:
    given = ([1, 2.5, None, "ü\x00", {"a": [True]}], {"key": "value"})
    assert read_arguments(write_arguments(tuple(given[0]), given[1])) == (
        tuple(given[0]),
        given[1],
    )


# -- kill -9


PROGRAM = """
    import sys
    import trio
    import exeunt
    from exeunt import Departure, Supervisor, Watcher, child, receive, spawn

    async def leave(departure, number):
        print("left", number, departure.reason, departure.key, flush=True)

    async def client(number):
        await Watcher.watch("rooms", exeunt.self_pid(), leave, number)
        print("joined", number, flush=True)
        await receive()

    async def listen():
        print("listening", flush=True)
        for number in range(int(sys.argv[2])):
            spawn(client, number)
        await trio.sleep_forever()

    async def main():
        await Supervisor.start_link([Watcher.named("rooms").child(file=sys.argv[1]), child(listen)])
        await receive()

    exeunt.run(main)
"""


def start(program: Path, roll: Path, clients: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(program), str(roll), str(clients)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_after_kill_9_the_next_start_runs_every_leave_before_anything_else(tmp_path: Path) -> None:
    program, roll = tmp_path / "program.py", tmp_path / "roll.db"
    program.write_text(textwrap.dedent(PROGRAM))
    joined: list[str] = []
    with start(program, roll, 200) as first:
        assert first.stdout is not None
        for line in first.stdout:
            # The last one may be cut short.
            joined += re.findall(r"joined (\d+)\n", line)
            if len(joined) == 120:
                first.send_signal(signal.SIGKILL)
    left: list[tuple[str, str]] = []
    with start(program, roll, 0) as second:
        assert second.stdout is not None
        for line in second.stdout:
            if line.strip() == "listening":
                second.send_signal(signal.SIGTERM)
                break
            _, number, reason, _ = line.split()
            left.append((number, reason))
    assert {reason for _, reason in left} == {NODE_LOST}
    numbers = [number for number, _ in left]
    assert len(numbers) == len(set(numbers)), "each once"
    # Some may have been written and not yet been told so.
    assert set(joined) <= set(numbers) and len(joined) >= 120
    with start(program, roll, 0) as third:
        assert third.stdout is not None
        assert third.stdout.readline().strip() == "listening"
        third.send_signal(signal.SIGTERM)

"""The page on exits says what happens: each line of its tables is made to happen, and compared."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import exeunt.channels.session
import exeunt.kernel.exits
from exeunt import (
    Bound,
    CallCycle,
    CallFailed,
    Crash,
    Down,
    Exit,
    FailedToStart,
    GenServer,
    MainExited,
    Pid,
    ProcessExit,
    Reason,
    Shutdown,
    StartFailed,
    StateMachine,
    Stop,
    Supervisor,
    Task,
    call,
    child,
    demonitor,
    exit,
    monitor,
    on_cast,
    open_node,
    receive,
    receive_nowait,
    self_pid,
    send,
    spawn,
    spawn_link,
    trap_exit,
    wait_exit,
)
from exeunt.channels import LongPoll
from exeunt.channels.channel_server import ChannelServer
from exeunt.kernel.exits import is_orderly
from exeunt.otp.strategy import is_restarted
from tests.channels.polling import WINDOW, join, open_polled
from tests.docs import exiting
from tests.docs.exiting import Do, Seen, allows, end, end_at_once, obey, tell
from tests.faults.page import shown_end, shown_frame, shown_reason
from tests.faults.row import UNSEEN, Row, observe
from tests.faults.table import rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "exits.md"

ODD = ("some", "reason")
"""A reason that means nothing to anybody."""


def tables(heading: str) -> list[list[list[str]]]:
    """Return the tables under a heading, each as its lines, and these as their cells."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.M)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, re.M)
    return [
        [[cell.strip() for cell in line.strip("|").split(" | ")] for line in one.splitlines()[2:]]
        for one in found
    ]


def table(heading: str) -> list[list[str]]:
    """Return the table under a heading that has one."""
    [found] = tables(heading)
    return found


@asynccontextmanager
async def node() -> AsyncGenerator[None]:
    """Open a node whose main process hears of everything and ends of nothing."""
    with trio.fail_after(30):
        # What traps exits, and heeds none, is killed the sooner.
        async with open_node(signals=False, shutdown=0.05):
            trap_exit()
            yield


# -- reasons --------------------------------------------------------------------------------------


class Ends(GenServer):
    """A server that ends as it is told."""

    @on_cast
    async def stop_for(self, reason: Reason) -> Stop:
        return Stop(reason)


async def server_stops(reason: Reason) -> Reason:
    server = await Ends.start()
    Ends.stop_for(server, reason)
    return await wait_exit(server)


async def gives_up() -> Reason:
    supervisor = await Supervisor.start([child(end_at_once)], max_restarts=1)
    return await wait_exit(supervisor)


async def shut_down() -> Reason:
    supervisor = await Supervisor.start([child(receive)])
    [one] = await Supervisor.which_children(supervisor)
    assert isinstance(one.pid, Pid)
    ref = monitor(one.pid)
    await Supervisor.terminate_child(supervisor, one.id)
    down = await receive(Down)
    assert down.ref is ref
    return down.reason


async def crashes() -> Reason:
    async def fail() -> None:
        raise ValueError("no")

    reason = await wait_exit(spawn(fail))
    assert isinstance(reason, Crash)
    assert isinstance(reason.exception, ValueError)
    return reason


async def killed() -> Reason:
    pid = spawn(receive)
    exit(pid, "kill")
    return await wait_exit(pid)


async def kills() -> Reason:
    """Have a reason "kill" that is none of a signal: it is one like any other."""
    assert await killed() == "killed"
    return await wait_exit(spawn(_end, "kill"))


async def _end(reason: Reason) -> None:
    raise ProcessExit(reason)


async def by_exit() -> Reason:
    pid = spawn(receive)
    exit(pid, ODD)
    return await wait_exit(pid)


async def of_nobody() -> Reason:
    dead = spawn(end_at_once)
    assert await wait_exit(dead) == "normal"
    return await wait_exit(dead)


ENDS: dict[str, list[tuple[Callable[[], Awaitable[Reason]], Reason]]] = {
    '`"normal"`': [(lambda: wait_exit(spawn(end_at_once)), "normal")],
    '`"shutdown"`': [(shut_down, "shutdown"), (gives_up, "shutdown")],
    "`Shutdown(detail)`": [(partial(server_stops, Shutdown("why")), Shutdown("why"))],
    '`"kill"`': [(kills, "kill")],
    '`"killed"`': [(killed, "killed")],
    '`"noproc"`': [(of_nobody, "noproc")],
    "`Crash(exception)`": [(crashes, Crash)],
    "any other object": [
        (by_exit, ODD),
        (lambda: wait_exit(spawn(_end, ODD)), ODD),
        (partial(server_stops, ODD), ODD),
    ],
}


@pytest.mark.parametrize("line", tables("Reasons")[0], ids=lambda line: line[0])
async def test_a_reason_means_what_the_page_says(line: list[str]) -> None:
    reason, _, orderly = line
    async with node():
        for make, expected in ENDS[reason]:
            made = await make()
            assert isinstance(made, Crash) if expected is Crash else made == expected
            assert is_orderly(made) is (orderly == "yes")
            assert is_restarted("transient", made) is (orderly == "no")


def test_every_reason_with_a_meaning_has_a_line() -> None:
    assert [line[0] for line in tables("Reasons")[0]] == list(ENDS)
    assert [line[0] for line in tables("Reasons")[1]] == list(GIVEN)
    known = {
        getattr(exeunt.kernel.exits, name)
        for name in ("NORMAL", "SHUTDOWN", "KILL", "KILLED", "NOPROC")
    }
    assert known <= {line.strip('`"') for line in ENDS}


async def overflows() -> None:
    full = spawn(receive, mailbox=Bound(1, "exit"))
    for _ in range(3):
        send(full, 1)
    assert await wait_exit(full) == "overflow"

    async def looks_away() -> None:
        await trio.sleep_forever()

    busy = spawn(looks_away, mailbox=Bound(1, "drop_newest"))
    send(busy, 1)
    with pytest.raises(CallFailed) as caught:
        await call(busy, "anybody there")
    assert caught.value.reason == "overflow"


async def a_child_does_not_start() -> None:
    class Fails(GenServer):
        async def init(self) -> Stop:
            return Stop(ODD)

    with pytest.raises(StartFailed) as caught:
        await Supervisor.start_link([Fails.child()])
    assert caught.value.reason == Shutdown(FailedToStart("Fails", ODD))


async def calls_in_a_cycle() -> None:
    with pytest.raises(CallFailed) as caught:
        await call(self_pid(), "me")
    assert caught.value.reason == CallCycle((self_pid(),))


async def the_program_is_killed(folder: Path) -> None:
    program = folder / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os, sys
        from exeunt import NODE_LOST, Departure, Supervisor, Watcher, receive, run, spawn

        async def leave(departure: Departure) -> None:
            print(departure.reason == NODE_LOST, flush=True)

        async def main() -> None:
            await Supervisor.start_link([Watcher.named("watcher").child(file="roll")])
            if sys.argv[1] == "first":
                await Watcher.watch("watcher", spawn(receive), leave)
                os._exit(9)

        run(main)
        """),
        encoding="utf-8",
    )

    def start(which: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, program.name, which],
            cwd=folder,
            env={"PYTHONPATH": str(Path(exeunt.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    first = await trio.to_thread.run_sync(start, "first")
    assert (first.returncode, first.stdout) == (9, ""), first.stderr
    second = await trio.to_thread.run_sync(start, "second")
    assert (second.returncode, second.stdout) == (0, "True\n"), second.stderr


async def a_job_takes_too_long() -> None:
    async def job(_: int) -> None:
        await trio.sleep_forever()

    async with Task.async_stream(
        [1], job, max_concurrency=1, timeout=0.01, on_timeout="kill_task"
    ) as outcomes:
        [outcome] = [one async for one in outcomes]
    assert isinstance(outcome, Exit)
    assert outcome.reason == "timeout"


GIVEN: dict[str, Callable[..., Awaitable[None]]] = {
    '`"overflow"`': overflows,
    "`Shutdown(FailedToStart(id, reason))`": a_child_does_not_start,
    "`CallCycle(pids)`": calls_in_a_cycle,
    "`NODE_LOST`": the_program_is_killed,
    '`"timeout"`': a_job_takes_too_long,
}


@pytest.mark.parametrize("reason", GIVEN)
async def test_the_library_gives_this_reason_where_the_page_says(
    reason: str, tmp_path: Path
) -> None:
    make = GIVEN[reason]
    async with node():
        await (make(tmp_path) if make is the_program_is_killed else make())


# -- signals --------------------------------------------------------------------------------------

OTHERS: tuple[Reason, ...] = (ODD, "shutdown", Shutdown("why"), "killed", "noproc")

Provocation = Callable[[bool, Reason], Awaitable[tuple[Seen, Pid]]]

SIGNALS: dict[tuple[str, str], tuple[Provocation, tuple[Reason, ...]]] = {
    ("another process", '`exit(pid, "kill")`'): (exiting.from_another, ("kill",)),
    ("another process", '`exit(pid, "normal")`'): (exiting.from_another, ("normal",)),
    ("another process", "`exit(pid, reason)`"): (exiting.from_another, OTHERS),
    ("itself", '`exit(self_pid(), "kill")`'): (exiting.from_itself, ("kill",)),
    ("itself", '`exit(self_pid(), "normal")`'): (exiting.from_itself, ("normal",)),
    ("itself", "`exit(self_pid(), reason)`"): (exiting.from_itself, OTHERS),
    ("a linked process", 'ends, `"normal"`'): (exiting.from_a_link, ("normal",)),
    ("a linked process", 'ends, any other reason, `"kill"` included'): (
        exiting.from_a_link,
        (*OTHERS, "kill"),
    ),
    ("a dead process", "`link(pid)`"): (exiting.from_the_dead, (None,)),
}

ANOTHER_SERVER = "another process, linked or not"

SERVERS: dict[tuple[str, str], list[tuple[Provocation, tuple[Reason, ...]]]] = {
    ("its parent", 'ends, `"normal"`'): [(exiting.parent_ends, ("normal",))],
    ("its parent", "ends, any other reason"): [(exiting.parent_ends, (*OTHERS, "kill"))],
    ("its parent", '`exit(pid, "normal")`'): [(exiting.parent_signals, ("normal",))],
    ("its parent", '`exit(pid, reason)`, as a supervisor with `"shutdown"`'): [
        (exiting.parent_signals, OTHERS),
        (exiting.supervisor_shuts_down, ("shutdown",)),
    ],
    ("its parent", '`exit(pid, "kill")`'): [(exiting.parent_signals, ("kill",))],
    (ANOTHER_SERVER, '`exit(pid, "shutdown")`'): [
        (partial(exiting.another_signals_a_server, linked=False), ("shutdown",)),
        (partial(exiting.another_signals_a_server, linked=True), ("shutdown",)),
    ],
    ("anybody", "`stop(server, reason)`"): [
        (exiting.somebody_stops_it, ("normal", "shutdown", ODD)),
    ],
}

BOTH = pytest.mark.parametrize("traps", [True, False], ids=["traps", "does not trap"])


def test_every_way_of_a_signal_has_a_line_and_every_line_a_way() -> None:
    assert [(who, how) for who, how, *_ in table("What a signal does")] == list(SIGNALS)
    told = [(who, how) for who, how, *_ in table("A server, and who started it")]
    assert [one for one in told if one != ("the node", "closes")] == list(SERVERS)
    assert [(who, how) for who, how, *_ in table("The main process")] == list(MAIN)


@BOTH
@pytest.mark.parametrize("line", table("What a signal does"), ids=lambda line: " ".join(line[:2]))
async def test_a_signal_does_what_the_page_says(line: list[str], traps: bool) -> None:
    who, how, trapping, not_trapping = line
    provoke, reasons = SIGNALS[who, how]
    async with node():
        for reason in reasons:
            seen, sender = await provoke(traps, reason)
            said = seen.in_words(reason, sender)
            assert allows(trapping if traps else not_trapping, said, reason), (said, reason)


@BOTH
@pytest.mark.parametrize(
    "line", table("A server, and who started it"), ids=lambda line: " ".join(line[:2])
)
async def test_a_server_does_what_the_page_says(line: list[str], traps: bool) -> None:
    who, how, trapping, not_trapping = line
    cell = trapping if traps else not_trapping
    if who == "the node":
        for linked in (True, False):
            seen = await exiting.the_node_closes(traps, linked=linked)
            assert allows(cell, seen.in_words("shutdown", None), "shutdown")
        return
    async with node():
        for provoke, reasons in SERVERS[who, how]:
            for reason in reasons:
                seen, sender = await provoke(traps, reason)
                said = seen.in_words(reason, sender)
                assert allows(cell, said, reason), (said, reason)


@BOTH
async def test_a_server_of_start_has_no_parent(traps: bool) -> None:
    async with node():
        seen, _ = await exiting.parent_ends(traps, ODD, linked=False)
        assert seen.in_words(ODD, None) == "nothing"
        seen, sender = await exiting.parent_signals(traps, ODD, linked=False)
        assert seen.in_words(ODD, sender) == ("`Exit` message" if traps else "dies, that reason")


async def test_a_process_of_spawn_link_gets_the_message() -> None:
    got: list[object] = []

    async def traps() -> None:
        trap_exit()
        got.append(await receive())

    async with node():
        parent = spawn(obey)
        await tell(parent, lambda: spawn_link(traps))
        await tell(parent, partial(end, "normal"))
        assert got == [Exit(parent, "normal")]


def test_what_the_page_calls_a_server_is_one() -> None:
    assert all(issubclass(one, GenServer) for one in (Supervisor, StateMachine, ChannelServer))


async def test_who_is_dying_hears_only_a_kill() -> None:
    async def cleans_up() -> None:
        try:
            await receive()
        finally:
            with trio.CancelScope(shield=True):
                await done.wait()

    for last, reason in ((None, ODD), ("another", ODD), ("normal", ODD), ("kill", "killed")):
        done = trio.Event()
        async with node():
            pid = spawn(cleans_up)
            await wait_all_tasks_blocked()
            exit(pid, ODD)
            send(pid, "too late")
            if last is not None:
                exit(pid, last)
            done.set()
            assert await wait_exit(pid) == reason
            exit(pid, "kill")  # lost


# -- the main process -----------------------------------------------------------------------------

MAIN: dict[tuple[str, str], tuple[exiting.MainAct, tuple[Reason, ...]]] = {
    ("another process", '`exit(pid, "kill")`'): (exiting.signal_main, ("kill",)),
    ("another process", '`exit(pid, "normal")`'): (exiting.signal_main, ("normal",)),
    ("another process", "`exit(pid, reason)`"): (exiting.signal_main, OTHERS),
    ("a linked process", 'ends, `"normal"`'): (exiting.end_beside_main, ("normal",)),
    ("a linked process", "ends, any other reason"): (exiting.end_beside_main, (*OTHERS, "kill")),
    ("itself", "`raise ProcessExit(reason)`"): (exiting.end_main, ("normal", *OTHERS)),
}


@BOTH
@pytest.mark.parametrize("line", table("The main process"), ids=lambda line: " ".join(line[:2]))
async def test_the_main_process_does_what_the_page_says(line: list[str], traps: bool) -> None:
    who, how, trapping, not_trapping = line
    act, reasons = MAIN[who, how]
    for reason in reasons:
        with trio.fail_after(30):
            said = await exiting.of_main(traps, reason, act)
        assert allows(trapping if traps else not_trapping, said, reason), (said, reason)


async def test_main_exited_says_by_whom_and_why() -> None:
    linked: list[Pid] = []
    with pytest.raises(MainExited) as caught:
        async with open_node(signals=False):
            linked.append(spawn_link(partial(_raise, ValueError("no"))))
            await receive()
    assert caught.value.by is linked[0]
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(LookupError):
        async with open_node(signals=False):
            raise LookupError


async def _raise(error: Exception) -> None:
    raise error


# -- monitors, calls, wait_exit -------------------------------------------------------------------


async def _asked(pid: Pid, do: Callable[[], object]) -> list[str]:
    """Ask in all three ways about a process, to which then happens that; say what was told."""
    told = ["nothing, ever"] * 3

    async def calls() -> None:
        with pytest.raises(CallFailed) as caught:
            await call(pid, "a question")
        told[1] = f"`CallFailed`, {_shown(caught.value.reason)}"

    async def waits() -> None:
        told[2] = _shown(await wait_exit(pid))

    ref = monitor(pid)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        if pid is self_pid():
            await calls()  # as a process does: from its own task
        else:
            nursery.start_soon(calls)
        await wait_all_tasks_blocked()
        do()
        with trio.move_on_after(0.05):
            down = await receive(Down)
            assert (down.ref, down.process) == (ref, pid)
            told[0] = f"`Down`, {_shown(down.reason)}"
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.WouldBlock):
        receive_nowait(Down)  # it fires once
    return told


def _shown(reason: Reason) -> str:
    if isinstance(reason, CallCycle):
        return "a `CallCycle`"
    return f'`"{reason}"`' if reason == "noproc" else "that reason" if reason == ODD else "?"


async def of_one_that_ends() -> list[str]:
    pid = spawn(obey)
    return await _asked(pid, lambda: send(pid, Do(partial(end, ODD))))


async def of_a_dead_one() -> list[str]:
    dead = spawn(_end, ODD)
    await wait_exit(dead)
    return await _asked(dead, lambda: None)


async def of_a_dying_one() -> list[str]:
    done = trio.Event()

    async def cleans_up() -> None:
        try:
            await receive()
        finally:
            with trio.CancelScope(shield=True):
                await done.wait()

    pid = spawn(cleans_up)
    await wait_all_tasks_blocked()
    exit(pid, ODD)
    return await _asked(pid, done.set)


async def of_itself() -> list[str]:
    return await _asked(self_pid(), lambda: None)


ASKED = {
    "ends, whatever the reason": of_one_that_ends,
    "was dead before": of_a_dead_one,
    "has been told to die, and still cleans up": of_a_dying_one,
    "is the one that asks": of_itself,
}
TOLD = table("Monitors, calls, `wait_exit`")


@BOTH
@pytest.mark.parametrize("line", TOLD, ids=lambda line: line[0])
async def test_who_asks_is_told_what_the_page_says(line: list[str], traps: bool) -> None:
    async with node():
        trap_exit(traps)
        told = await ASKED[line[0]]()
        assert told == [cell.removesuffix(", when it is dead") for cell in line[1:]]
        trap_exit()


def test_every_question_has_a_line() -> None:
    assert [line[0] for line in TOLD] == list(ASKED)


@pytest.mark.parametrize("reason", ["normal", "shutdown", "kill", ODD])
async def test_a_monitor_and_a_call_hear_of_every_reason(reason: Reason) -> None:
    async with node():
        pid = spawn(obey, name="somebody")
        ref = monitor("somebody")
        send(pid, Do(partial(end, reason)))
        with pytest.raises(CallFailed) as caught:
            await call(pid, "a question")
        assert caught.value.reason == reason
        assert await receive(Down) == Down(ref, "somebody", reason)


async def test_after_demonitor_none_comes() -> None:
    async with node():
        pid = spawn(obey)
        gone, there, flushed = monitor(pid), monitor(pid), monitor(pid)
        assert demonitor(gone)
        await tell(pid, partial(end, ODD))
        assert not demonitor(flushed, flush=True)
        assert not demonitor(there)
        assert (await receive(Down)).ref is there
        with pytest.raises(trio.WouldBlock):
            receive_nowait(Down)


# -- the ways of a client -------------------------------------------------------------------------

POLLS = "it polls, and has not for one and a half windows"
"""The way that no WebSocket has."""

WAYS: dict[str, tuple[str, ...]] = {
    "it leaves the topic": ("leave",),
    "it joins the topic again": ("joined anew", "joined anew with the same ref"),
    "it joins again, and the old channel traps exits and goes on": (
        "joined anew, exits trapped and ignored",
    ),
    "it closes the WebSocket, with whatever code": (
        "close frame: 1000",
        "close frame: 1001",
        "close frame: 4000",
        "close frame: without a code",
        "close frame that must not be sent: 1005",
    ),
    "TCP ends or is reset without a close frame": ("FIN without a close frame", "RST"),
    "nothing comes from it within the idle time-out": ("silence in the middle of a frame",),
    POLLS: (),
    "it does not read what is sent to it": ("more is sent than it reads",),
    '`"disconnect"` is broadcast to its socket\'s id': ("disconnected by its id",),
    "it sends what is no message: text that is no JSON, an object, an array of four": (
        "malformed: text that is no JSON",
        "malformed: a JSON object",
        "malformed: an array of four",
    ),
    "it breaks RFC 6455: no mask, a reserved bit, a bad opcode": (
        "against RFC 6455: no mask",
        "against RFC 6455: an RSV bit",
        "against RFC 6455: an opcode that is none",
    ),
    "it sends text that is not UTF-8": ("text that is not UTF-8: bad bytes",),
    "it sends too large a frame or message": (
        "too large: a frame",
        "too large: fragments together",
    ),
    "the server stops": ("server stops, channel idle",),
    "the server stops, and the channel is busy": ("server stops, channel busy",),
    "the process of its connection is killed": ("connection killed",),
    "the channel's process is killed": ("channel killed",),
    "another exit signal reaches the channel's process": (
        "channel sent a signal: shutdown",
        "channel sent a signal: boom",
    ),
    "a linked process ends for a reason": (
        "linked process ends: boom",
        "linked process ends: a crash",
    ),
    "a callback raises": ("a callback raises: handle_in", "a callback raises: handle_info"),
    "a callback raises `ProcessExit(reason)`": (
        "ProcessExit(normal): in handle_in",
        "ProcessExit(other): in handle_in",
    ),
    "a callback returns `Stop` with an orderly reason": (
        "Stop(normal): from handle_in",
        "Stop(shutdown): from handle_in",
        "Stop(Shutdown(detail)): from handle_in",
    ),
    "a callback returns `Stop` with another reason": ("Stop(other): from handle_in",),
}

LEAVING = table("How a client of a channel can leave")
MATRIX: dict[str, Row] = {one.name: one for one in rows()}


def test_every_way_of_a_client_has_a_line_and_every_line_a_way() -> None:
    assert [line[0] for line in LEAVING] == list(WAYS)
    assert all(name in MATRIX for names in WAYS.values() for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "name"),
    [(line, name) for line in LEAVING for name in WAYS[line[0]]],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_a_client_leaves_as_the_page_says(
    line: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, reason, terminates, sees = line
    patience = exeunt.channels.session.DUPLICATE_PATIENCE
    if after := re.search(r", after (\d+) s", reason):
        assert float(after[1]) == patience
    monkeypatch.setattr(exeunt.channels.session, "DUPLICATE_PATIENCE", 0.1)
    row = MATRIX[name]
    seen = await observe(row)
    [ended] = seen.reasons
    if reason == "`Crash(exception)`":
        assert isinstance(ended, Crash)
    elif reason == "that reason":
        assert row.differences(seen) == []
    else:
        assert shown_reason(ended) == reason.partition(", after")[0]
    assert bool(seen.terminated) is (terminates == "yes")
    if row.end == UNSEEN:
        return  # nobody is there to see it
    frames = [shown_frame(one).replace("reply ok", "reply") for one in seen.frames]
    assert frames == re.findall(r"reply|`phx_\w+`", sees)
    codes = re.findall(r"\b1\d{3}\b", sees)
    assert shown_end(seen.end) in (codes or ["stays open"])


@pytest.mark.slow
async def test_a_client_that_does_not_poll_leaves_as_the_page_says() -> None:
    [(_, reason, terminates, _)] = [line for line in LEAVING if line[0] == POLLS]
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        polled = trio.current_time()
        await world.until_left("ada")
        assert trio.current_time() - polled >= 1.5 * WINDOW - 0.05
        assert [shown_reason(one) for one in world.reasons_of("ada")] == [reason]
        assert bool(world.terminated_of("ada")) is (terminates == "yes")
        assert not await ada.is_known()


@pytest.mark.parametrize(
    "name", ["linked process ends, exits trapped", "channel sent a signal, exits trapped"]
)
async def test_a_channel_that_traps_exits_lives_on(name: str) -> None:
    assert MATRIX[name].differences(await observe(MATRIX[name])) == []


@pytest.mark.parametrize(
    "name", ["close frame, and terminate raises", "handle_in raises, and so does terminate"]
)
async def test_where_terminate_raises_that_is_the_reason(name: str) -> None:
    [reason] = (await observe(MATRIX[name])).reasons
    assert isinstance(reason, Crash)
    assert type(reason.exception) is LookupError

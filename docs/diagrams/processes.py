"""The life of a process, recorded: every way in which one comes to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args

import trio
from trio.testing import wait_all_tasks_blocked

from docs.diagrams.recorder import Data, Recorder, shown_reason, watched_slot
from exeunt import (
    Bound,
    Node,
    Pid,
    ProcessExit,
    exit,
    link,
    open_node,
    receive,
    self_pid,
    send,
    spawn,
    trap_exit,
    wait_exit,
)
from exeunt.kernel.events import ZombieGone
from exeunt.kernel.process import Process
from exeunt.kernel.signals import Peer, Status
from exeunt.otp.tree import BranchStatus

ZOMBIE: Final = "zombie"

Body = Callable[..., Awaitable[object]]


def record() -> Data:
    """Lead processes to their ends; return the states and the steps between them."""
    assert ZOMBIE in get_args(BranchStatus)
    recorder = Recorder()
    followed = _Followed(recorder)
    with (
        watched_slot(Peer, "status", followed.note_status),
        watched_slot(Process, "exit_reason", followed.note_reason),
    ):
        trio.run(_see_ends, followed)
        trio.run(_outlive_a_kill, followed)
        trio.run(_close_a_node, followed)
        trio.run(_tear_down_a_node, followed)
    return recorder.data([*get_args(Status), ZOMBIE])


class _Followed:
    """The processes whose steps are noted, and what becomes of them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.reasons: dict[Pid, object] = {}
        self.node: Node

    def start(self, body: Body, *args: Any, mailbox: Bound | None = None) -> Pid:
        """Start a process that is followed from its beginning."""
        pid = spawn(body, *args, mailbox=mailbox)
        self.reasons[pid] = None
        self.recorder.enter(pid, self.node.processes[pid.number].status)
        return pid

    def note_status(self, process: Peer, status: Status) -> None:
        """Note that a process is in another state."""
        if process.pid in self.reasons:
            state = ZOMBIE if process.pid in self.node.zombies else status
            if state != self.recorder.state_of(process.pid):
                self.recorder.enter(process.pid, state)

    def note_reason(self, process: Process, reason: object) -> None:
        """Note why a process ends: with the step that it took, or as a step if it is another."""
        pid = process.pid
        if pid not in self.reasons:
            return
        if self.reasons[pid] not in (None, reason):
            self.recorder.enter(pid, process.status)
        if self.reasons[pid] != reason:
            self.reasons[pid] = reason
            self.recorder.add(pid, reason=shown_reason(reason))

    def note_gone(self, event: ZombieGone) -> None:
        """Note that a zombie's code has stopped."""
        self.recorder.enter(event.pid, "dead")

    async def see_end(self, way: str, pid: Pid, act: Callable[[], object]) -> None:
        """Act upon a process that waits, and wait for its end."""
        await wait_all_tasks_blocked()
        self.recorder.begin(way)
        act()
        await wait_exit(pid)
        self.recorder.check_seen()

    async def see_it_end(self, way: str, body: Body) -> None:
        """Have a process go on that waits to be told, and wait for its end."""
        pid = self.start(body)
        await self.see_end(way, pid, lambda: send(pid, "go on"))


async def _see_ends(followed: _Followed) -> None:
    async with open_node(signals=False) as node:
        followed.node = node
        await followed.see_it_end("its body returns", _wait)
        await followed.see_it_end("its body raises", _crash)
        await followed.see_it_end("its body raises ProcessExit", _exit_by_itself)
        await followed.see_it_end("it tells itself to end", _signal_itself)

        pid = followed.start(_wait)
        await followed.see_end("a signal comes", pid, lambda: exit(pid, "reason"))
        pid = followed.start(_trap_exits)
        await followed.see_end("a kill comes", pid, lambda: exit(pid, "kill"))
        other = spawn(_exit_by_itself)
        pid = followed.start(_link_and_wait, other)
        await followed.see_end("one that it is linked to ends", pid, lambda: send(other, "go on"))
        pid = followed.start(trio.sleep_forever, mailbox=Bound(1))
        await followed.see_end("its mailbox overflows", pid, lambda: _send_two(pid))


async def _outlive_a_kill(followed: _Followed) -> None:
    """Have a process that is killed go on until it has been declared dead."""
    recorder, zombie_seen = followed.recorder, trio.Event()
    async with open_node(signals=False, kill_grace=0.02) as node:
        followed.node = node
        node.events.subscribe(followed.note_gone, ZombieGone)
        pid = followed.start(_clean_up_until, zombie_seen)
        await wait_all_tasks_blocked()
        recorder.begin("a signal comes")
        exit(pid, "reason")
        recorder.begin("a kill comes")
        exit(pid, "kill")
        recorder.check_seen()
        await recorder.until(pid, ZOMBIE)
        zombie_seen.set()
        await recorder.until(pid, "dead")


async def _close_a_node(followed: _Followed) -> None:
    async with open_node(signals=False) as node:
        followed.node = node
        followed.start(_wait)
        await wait_all_tasks_blocked()
        followed.recorder.begin("the node closes")
    followed.recorder.check_seen()


async def _tear_down_a_node(followed: _Followed) -> None:
    """Interrupt a node twice, as the second Ctrl-C does, with a process that clings to life."""

    async def interrupt_again() -> None:
        await wait_all_tasks_blocked()
        followed.recorder.begin("the node is torn down")
        node.interrupt(KeyboardInterrupt())

    try:
        async with trio.open_nursery() as nursery, open_node(signals=False) as node:
            followed.node = node
            followed.start(_trap_exits)
            await wait_all_tasks_blocked()
            nursery.start_soon(interrupt_again)
            node.interrupt(KeyboardInterrupt())
    except* KeyboardInterrupt:
        followed.recorder.check_seen()


def _send_two(pid: Pid) -> None:
    send(pid, "one")
    send(pid, "one too many")


async def _wait() -> None:
    await receive()


async def _crash() -> None:
    await receive()
    raise ValueError("on purpose")


async def _exit_by_itself() -> None:
    await receive()
    raise ProcessExit("reason")


async def _signal_itself() -> None:
    await receive()
    exit(self_pid(), "normal")
    await trio.sleep_forever()


async def _link_and_wait(other: Pid) -> None:
    link(other)
    await receive()


async def _trap_exits() -> None:
    trap_exit()
    while True:
        await receive()


async def _clean_up_until(event: trio.Event) -> None:
    """Take some time to end, and let nobody hurry it."""
    try:
        await receive()
    finally:
        with trio.CancelScope(shield=True):
            await event.wait()

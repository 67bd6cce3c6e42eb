"""What has each line of the page on exits happen: who ends or signals whom, and what comes of it.

Each function here makes the receiver, does to it what the line says, and returns what was seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import trio
from trio.testing import wait_all_tasks_blocked

from exeunt import (
    Down,
    Exit,
    GenServer,
    MainExited,
    NoProcess,
    Pid,
    ProcessExit,
    Reason,
    Supervisor,
    exit,
    is_alive,
    link,
    monitor,
    open_node,
    receive,
    receive_nowait,
    self_pid,
    send,
    spawn,
    stop,
    trap_exit,
    wait_exit,
)

WITHIN = 5.0

LIVES = object()
"""In the place of a reason: it has not ended."""


@dataclass(slots=True)
class Seen:
    """What came of a signal: the messages, what `terminate` was told, the reason of the end."""

    messages: list[object] = field(default_factory=list[object])
    terminated: list[Reason] = field(default_factory=list[Reason])
    refused: BaseException | None = None
    reason: Reason = LIVES

    def in_words(self, given: Reason, sender: Pid | None) -> str:
        """Say it as the page does; an `Exit` has to be of this sender, and of the given reason."""
        if self.refused is not None:
            assert self.reason is LIVES
            return f"`{type(self.refused).__name__}` is raised"
        if self.reason is not LIVES:
            assert not self.messages
            if self.terminated:
                assert self.terminated == [self.reason]
                return f"`terminate`, then ends, {of(self.reason, given)}"
            return f"dies, {of(self.reason, given)}"
        assert not self.terminated
        if not self.messages:
            return "nothing"
        [message] = self.messages
        assert isinstance(message, Exit)
        assert sender is None or message.pid is sender
        return "`Exit` message" + ("" if message.reason == given else f', `"{message.reason}"`')


def of(reason: Reason, given: Reason) -> str:
    """Say a reason: by itself if it is another than the given one."""
    return "that reason" if reason == given else f'`"{reason}"`'


def allows(cell: str, said: str, given: Reason) -> bool:
    """Tell whether a cell of the page says that; it may name the reason, or call it the same."""
    return said in (cell, cell.replace(f'`"{given}"`', "that reason"))


@dataclass(slots=True)
class Do:
    """A message to a process that does as it is told."""

    deed: Callable[[], object]


async def obey() -> None:
    """Do what comes."""
    while True:
        message = await receive()
        if isinstance(message, Do):
            message.deed()


def end(reason: Reason) -> None:
    """End the process that this is done by."""
    raise ProcessExit(reason)


async def tell(pid: Pid, deed: Callable[[], object]) -> None:
    """Have a process do something, and wait until all has come of it."""
    send(pid, Do(deed))
    await wait_all_tasks_blocked()


# -- a process ------------------------------------------------------------------------------------


async def _receiver(traps: bool, seen: Seen, first: Callable[[], object]) -> None:
    if traps:
        trap_exit()
    try:
        first()
    except NoProcess as error:
        seen.refused = error
    while True:
        message = await receive()
        if isinstance(message, Do):
            message.deed()
        else:
            seen.messages.append(message)


async def _reason_of(pid: Pid) -> Reason:
    """Return the reason of an end that has come, or LIVES."""
    if is_alive(pid):
        return LIVES
    with trio.fail_after(WITHIN):
        found: Down = await receive(Down, lambda one: one.process is pid)
    return found.reason


async def _start(traps: bool, first: Callable[[], object] = lambda: None) -> tuple[Pid, Seen]:
    seen = Seen()
    pid = spawn(_receiver, traps, seen, first)
    monitor(pid)
    await wait_all_tasks_blocked()
    return pid, seen


async def from_another(traps: bool, reason: Reason) -> tuple[Seen, Pid]:
    """Send a signal from another process."""
    pid, seen = await _start(traps)
    sender = spawn(obey)
    await tell(sender, partial(exit, pid, reason))
    seen.reason = await _reason_of(pid)
    return seen, sender


async def from_itself(traps: bool, reason: Reason) -> tuple[Seen, Pid]:
    """Have a process send a signal to itself."""
    pid, seen = await _start(traps)
    await tell(pid, lambda: exit(self_pid(), reason))
    seen.reason = await _reason_of(pid)
    return seen, pid


async def from_a_link(traps: bool, reason: Reason) -> tuple[Seen, Pid]:
    """End a process that the receiver is linked to."""
    sender = spawn(obey)
    pid, seen = await _start(traps, partial(link, sender))
    await tell(sender, partial(end, reason))
    assert not is_alive(sender)
    seen.reason = await _reason_of(pid)
    return seen, sender


async def from_the_dead(traps: bool, _: Reason) -> tuple[Seen, Pid]:
    """Link to a process that is dead."""
    dead = spawn(end_at_once)
    await wait_exit(dead)
    pid, seen = await _start(traps, partial(link, dead))
    seen.reason = await _reason_of(pid)
    return seen, dead


async def end_at_once() -> None:
    """Be dead soon."""


# -- a server -------------------------------------------------------------------------------------


class Kept(GenServer):
    """A server that notes what comes to it."""

    async def init(self, traps: bool, seen: Seen) -> None:
        """Trap exits, or not."""
        self.seen = seen
        if traps:
            trap_exit()

    async def handle_info(self, message: Any) -> None:
        """Note a message."""
        self.seen.messages.append(message)

    async def terminate(self, reason: Reason) -> None:
        """Note the end."""
        self.seen.terminated.append(reason)


async def _parent(traps: bool, seen: Seen, started: list[Pid], linked: bool) -> None:
    # It must not end with the server, so that what it is told to do is all that it does.
    trap_exit()
    start = Kept.start_link if linked else Kept.start
    started.append(await start(traps, seen))
    await obey()


async def _start_server(traps: bool, *, linked: bool = True) -> tuple[Pid, Pid, Seen]:
    seen, started = Seen(), list[Pid]()
    parent = spawn(_parent, traps, seen, started, linked)
    await wait_all_tasks_blocked()
    [server] = started
    monitor(server)
    return server, parent, seen


async def parent_ends(traps: bool, reason: Reason, *, linked: bool = True) -> tuple[Seen, Pid]:
    """End the process that has started a server."""
    server, parent, seen = await _start_server(traps, linked=linked)
    await tell(parent, partial(end, reason))
    assert not is_alive(parent)
    seen.reason = await _reason_of(server)
    return seen, parent


async def parent_signals(traps: bool, reason: Reason, *, linked: bool = True) -> tuple[Seen, Pid]:
    """Have the process that has started a server send it a signal."""
    server, parent, seen = await _start_server(traps, linked=linked)
    await tell(parent, partial(exit, server, reason))
    seen.reason = await _reason_of(server)
    return seen, parent


async def supervisor_shuts_down(traps: bool, _: Reason) -> tuple[Seen, Pid]:
    """Have a supervisor shut a server down."""
    seen = Seen()
    supervisor = await Supervisor.start_link([Kept.child(traps, seen)])
    [one] = await Supervisor.which_children(supervisor)
    assert isinstance(one.pid, Pid)
    monitor(one.pid)
    await Supervisor.terminate_child(supervisor, one.id)
    seen.reason = await _reason_of(one.pid)
    return seen, supervisor


async def another_signals_a_server(
    traps: bool, reason: Reason, *, linked: bool
) -> tuple[Seen, Pid]:
    """Have a process that did not start a server send it a signal."""
    server, _, seen = await _start_server(traps)
    other = spawn(obey)
    if linked:
        await tell(other, trap_exit)
        await tell(other, partial(link, server))
    await tell(other, partial(exit, server, reason))
    seen.reason = await _reason_of(server)
    return seen, other


async def somebody_stops_it(traps: bool, reason: Reason) -> tuple[Seen, Pid]:
    """Stop a server."""
    server, _, seen = await _start_server(traps)
    await stop(server, reason)
    seen.reason = await _reason_of(server)
    return seen, server


async def the_node_closes(traps: bool, *, linked: bool) -> Seen:
    """Leave the block of a node in which a server runs; to be called outside of all nodes."""
    seen = Seen()

    async def note_end(server: Pid) -> None:
        seen.reason = await wait_exit(server)

    async with trio.open_nursery() as nursery, open_node(signals=False):
        start = Kept.start_link if linked else Kept.start
        nursery.start_soon(note_end, await start(traps, seen))
        await wait_all_tasks_blocked()
    return seen


# -- the main process -----------------------------------------------------------------------------

MainAct: TypeAlias = Callable[[Pid, Reason], Awaitable[Pid | None]]


async def of_main(traps: bool, reason: Reason, act: MainAct) -> str:
    """Do that to a main process; say what comes of it as the page does."""
    message: object = None
    sender: Pid | None = None
    try:
        async with open_node(signals=False):
            if traps:
                trap_exit()
            sender = await act(self_pid(), reason)
            await wait_all_tasks_blocked()
            try:
                message = receive_nowait()
            except trio.WouldBlock:
                pass
    except MainExited as exited:
        assert exited.by is None or exited.by is sender or act is signal_main
        return f"`MainExited`, {of(exited.reason, reason)}"
    if message is None:
        return "nothing"
    assert message == Exit(sender, reason)  # type: ignore[arg-type]
    return "`Exit` message"


async def signal_main(main: Pid, reason: Reason) -> Pid:
    """Send a signal to the main process."""
    sender = spawn(obey)
    send(sender, Do(partial(exit, main, reason)))
    return sender


async def end_beside_main(main: Pid, reason: Reason) -> Pid:
    """End a process that the main process is linked to."""
    sender = spawn(obey)
    link(sender)
    send(sender, Do(partial(end, reason)))
    return sender


async def end_main(main: Pid, reason: Reason) -> None:
    """End the main process by itself."""
    raise ProcessExit(reason)

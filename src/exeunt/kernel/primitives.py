"""What a process can do: the kernel's public functions.

All but `receive`, `call` and `wait_exit` are plain functions: they never wait, do not fail because
the process they are aimed at is dead, and they take effect at once. Where a process is meant as a
destination, its pid, its name, or a `Via` will do.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import Any, Final, Literal, TypeVar, TypeVarTuple, Unpack, overload

import trio

from exeunt.kernel import signals
from exeunt.kernel.calls import Call, Request, call_process
from exeunt.kernel.events import Dropped
from exeunt.kernel.exits import NOPROC, Down, ProcessExit, Reason, Shown
from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.mailbox import BoundedMailbox, Overflow
from exeunt.kernel.names import Destination
from exeunt.kernel.node import Node, wait_until_dead
from exeunt.kernel.process import Process, another_thread, current_process, running_process
from exeunt.kernel.timers import Timeout

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# -- starting --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound for a mailbox: at most `limit` messages, and what gives way when it is full.

    `"drop_newest"` loses the message that comes, `"drop_oldest"` the one that waits longest,
    `"exit"` ends the receiver with the reason `"overflow"`. A call that is lost fails with that
    reason. `Exit` and `Down` are never lost, and end nobody.
    """

    limit: int
    overflow: Overflow = "exit"

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"a mailbox holds at least one message, not {self.limit}")
        if self.overflow not in ("drop_newest", "drop_oldest", "exit"):
            raise ValueError(
                f"overflow is one of 'drop_newest', 'drop_oldest', 'exit', not {self.overflow!r}"
            )


def spawn(
    body: Callable[[Unpack[Ts]], Awaitable[object]],
    *args: *Ts,
    name: str | None = None,
    mailbox: Bound | None = None,
) -> Pid:
    """Start a process that runs `await body(*args)`; return its pid.

    The process starts to run at the next checkpoint of the caller. With `name` it is registered
    before it runs; `NameTaken` is raised, and nothing started, if somebody has the name.
    """
    return spawn_process(body, args, name=name, mailbox=mailbox).pid


def spawn_link(
    body: Callable[[Unpack[Ts]], Awaitable[object]],
    *args: *Ts,
    name: str | None = None,
    mailbox: Bound | None = None,
) -> Pid:
    """Like `spawn`, and link the new process to this one, before it can end."""
    return spawn_process(body, args, name=name, mailbox=mailbox, linked=True).pid


def spawn_monitor(
    body: Callable[[Unpack[Ts]], Awaitable[object]],
    *args: *Ts,
    name: str | None = None,
    mailbox: Bound | None = None,
) -> tuple[Pid, Ref]:
    """Like `spawn`, and monitor the new process; return its pid and the monitor's reference."""
    pid = spawn_process(body, args, name=name, mailbox=mailbox).pid
    return pid, monitor(pid)


def spawn_process(
    body: Callable[..., Awaitable[object]],
    args: tuple[Any, ...],
    *,
    name: str | None = None,
    mailbox: Bound | None = None,
    linked: bool = False,
    label: str | None = None,
) -> Process:
    """Start a process and return its table entry; what all ways to start one come down to."""
    parent = current_process()
    node = parent.node
    given: object = body
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError(
            "spawn takes the async function without calling it, and its arguments beside it: "
            f"spawn({given.__name__}, …)"
        )
    if not callable(given):
        raise TypeError(f"spawn takes an async function and its arguments, not {body!r}")
    shown: str = label or getattr(body, "__qualname__", None) or repr(body)
    process = node.new_process(body, args, shown, parent)
    try:
        if mailbox is not None:
            process.bound_mailbox(
                BoundedMailbox(mailbox.limit, mailbox.overflow, process.overflowed)
            )
        if name is not None:
            node.names.register(name, process, process.pid)
        if linked:
            signals.link(parent, process, process.pid)
    except BaseException:
        node.forget(process)
        raise
    node.launch(process)
    return process


# -- who and where ---------------------------------------------------------------------------


def self_pid() -> Pid:
    """Return the pid of the running process.

    In a task of a nursery within a process it is that process. Raises `NotAProcess` where there
    is none.
    """
    return current_process().pid


def current_node() -> Node:
    """Return the node of the running process."""
    return current_process().node


def is_alive(pid: Pid) -> bool:
    """Tell whether a process is alive; False from the moment that it is told to exit."""
    process = _entry(pid)
    return process is not None and process.status == "running"


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What is to be known of a living process.

    `monitors` are what it monitors, each by its pid, or by the name that was given; `messages` are
    those in its mailbox, in order.
    """

    pid: Pid
    name: str | None
    label: str
    status: Literal["running", "waiting", "exiting"]
    parent: Pid | None
    traps_exits: bool
    links: tuple[Pid, ...]
    monitors: tuple[Shown, ...]
    monitored_by: tuple[Pid, ...]
    messages: tuple[object, ...]

    @property
    def message_queue_len(self) -> int:
        """How many messages are in the mailbox."""
        return len(self.messages)


def process_info(pid: Pid) -> ProcessInfo | None:
    """Look at a process; None if it is dead."""
    process = _entry(pid)
    if process is None or process.status == "dead":
        return None
    mailbox = process.mailbox
    status: Literal["running", "waiting", "exiting"] = "running"
    if process.status == "exiting":
        status = "exiting"
    elif mailbox.receiver is not None:
        status = "waiting"
    return ProcessInfo(
        pid=pid,
        name=process.name,
        label=process.label,
        status=status,
        parent=process.parent,
        traps_exits=process.traps,
        links=tuple(other.pid for other in process.links or ()),
        monitors=tuple(entry.shown for entry in (process.monitors or {}).values()),
        monitored_by=tuple(entry.watcher.pid for entry in (process.watchers or {}).values()),
        messages=tuple(
            one for one in mailbox.messages if not (isinstance(one, Call) and one.is_withdrawn)
        ),
    )


def processes() -> list[Pid]:
    """Return the pids of all living processes, oldest first."""
    return [process.pid for process in current_process().node.processes.values()]


def _entry(pid: Pid) -> Process | None:
    """Return the table entry of a pid, None for the dead."""
    if type(pid) is not Pid:
        raise _no_pid(pid)
    return pid._process


def _no_pid(given: object) -> TypeError:
    hint = ""
    if isinstance(given, str):
        hint = f": `whereis({given!r})` gives that of a name"
    elif hasattr(given, "whereis"):
        hint = ": its `whereis()` gives that of a name"
    return TypeError(f"a pid is needed here, not {given!r}{hint}")


def register(name: str, pid: Pid | None = None) -> None:
    """Give a process, by default this one, a name.

    Raises `NameTaken`, `AlreadyNamed` (a process has one name at most), or `NoProcess` if it is
    dead.
    """
    node = current_process().node
    target = self_pid() if pid is None else pid
    node.names.register(name, _entry(target), target)


def unregister(name: str) -> None:
    """Take a name from whoever has it; raises `NotRegistered` if nobody has."""
    current_process().node.names.unregister(name)


def whereis(name: str) -> Pid | None:
    """Return the pid of the process that has this name, or None."""
    process = current_process().node.names.find(name)
    return None if process is None else process.pid


def registered() -> list[str]:
    """Return all registered names, oldest first."""
    return current_process().node.names.all()


# -- messages --------------------------------------------------------------------------------


def send(to: Destination, message: object) -> None:
    """Send a message to a process.

    One to a pid that is dead is lost. Raises `NotRegistered` for a name that nobody has.
    """
    if type(to) is Pid:
        process = to._process
        if process is not None:
            try:
                process.deliver(message)
            except RuntimeError:
                # Not looked for beforehand, since that would make every send dearer by a third.
                if process.node.thread != get_ident():
                    raise another_thread() from None
                raise
            return
        here = running_process.get()
        if here is not None and here.node.events.wants(Dropped):
            here.node.events.emit(Dropped(to, message, "the receiver is dead"))
        return
    process = current_process().node.find_or_raise(to)
    if process is not None:
        process.deliver(message)


@overload
def receive() -> Coroutine[Any, Any, Any]: ...
@overload
def receive(kind: type[T], where: Callable[[T], bool] | None = None) -> Coroutine[Any, Any, T]: ...
def receive(
    kind: type[Any] = object, where: Callable[[Any], bool] | None = None
) -> Coroutine[Any, Any, Any]:
    """Take the first message from the mailbox; wait until there is one.

    With `kind`, the first that is an instance of it, and with `where` the first of these for which
    `where(message)` is true; the others stay where they are, in order. One task of a process
    at a time may receive. For a time-out, put trio's around it: `with trio.move_on_after(1): …`.
    """
    process = running_process.get()
    if process is None or process.status == "dead":
        process = current_process()  # which says what is wrong
    if kind is object and where is None:
        return process.mailbox.take()
    return process.mailbox.get(kind, where)


@overload
def receive_nowait() -> Any: ...
@overload
def receive_nowait(kind: type[T], where: Callable[[T], bool] | None = None) -> T: ...
def receive_nowait(kind: type[Any] = object, where: Callable[[Any], bool] | None = None) -> Any:
    """Like `receive`, but raise `trio.WouldBlock` if there is no such message now."""
    return current_process().mailbox.get_nowait(kind, where)


@overload
def call(to: Destination, request: Request[T]) -> Coroutine[Any, Any, T]: ...
@overload
def call(to: Destination, request: object) -> Coroutine[Any, Any, Any]: ...
def call(to: Destination, request: object) -> Coroutine[Any, Any, Any]:
    """Ask a process something and wait for the answer.

    The process finds a `Call` in its mailbox, and answers with `reply`. Raises `CallFailed` with
    its exit reason if it is dead (`"noproc"`), or dies before it has answered, and with a
    `CallCycle` if it waits for the caller itself. May be used by any task of the program, not only
    by processes.
    """
    caller = running_process.get()
    process = to._process if type(to) is Pid else current_process().node.find(to)
    return call_process(to, process, request, caller)


def reply(to: Call, value: object) -> None:
    """Answer a call. The first answer counts; to a caller who has given up, nothing happens."""
    to.reply(value)


# -- links, monitors, exit signals -----------------------------------------------------------


def link(to: Pid) -> None:
    """Link this process with another: the end of either is a signal to the other.

    To link twice, or with oneself, does nothing. If the other is dead: a process that traps exits
    gets an `Exit` with `"noproc"`, in another `NoProcess` is raised.
    """
    signals.link(current_process(), _entry(to), to)


def unlink(to: Pid) -> None:
    """Take the link with another process away, if there is one.

    No signal of it comes afterwards; an `Exit` that is in the mailbox already stays there.
    """
    signals.unlink(current_process(), _entry(to))


def monitor(to: Destination) -> Ref:
    """Have a `Down` sent to this process when another one ends; return the monitor's reference.

    Each call makes a monitor of its own, which fires once, for every reason. Of a dead process, or
    a name that nobody has, the `Down` comes at once, with `"noproc"`; a monitor by name is one of
    the process that has the name now. A monitor of oneself never fires.
    """
    watcher = current_process()
    node = watcher.node
    ref = node.make_ref()
    target = to._process if isinstance(to, Pid) else node.find(to)
    signals.monitor(watcher, target, ref, to)
    return ref


def demonitor(ref: Ref, *, flush: bool = False) -> bool:
    """Take a monitor of this process away; False if it has fired already.

    With `flush`, its `Down` is removed if it is in the mailbox.
    """
    process = current_process()
    was_active = signals.demonitor(process, ref)
    if flush and not was_active:
        process.mailbox.remove_if(lambda one: isinstance(one, Down) and one.ref is ref)
    return was_active


def exit(to: Pid, reason: Reason) -> None:
    """Send an exit signal, as if a linked process had ended with `reason`.

    `"kill"` ends the receiver whatever it does, with the reason `"killed"`; `"normal"` ends nobody
    but oneself; a process that traps exits gets any other as an `Exit` message. One to the dead is
    lost. If the signal ends this very process, this function does not return: it raises
    `ProcessExit`. To end oneself in any case: `raise ProcessExit(reason)`.

    OTP: a process that a signal ends runs no more of its code. Here it is cancelled, as by a scope
    of trio: its `finally` blocks run before anybody hears of its end.
    """
    sender = current_process()
    signals.signal(_entry(to), sender.pid, reason)
    if to is sender.pid and sender.status == "exiting":
        raise ProcessExit(sender.exit_reason)


async def wait_exit(pid: Pid) -> Reason:
    """Wait until a process is dead, its clean-up included; return its exit reason.

    `"noproc"` if it was dead before. The process is not asked to end, and the caller need not
    be one: this is the monitor of a task.
    """
    process = _entry(pid)
    if process is None:
        await trio.lowlevel.checkpoint()
        return NOPROC
    return await wait_until_dead(process)


def trap_exit(on: bool = True) -> bool:
    """Have exit signals come as `Exit` messages from now on, or not; return what it was before."""
    process = current_process()
    before, process.traps = process.traps, on
    return before


# -- timers ----------------------------------------------------------------------------------


def send_after(delay: float, to: Destination, message: object) -> Ref:
    """Send a message in `delay` seconds; return the timer's reference.

    The timer outlives the process that started it. One to a pid ends with that process; one to
    a name looks it up when it fires, and does nothing if nobody has it then.
    """
    return _start_timer(delay, to, message, False)


def start_timer(delay: float, to: Destination, message: object) -> Ref:
    """Like `send_after`, but what is sent is `Timeout(ref, message)`."""
    return _start_timer(delay, to, message, True)


SHORTEST_INTERVAL: Final = 0.001
"""Seconds of the shortest interval: a shorter one would keep the program busy with itself."""


def send_interval(interval: float, to: Destination, message: object) -> Ref:
    """Send a message every `interval` seconds, the first one after `interval`, until cancelled.

    An interval to a pid ends with that process.
    """
    if not interval >= SHORTEST_INTERVAL or math.isinf(interval):
        raise ValueError(
            f"an interval is a number of seconds, {SHORTEST_INTERVAL} at least, not {interval!r}"
        )
    return _start_timer(interval, to, message, False, interval)


def exit_after(delay: float, to: Pid, reason: Reason) -> Ref:
    """Send an exit signal in `delay` seconds."""
    sender, target = self_pid(), _entry(to)
    return _run_timer(
        delay, target is None, target, lambda _: signals.signal(target, sender, reason)
    )


def cancel_timer(ref: Ref) -> float | None:
    """Stop a timer; return the seconds it had left, or None if it has fired or is unknown.

    That it has fired does not mean that its message has been received.
    """
    return current_process().node.timers.cancel(ref)


def read_timer(ref: Ref) -> float | None:
    """Return the seconds that a timer has left, or None if it has fired or is unknown."""
    return current_process().node.timers.left(ref)


def _start_timer(
    delay: float, to: Destination, message: object, is_named: bool, interval: float | None = None
) -> Ref:
    node = current_process().node
    node.find(to)  # raises if it is no destination at all: now, and not when the timer fires
    target = to._process if isinstance(to, Pid) else None
    action = partial(_send_late, node, to, message, is_named)
    return _run_timer(delay, isinstance(to, Pid) and target is None, target, action, interval)


def _send_late(node: Node, to: Destination, message: object, is_named: bool, ref: Ref) -> None:
    found = node.find(to)
    if found is not None:
        found.deliver(Timeout(ref, message) if is_named else message)


def _run_timer(
    delay: float,
    is_late: bool,
    target: Process | None,
    action: Callable[[Ref], None],
    interval: float | None = None,
) -> Ref:
    """Start a timer which ends with the process `target`, if there is one.

    With `is_late` that process is dead already, and there is nothing to start.
    """
    node = current_process().node
    ref = node.make_ref()
    if not is_late:
        node.timers.start(ref, delay, action, interval=interval, target=target)
    return ref

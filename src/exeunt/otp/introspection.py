"""Look into a running server, hold it, change it, follow what it does: OTP's `sys`.

Each function is a request that the server serves in turn with its messages, without any of its
callbacks, and while it is suspended too. All raise `CallFailed` as calls do; for a time-out put
trio's around them. They are for debugging and for tests, not for programs.

    class Counter(GenServer):
        async def init(self) -> None:
            self.count = 0

        @on_call
        async def add(self, amount: int) -> int:
            self.count += amount
            return self.count

    counter = await Counter.start_link()
    await log_events(counter)
    await Counter.add(counter, 2)
    assert await get_state(counter) == {"count": 2}
    assert [event.kind for event in await logged_events(counter)] == ["in", "out"]
    print(await get_status(counter))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import call
from exeunt.otp.results import NOTHING
from exeunt.otp.server_loop import Inspect, ServerLoop
from exeunt.otp.tracing import Statistics as Statistics
from exeunt.otp.tracing import TraceEvent, TraceHandler, Tracer

T = TypeVar("T")

# -- state ----------------------------------------------------------------------------------------


async def get_state(server: Destination) -> dict[str, Any]:
    """Return the attributes of a server, by name; a copy, but not a deep one.

    Those of a state machine have its state among them, as `state`.
    """
    return await _inspect(server, "get_state", lambda loop: dict(vars(loop.server)))


async def replace_state(
    server: Destination, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Put what `change` makes of a server's attributes in their place; return them.

    `change` runs in the server. If it raises, the state stays, and the exception is raised here.
    """

    def replace(loop: ServerLoop) -> dict[str, Any]:
        attributes = vars(loop.server)
        changed = dict(change(dict(attributes)))
        attributes.clear()
        attributes.update(changed)
        return changed

    return await _inspect(server, "replace_state", replace)


async def suspend(server: Destination) -> None:
    """Have a server handle no messages: they wait in order until `resume`.

    It still serves the functions of this module and `stop`, and heeds the exit of its parent.
    """
    await _inspect(server, "suspend", lambda loop: setattr(loop, "is_suspended", True))


async def resume(server: Destination) -> None:
    """Have a suspended server go on."""
    await _inspect(server, "resume", lambda loop: setattr(loop, "is_suspended", False))


@dataclass(frozen=True, slots=True)
class Status:
    """How a server is, as `get_status` shows it.

    `label` is its class; `parent` the process that started it with a link, whose exit it heeds;
    `state` what its `format_status` shows of its attributes; `last_message` what it handled last,
    None if nothing yet; `waiting` what it keeps besides its mailbox: of a state machine the events
    that are `"postponed"`, and those that `"timeouts"` will bring; `log` the events that it keeps,
    if it was asked to.
    """

    pid: Pid
    name: str | None
    label: str
    parent: Pid | None
    is_suspended: bool
    message_queue_len: int
    last_message: object
    state: Mapping[str, Any]
    waiting: Mapping[str, object]
    log: tuple[TraceEvent, ...]

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        lines = [
            f"{self.pid}{name} ({self.label}), {'suspended' if self.is_suspended else 'running'}",
            f"  parent: {self.parent}",
            f"  messages waiting: {self.message_queue_len}",
            f"  last message: {self.last_message!r}",
            f"  state: {dict(self.state)!r}",
        ]
        lines += [f"  {what}: {those!r}" for what, those in self.waiting.items() if those]
        if self.log:
            lines += ["  last events:", *(f"    {event}" for event in self.log)]
        return "\n".join(lines)


async def get_status(server: Destination) -> Status:
    """Return how a server is, as data that prints as text of a few lines."""

    def look(loop: ServerLoop) -> Status:
        process = loop.process
        tracer = loop.tracer
        return Status(
            pid=process.pid,
            name=process.name,
            label=process.label,
            parent=loop.parent,
            is_suspended=loop.is_suspended,
            message_queue_len=len(process.mailbox.messages),
            last_message=None if loop.last_message is NOTHING else loop.last_message,
            state=loop.shown_state(),
            waiting=loop.server._waiting(),
            log=() if tracer is None or tracer.log is None else tuple(tracer.log),
        )

    return await _inspect(server, "get_status", look)


# -- events ---------------------------------------------------------------------------------------


async def trace(server: Destination, *, on: bool = True) -> None:
    """Have each event of a server printed, from now on, or no more."""
    await (install(server, _print) if on else remove(server, _print))


async def install(server: Destination, handler: TraceHandler) -> None:
    """Have `handler(event)` called in the server with each of its events.

    Until it returns `"done"`, raises (which is logged), or is removed. It must be quick, and cannot
    wait; the server waits for it.
    """
    if not callable(handler):
        raise TypeError(f"install takes a function of a TraceEvent, not {handler!r}")
    await _with_tracer(server, "install", lambda tracer: tracer.add(handler))


async def remove(server: Destination, handler: TraceHandler) -> None:
    """Have a handler called no more; that of none is no mistake."""
    await _with_tracer(server, "remove", lambda tracer: tracer.remove(handler))


async def log_events(server: Destination, keep: int = 10) -> None:
    """Have a server keep its last `keep` events, for `logged_events`; 0 keeps none.

    What they hold (messages, answers, the attributes) is not freed until they are forgotten.
    """
    if keep < 0:
        raise ValueError(f"the number of events to keep is from 0 up, not {keep!r}")
    await _with_tracer(server, "log_events", lambda tracer: tracer.keep(keep))


async def logged_events(server: Destination) -> list[TraceEvent]:
    """Return the events that a server has kept, oldest first."""
    return await _with_tracer(server, "logged_events", lambda tracer: list(tracer.log or ()))


async def count_events(server: Destination, *, on: bool = True) -> None:
    """Have a server count its messages anew from now on, or no more."""
    await _with_tracer(server, "count_events", lambda tracer: tracer.count(on))


async def get_statistics(server: Destination) -> Statistics | None:
    """Return what a server has counted; None if it was not asked to."""
    return await _with_tracer(server, "get_statistics", lambda tracer: tracer.statistics)


async def no_debug(server: Destination) -> None:
    """Take back all that was asked with `trace`, `install`, `log_events` and `count_events`."""
    await _inspect(server, "no_debug", lambda loop: setattr(loop, "tracer", None))


def _print(event: TraceEvent) -> None:
    print(event)


async def _with_tracer(server: Destination, name: str, use: Callable[[Tracer], T]) -> T:
    def look(loop: ServerLoop) -> T:
        tracer = loop.tracer or Tracer(loop)
        result = use(tracer)
        loop.tracer = tracer if tracer.is_on else None
        return result

    return await _inspect(server, name, look)


async def _inspect(server: Destination, name: str, look: Callable[[ServerLoop], T]) -> T:
    return cast("T", await call(server, Inspect(name, look)))

"""What a node tells of itself while it runs: typed events, and who is told.

Every event is a small frozen class. `node.events.subscribe(handler, Exited, …)` has `handler`
called, in the process that causes the event, with each event of these types; it must be quick and
must not block. A handler that raises is removed, and that is logged. An event that nobody has
subscribed to is never made.

One subscriber is there from the start: it writes crashes and zombies to the standard logging, one
record each.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeVar

from exeunt.kernel.exits import Reason
from exeunt.kernel.ids import Pid

logger = logging.getLogger("exeunt")


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events. `level` is that of its log record, if it is logged."""

    level: ClassVar[int] = logging.INFO


E = TypeVar("E", bound=Event)

LOGGED: Final[list[type[Event]]] = []
"""The types of events that every node writes to the standard logging."""


def logged(kind: type[E]) -> type[E]:
    """Have events of this type written to the standard logging, by every node from its start."""
    LOGGED.append(kind)
    return kind


@dataclass(frozen=True, slots=True)
class Spawned(Event):
    """A process was spawned, by `parent`."""

    pid: Pid
    parent: Pid | None
    label: str


@dataclass(frozen=True, slots=True)
class Exited(Event):
    """A process has ended."""

    pid: Pid
    label: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """A message was lost: its receiver is dead, or its mailbox full."""

    to: object
    message: object
    cause: str


@logged
@dataclass(frozen=True, slots=True)
class CrashReport(Event):
    """A process ended for an error of its own.

    `exception` is what it raised, if that was why; `ancestors` are the process that started it, the
    one that started that, and so on; `details` are what the behaviour adds, such as the last
    message and the state. `while_exiting` is the reason for which it was ending already, when
    it was its clean-up that failed.
    """

    pid: Pid
    name: str | None
    label: str
    reason: Reason
    exception: BaseException | None
    ancestors: tuple[Pid, ...]
    details: Mapping[str, object] = field(default_factory=dict[str, object])
    while_exiting: Reason | None = None

    level: ClassVar[int] = logging.ERROR

    def __str__(self) -> str:
        return describe_crash(self)


@logged
@dataclass(frozen=True, slots=True)
class ZombieFound(Event):
    """A process that was killed did not stop in time, and was declared dead while its code runs."""

    pid: Pid
    label: str
    stack: str

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return (
            f"{self.pid} ({self.label}) was killed but does not stop: it is declared dead, and "
            f"still runs at\n{self.stack}"
        )


@logged
@dataclass(frozen=True, slots=True)
class ZombieGone(Event):
    """The code of a zombie has come to its end after all."""

    pid: Pid
    label: str

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return f"the zombie {self.pid} ({self.label}) has stopped"


class Events:
    """Who is told of which events."""

    __slots__ = ("_handlers",)

    def __init__(self) -> None:
        self._handlers: dict[type[Event], tuple[Callable[..., None], ...]] = {}

    def subscribe(self, handler: Callable[[E], None], *kinds: type[E]) -> Callable[[], None]:
        """Have `handler` called with each event of exactly these types; return how to undo it."""
        if not kinds:
            raise TypeError("subscribe(handler, Kind, …) needs at least one type of event")
        for kind in kinds:
            self._handlers[kind] = (*self._handlers.get(kind, ()), handler)

        def unsubscribe() -> None:
            for kind in kinds:
                self._remove(kind, handler)

        return unsubscribe

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether anybody has subscribed to this type: if not, do not make the event."""
        return kind in self._handlers

    def emit(self, event: Event) -> None:
        """Tell the subscribers of an event. Never raises."""
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except BaseException as error:
                # Whatever it is: the process that the event is about must come to its end.
                self._remove(type(event), handler)
                _log(
                    logging.ERROR,
                    f"a handler of {type(event).__name__} failed and is removed",
                    error,
                )

    def _remove(self, kind: type[Event], handler: Callable[..., None]) -> None:
        rest = tuple(one for one in self._handlers.get(kind, ()) if one is not handler)
        if rest:
            self._handlers[kind] = rest
        else:
            self._handlers.pop(kind, None)


def log_event(event: Event) -> None:
    """Write an event to the standard logging, as one record. Never raises."""
    error = event.exception if isinstance(event, CrashReport) else None
    _log(event.level, shown(event, 10_000), error, event)


def _log(
    level: int, text: str, error: BaseException | None = None, event: Event | None = None
) -> None:
    info = None if error is None else (type(error), error, error.__traceback__)
    try:
        logger.log(level, "%s", text, exc_info=info, extra={"event": event})
    except BaseException as failure:
        # A handler of the logging has failed, which is no reason to end a process differently.
        print(f"{text}\n(and the logging failed: {failure!r})", file=sys.stderr)


def describe_crash(report: CrashReport) -> str:
    """Write a crash report as text of a few lines."""
    name = f" {report.name!r}" if report.name else ""
    lines = [f"{report.pid}{name} ({report.label}) ended: {shown(report.reason)}"]
    if report.while_exiting is not None:
        lines[0] = (
            f"{report.pid}{name} ({report.label}) failed to clean up while it ended for "
            f"{shown(report.while_exiting)}: {shown(report.reason)}"
        )
    for key, value in report.details.items():
        lines.append(f"  {key}: {shown(value)}")
    if report.ancestors:
        lines.append("  ancestors: " + ", ".join(map(repr, report.ancestors)))
    return "\n".join(lines)


def shown(value: object, most: int = 500) -> str:
    """Return `str(value)`, shortened, whatever its `__str__` does."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as error:
        text = f"<a {type(value).__name__}, whose str() failed: {type(error).__name__}>"
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"

"""What a server tells while it is looked at: each message that it takes, each answer that it gives.

It tells nothing unless it was asked to, with `trace`, `install`, `log_events` or `count_events` of
`exeunt.otp.introspection`. Until then that costs it a look at a local variable for each message.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import trio

from exeunt.kernel.ids import Pid

if TYPE_CHECKING:
    from exeunt.otp.server_loop import ServerLoop

logger = logging.getLogger("exeunt")

TraceKind: TypeAlias = Literal["in", "continue", "out", "noreply", "enter", "postpone"]
"""A message is taken, a server goes on after `Continue`, it answers, it is done without an answer;
and in a state machine, where the inserted events and the time-outs come `"in"` as well: a state is
entered, an event is postponed."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that a server did.

    `content` is the message, the argument, the answer or the event; `to` is whom the answer is for,
    if that is a process; `time` is on trio's clock, and `state` are the attributes as they were.
    """

    server: Pid
    time: float
    kind: TraceKind
    content: object
    to: Pid | None
    state: Mapping[str, Any]

    def __str__(self) -> str:
        to = "" if self.to is None else f" to {self.to}"
        if self.kind == "noreply":
            return f"{self.server} noreply, state {_shown(dict(self.state))}"
        return f"{self.server} {self.kind}{to}: {_shown(self.content)}"


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much a server has done in the `seconds` since it was asked to count."""

    seconds: float
    messages_in: int
    messages_out: int


TraceHandler: TypeAlias = Callable[[TraceEvent], object]
"""Called with each event; when it returns `"done"` or raises, it is called no more."""


class Tracer:
    """What is to be done with the events of one server."""

    __slots__ = ("_handlers", "_loop", "_since", "log", "messages_in", "messages_out")

    def __init__(self, loop: ServerLoop) -> None:
        self._loop = loop
        self._handlers: tuple[TraceHandler, ...] = ()
        self._since: float | None = None
        self.log: deque[TraceEvent] | None = None
        self.messages_in = 0
        self.messages_out = 0

    @property
    def is_on(self) -> bool:
        """Whether anything is to be done."""
        return bool(self._handlers) or self.log is not None or self._since is not None

    def note(self, kind: TraceKind, content: object, to: Pid | None = None) -> None:
        """Take note of an event. Never raises."""
        if kind == "in":
            self.messages_in += 1
        elif kind == "out":
            self.messages_out += 1
        if self.log is None and not self._handlers:
            return
        loop = self._loop
        state = dict(vars(loop.server))
        event = TraceEvent(loop.process.pid, trio.current_time(), kind, content, to, state)
        if self.log is not None:
            self.log.append(event)
        for handler in self._handlers:
            try:
                is_done = handler(event) == "done"
            except Exception:
                is_done = True
                logger.exception("%s: a handler of its trace failed and is removed", loop)
            if is_done:
                self.remove(handler)

    def keep(self, most: int) -> None:
        """Keep the last `most` events from now on, besides those that are kept already; 0: none."""
        self.log = deque(self.log or (), maxlen=most) if most else None

    def add(self, handler: TraceHandler) -> None:
        """Call `handler` with each event, once however often it was added."""
        self.remove(handler)
        self._handlers = (*self._handlers, handler)

    def remove(self, handler: TraceHandler) -> None:
        """Call `handler` no more."""
        self._handlers = tuple(one for one in self._handlers if one != handler)

    def count(self, on: bool) -> None:
        """Begin to count anew, or stop counting."""
        self._since = trio.current_time() if on else None
        self.messages_in = self.messages_out = 0

    @property
    def statistics(self) -> Statistics | None:
        """What was counted; None unless it was asked for."""
        if self._since is None:
            return None
        seconds = trio.current_time() - self._since
        return Statistics(seconds, self.messages_in, self.messages_out)


def _shown(value: object, most: int = 500) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr() failed: {type(error).__name__}>"
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"

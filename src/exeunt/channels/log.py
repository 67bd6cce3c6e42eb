"""Log: which of the events of this room are written to the standard logging, and at which level.

There is one logger, `exeunt.channels`. A socket says at which level its connections are written
(`log`), a channel at which its joins and messages are (`log_join`, `log_handle_in`); the defaults
are Phoenix's. Nothing is made, filtered or formatted unless somebody wants it: the logger at that
level, or a subscriber.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, Literal, TypeAlias

from exeunt.kernel.events import Event, Events

logger = logging.getLogger("exeunt.channels")

LogLevel: TypeAlias = "Literal['debug', 'info', 'warning', 'error', 'critical'] | int"
"""A level of the standard logging, by its name or its number, or False: not at all."""

_NUMBERS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def check_level(given: Any, name: str) -> None:
    """Raise `ValueError` unless `given`, which is called `name`, is a `LogLevel`."""
    is_number = isinstance(given, int) and not isinstance(given, bool) and given > 0
    if not (given is False or is_number or (isinstance(given, str) and given in _NUMBERS)):
        names = ", ".join(repr(one) for one in _NUMBERS)
        raise ValueError(f"{name} is False, one of {names}, or a number above 0, not {given!r}")


def is_logged(level: LogLevel) -> bool:
    """Tell whether the logger takes records of this level."""
    number = _NUMBERS.get(level, 0) if isinstance(level, str) else level
    return number > 0 and logger.isEnabledFor(number)


def is_told(events: Events, kind: type[Event], level: LogLevel) -> bool:
    """Tell whether anybody wants an event of this type: if not, do not make it."""
    return events.wants(kind) or is_logged(level)


def tell(events: Events, event: Event, level: LogLevel) -> None:
    """Give an event to its subscribers, and to the log at this level. Never raises."""
    if events.wants(type(event)):
        events.emit(event)
    if is_logged(level):
        write(_NUMBERS.get(level, 0) if isinstance(level, str) else level, event)


def write(level: int, event: Event) -> None:
    """Write an event to the log, as one record that has it as its attribute `event`."""
    try:
        logger.log(level, "%s", event, extra={"event": event})
    except Exception as failure:
        # What is told of must not go differently because a handler of the logging has failed.
        print(f"{event}\n(and the logging failed: {failure!r})", file=sys.stderr)


__all__ = ["LogLevel", "check_level", "is_logged", "is_told", "logger", "tell", "write"]

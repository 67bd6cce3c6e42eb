"""Exit reasons, the messages that tell of an exit, and the exception that makes one.

Every process ends with a *reason*, which is any object. Five plain strings have a meaning of their
own, as in Erlang, and two small classes carry more:

| reason | means |
| --- | --- |
| `"normal"` | the body returned |
| `"shutdown"`, `Shutdown(detail)` | it was told to end, or ended in order |
| `"kill"` | as the reason of a signal: ends the receiver whatever it does |
| `"killed"` | that of a process which was ended so |
| `"noproc"` | there was no such process |
| `Crash(exception)` | an exception that nobody caught |

A reason is a value to take apart:

    match reason:
        case "normal" | "shutdown":
            ...
        case Shutdown(detail):
            ...
        case Crash(exception):
            ...

OTP: the reasons with a meaning are atoms, of which there is one each, and a crash is a tuple of the
error and its stack. Here they are strings, compared by value, and `Crash` has the exception itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from exeunt.kernel.ids import Pid, Ref

Reason: TypeAlias = object
"""Any object; the docstring of this module lists those with a meaning of their own."""

NORMAL: Final = "normal"
SHUTDOWN: Final = "shutdown"
KILL: Final = "kill"
KILLED: Final = "killed"
NOPROC: Final = "noproc"

WellKnownReason = Literal["normal", "shutdown", "kill", "killed", "noproc"]


@dataclass(frozen=True, slots=True)
class Shutdown:
    """An orderly end with a detail, as Erlang's `{shutdown, Detail}`."""

    detail: object

    def __str__(self) -> str:
        return f"shutdown: {self.detail}"


@dataclass(frozen=True, slots=True)
class Crash:
    """An exception that ended a process; its traceback is in the exception."""

    exception: BaseException

    def __str__(self) -> str:
        name, text = type(self.exception).__name__, str(self.exception)
        return f"{name}: {text}" if text else name


@dataclass(frozen=True, slots=True)
class Exit:
    """The message that a process which traps exits finds instead of an exit signal."""

    pid: Pid
    reason: Reason


Shown: TypeAlias = "Pid | str | object"
"""What a monitor was asked for: a pid, a name, or a `Via`."""


@dataclass(frozen=True, slots=True)
class Down:
    """The message of a monitor that fired; `process` is what was given: the pid, or the name."""

    ref: Ref
    process: Shown
    reason: Reason


class ProcessExit(BaseException):
    """End the current process with a reason: `raise ProcessExit("done")`.

    Like `SystemExit` it is no `Exception`, so that a handler for errors does not swallow it
    by accident; as with any exception, the `finally` blocks on its way run.
    """

    def __init__(self, reason: Reason = NORMAL) -> None:
        super().__init__(reason)
        self.reason = reason


def is_orderly(reason: Reason) -> bool:
    """Tell whether a reason is one of the orderly ones: normal, shutdown, `Shutdown(…)`."""
    if isinstance(reason, Shutdown):
        return True
    return isinstance(reason, str) and reason in (NORMAL, SHUTDOWN)


def is_reason(reason: Reason, wanted: WellKnownReason) -> bool:
    """Compare with a well-known reason without asking a foreign `__eq__`."""
    return isinstance(reason, str) and reason == wanted

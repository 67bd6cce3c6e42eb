"""What the callbacks of a server may return, and the errors of those that return something else.

| callback | may return |
| --- | --- |
| `init` | None, a *next*, `Ignore()`, `Stop(reason)` |
| `handle_call` | `Reply(value)`, `NoReply()`, `Refuse(error)`, each with a *next*; `Stop(…)` |
| an `@on_call` method | the reply itself, or any of those |
| `handle_cast`, `handle_info`, `handle_continue` | None, a *next*, `Stop(reason)` |
| an `@on_cast` method | the same |

A *next* is `Continue(argument)`: `handle_continue(argument)` runs before any message is taken; or
`TimeoutAfter(seconds)`: `handle_info("timeout")` runs if no message comes in that time.

OTP: a callback may also return `hibernate`, which shrinks the memory of a process that waits; there
is nothing to shrink here, so there is no such result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from exeunt.kernel.exits import NORMAL, Reason

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Continue:
    """Run `handle_continue(argument)` next, before any message."""

    argument: object = None


@dataclass(frozen=True, slots=True)
class TimeoutAfter:
    """Run `handle_info("timeout")` if no message comes within so many seconds.

    Any message cancels it; one that is in the mailbox already beats even 0.
    """

    seconds: float


Next: TypeAlias = "Continue | TimeoutAfter | None"


@dataclass(frozen=True, slots=True)
class Reply(Generic[T_co]):
    """Answer the call, and go on."""

    value: T_co
    then: Next = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """Do not answer now: somebody will call `reply` later, or nobody."""

    then: Next = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Have an exception raised in the caller, and go on: the caller's mistake, not the server's."""

    error: Exception
    then: Next = None


class _Nothing:
    def __repr__(self) -> str:
        return "no reply"


NOTHING: Final = _Nothing()


@dataclass(frozen=True, slots=True)
class Stop:
    """End the server: `terminate` runs, then, in a call, the reply goes out, then it is dead."""

    reason: Reason = NORMAL
    reply: object = NOTHING


@dataclass(frozen=True, slots=True)
class Ignore:
    """From `init`: do not start after all, and do not call it an error."""


InitResult: TypeAlias = "Continue | TimeoutAfter | Ignore | Stop | None"
"""What `init` may return; None goes on to wait for messages."""

CallResult: TypeAlias = "Reply[object] | NoReply | Refuse | Stop"
"""What `handle_call` may return: there is always something that becomes of the caller."""

CastResult: TypeAlias = "Continue | TimeoutAfter | Stop | None"
"""What the other callbacks may return; None goes on to wait for messages."""


class BadReturnValue(TypeError):
    """A callback returned what it must not; `value` is that."""

    def __init__(self, callback: str, value: object, expected: str) -> None:
        super().__init__(f"{callback} returned {value!r}: expected {expected}")
        self.callback = callback
        self.value = value


class UnexpectedRequest(TypeError):
    """A server was asked something that it has no callback for."""

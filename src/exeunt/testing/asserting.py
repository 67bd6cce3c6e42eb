"""What is asserted of the log of a client, and what a failure says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from exeunt.channels.client.frames import Incoming
from exeunt.kernel.exits import Crash, Reason
from exeunt.kernel.ids import Pid
from exeunt.testing.log import Kind, Log, Received
from exeunt.testing.matching import ANYTHING, check_expected
from exeunt.testing.stage import Stage

# How a channel tells its client that it ends. They are messages, but none that a channel pushes.
ENDS: Final = ("phx_close", "phx_error")


class Witness:
    """Waits for what a test asserts of a client, and says what has come instead."""

    def __init__(self, stage: Stage, log: Log) -> None:
        self.stage = stage
        self.log = log

    async def assert_message(
        self,
        kind: Kind,
        event: str,
        payload: Any,
        within: float,
        belongs: Callable[[Incoming], bool],
        where: str,
    ) -> Any:
        """Wait for a push or a broadcast, take it, and return its payload."""
        __tracebackhide__ = True
        wanted = _wanted(kind, event, payload, belongs)
        found = await self.stage.watch(lambda: self.log.take(wanted), within)
        if found is None:
            raise self.failure(f"no {_called(kind, event, payload)} has come on {where}", within)
        return found.payload

    async def refute_message(
        self,
        kind: Kind,
        event: str | None,
        payload: Any,
        within: float,
        belongs: Callable[[Incoming], bool],
        where: str,
    ) -> None:
        """Wait, and fail if there is such a push or broadcast that no assertion has taken."""
        __tracebackhide__ = True
        wanted = _wanted(kind, event, payload, belongs)
        found = await self.stage.watch(lambda: self.log.find(wanted), within)
        if found is not None:
            raise self.failure(f"a {_called(kind, event, payload)} has come on {where}")

    async def assert_reply(
        self, ref: str, event: str, status: str, response: Any, within: float
    ) -> Any:
        """Wait for the reply to a message, take it, and return its response."""
        __tracebackhide__ = True
        check_expected(response)
        what = f"reply to {event!r} (ref {ref})"
        found = await self.stage.watch(lambda: self.log.find_reply(ref), within)
        if found is None:
            hint = "the handler may have returned None, which is no answer"
            hint = "" if event.startswith("phx_") else f" ({hint})"
            raise self.failure(f"no {what} has come within {within:g} s{hint}")
        if found.status != status or response != found.payload:
            expected = _called_reply(status, response)
            raise self.failure(f"the {what} is {found.status!r}, {found.payload!r}, not {expected}")
        found.is_taken = True
        return found.payload

    async def refute_reply(
        self, ref: str, event: str, status: str | None, response: Any, within: float
    ) -> None:
        """Wait, and fail if there is such a reply that no assertion has taken."""
        __tracebackhide__ = True
        check_expected(response)

        def is_wanted(one: Received) -> bool:
            if one.kind != "reply" or one.message.ref != ref:
                return False
            return (status is None or one.status == status) and bool(response == one.payload)

        found = await self.stage.watch(lambda: self.log.find(is_wanted), within)
        if found is not None:
            raise self.failure(f"a reply to {event!r} (ref {ref}) has come: {found}")

    async def assert_exit(
        self, pid: Pid, name: str, expected: Reason | type[BaseException], within: float
    ) -> Reason:
        """Wait for the end of a process, and return its reason; its crash is then dealt with."""
        __tracebackhide__ = True
        ended = await self.stage.watch(lambda: self.log.end_of(pid), within)
        if ended is None:
            raise self.failure(f"{name} has not ended", within)
        crash = self.stage.take_crash(pid)
        reason = ended.reason
        if isinstance(expected, type) and issubclass(expected, BaseException):
            is_expected = isinstance(reason, Crash) and isinstance(reason.exception, expected)
            shown = expected.__name__
        else:
            check_expected(expected)
            is_expected, shown = bool(expected == reason), repr(expected)
        if not is_expected:
            raise self.failure(f"{name} has ended for {reason!r}, not for {shown}") from crash
        return reason

    async def wait_for_end(self, pid: Pid, name: str, within: float) -> None:
        """Wait for the end of a process; raise its crash, if it is one."""
        __tracebackhide__ = True
        if await self.stage.watch(lambda: self.log.end_of(pid), within) is None:
            raise self.failure(f"{name} has not ended", within)
        self.stage.raise_crash()

    def failure(self, what: str, within: float | None = None) -> AssertionError:
        """Return what a failed assertion raises: what was missed, and what has come."""
        time = "" if within is None else f" within {within:g} s"
        return AssertionError(f"{what}{time}; {self.log.describe()}")


def _wanted(
    kind: Kind, event: str | None, payload: Any, belongs: Callable[[Incoming], bool]
) -> Callable[[Received], bool]:
    check_expected(payload)

    def is_wanted(one: Received) -> bool:
        if one.kind != kind or not belongs(one.message):
            return False
        came = one.message.event
        is_named = came not in ENDS if event is None else came == event
        return is_named and bool(payload == one.payload)

    return is_wanted


def _called(kind: Kind, event: str | None, payload: Any) -> str:
    name = kind if event is None else f"{kind} {event!r}"
    return name if payload is ANYTHING else f"{name} with {payload!r}"


def _called_reply(status: str, response: Any) -> str:
    return repr(status) if response is ANYTHING else f"{status!r}, {response!r}"


__all__ = ["ENDS", "Witness"]

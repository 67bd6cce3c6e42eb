"""Help for tests of processes in general: what comes into the mailbox, and servers for a test.

    async with open_node():
        counter = await start_supervised(Counter.child(40))
        Counter.add_later(counter, 2, reply_to=self_pid())
        await assert_receive(42)
        await refute_receive(Down)

After ExUnit, whose names they keep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import trio

from exeunt.kernel.errors import StartIgnored
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import process_info, receive, receive_nowait, self_pid
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.supervision import ChildSpec
from exeunt.testing.log import shortened
from exeunt.testing.matching import check_expected
from exeunt.testing.stage import ASSERT_WITHIN, REFUTE_WITHIN

T = TypeVar("T")


@overload
async def assert_receive(
    wanted: type[T], where: Callable[[T], bool] | None = None, *, within: float = ASSERT_WITHIN
) -> T: ...
@overload
async def assert_receive(wanted: object, *, within: float = ASSERT_WITHIN) -> Any: ...
async def assert_receive(
    wanted: Any, where: Callable[[Any], bool] | None = None, *, within: float = ASSERT_WITHIN
) -> Any:
    """Wait for a message to this process, take it and return it.

    `wanted` is the message itself, compared by `==` (a matcher will do), or a class: then its first
    instance for which `where` is true. Other messages stay in the mailbox. Fails after `within`
    seconds, and shows the mailbox.
    """
    __tracebackhide__ = True
    kind, matches = _pattern(wanted, where)
    with trio.move_on_after(within):
        return await receive(kind, matches)
    try:
        # What came in the very moment in which the time was over has come in time.
        return receive_nowait(kind, matches)
    except trio.WouldBlock:
        pass
    raise AssertionError(f"no message {_shown(wanted)} has come within {within:g} s; {_mailbox()}")


@overload
async def refute_receive(
    wanted: type[T], where: Callable[[T], bool] | None = None, *, within: float = REFUTE_WITHIN
) -> None: ...
@overload
async def refute_receive(wanted: object, *, within: float = REFUTE_WITHIN) -> None: ...
async def refute_receive(
    wanted: Any, where: Callable[[Any], bool] | None = None, *, within: float = REFUTE_WITHIN
) -> None:
    """Wait `within` seconds, and fail if such a message to this process comes, or is there."""
    __tracebackhide__ = True
    kind, matches = _pattern(wanted, where)
    with trio.move_on_after(within):
        found = await receive(kind, matches)
        raise AssertionError(f"a message {_shown(wanted)} has come: {found!r}; {_mailbox()}")


async def start_supervised(spec: ChildSpec) -> Pid:
    """Start a child for the time of a test; return its pid.

    It is restarted as its specification says, and shut down when the node closes, what was started
    last going first. If it must be restarted too often, the test's process ends with `"shutdown"`.
    Raises `StartFailed` with the reason, and `StartIgnored` if it asks not to be started.
    """
    supervisor = await DynamicSupervisor.start_link()
    pid = await DynamicSupervisor.start_child(supervisor, spec)
    if pid is None:
        raise StartIgnored(str(spec.id))
    return pid


def _pattern(
    wanted: Any, where: Callable[[Any], bool] | None
) -> tuple[type[Any], Callable[[Any], bool] | None]:
    if isinstance(wanted, type):
        return wanted, where
    if where is not None:
        raise TypeError("where is for a class of messages; to match by a function: satisfying(…)")
    check_expected(wanted)
    return object, lambda message: bool(wanted == message)


def _shown(wanted: object) -> str:
    return wanted.__name__ if isinstance(wanted, type) else repr(wanted)


def _mailbox() -> str:
    info = process_info(self_pid())
    messages = () if info is None else info.messages
    if not messages:
        return "the mailbox is empty"
    return "\n".join(["the mailbox has", *(f"  {shortened(one)}" for one in messages)])


__all__ = ["assert_receive", "refute_receive", "start_supervised"]

"""GenServer: requests, casts, starting, names, children, and what callbacks may return."""

from __future__ import annotations

from typing import assert_type

from exeunt import (
    Call,
    ChildSpec,
    Continue,
    GenServer,
    Ignore,
    NoReply,
    Pid,
    Refuse,
    Reply,
    Stop,
    TimeoutAfter,
    Via,
    on_call,
    on_cast,
)


class Counter(GenServer):
    async def init(self, start: int, *, step: int = 1) -> None:
        self.count = start
        self.step = step

    @on_call
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    @on_call
    async def label(self, prefix: str = "", *, upper: bool = False) -> str:
        return prefix

    @on_call
    async def either(self) -> int | NoReply | Refuse | Stop:
        return NoReply()

    @on_call
    async def wrapped(self) -> Reply[bytes]:
        return Reply(b"")

    @on_call
    async def perhaps_wrapped(self) -> bytes | Reply[bytes] | NoReply:
        return Reply(b"")

    @on_call
    async def maybe(self, key: str) -> int | Refuse | None:
        return None

    @on_call
    async def listed(self) -> list[str]:
        return []

    @on_call
    async def nothing(self) -> None:
        return None

    @on_cast
    async def reset(self, to: int = 0) -> None:
        self.count = to

    @on_cast
    async def close(self) -> Stop | Continue | TimeoutAfter | None:
        return Stop()

    async def uses_itself(self) -> None:
        # On self, a request is the plain method.
        assert_type(await self.add(1), int)
        assert_type(await self.label(), str)
        await self.add("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(self.pid, Pid)
        assert_type(self.caller, Call)


class Quiet(GenServer):
    """Without an init of its own."""


class Choosy(GenServer):
    async def init(self, ready: bool) -> Continue | TimeoutAfter | Ignore | Stop | None:
        return None if ready else Ignore()


# -- requests: the reply is inferred, the arguments are those of the method


async def requests(pid: Pid, via: Via) -> None:
    assert_type(await Counter.add(pid, 1), int)
    assert_type(await Counter.add("by name", amount=1), int)
    assert_type(await Counter.label(via, "x", upper=True), str)
    assert_type(await Counter.listed(pid), list[str])
    assert_type(await Counter.maybe(pid, "key"), int | None)
    assert_type(await Counter.wrapped(pid), bytes)
    assert_type(await Counter.perhaps_wrapped(pid), bytes)

    # What a method may return instead of its reply is not what the caller gets.
    assert_type(await Counter.either(pid), int)


async def wrong_requests(pid: Pid) -> None:
    await Counter.add(pid)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Counter.add(pid, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Counter.add(pid, 1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Counter.add(pid, amuont=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Counter.label(pid, upper=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Counter.add(5, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Counter.add(None, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Counter.substract(pid, 1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    text: str = await Counter.add(pid, 1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    number: int = await Counter.maybe(pid, "")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, number)


# -- casts: nothing comes back, and there is nothing to wait for


async def casts(pid: Pid) -> None:
    Counter.reset(pid)
    Counter.reset(pid, 5)
    Counter.close("by name")


async def wrong_casts(pid: Pid) -> None:
    Counter.reset(pid, "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Counter.reset()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Counter.reset(pid)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


# -- starting: the arguments are those of init


async def starts() -> None:
    assert_type(await Counter.start(1), Pid)
    assert_type(await Counter.start_link(1, step=2), Pid)
    assert_type(await Quiet.start_link(), Pid)
    assert_type(await Choosy.start(True), Pid)
    assert_type(await Counter.named("hits").start_link(1), Pid)
    assert_type(await Counter.named("hits").start(1, step=2), Pid)


async def wrong_starts() -> None:
    await Counter.start_link()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Counter.start_link("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Counter.start(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Counter.start(1, setp=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Choosy.start(ready="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Counter.named("hits").start_link()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Counter.named("hits").start("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Counter.named(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- children: the same


def children(via: Via) -> list[ChildSpec]:
    assert_type(Counter.child(1, step=2), ChildSpec)
    assert_type(Counter.named(via).child(1), ChildSpec)
    return [Counter.child(1).replace(restart="transient", shutdown="infinity"), Quiet.child()]


def wrong_children() -> None:
    Counter.child()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Counter.child("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Counter.named("hits").child(step=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Counter.child(1).replace(restart="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Counter.child(1).replace(shutdwon=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# -- callbacks: what they may return


class Wrong(GenServer):
    @on_call  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    def not_async(self) -> int:
        return 1

    @on_cast  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async def answers(self) -> int:
        return 1

    async def init(self) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 1

    async def handle_call(self, request: object, caller: Call) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 1

    async def handle_cast(self, request: object) -> Reply[int]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return Reply(1)

    async def handle_info(self, message: object) -> bool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return True


class Right(GenServer):
    async def handle_call(self, request: object, caller: Call) -> Reply[int] | Stop:
        return Reply(1, then=Continue("more"))

    async def handle_cast(self, request: object) -> Stop | None:
        return None

    async def handle_info(self, message: object) -> TimeoutAfter:
        return TimeoutAfter(1.5)

    async def handle_continue(self, argument: object) -> None:
        return None

    async def terminate(self, reason: object) -> None:
        return None


def wrong_results() -> None:
    Reply(1, then=Stop())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Refuse("not an exception")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    TimeoutAfter("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

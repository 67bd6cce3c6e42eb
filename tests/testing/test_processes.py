"""Help for tests of processes: messages that come or do not, and servers for the time of a test."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
import trio.testing

from exeunt import (
    ChildSpec,
    Down,
    GenServer,
    Ignore,
    MainExited,
    Pid,
    StartFailed,
    StartIgnored,
    Stop,
    is_alive,
    monitor,
    on_call,
    open_node,
    process_info,
    self_pid,
    send,
    send_after,
    spawn_link,
    whereis,
)
from exeunt import exit as exit_signal
from exeunt.testing import (
    assert_receive,
    containing,
    refute_receive,
    satisfying,
    start_supervised,
)

pytestmark = pytest.mark.usefixtures("autojump_clock")


def mailbox() -> tuple[object, ...]:
    info = process_info(self_pid())
    assert info is not None
    return info.messages


async def test_a_message_is_asserted_by_value_by_matcher_and_by_class() -> None:
    async with open_node(signals=False):
        for message in ("one", 2, {"three": 3, "four": 4}, "five"):
            send(self_pid(), message)
        assert await assert_receive(2) == 2
        assert await assert_receive(containing({"three": 3})) == {"three": 3, "four": 4}
        assert await assert_receive(str, lambda text: text.startswith("f")) == "five"
        assert await assert_receive(satisfying(lambda one: one == "one")) == "one"
        send_after(0.9, self_pid(), "late")
        assert await assert_receive(str) == "late"
        assert mailbox() == ()


async def test_a_message_that_does_not_come_fails_and_shows_the_mailbox() -> None:
    async with open_node(signals=False):
        with pytest.raises(AssertionError, match=r"'x' has come within 1 s; the mailbox is empty"):
            await assert_receive("x")
        send(self_pid(), {"a": 1})
        send(self_pid(), "text")
        before = trio.current_time()
        with pytest.raises(AssertionError) as caught:
            await assert_receive(Down, within=3)
        assert trio.current_time() == before + 3
        assert str(caught.value).splitlines() == [
            "no message Down has come within 3 s; the mailbox has",
            "  {'a': 1}",
            "  text",
        ]
        assert mailbox() == ({"a": 1}, "text")


async def test_a_message_that_comes_as_the_time_ends_has_come_in_time() -> None:
    async with open_node(signals=False):
        send(self_pid(), "here")
        assert await assert_receive("here", within=0) == "here"


async def test_a_message_is_refuted() -> None:
    async with open_node(signals=False):
        send(self_pid(), "one")
        await refute_receive("two")
        await refute_receive(str, lambda text: text == "two")
        with pytest.raises(AssertionError, match="a message 'one' has come: 'one'"):
            await refute_receive("one")
        send_after(5, self_pid(), "late")
        await refute_receive("late", within=4)
        with pytest.raises(AssertionError, match="a message str has come: 'late'"):
            await refute_receive(str, within=4)


async def test_what_cannot_be_waited_for_is_refused() -> None:
    async with open_node(signals=False):
        with pytest.raises(TypeError, match="satisfying"):
            await assert_receive(lambda message: True)
        with pytest.raises(TypeError, match="where is for a class"):
            await assert_receive("x", lambda message: True)  # type: ignore[call-overload]


class Counter(GenServer):
    async def init(self, start: int) -> Ignore | Stop | None:
        self.count = start
        if start < 0:
            return Stop("below 0")
        return Ignore() if start == 0 else None

    @on_call
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count


async def test_a_supervised_child_is_restarted_and_ends_with_the_node() -> None:
    async with open_node(signals=False):
        first = await start_supervised(Counter.named("counter").child(40))
        assert await Counter.add(first, 2) == 42
        ref = monitor(first)
        exit_signal(first, "kill")
        assert (await assert_receive(Down)).ref is ref
        await trio.testing.wait_all_tasks_blocked()
        second = whereis("counter")
        assert second is not None and second is not first
        assert await Counter.add("counter", 2) == 42
    assert not is_alive(second)


async def test_children_end_in_reverse_order() -> None:
    ended: list[str] = []

    async def child_that_tells(name: str) -> Pid:
        return await start_supervised(ChildSpec(id=name, start=lambda: _start_telling(name, ended)))

    async with open_node(signals=False):
        for name in ("one", "two", "three"):
            await child_that_tells(name)
        await trio.testing.wait_all_tasks_blocked()
    assert ended == ["three", "two", "one"]


async def _start_telling(name: str, ended: list[str]) -> Pid:
    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    return spawn_link(body)


async def test_a_child_that_does_not_start_fails_the_line_that_starts_it() -> None:
    async with open_node(signals=False):
        with pytest.raises(StartFailed) as caught:
            await start_supervised(Counter.child(-1))
        assert caught.value.reason == "below 0"
        with pytest.raises(StartIgnored):
            await start_supervised(Counter.child(0))


async def test_a_child_that_is_restarted_too_often_ends_the_test() -> None:
    with pytest.raises(MainExited, match="shutdown"):
        async with open_node(signals=False):
            await start_supervised(Counter.named("counter").child(1))
            while True:
                counter = whereis("counter")
                if counter is not None:
                    exit_signal(counter, "kill")
                await trio.lowlevel.checkpoint()

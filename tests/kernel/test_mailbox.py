"""The mailbox: order, selective receive, bounds, one receiver, and a budget for the busy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    Bound,
    Call,
    CallFailed,
    Down,
    Exit,
    call,
    is_alive,
    process_info,
    receive,
    receive_nowait,
    self_pid,
    send,
    spawn,
    spawn_monitor,
    wait_exit,
)
from exeunt.kernel.events import Dropped

from .nodes import Actor, collect, drain, echo, idle, messages, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


@dataclass(frozen=True)
class Order:
    number: int


# -- send and receive


async def test_messages_come_in_the_order_in_which_they_were_sent() -> None:
    async with node():
        got: list[Any] = []
        pid = spawn(collect, got)
        for number in range(500):
            send(pid, number)
        await settle()
        assert got == list(range(500))


async def test_a_message_can_be_anything_and_arrives_as_the_same_object() -> None:
    async with node():
        for message in (None, ..., [], {"a": []}, type, ValueError("x"), receive):
            send(self_pid(), message)
            assert await receive() is message


async def test_receive_waits_until_a_message_comes() -> None:
    async with node():
        exeunt.send_after(7, self_pid(), "late")
        before = trio.current_time()
        assert await receive() == "late"
        assert trio.current_time() - before == pytest.approx(7)


async def test_a_receive_that_is_given_up_loses_nothing() -> None:
    async with node():
        with trio.move_on_after(1):
            await receive()
        send(self_pid(), "kept")
        with trio.move_on_after(1):
            await receive(int)
        assert await receive() == "kept"


async def test_a_message_and_the_end_of_the_patience_at_once_loses_nothing() -> None:
    async with node():
        for _ in range(20):
            exeunt.send_after(1, self_pid(), "just in time")
            got: list[Any] = []
            with trio.move_on_after(1):
                got.append(await receive())
            await settle()
            assert got + drain() == ["just in time"]


async def test_receive_needs_a_process() -> None:
    for use in (lambda: receive(), lambda: receive_nowait(), lambda: self_pid()):
        with pytest.raises(exeunt.NotAProcess, match="open_node"):
            use()


async def test_send_to_a_pid_needs_no_process() -> None:
    got: list[Any] = []
    async with trio.open_nursery() as nursery:
        pids: list[exeunt.Pid] = []
        is_up, is_done = trio.Event(), trio.Event()

        async def home() -> None:
            async with node():
                pids.append(spawn(collect, got))
                is_up.set()
                await is_done.wait()
                await settle()

        nursery.start_soon(home)
        await is_up.wait()
        send(pids[0], "from outside")
        is_done.set()
    assert got == ["from outside"]
    send(pids[0], "to the dead")


async def test_send_to_the_dead_is_no_error_and_an_event() -> None:
    async with node() as stage:
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        dropped = stage.events(Dropped)
        send(pid, "lost")
        assert dropped == [Dropped(pid, "lost", "the receiver is dead")]


async def test_send_to_a_process_that_is_exiting_is_lost() -> None:
    async def slow_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    async with node() as stage:
        pid = spawn(slow_end)
        await settle()
        send(pid, "before")
        exeunt.exit(pid, "bye")
        dropped = stage.events(Dropped)
        send(pid, "after")
        assert messages(pid) == ["before"]
        assert [event.message for event in dropped] == ["after"]


async def test_what_is_in_the_mailbox_at_the_end_is_lost() -> None:
    async with node():
        pid = spawn(idle)
        await settle()
        send(pid, "unread")
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        assert process_info(pid) is None


# -- selective receive


async def test_receive_takes_the_first_message_of_the_kind_and_leaves_the_others() -> None:
    async with node():
        for message in ("a", 1, "b", 2, Order(3)):
            send(self_pid(), message)
        assert await receive(int) == 1
        assert await receive(Order) == Order(3)
        assert await receive(int) == 2
        assert drain() == ["a", "b"]


async def test_receive_takes_the_first_message_for_which_the_condition_holds() -> None:
    async with node():
        for number in range(10):
            send(self_pid(), Order(number))
        assert await receive(Order, lambda order: order.number > 6) == Order(7)
        assert await receive(Order, lambda order: order.number > 6) == Order(8)
        assert await receive(object) == Order(0)


async def test_selective_receive_waits_for_a_match_while_others_pile_up() -> None:
    async with node():
        got: list[Any] = []

        async def body() -> None:
            got.append(await receive(str))
            got.extend(drain())

        pid = spawn(body)
        for number in range(50):
            send(pid, number)
            await settle()
        assert messages(pid) == list(range(50))
        send(pid, "the one")
        send(pid, 50)
        await wait_exit(pid)
        assert got == ["the one", *range(51)]


async def test_a_condition_may_send_to_its_own_mailbox() -> None:
    async with node():

        def condition(number: int) -> bool:
            if number < 3:
                send(self_pid(), number + 1)
            return number == 3

        send(self_pid(), 0)
        assert await receive(int, condition) == 3
        assert drain() == [0, 1, 2]


async def test_a_condition_that_raises_leaves_the_mailbox_as_it_was() -> None:
    async with node():
        send(self_pid(), "text")
        send(self_pid(), 1)
        with pytest.raises(AttributeError):
            await receive(object, lambda message: message.number > 1)  # type: ignore[attr-defined]
        assert drain() == ["text", 1]


async def test_receive_nowait_looks_only_at_what_is_there() -> None:
    async with node():
        with pytest.raises(trio.WouldBlock):
            receive_nowait()
        send(self_pid(), "text")
        with pytest.raises(trio.WouldBlock):
            receive_nowait(int)
        assert receive_nowait(str, lambda text: text.startswith("t")) == "text"


async def test_a_message_may_look_like_no_message_at_all() -> None:
    async with node():
        send(self_pid(), None)
        assert await receive(type(None)) is None
        send(self_pid(), False)
        assert await receive() is False


# -- one receiver


async def test_two_tasks_of_a_process_cannot_receive_at_once() -> None:
    async with node() as stage:

        async def body() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(receive)

        await wait_exit(spawn(body))
        assert "one receiver" in str(stage.crash(RuntimeError))


async def test_a_second_receiver_is_refused_though_there_are_messages() -> None:
    async with node():
        got: list[Any] = []

        async def first() -> None:
            got.append(await receive(int))

        async def body() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                await settle()
                send(self_pid(), "not for the first")
                await settle()
                with pytest.raises(RuntimeError, match="one receiver"):
                    await receive()
                send(self_pid(), 5)

        with trio.fail_after(5):
            assert await wait_exit(spawn(body)) == "normal"
        assert got == [5]


async def test_one_of_two_receivers_is_refused_when_the_second_slips_in() -> None:
    # The first is woken, but before it runs the second takes its message and waits for another.
    async with node() as stage:
        got: list[Any] = []

        async def first() -> None:
            got.append(await receive())

        async def body() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                await settle()
                send(self_pid(), "one")
                got.append(await receive())
                got.append(await receive())

        pid = spawn(body)
        for delay in (1, 2):
            exeunt.send_after(delay, pid, "another")
        with trio.fail_after(5):
            await wait_exit(pid)
        assert "one receiver" in str(stage.crash(RuntimeError))


async def test_one_task_after_the_other_may_receive() -> None:
    async with node():
        got: list[Any] = []

        async def once() -> None:
            got.append(await receive())

        async def body() -> None:
            for _ in range(3):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(once)

        pid = spawn(body)
        for number in range(3):
            send(pid, number)
        await wait_exit(pid)
        assert got == [0, 1, 2]


async def test_a_receiver_that_was_cancelled_makes_way_for_another() -> None:
    async with node():

        async def body() -> None:
            with trio.move_on_after(1):
                await receive()
            assert await receive() == "for the second"

        pid = spawn(body)
        await trio.sleep(2)
        send(pid, "for the second")
        assert await wait_exit(pid) == "normal"


async def test_a_send_that_fails_in_a_thread_does_not_deafen_the_receiver() -> None:
    # Without a limit: the virtual clock would jump to it while the thread works.
    async with node(limit=math.inf):
        got: list[Any] = []
        pid = spawn(collect, got)
        await settle()
        with pytest.raises(RuntimeError):
            await trio.to_thread.run_sync(send, pid, "from a thread")
        send(pid, "from a task")
        await settle()
        assert got[-1:] == ["from a task"]
        # The way that is meant:
        await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(send, pid, "from a thread"))
        await settle()
        assert got[-1] == "from a thread"


# -- the budget


async def test_a_process_with_a_full_mailbox_lets_others_run() -> None:
    async with node():
        got: list[Any] = []
        pid = spawn(collect, got)
        for number in range(10_000):
            send(pid, number)
        most = 0
        while len(got) < 10_000:
            before = len(got)
            await trio.lowlevel.checkpoint()
            most = max(most, len(got) - before)
        assert 0 < most <= 500, "the others have their turn after a bounded amount of work"


async def test_a_process_that_sends_to_itself_for_ever_lets_others_run_and_can_be_ended() -> None:
    async def busy() -> None:
        while True:
            send(self_pid(), "again")
            await receive()

    async with node():
        pid = spawn(busy)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        exeunt.exit(pid, "enough")
        assert await wait_exit(pid) == "enough"


async def test_a_process_that_filters_a_full_mailbox_lets_others_run() -> None:
    async def busy() -> None:
        while True:
            await receive(int)

    async with node():
        pid = spawn(busy)
        for number in range(2_000):
            send(pid, number)
            send(pid, str(number))
        turns = 0
        while len(messages(pid)) > 2_000:
            await trio.lowlevel.checkpoint()
            turns += 1
        assert turns > 5


async def test_an_exit_is_noticed_at_the_next_receive_though_messages_wait() -> None:
    async with node():
        taken: list[Any] = []

        async def body() -> None:
            taken.append(await receive())
            exeunt.exit(self_pid(), "kill")

        async def other() -> None:
            while True:
                taken.append(await receive())
                await trio.lowlevel.cancel_shielded_checkpoint()

        pid = spawn(other)
        for number in range(10):
            send(pid, number)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        before = len(taken)
        exeunt.exit(pid, "enough")
        assert await wait_exit(pid) == "enough"
        assert len(taken) <= before + 1 < 10
        pid = spawn(body)
        send(pid, "x")
        assert await wait_exit(pid) == "killed"


# -- bounds


async def test_drop_newest_keeps_the_oldest() -> None:
    async with node() as stage:
        dropped = stage.events(Dropped)
        pid = spawn(idle, mailbox=Bound(3, "drop_newest"))
        for number in range(6):
            send(pid, number)
        assert messages(pid) == [0, 1, 2]
        assert dropped == [Dropped(pid, number, "the mailbox is full") for number in (3, 4, 5)]


async def test_drop_oldest_keeps_the_newest() -> None:
    async with node() as stage:
        dropped = stage.events(Dropped)
        pid = spawn(idle, mailbox=Bound(3, "drop_oldest"))
        for number in range(6):
            send(pid, number)
        assert messages(pid) == [3, 4, 5]
        assert [event.message for event in dropped] == [0, 1, 2]


async def test_an_overflow_ends_the_receiver_by_default() -> None:
    async with node():
        pid, _ = spawn_monitor(idle, mailbox=Bound(2))
        for number in range(5):
            send(pid, number)
        assert not is_alive(pid)
        assert (await receive(exeunt.Down)).reason == "overflow"


async def test_a_receiver_that_keeps_up_never_overflows() -> None:
    async with node():
        got: list[Any] = []
        pid = spawn(collect, got, mailbox=Bound(2))
        for number in range(100):
            send(pid, number)
            await settle()
        assert got == list(range(100))


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "exit"])
async def test_a_full_mailbox_takes_what_links_and_monitors_tell(overflow: Any) -> None:
    async with node():
        actor = Actor(trap=True, mailbox=Bound(2, overflow))
        victims = [spawn(idle) for _ in range(4)]
        await settle()
        for victim in victims[:2]:
            await actor.do(partial(exeunt.link, victim))
        refs = [await actor.do(partial(exeunt.monitor, victim)) for victim in victims[2:]]
        for number in range(2):
            send(actor.pid, number)
        for victim in victims:
            exeunt.exit(victim, "bye")
            await wait_exit(victim)
        ends = [
            *(Exit(victim, "bye") for victim in victims[:2]),
            *(Down(ref, one, "bye") for ref, one in zip(refs, victims[2:], strict=True)),
        ]
        assert actor.messages == [0, 1, *ends]
        assert is_alive(actor.pid)
        exeunt.exit(actor.pid, "kill")
        assert await wait_exit(actor.pid) == "killed"


async def test_drop_oldest_lets_no_end_of_a_process_go() -> None:
    async with node() as stage:
        dropped = stage.events(Dropped)
        actor = Actor(trap=True, mailbox=Bound(2, "drop_oldest"))
        await settle()
        exeunt.exit(actor.pid, "first")
        for number in range(4):
            send(actor.pid, number)
        first = Exit(self_pid(), "first")
        assert actor.messages == [first, 3]
        assert [event.message for event in dropped] == [0, 1, 2]
        exeunt.exit(actor.pid, "second")
        send(actor.pid, 4)
        assert actor.messages == [first, Exit(self_pid(), "second"), 4]


async def test_drop_oldest_lets_the_message_go_that_comes_if_no_other_may() -> None:
    async with node() as stage:
        dropped = stage.events(Dropped)
        actor = Actor(trap=True, mailbox=Bound(2, "drop_oldest"))
        await settle()
        for reason in ("first", "second"):
            exeunt.exit(actor.pid, reason)
        send(actor.pid, "one too many")
        assert actor.messages == [Exit(self_pid(), "first"), Exit(self_pid(), "second")]
        assert [event.message for event in dropped] == ["one too many"]


async def test_drop_oldest_keeps_the_place_of_a_selective_receive() -> None:
    async with node():
        got: list[Any] = []

        async def body() -> None:
            while True:
                got.append(await receive(str))

        pid = spawn(body, mailbox=Bound(3, "drop_oldest"))
        for number in range(5):
            send(pid, number)
            await settle()
        send(pid, "found")
        await settle()
        assert got == ["found"]
        assert messages(pid) == [3, 4]


@pytest.mark.parametrize("overflow", ["drop_newest", "exit"])
async def test_a_call_to_a_full_mailbox_fails_at_once(overflow: Any) -> None:
    async with node():
        pid = spawn(idle, mailbox=Bound(1, overflow))
        send(pid, "in the way")
        with trio.fail_after(5), pytest.raises(CallFailed) as caught:
            await call(pid, "question")
        assert caught.value.reason == "overflow"
        assert is_alive(pid) == (overflow == "drop_newest")


async def test_a_call_to_a_full_mailbox_from_a_plain_task_fails_at_once() -> None:
    async with node():
        pid = spawn(idle, mailbox=Bound(1, "drop_newest"))
        send(pid, "in the way")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def ask() -> None:
                with trio.fail_after(5), pytest.raises(CallFailed, match="overflow"):
                    await call(pid, "question")


async def test_a_call_that_drop_oldest_pushes_out_fails() -> None:
    async with node():
        pid = spawn(idle, mailbox=Bound(1, "drop_oldest"))
        actor = Actor()

        async def ask() -> object:
            with pytest.raises(CallFailed) as caught:
                await call(pid, "question")
            return caught.value.reason

        answer = actor.begin(ask)
        await settle()
        send(pid, "newer")
        await answer.done.wait()
        assert answer.value == "overflow"
        assert messages(pid) == ["newer"]


async def test_calls_whose_callers_gave_up_take_no_room_in_a_bounded_mailbox() -> None:
    async with node():
        pid = spawn(idle, mailbox=Bound(3))
        for _ in range(10):
            with trio.move_on_after(1):
                await call(pid, "question")
        for number in range(3):
            send(pid, number)
        assert is_alive(pid)
        assert messages(pid) == [0, 1, 2]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_bound_is_positive(limit: int) -> None:
    with pytest.raises(ValueError, match="at least one message"):
        Bound(limit)


def test_a_bound_lists_its_overflows() -> None:
    with pytest.raises(ValueError, match="'drop_newest', 'drop_oldest', 'exit', not 'drop'"):
        Bound(3, "drop")  # type: ignore[arg-type]


# -- calls that nobody waits for any more


async def test_a_call_that_was_given_up_is_never_handed_out() -> None:
    async with node():
        got: list[Any] = []

        async def late() -> None:
            await trio.sleep(5)
            await collect(got)

        pid = spawn(late)
        send(pid, "before")
        with trio.move_on_after(1):
            await call(pid, "given up")
        send(pid, "after")
        await trio.sleep(10)
        assert got == ["before", "after"]


async def test_selective_receive_skips_calls_that_were_given_up() -> None:
    async with node():
        got: list[Any] = []

        async def late() -> None:
            await trio.sleep(5)
            got.append(await receive(Call, lambda one: True))

        pid = spawn(late)
        with trio.move_on_after(1):
            await call(pid, "given up")
        actor = Actor()
        actor.begin(lambda: call(pid, "waiting"))
        await trio.sleep(10)
        assert [one.request for one in got] == ["waiting"]


async def test_calls_that_were_given_up_are_swept_out_of_a_server_that_hangs() -> None:
    async with node() as stage:
        pid = spawn(idle)
        send(pid, "kept")
        for _ in range(200):
            with trio.move_on_after(1):
                await call(pid, "question")
        process = stage.node.processes[pid.number]
        assert messages(pid) == ["kept"]
        assert len(process.mailbox.messages) < 40
        assert not process.calls


async def test_sweeping_keeps_the_order_and_the_calls_that_wait() -> None:
    async with node():
        got: list[Any] = []

        async def late() -> None:
            await receive(bytes)
            await collect(got)

        pid = spawn(late)
        actors = [Actor() for _ in range(5)]
        for number in range(60):
            if number % 12 == 0:
                actors[number // 12].begin(lambda number=number: call(pid, number))
                await settle()
                send(pid, f"message {number}")
            with trio.move_on_after(0.1):
                await call(pid, "given up")
        send(pid, b"go")
        await settle()
        shown = [one.request if isinstance(one, Call) else one for one in got]
        expected: list[Any] = []
        for number in range(0, 60, 12):
            expected += [number, f"message {number}"]
        assert shown == expected
        for actor in actors:
            exeunt.exit(actor.pid, "kill")


async def test_a_busy_server_skips_given_up_calls_without_an_end() -> None:
    async with node():
        pid = spawn(echo)
        for number in range(300):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call(pid, number)
        assert await call(pid, "still there") == "still there"
        assert messages(pid) == []

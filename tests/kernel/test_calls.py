"""Calls between processes: answers, failures, withdrawals, and cycles that could never end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    Call,
    CallCycle,
    CallFailed,
    Crash,
    GenServer,
    NoReply,
    NotAProcess,
    Pid,
    Reply,
    call,
    receive,
    reply,
    self_pid,
    send,
    spawn,
    wait_exit,
)

from .nodes import Actor, echo, idle, messages, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def failure(asking: Any) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await asking
    return caught.value


def pending(stage: Any, pid: Pid) -> int:
    return len(stage.node.processes[pid.number].calls or ())


# -- answers


async def test_a_call_is_answered_with_what_the_server_replies() -> None:
    async with node():
        pid = spawn(echo, name="echo")
        question = object()
        assert await call(pid, question) is question
        assert await call("echo", "by name") == "by name"


async def test_a_server_finds_the_request_and_who_asks() -> None:
    async with node():
        pid = spawn(idle)
        actor = Actor()
        actor.begin(lambda: call(pid, "question"))
        await settle()
        [message] = messages(pid)
        assert isinstance(message, Call)
        assert message.request == "question" and message.caller is actor.pid
        assert message.is_pending
        assert repr(message) == f"Call('question', caller={actor.pid})"


async def test_anyone_may_answer_at_any_time() -> None:
    async with node():
        pid = spawn(idle)
        actor = Actor()
        answer = actor.begin(lambda: call(pid, "question"))
        await settle()
        [message] = messages(pid)
        await trio.sleep(100)
        reply(message, "from elsewhere")
        await answer.done.wait()
        assert answer.value == "from elsewhere"
        assert not message.is_pending


async def test_the_first_answer_counts_and_the_second_vanishes() -> None:
    async def twice() -> None:
        message = await receive(Call)
        reply(message, "first")
        reply(message, "second")

    async with node():
        assert await call(spawn(twice), "question") == "first"
        with pytest.raises(trio.WouldBlock):
            exeunt.receive_nowait()


async def test_an_answer_that_comes_late_vanishes() -> None:
    async def slow() -> None:
        message = await receive(Call)
        await trio.sleep(10)
        reply(message, "too late")

    async with node():
        pid = spawn(slow)
        with trio.move_on_after(1) as patience:
            await call(pid, "question")
        assert patience.cancelled_caught
        assert await wait_exit(pid) == "normal"
        with pytest.raises(trio.WouldBlock):
            exeunt.receive_nowait()


async def test_an_answer_to_a_dead_caller_vanishes() -> None:
    async with node():
        pid = spawn(idle)
        actor = Actor()
        actor.begin(lambda: call(pid, "question"))
        await settle()
        [message] = messages(pid)
        exeunt.exit(actor.pid, "kill")
        await wait_exit(actor.pid)
        assert not message.is_pending
        reply(message, "to nobody")
        assert exeunt.is_alive(pid)


async def test_an_answer_and_the_callers_end_of_patience_at_once_harm_nobody() -> None:
    async with node():

        async def slow() -> None:
            while True:
                message = await receive(Call)
                await trio.sleep(1)
                reply(message, "just in time")

        pid = spawn(slow)
        for _ in range(5):
            with trio.move_on_after(1):
                assert await call(pid, "question") == "just in time"
            await trio.sleep(3)


async def test_many_callers_get_their_own_answers() -> None:
    async with node():
        pid = spawn(echo)
        got: dict[int, int] = {}

        async def ask(number: int) -> None:
            got[number] = await call(pid, number)

        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(ask, number)
        assert got == {number: number for number in range(300)}


# -- failures


async def test_a_call_to_the_dead_fails_with_noproc() -> None:
    async with node():
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        await wait_exit(pid)
        for server in (pid, "nobody"):
            failed = await failure(call(server, "question"))
            assert (failed.server, failed.request, failed.reason) == (server, "question", "noproc")
            assert "question" in str(failed) and "noproc" in str(failed)


async def test_a_call_to_an_exiting_process_fails_with_noproc() -> None:
    async def slow_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with node():
        pid = spawn(slow_end)
        await settle()
        exeunt.exit(pid, "bye")
        before = trio.current_time()
        assert (await failure(call(pid, "question"))).reason == "noproc"
        assert trio.current_time() == before


async def test_a_failing_call_is_a_checkpoint() -> None:
    async with node():
        with trio.CancelScope() as scope:
            scope.cancel()
            await call("nobody", "question")
        assert scope.cancelled_caught


@pytest.mark.parametrize("reason", ["normal", "shutdown", "bye", "kill", 17])
async def test_a_call_fails_with_the_servers_reason_the_moment_it_dies(reason: object) -> None:
    async def ends() -> None:
        await receive()
        raise exeunt.ProcessExit(reason)

    async with node():
        assert (await failure(call(spawn(ends), "question"))).reason == reason


async def test_a_call_that_fails_with_a_crash_has_the_exception_as_its_cause() -> None:
    error = ValueError("in the server")

    async def crashes() -> None:
        await receive()
        raise error

    async with node() as stage:
        failed = await failure(call(spawn(crashes), "question"))
        assert failed.reason == Crash(error)
        assert failed.__cause__ is error
        stage.crash(ValueError)


async def test_calls_that_wait_in_the_mailbox_fail_as_well() -> None:
    async with node() as stage:
        pid = spawn(idle)
        actors = [Actor() for _ in range(3)]
        answers = [actor.begin(lambda: call(pid, "question")) for actor in actors]
        await settle()
        assert pending(stage, pid) == 3
        exeunt.exit(pid, "kill")
        for answer in answers:
            await answer.done.wait()
            assert isinstance(answer.error, CallFailed) and answer.error.reason == "killed"


async def test_a_failed_call_that_nobody_catches_ends_the_caller_with_it() -> None:
    async def asks() -> None:
        await call("nobody", "question")

    async with node() as stage:
        reason = await wait_exit(spawn(asks))
        assert isinstance(reason, Crash) and isinstance(reason.exception, CallFailed)
        assert reason.exception.reason == "noproc"
        stage.crash(CallFailed)


# -- callers that give up


async def test_a_cancelled_caller_withdraws_its_request() -> None:
    async with node() as stage:
        pid = spawn(idle)
        with trio.move_on_after(1):
            await call(pid, "question")
        assert messages(pid) == []
        assert pending(stage, pid) == 0


@pytest.mark.parametrize("reason", ["bye", "kill"])
async def test_the_request_of_a_caller_that_died_is_served_and_its_answer_lost(reason: str) -> None:
    async with node() as stage:
        pid = spawn(idle)
        actor = Actor()
        actor.begin(lambda: call(pid, "question"))
        await settle()
        assert pending(stage, pid) == 1
        exeunt.exit(actor.pid, reason)
        await wait_exit(actor.pid)
        assert pending(stage, pid) == 0
        [message] = messages(pid)
        assert isinstance(message, Call) and message.request == "question"
        assert not message.is_pending
        reply(message, "to nobody")


async def test_a_request_that_was_taken_is_not_taken_back() -> None:
    seen: list[bool] = []

    async def slow() -> None:
        message = await receive(Call)
        await trio.sleep(10)
        seen.append(message.is_pending)

    async with node():
        pid = spawn(slow)
        with trio.move_on_after(1):
            await call(pid, "question")
        await wait_exit(pid)
        assert seen == [False]


# -- plain tasks


async def test_a_task_of_a_nursery_within_a_process_may_call() -> None:
    async with node():
        pid = spawn(echo)
        got: list[Any] = []

        async def ask(number: int) -> None:
            got.append(await call(pid, number))

        async def body() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(ask, number)

        await wait_exit(spawn(body))
        assert sorted(got) == [0, 1, 2]


async def test_a_task_outside_of_all_processes_may_call_and_reply_by_pid() -> None:
    callers: list[Any] = []
    pids: list[Pid] = []
    is_up, is_done = trio.Event(), trio.Event()

    async def server() -> None:
        while True:
            message = await receive(Call)
            callers.append(message.caller)
            reply(message, message.request)

    async def home() -> None:
        async with node():
            pids.append(spawn(server))
            is_up.set()
            await is_done.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(home)
        await is_up.wait()
        assert await call(pids[0], "from outside") == "from outside"
        assert callers == [None]
        with pytest.raises(NotAProcess):
            await call("server", "a name means nothing here")
        is_done.set()
    assert (await failure(call(pids[0], "after the end"))).reason == "noproc"


# -- cycles


async def cycle_of(asking: Any) -> tuple[Pid, ...]:
    failed = await failure(asking)
    assert isinstance(failed.reason, CallCycle)
    return failed.reason.pids


async def test_a_call_to_oneself_fails_at_once() -> None:
    async with node():
        actor = Actor()
        pids = await actor.do(lambda: cycle_of(call(actor.pid, "question")))
        assert pids == (actor.pid,)
        assert await cycle_of(call(self_pid(), "question")) == (self_pid(),)


async def test_a_call_to_oneself_is_a_checkpoint() -> None:
    async with node():
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(self_pid(), "question")
        assert scope.cancelled_caught


async def test_a_call_to_oneself_by_name_fails_at_once() -> None:
    async with node():
        actor = Actor(name="me")
        assert await actor.do(lambda: cycle_of(call("me", "question"))) == (actor.pid,)


class Asker(GenServer):
    """Calls whom it is told to, within a callback."""

    async def handle_call(self, request: Any, caller: Call) -> Reply[Any]:
        match request:
            case ("ask", target, *rest):
                return Reply(await call(target, tuple(rest)))
            case _:
                return Reply(request)


async def test_a_cycle_of_two_servers_fails_at_once_and_is_named() -> None:
    async with node() as stage:
        one, other = await Asker.start(), await Asker.start()
        failed = await failure(call(one, ("ask", other, "ask", one)))
        assert isinstance(failed.reason, Crash)
        inner = failed.reason.exception
        assert isinstance(inner, CallFailed)
        # The one that closed the cycle was refused, and died of it as of any failed call.
        deepest = inner.reason
        assert isinstance(deepest, Crash) and isinstance(deepest.exception, CallFailed)
        assert deepest.exception.reason == CallCycle((other, one))
        assert f"the calls form a cycle: {other} -> {one} -> {other}" in str(deepest.exception)
        stage.crashes(2, CallFailed)


async def test_a_cycle_of_three_servers_fails_at_once_and_is_named_in_order() -> None:
    class Careful(Asker):
        async def handle_call(self, request: Any, caller: Call) -> Reply[Any]:
            try:
                return await super().handle_call(request, caller)
            except CallFailed as failed:
                return Reply(failed.reason)

    async with node():
        a, b, c = [await Careful.start() for _ in range(3)]
        answer = await call(a, ("ask", b, "ask", c, "ask", a))
        assert answer == CallCycle((c, a, b))
        assert "cycle" in str(answer)
        for pid in (a, b, c):
            assert await call(pid, "alive") == "alive"


async def test_a_callers_own_process_is_part_of_the_cycle() -> None:
    class Asks(GenServer):
        async def handle_call(self, request: Any, caller: Call) -> Reply[Any]:
            assert caller.caller is not None
            try:
                await call(caller.caller, "and you?")
            except CallFailed as failed:
                return Reply(failed.reason)
            raise AssertionError("answered")

    async with node():
        pid = await Asks.start()
        assert await call(pid, "question") == CallCycle((pid, self_pid()))


async def test_two_processes_that_call_each_other_before_either_serves_are_a_cycle() -> None:
    async with node():
        one, other = Actor(), Actor()
        answer = one.begin(lambda: call(other.pid, "question"))
        await settle()
        assert await other.do(lambda: cycle_of(call(one.pid, "question"))) == (other.pid, one.pid)
        exeunt.exit(other.pid, "bye")
        await answer.done.wait()
        assert isinstance(answer.error, CallFailed)


async def test_a_server_that_deferred_its_answer_closes_no_cycle() -> None:
    class Desk(GenServer):
        async def init(self) -> None:
            self.waiting: list[Call] = []

        async def handle_call(self, request: Any, caller: Call) -> NoReply | Reply[Any]:
            if request == "later":
                self.waiting.append(caller)
                return NoReply()
            if request == "ask back":
                [first] = self.waiting
                assert first.caller is not None
                # It waits for this server, but not for this callback: it is free to be answered.
                reply(first, "now")
                return Reply(await call(first.caller, "are you there?"))
            return Reply(None)

    async def client(desk: Pid) -> None:
        assert await call(desk, "later") == "now"
        message = await receive(Call)
        reply(message, "yes")

    async with node():
        desk = await Desk.start()
        exeunt.spawn_monitor(client, desk)
        await settle()
        assert await call(desk, "ask back") == "yes"
        assert (await receive(exeunt.Down)).reason == "normal"


async def test_a_call_to_a_process_that_waits_for_a_deferred_answer_is_no_false_cycle() -> None:
    class Desk(GenServer):
        async def handle_call(self, request: Any, caller: Call) -> NoReply:
            self.kept = caller
            return NoReply()

        async def handle_info(self, message: Any) -> None:
            assert self.kept.caller is not None
            # Calls the process that waits for it; somebody else will answer that one.
            self.answer = await call(self.kept.caller, "question")

    async def client(desk: Pid) -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def serve() -> None:
                reply(await receive(Call), "served meanwhile")

            await call(desk, "later")

    async with node():
        desk = await Desk.start()
        pid = spawn(client, desk)
        await settle()
        send(desk, "ask")
        await settle()
        state = await exeunt.get_state(desk)
        assert state["answer"] == "served meanwhile"
        reply(state["kept"], "at last")
        assert await wait_exit(pid) == "normal"


async def test_another_task_of_the_process_may_call_it() -> None:
    # Only a call of the process's own task keeps it from receiving.
    async def body() -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def ask() -> None:
                assert await call(self_pid(), "question") == "answer"

            reply(await receive(Call), "answer")

    async with node():
        assert await wait_exit(spawn(body)) == "normal"


async def test_an_init_that_calls_its_starter_fails_at_once() -> None:
    class Child(GenServer):
        async def init(self, parent: Pid) -> None:
            await call(parent, "who are you?")

    class Parent(GenServer):
        async def handle_call(self, request: Any, caller: Call) -> Reply[Any]:
            try:
                await Child.start(self.pid)
            except exeunt.StartFailed as failed:
                return Reply(failed.reason)
            raise AssertionError("started")

    async with node() as stage:
        parent = await Parent.start()
        with trio.fail_after(60):
            reason = await call(parent, "go")
        assert isinstance(reason, Crash) and isinstance(reason.exception, CallFailed)
        cycle = reason.exception.reason
        assert isinstance(cycle, CallCycle) and cycle.pids[1:] == (parent,)
        stage.crash(CallFailed)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
async def test_the_message_of_a_cycle_leads_back_to_its_beginning(count: int) -> None:
    async with node():
        pids = tuple(spawn(idle) for _ in range(count))
        text = str(CallCycle(pids))
        assert text.count("->") == count
        assert text.index(repr(pids[0])) < text.rindex(repr(pids[0]))


# -- wrong use


@pytest.mark.parametrize("target", [None, 5, ["a list"], object()])
async def test_a_call_to_no_destination_says_what_one_is(target: Any) -> None:
    async with node():
        with pytest.raises(TypeError, match="a process is given by its pid, its name, or a Via"):
            await call(target, "question")


async def test_a_call_within_a_call_is_answered_in_turn() -> None:
    async with node():
        front, back = await Asker.start(), await Asker.start()
        assert await call(front, ("ask", back, "question")) == ("question",)


async def test_a_chain_of_calls_fails_link_by_link_when_its_end_dies() -> None:
    async with node() as stage:
        end = spawn(idle)
        middle = await Asker.start()
        front = await Asker.start()
        answers: list[CallFailed] = []

        async def ask() -> None:
            answers.append(await failure(call(front, ("ask", middle, "ask", end))))

        asker = spawn(ask)
        await settle()
        exeunt.exit(end, "bye")
        await wait_exit(asker)
        reasons: list[object] = []
        failed: BaseException | None = answers[0]
        while isinstance(failed, CallFailed):
            reasons.append(failed.server)
            failed = failed.__cause__
        assert reasons == [front, middle, end]
        stage.crashes(2, CallFailed)

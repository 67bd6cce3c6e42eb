"""GenServer: how one starts, what its callbacks may return, and how it ends."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import exeunt
from exeunt import (
    AlreadyStarted,
    BadReturnValue,
    Bound,
    Call,
    CallCycle,
    CallFailed,
    Continue,
    Crash,
    Down,
    Exit,
    GenServer,
    Ignore,
    NoReply,
    Pid,
    ProcessExit,
    Refuse,
    Reply,
    Shutdown,
    StartFailed,
    StartIgnored,
    Stop,
    TimeoutAfter,
    call,
    cast_to,
    is_alive,
    on_call,
    on_cast,
    receive,
    reply,
    self_pid,
    send,
    spawn,
    stop,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt.kernel.events import CrashReport
from exeunt.otp.results import UnexpectedRequest
from tests.kernel.nodes import Actor, Stage, idle, messages, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Scripted(GenServer):
    """Does in each callback what it is told to, and keeps a log of what was called.

    A request, a cast and a message are functions: what they return is the callback's result.
    """

    async def init(
        self, result: Any = None, log: list[Any] | None = None, *, trap: bool = False
    ) -> Any:
        trap_exit(trap)
        self.log: list[Any] = [] if log is None else log
        self.log.append("init")
        return result() if callable(result) else result

    async def handle_call(self, request: Any, caller: Call) -> Any:
        self.log.append("call")
        return request(self) if callable(request) else request

    async def handle_cast(self, request: Any) -> Any:
        self.log.append("cast")
        return request(self) if callable(request) else request

    async def handle_info(self, message: Any) -> Any:
        self.log.append(("info", message) if not callable(message) else "info")
        return message(self) if callable(message) else None

    async def handle_continue(self, argument: Any) -> Any:
        self.log.append(("continue", argument) if not callable(argument) else "continue")
        return argument(self) if callable(argument) else None

    async def terminate(self, reason: object) -> object:
        self.log.append(("terminate", reason))
        if isinstance(on_end := getattr(self, "on_end", None), BaseException):
            raise on_end
        return "nobody looks at this"


def fail(error: BaseException) -> Any:
    def raising(*_: Any) -> Any:
        raise error

    return raising


async def failure(asking: Any) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await asking
    return caught.value


# -- start and start_link


class Counter(GenServer):
    async def init(self, start: int = 0, *, step: int = 1) -> None:
        self.count = start
        self.step = step

    @on_call
    async def add(self, times: int = 1) -> int:
        """Add so many steps."""
        self.count += times * self.step
        return self.count

    @on_call
    async def get(self) -> int:
        return self.count

    @on_cast
    async def reset(self, to: int = 0) -> None:
        self.count = to


async def test_start_gives_the_arguments_to_init_and_returns_the_pid() -> None:
    async with node():
        pid = await Counter.start(40, step=2)
        assert await Counter.add(pid) == 42
        assert is_alive(pid)


async def test_start_link_links_and_start_does_not() -> None:
    async with node():
        linked, plain = await Counter.start_link(), await Counter.start()
        info = exeunt.process_info(self_pid())
        assert info is not None and info.links == (linked,)
        assert is_alive(plain)


async def test_start_waits_for_init() -> None:
    class Slow(GenServer):
        async def init(self) -> None:
            await trio.sleep(3)

    async with node():
        start = trio.current_time()
        await Slow.start()
        assert trio.current_time() - start == pytest.approx(3)


async def test_a_server_needs_no_init() -> None:
    class Plain(GenServer):
        pass

    async with node():
        assert is_alive(await Plain.start())


async def test_arguments_that_init_does_not_take_are_a_failed_start() -> None:
    async with node() as stage:
        with pytest.raises(StartFailed) as caught:
            await Counter.start(1, 2, 3)  # type: ignore[call-arg]
        assert isinstance(caught.value.__cause__, TypeError)
        stage.crash(TypeError)


async def test_start_needs_a_node() -> None:
    with pytest.raises(exeunt.NotAProcess, match="open_node"):
        await Counter.start()


# -- init and its results


async def test_init_that_ignores_is_no_error_of_the_server() -> None:
    async with node() as stage:
        exits = stage.events(exeunt.kernel.events.Exited)
        log: list[Any] = []
        for start in (Scripted.start, Scripted.start_link, Scripted.named("x").start_link):
            with pytest.raises(StartIgnored, match="asked not to be started"):
                await start(Ignore(), log)
            assert whereis("x") is None
        assert log == ["init"] * 3, "terminate is not called"
        assert [event.reason for event in exits] == ["normal"] * 3
        assert exeunt.processes() == [self_pid()]


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown("x"), "bad", 17])
async def test_init_that_stops_is_a_failed_start_with_its_reason(reason: object) -> None:
    async with node() as stage:
        log: list[Any] = []
        with pytest.raises(StartFailed) as caught:
            await Scripted.named("x").start(Stop(reason), log)
        assert caught.value.reason == reason
        assert caught.value.label == "Scripted"
        assert whereis("x") is None
        assert log == ["init"]
        if not exeunt.is_orderly(reason):
            assert stage.crash().reason == reason


async def test_init_that_raises_is_a_failed_start_with_the_exception_as_its_cause() -> None:
    error = ValueError("in init")
    async with node() as stage:
        with pytest.raises(StartFailed) as caught:
            await Scripted.start(fail(error))
        assert caught.value.reason == Crash(error)
        assert caught.value.__cause__ is error
        assert str(caught.value) == "Scripted did not start: ValueError: in init"
        stage.crash(ValueError)


async def test_init_may_exit_by_itself() -> None:
    async with node() as stage:
        with pytest.raises(StartFailed) as caught:
            await Scripted.start(fail(ProcessExit("bad")))
        assert caught.value.reason == "bad"
        assert stage.crash().exception is None


@pytest.mark.parametrize("result", [5, "ok", Reply(1), NoReply(), Refuse(ValueError()), False, ()])
async def test_init_that_returns_something_else_is_a_failed_start(result: object) -> None:
    async with node() as stage:
        with pytest.raises(StartFailed) as caught:
            await Scripted.start(result)
        error = caught.value.__cause__
        assert isinstance(error, BadReturnValue) and error.value is result
        assert "Scripted.init returned" in str(error) and "Ignore() or Stop(reason)" in str(error)
        stage.crash(BadReturnValue)


async def test_a_starter_that_does_not_trap_dies_of_a_failed_start_link() -> None:
    async def starter() -> None:
        try:
            await Scripted.start_link(Stop("bad"))
        except StartFailed:
            await trio.sleep_forever()

    async with node() as stage:
        assert await wait_exit(spawn(starter)) == "bad"
        stage.crash()


async def test_a_starter_that_traps_gets_the_error_and_no_message() -> None:
    async with node() as stage:
        trap_exit()
        with pytest.raises(StartFailed):
            await Scripted.start_link(Stop("bad"))
        with pytest.raises(StartIgnored):
            await Scripted.start_link(Ignore())
        assert messages(self_pid()) == []
        stage.crash()


async def test_a_starter_that_is_cancelled_kills_the_new_process() -> None:
    cleaned: list[str] = []

    class Hangs(GenServer):
        async def init(self) -> None:
            trap_exit()
            try:
                await trio.sleep_forever()
            finally:
                cleaned.append("cleaned up")

    async with node() as stage:
        exits = stage.events(exeunt.kernel.events.Exited)
        for start in (Hangs.start, Hangs.start_link, Hangs.named("x").start_link):
            with trio.move_on_after(2) as scope:
                await start()
            assert scope.cancelled_caught
            await settle()
            assert whereis("x") is None
        assert cleaned == ["cleaned up"] * 3
        assert [event.reason for event in exits] == ["killed"] * 3
        assert messages(self_pid()) == []


async def test_a_starter_that_dies_leaves_an_unlinked_server_to_itself() -> None:
    class Slow(GenServer):
        async def init(self) -> None:
            await trio.sleep(5)

    async with node():
        actor = Actor()
        actor.begin(lambda: Slow.named("slow").start())
        await settle()
        exeunt.exit(actor.pid, "bye")
        await trio.sleep(10)
        pid = whereis("slow")
        assert pid is not None
        await stop(pid)


async def test_a_starter_that_dies_takes_a_linked_server_along() -> None:
    class Hangs(GenServer):
        async def init(self) -> None:
            await trio.sleep_forever()

    async with node() as stage:
        exits = stage.events(exeunt.kernel.events.Exited)
        actor = Actor()
        actor.begin(lambda: Hangs.start_link())
        await settle()
        exeunt.exit(actor.pid, "bye")
        await settle()
        assert [event.reason for event in exits] == ["bye", "bye"]


async def test_init_may_use_self_and_others_may_send_meanwhile() -> None:
    class Early(GenServer):
        async def init(self) -> None:
            self.seen: list[Any] = []
            send(self.pid, "to myself")
            await trio.sleep(1)

        async def handle_info(self, message: Any) -> None:
            self.seen.append(message)

    async with node():
        pids: list[Pid] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def begin() -> None:
                pids.append(await Early.named("early").start())

            await settle()
            send("early", "from outside")
        state = await exeunt.get_state(pids[0])
        assert state["seen"] == ["to myself", "from outside"]


# -- names


async def test_a_name_is_registered_before_init_runs_and_freed_at_the_end() -> None:
    found: list[Pid | None] = []

    class Early(GenServer):
        async def init(self) -> None:
            found.append(whereis("early"))

    async with node():
        pid = await Early.named("early").start_link()
        assert found == [pid] and whereis("early") is pid
        await stop("early")
        assert whereis("early") is None


async def test_a_name_that_is_taken_starts_nothing_and_tells_by_whom() -> None:
    async with node():
        pid = await Counter.named("hits").start_link(1)
        for start in (Counter.named("hits").start, Counter.named("hits").start_link):
            with pytest.raises(AlreadyStarted) as caught:
                await start(2)
            assert caught.value.pid is pid and caught.value.name == "hits"
        assert exeunt.processes() == [self_pid(), pid]
        assert await Counter.get("hits") == 1


async def test_a_named_server_is_a_child_under_its_name() -> None:
    async with node():
        spec = Counter.named("hits").child(3)
        assert spec.id == "hits"
        await exeunt.Supervisor.start_link([spec])
        assert await Counter.get("hits") == 3


# -- on_call and on_cast


async def test_a_method_has_two_faces() -> None:
    class Twice(Counter):
        @on_call
        async def add_twice(self, times: int) -> int:
            await self.add(times)
            return await self.add(times)

    async with node():
        pid = await Twice.start()
        assert await Twice.add_twice(pid, 2) == 4
        assert await Twice.add(pid, times=1) == 5
        assert await Counter.get(pid) == 5


async def test_a_cast_returns_at_once_and_is_taken_in_turn() -> None:
    async with node():
        pid = await Counter.start(5)
        Counter.reset(pid, to=7)
        assert await Counter.get(pid) == 7
        Counter.reset(pid)
        assert await Counter.get(pid) == 0


async def test_a_decorated_method_keeps_its_documentation() -> None:
    assert vars(Counter)["add"].__doc__ == "Add so many steps."
    assert vars(Counter)["add"].__wrapped__.__name__ == "add"


async def test_a_method_may_return_any_value_of_its_own() -> None:
    class Any_(GenServer):
        @on_call
        async def give(self, value: Any) -> Any:
            return value

    async with node():
        pid = await Any_.start()
        for value in (None, 0, False, "", [], Continue("not a result here"), TimeoutAfter(1), Exit):
            assert await Any_.give(pid, value) == value


@pytest.mark.parametrize(
    ("result", "expected"),
    [(Reply(1), 1), (Reply(None), None), (Reply(Reply(2)), Reply(2))],
)
async def test_a_method_may_return_a_reply(result: Any, expected: Any) -> None:
    class Given(GenServer):
        @on_call
        async def ask(self) -> Any:
            return result

    async with node():
        assert await Given.ask(await Given.start()) == expected


async def test_a_method_may_refuse_stop_and_defer() -> None:
    class Desk(GenServer):
        async def init(self, log: list[Any]) -> None:
            self.log = log

        @on_call
        async def refuse(self) -> int | Refuse:
            return Refuse(KeyError("no such thing"))

        @on_call
        async def later(self) -> int | NoReply:
            self.kept = self.caller
            return NoReply()

        @on_cast
        async def now(self, value: int) -> None:
            reply(self.kept, value)

        @on_call
        async def leave(self) -> str | Stop:
            return Stop("shutdown", reply="bye")

        async def terminate(self, reason: object) -> None:
            self.log.append(reason)

    async with node():
        log: list[Any] = []
        pid = await Desk.start(log)
        with pytest.raises(KeyError, match="no such thing"):
            await Desk.refuse(pid)
        actor = Actor()
        answer = actor.begin(lambda: Desk.later(pid))
        await settle()
        Desk.now(pid, 42)
        await answer.done.wait()
        assert answer.value == 42
        assert await Desk.leave(pid) == "bye"
        assert log == ["shutdown"]
        await settle()
        assert not is_alive(pid)


async def test_a_method_that_raises_ends_the_server_and_fails_the_call() -> None:
    class Fragile(GenServer):
        @on_call
        async def divide(self, by: int) -> float:
            return 1 / by

    async with node() as stage:
        pid = await Fragile.start()
        failed = await failure(Fragile.divide(pid, 0))
        assert isinstance(failed.reason, Crash)
        assert isinstance(failed.__cause__, ZeroDivisionError)
        assert "Fragile.divide(0)" in str(failed)
        report = stage.crash(ZeroDivisionError)
        assert "Fragile.divide(0)" in str(report.details["last message"])


async def test_arguments_that_do_not_fit_are_the_callers_error() -> None:
    async with node():
        pid = await Counter.start(5)
        for wrong in (
            lambda: Counter.add(pid, 1, 2),  # type: ignore[call-arg]
            lambda: Counter.add(pid, often=2),  # type: ignore[call-arg]
            lambda: Counter.get(pid, 1),  # type: ignore[call-arg]
        ):
            with pytest.raises(TypeError, match="argument"):
                await wrong()
        with pytest.raises(TypeError, match="argument"):
            Counter.reset(pid, 1, 2)  # type: ignore[call-arg]
        assert await Counter.get(pid) == 5


async def test_a_call_of_the_wrong_class_is_the_callers_error() -> None:
    class Other(GenServer):
        @on_call
        async def other(self) -> int:
            return 1

    async with node():
        pid = await Counter.start(5)
        with pytest.raises(TypeError, match="Other"):
            await Other.other(pid)
        assert await Counter.get(pid) == 5


async def test_a_subclass_answers_the_requests_of_its_base() -> None:
    class Double(Counter):
        @on_call
        async def add(self, times: int = 1) -> int:
            self.count += 2 * times * self.step
            return self.count

    class Plain(Counter):
        async def add(self, times: int = 1) -> int:  # type: ignore[override]
            return -1

    async with node():
        assert await Counter.add(await Double.start(), 2) == 4
        assert await Counter.add(await Plain.start(), 2) == -1
        with pytest.raises(TypeError, match="is no Double"):
            await Double.add(await Counter.start(), 2)


async def test_a_request_to_nobody_fails_and_a_cast_does_not() -> None:
    async with node():
        pid = await Counter.start()
        await stop(pid)
        for server in (pid, "nobody"):
            assert (await failure(Counter.get(server))).reason == "noproc"
            Counter.reset(server)
            cast_to(server, "anything")


async def test_the_caller_is_known_within_a_call_only() -> None:
    class Asks(GenServer):
        async def init(self) -> None:
            self.callers: list[Any] = []

        async def handle_call(self, request: Any, caller: Call) -> Reply[Any]:
            assert self.caller is caller
            return Reply(caller.caller)

        async def handle_cast(self, request: Any) -> None:
            with pytest.raises(RuntimeError, match="no call is being handled"):
                _ = self.caller
            self.callers.append("none")

    async with node():
        pid = await Asks.start()
        assert await call(pid, "question") is self_pid()
        assert await call(pid, None) is self_pid()
        cast_to(pid, "x")
        assert (await exeunt.get_state(pid))["callers"] == ["none"]


async def test_a_call_of_itself_within_a_callback_is_found_at_once() -> None:
    class Loops(GenServer):
        @on_call
        async def ask(self) -> int:
            return await Loops.ask(self.pid)

    async with node() as stage:
        failed = await failure(Loops.ask(await Loops.start()))
        assert isinstance(failed.reason, Crash)
        inner = failed.reason.exception
        assert isinstance(inner, CallFailed) and isinstance(inner.reason, CallCycle)
        stage.crash(CallFailed)


# -- handle_call


@pytest.mark.parametrize(("result", "answer"), [(Reply(1), 1), (Reply(None), None)])
async def test_handle_call_replies(result: Any, answer: Any) -> None:
    async with node():
        pid = await Scripted.start()
        assert await call(pid, result) == answer


async def test_handle_call_may_answer_by_itself_before_it_returns() -> None:
    async with node():
        pid = await Scripted.start()

        def answers(server: Scripted) -> NoReply:
            reply(server.caller, "early")
            reply(server.caller, "again")
            return NoReply()

        assert await call(pid, answers) == "early"
        assert await call(pid, lambda server: (reply(server.caller, 1), Reply(2))[1]) == 1


async def test_handle_call_may_leave_the_answer_to_somebody_else() -> None:
    async def helper(asked: Call) -> None:
        await trio.sleep(3)
        reply(asked, "from the helper")

    async with node():
        pid = await Scripted.start()

        def delegates(server: Scripted) -> NoReply:
            spawn(helper, server.caller)
            return NoReply()

        assert await call(pid, delegates) == "from the helper"


async def test_handle_call_may_refuse_and_the_server_goes_on() -> None:
    async with node():
        pid = await Scripted.start()
        error = PermissionError("not you")
        with pytest.raises(PermissionError) as caught:
            await call(pid, Refuse(error))
        assert caught.value is error
        assert await call(pid, Reply("alive")) == "alive"


async def test_a_call_that_nobody_answers_fails_when_the_server_ends() -> None:
    async with node():
        pid = await Scripted.start()
        actor = Actor()
        answer = actor.begin(lambda: call(pid, NoReply()))
        await settle()
        await stop(pid, "shutdown")
        await answer.done.wait()
        assert isinstance(answer.error, CallFailed) and answer.error.reason == "shutdown"


@pytest.mark.parametrize("result", [None, 5, "ok", Ignore(), Continue(), TimeoutAfter(1)])
async def test_handle_call_that_returns_something_else_ends_the_server(result: Any) -> None:
    async with node() as stage:
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        failed = await failure(call(pid, lambda _: result))
        assert isinstance(failed.reason, Crash)
        error = failed.reason.exception
        assert isinstance(error, BadReturnValue) and error.value is result
        assert "Reply(value), NoReply(), Refuse(error) or Stop(reason)" in str(error)
        assert log == ["init", "call", ("terminate", Crash(error))]
        stage.crash(BadReturnValue)


async def test_a_call_without_a_callback_ends_the_server_and_says_so() -> None:
    class Plain(GenServer):
        pass

    async with node() as stage:
        failed = await failure(call(await Plain.start(), "question"))
        assert isinstance(failed.__cause__, UnexpectedRequest)
        assert "called with 'question', but has no handle_call" in str(failed.__cause__)
        stage.crash(UnexpectedRequest)


# -- handle_cast, handle_info, handle_continue


def cast_with(pid: Pid, result: Any) -> None:
    cast_to(pid, lambda _: result)


def info_with(pid: Pid, result: Any) -> None:
    send(pid, lambda _: result)


WAYS = {"handle_cast": cast_with, "handle_info": info_with}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("result", [5, True, Reply(1), NoReply(), Refuse(ValueError()), Ignore()])
async def test_a_callback_that_returns_something_else_ends_the_server(
    way: str, result: Any
) -> None:
    async with node() as stage:
        pid = await Scripted.start()
        WAYS[way](pid, result)
        reason = await wait_exit(pid)
        assert isinstance(reason, Crash) and isinstance(reason.exception, BadReturnValue)
        assert f"Scripted.{way} returned" in str(reason.exception)
        assert "None, Continue(…), TimeoutAfter(…) or Stop(reason)" in str(reason.exception)
        stage.crash(BadReturnValue)


async def test_handle_continue_that_returns_something_else_ends_the_server() -> None:
    async with node() as stage:
        await Scripted.start(Continue(lambda _: 5))
        await settle()
        assert "handle_continue returned 5" in str(stage.crash(BadReturnValue))


async def test_an_on_cast_method_that_returns_something_else_ends_the_server() -> None:
    class Wrong(GenServer):
        @on_cast
        async def go(self) -> Any:
            return 5

    async with node() as stage:
        pid = await Wrong.start()
        Wrong.go(pid)
        reason = await wait_exit(pid)
        assert isinstance(reason, Crash) and "Wrong.go returned 5" in str(reason)
        stage.crash(BadReturnValue)


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown("x"), "bad"])
@pytest.mark.parametrize("way", [*WAYS, "handle_continue"])
async def test_any_callback_may_stop_the_server(way: str, reason: object) -> None:
    async with node() as stage:
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        if way == "handle_continue":
            info_with(pid, Continue(lambda _: Stop(reason)))
        else:
            WAYS[way](pid, Stop(reason))
        assert await wait_exit(pid) == reason
        assert log[-1] == ("terminate", reason)
        if reason == "bad":
            assert stage.crash().exception is None


async def test_messages_of_all_kinds_come_to_handle_info_in_order() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log, trap=True)
        actor = Actor()
        ref: list[Any] = []

        def prepare(server: Scripted) -> Reply[None]:
            exeunt.link(actor.pid)
            ref.append(exeunt.monitor(actor.pid))
            exeunt.send_after(5, server.pid, "timer")
            return Reply(None)

        await call(pid, prepare)
        send(pid, "plain")
        exeunt.exit(actor.pid, "bye")
        await trio.sleep(10)
        assert log[2:] == [
            ("info", "plain"),
            ("info", Exit(actor.pid, "bye")),
            ("info", Down(ref[0], actor.pid, "bye")),
            ("info", "timer"),
        ]


async def test_a_message_without_a_callback_is_logged_and_the_server_goes_on() -> None:
    async with node() as stage:
        pid = await Counter.named("hits").start(3)
        send(pid, {"surprise": 1})
        assert await Counter.get(pid) == 3
        record = stage.logged("no handle_info for: {'surprise': 1}", logging.ERROR)
        assert f"{pid} 'hits' (Counter)" in record.getMessage()


async def test_a_cast_without_a_callback_ends_the_server() -> None:
    async with node() as stage:
        pid = await Counter.start()
        cast_to(pid, "surprise")
        assert isinstance(await wait_exit(pid), Crash)
        assert "cast 'surprise', but has no handle_cast" in str(stage.crash(UnexpectedRequest))


async def test_a_continue_without_a_callback_ends_the_server() -> None:
    class Careless(GenServer):
        async def init(self) -> Continue:
            return Continue("x")

    async with node() as stage:
        pid = await Careless.start()
        await wait_exit(pid)
        assert "continues with 'x', but has no handle_continue" in str(stage.crash())


# -- continue


async def test_continue_comes_before_any_message() -> None:
    async with node():
        log: list[Any] = []

        def init() -> Continue:
            send(self_pid(), "waiting")
            return Continue(1)

        pid = await Scripted.start(init, log)
        await settle()
        assert log == ["init", ("continue", 1), ("info", "waiting")]
        send(pid, lambda _: (send(pid, "waiting too"), Continue(2))[1])
        await settle()
        assert log[3:] == ["info", ("continue", 2), ("info", "waiting too")]


async def test_continue_may_continue_again() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        send(pid, lambda _: Continue(lambda _: Continue(lambda _: Continue("last"))))
        send(pid, "after")
        await settle()
        assert log == [
            "init",
            "info",
            "continue",
            "continue",
            ("continue", "last"),
            ("info", "after"),
        ]


async def test_a_reply_goes_out_before_its_continue() -> None:
    async with node():
        seen: list[Any] = []

        class Slow(Scripted):
            async def handle_continue(self, argument: Any) -> None:
                await trio.sleep(5)
                seen.append("continued")

        pid = await Slow.start()
        assert await call(pid, Reply("answer", Continue())) == "answer"
        seen.append("answered")
        await stop(pid)
        assert seen == ["answered", "continued"]


@pytest.mark.parametrize("result", [NoReply, Refuse])
async def test_continue_after_a_call_that_was_not_answered(result: Any) -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        given = NoReply(Continue(1)) if result is NoReply else Refuse(KeyError("no"), Continue(1))
        with trio.move_on_after(1), pytest.raises(KeyError):
            await call(pid, given)
        await settle()
        assert log == ["init", "call", ("continue", 1)]


async def test_a_server_that_continues_for_ever_lets_others_run_and_can_be_ended() -> None:
    class Busy(GenServer):
        async def init(self) -> Continue:
            return Continue()

        async def handle_continue(self, argument: Any) -> Continue:
            return Continue()

    async with node():
        pid = await Busy.start()
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        exeunt.exit(pid, "enough")
        assert await wait_exit(pid) == "enough"


# -- time-outs


async def test_a_timeout_comes_when_nothing_else_does() -> None:
    async with node():
        log: list[Any] = []
        await Scripted.start(TimeoutAfter(3), log)
        await trio.sleep(2.9)
        assert log == ["init"]
        await trio.sleep(0.2)
        assert log == ["init", ("info", "timeout")]
        await trio.sleep(100)
        assert log == ["init", ("info", "timeout")], "nothing means none"


async def test_any_message_cancels_a_timeout() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(TimeoutAfter(3), log)
        await trio.sleep(2)
        send(pid, "message")
        await trio.sleep(100)
        assert log == ["init", ("info", "message")]


async def test_what_the_callback_returns_decides_anew() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        for result in (
            lambda: call(pid, Reply(1, TimeoutAfter(5))),
            lambda: cast_with(pid, TimeoutAfter(5)),
            lambda: info_with(pid, TimeoutAfter(5)),
            lambda: info_with(pid, Continue(lambda _: TimeoutAfter(5))),
        ):
            made = result()
            if made is not None:
                await made
            await settle()
            start = trio.current_time()
            while ("info", "timeout") not in log:
                await trio.sleep(0.5)
                assert trio.current_time() - start <= 5.5
            assert trio.current_time() - start >= 5
            log.clear()


async def test_a_waiting_message_comes_before_a_timeout_of_zero() -> None:
    async with node():
        log: list[Any] = []

        def init() -> TimeoutAfter:
            send(self_pid(), "waiting")
            return TimeoutAfter(0)

        pid = await Scripted.start(init, log)
        await settle()
        assert log == ["init", ("info", "waiting")]
        info_with(pid, TimeoutAfter(0))
        await settle()
        assert log[2:] == ["info", ("info", "timeout")]


async def test_a_message_at_the_very_moment_of_a_timeout_comes_once_and_instead_of_it() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        for _ in range(10):
            log.clear()
            exeunt.send_after(1, pid, "message")
            info_with(pid, TimeoutAfter(1))
            await trio.sleep(5)
            # Which of the two comes first is not told, but the message comes, and once.
            assert log.count(("info", "message")) == 1
            assert set(log) <= {"info", ("info", "message"), ("info", "timeout")}
            assert len(log) == 2 + (("info", "timeout") in log)


async def test_a_system_message_starts_the_timeout_anew() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(TimeoutAfter(3), log)
        for _ in range(3):
            await trio.sleep(2)
            await exeunt.get_state(pid)
        assert log == ["init"]
        await trio.sleep(2.9)
        assert log == ["init"]
        await trio.sleep(0.2)
        assert log == ["init", ("info", "timeout")]


async def test_a_server_that_always_has_a_timeout_lets_others_run_and_can_be_ended() -> None:
    class Busy(GenServer):
        async def init(self) -> TimeoutAfter:
            send(self.pid, "again")
            return TimeoutAfter(5)

        async def handle_info(self, message: Any) -> TimeoutAfter:
            send(self.pid, "again")
            return TimeoutAfter(5)

    async with node():
        pid = await Busy.start()
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        exeunt.exit(pid, "enough")
        assert await wait_exit(pid) == "enough"


async def test_timeouts_without_an_end_are_possible() -> None:
    async with node():
        log: list[Any] = []
        await Scripted.start(TimeoutAfter(float("inf")), log)
        await trio.sleep(1000)
        assert log == ["init"]


# -- the end: terminate


async def test_a_callback_that_raises_has_terminate_called_with_the_crash() -> None:
    error = ValueError("wrong")
    for way in ("call", "cast", "info", "continue"):
        async with node() as stage:
            log: list[Any] = []
            pid = await Scripted.start(None, log)
            if way == "call":
                failed = await failure(call(pid, fail(error)))
                assert failed.reason == Crash(error)
            else:
                action = fail(error) if way != "continue" else lambda _: Continue(fail(error))
                (cast_to if way == "cast" else send)(pid, action)
                assert await wait_exit(pid) == Crash(error)
            assert log[-1] == ("terminate", Crash(error))
            stage.crash(ValueError)


async def test_a_callback_may_exit_with_any_reason() -> None:
    async with node() as stage:
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        send(pid, fail(ProcessExit("bad")))
        assert await wait_exit(pid) == "bad"
        assert log[-1] == ("terminate", "bad")
        assert stage.crash().reason == "bad"
        pid = await Scripted.start(None, log)
        send(pid, fail(ProcessExit("shutdown")))
        assert await wait_exit(pid) == "shutdown"
        assert log[-1] == ("terminate", "shutdown")


async def test_terminate_is_not_called_for_a_signal_that_is_not_trapped() -> None:
    async with node():
        for reason in ("bye", "shutdown", "kill"):
            log: list[Any] = []
            pid = await Scripted.start(None, log)
            await settle()
            exeunt.exit(pid, reason)
            await wait_exit(pid)
            assert log == ["init"]


async def test_terminate_is_not_called_for_a_kill_though_exits_are_trapped() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log, trap=True)
        exeunt.exit(pid, "kill")
        assert await wait_exit(pid) == "killed"
        assert log == ["init"]


async def test_terminate_is_not_called_when_a_callback_swallows_the_cancellation() -> None:
    class Swallows(GenServer):
        async def init(self, log: list[Any]) -> None:
            self.log = log

        async def handle_info(self, message: Any) -> Stop:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass
            return Stop("its own reason")

        async def terminate(self, reason: object) -> None:
            self.log.append(reason)

    async with node():
        log: list[Any] = []
        pid = await Swallows.start(log)
        send(pid, "go")
        await settle()
        exeunt.exit(pid, "signal")
        assert await wait_exit(pid) == "signal"
        assert log == []


async def test_a_failing_terminate_gives_the_reason_and_tells_what_it_failed_over() -> None:
    first, second = ValueError("first"), OSError("in terminate")
    async with node() as stage:
        pid = await Scripted.start()
        await call(pid, lambda server: (setattr(server, "on_end", second), Reply(1))[1])
        send(pid, fail(first))
        assert await wait_exit(pid) == Crash(second)
        report = stage.crash(OSError)
        assert report.exception is second and second.__context__ is first


async def test_a_terminate_that_exits_gives_the_reason_and_is_reported() -> None:
    async with node() as stage:
        pid = await Scripted.start()
        exit_ = ProcessExit("normal")
        await call(pid, lambda server: (setattr(server, "on_end", exit_), Reply(1))[1])
        with pytest.raises(CallFailed) as caught:
            await stop(pid, "shutdown")
        assert caught.value.reason == "normal"
        assert stage.crash().reason == "normal"


async def test_what_terminate_returns_does_not_matter() -> None:
    async with node():
        pid = await Scripted.start()
        await stop(pid, "shutdown")


async def test_a_stop_with_a_reply_terminates_first_and_then_answers() -> None:
    seen: list[str] = []

    class Slow(GenServer):
        async def handle_call(self, request: Any, caller: Call) -> Stop:
            return Stop("normal", reply="answer")

        async def terminate(self, reason: object) -> None:
            await trio.sleep(2)
            seen.append("terminated")

    async with node():
        pid = await Slow.start()
        assert await call(pid, "x") == "answer"
        seen.append("answered")
        assert seen == ["terminated", "answered"]
        await settle()
        assert not is_alive(pid)


async def test_a_stop_without_a_reply_fails_the_call_with_the_reason() -> None:
    async with node():
        pid = await Scripted.start()
        assert (await failure(call(pid, Stop("shutdown")))).reason == "shutdown"


async def test_a_stop_with_a_reply_answers_though_terminate_fails() -> None:
    class Fails(GenServer):
        async def handle_call(self, request: Any, caller: Call) -> Stop:
            return Stop("normal", reply=None)

        async def terminate(self, reason: object) -> None:
            raise OSError("in terminate")

    async with node() as stage:
        pid = await Fails.start()
        assert await call(pid, "x") is None
        assert isinstance(await wait_exit(pid), (Crash, str))
        stage.crash(OSError)


async def test_a_server_that_is_killed_in_terminate_does_not_answer() -> None:
    class Hangs(GenServer):
        async def handle_call(self, request: Any, caller: Call) -> Stop:
            return Stop("normal", reply="answer")

        async def terminate(self, reason: object) -> None:
            await trio.sleep_forever()

    async with node():
        pid = await Hangs.start()
        actor = Actor()
        answer = actor.begin(lambda: call(pid, "x"))
        await settle()
        exeunt.exit(pid, "kill")
        await answer.done.wait()
        assert isinstance(answer.error, CallFailed) and answer.error.reason == "killed"


async def test_messages_and_calls_behind_a_stop_are_lost_and_the_calls_fail() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        await exeunt.suspend(pid)
        actors = [Actor() for _ in range(2)]
        info_with(pid, Stop("shutdown"))
        answers = [actor.begin(lambda: call(pid, Reply(1))) for actor in actors]
        await settle()
        send(pid, "lost")
        await exeunt.resume(pid)
        for answer in answers:
            await answer.done.wait()
            assert isinstance(answer.error, CallFailed) and answer.error.reason == "shutdown"
        assert log == ["init", "info", ("terminate", "shutdown")]


# -- the parent


@pytest.mark.parametrize("reason", ["normal", "shutdown", "bad"])
async def test_an_exit_of_the_parent_ends_a_server_that_traps(reason: str) -> None:
    async with node() as stage:
        log: list[Any] = []
        parent = Actor()
        pid = await parent.do(lambda: Scripted.start_link(None, log, trap=True))
        exeunt.monitor(pid)
        if reason == "normal":
            # From exit as well as from the link: as in OTP both are the parent's.
            await parent.do(lambda: exeunt.exit(pid, "normal"))
        else:
            exeunt.exit(parent.pid, reason)
        assert (await receive(Down)).reason == reason
        assert log == ["init", ("terminate", reason)]
        if reason == "bad":
            stage.crash(pid=pid)


async def test_an_exit_of_the_parent_kills_a_server_that_does_not_trap() -> None:
    async with node():
        log: list[Any] = []
        parent = Actor()
        pid = await parent.do(lambda: Scripted.start_link(None, log))
        exeunt.exit(parent.pid, "bye")
        assert await wait_exit(pid) == "bye"
        assert log == ["init"]


async def test_exits_of_others_come_to_handle_info() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start_link(None, log, trap=True)
        other = Actor()
        await other.do(lambda: exeunt.exit(pid, "bye"))
        await settle()
        assert log == ["init", ("info", Exit(other.pid, "bye"))]


async def test_a_server_without_a_link_has_no_parent() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log, trap=True)
        exeunt.exit(pid, "bye")
        await settle()
        assert log == ["init", ("info", Exit(self_pid(), "bye"))]


# -- stop


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown("x")])
async def test_stop_waits_for_the_end(reason: object) -> None:
    class Slow(GenServer):
        async def terminate(self, reason: object) -> None:
            await trio.sleep(3)

    async with node():
        pid = await Slow.start_link()
        exeunt.unlink(pid)
        start = trio.current_time()
        await stop(pid, reason)
        assert trio.current_time() - start == pytest.approx(3)
        assert not is_alive(pid)


async def test_stop_of_nobody_fails_whatever_the_reason() -> None:
    async with node():
        pid = await Counter.start()
        await stop(pid)
        for server in (pid, "nobody"):
            for reason in ("normal", "noproc"):
                assert (await failure(stop(server, reason))).reason == "noproc"


async def test_stop_is_served_in_its_turn() -> None:
    async with node():
        log: list[Any] = []
        pid = await Scripted.start(None, log)
        for number in range(3):
            send(pid, number)
        await stop(pid)
        assert log == ["init", *[("info", number) for number in range(3)], ("terminate", "normal")]


async def test_stop_with_a_bad_reason_is_reported() -> None:
    async with node() as stage:
        pid = await Counter.start()
        await stop(pid, "bad")
        assert stage.crash(pid=pid).reason == "bad"


async def test_stop_of_a_server_that_dies_of_something_else_says_so() -> None:
    async with node():

        class Dies(GenServer):
            async def terminate(self, reason: object) -> None:
                exeunt.exit(self.pid, "kill")

        assert (await failure(stop(await Dies.start()))).reason == "killed"


async def test_a_stop_that_is_given_up_while_it_waits_its_turn_is_taken_back() -> None:
    class Slow(GenServer):
        async def handle_info(self, message: Any) -> None:
            await trio.sleep(10)

    async with node():
        pid = await Slow.start()
        send(pid, "work")
        with trio.move_on_after(1) as scope:
            await stop(pid)
        assert scope.cancelled_caught
        await trio.sleep(20)
        assert is_alive(pid)


# -- crash reports


async def test_one_crash_is_one_readable_record() -> None:
    class Till(GenServer):
        async def init(self, name: str) -> None:
            self.owner = name
            self.total = 10

        @on_call
        async def divide(self, by: int) -> float:
            return self.total / by

    error = "ZeroDivisionError: division by zero"
    async with node() as stage:
        actor = Actor()
        pid = await actor.do(lambda: Till.named("till").start("Ada"))
        assert isinstance((await failure(Till.divide("till", 0))).reason, Crash)
        [(text, record)] = stage.log.unclaimed
        first = text.splitlines()[0]
        assert first.startswith(f"{pid} 'till' (") and first.endswith("Till) ended: " + error)
        for part in (
            "last message: ",
            "Till.divide(0)",
            "state: ",
            "'owner': 'Ada'",
            "'total': 10",
        ):
            assert part in text
        assert f"ancestors: {actor.pid}, {self_pid()}" in text
        assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError
        stage.crash(ZeroDivisionError)


async def test_a_state_that_cannot_be_shown_does_not_spoil_the_report() -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class Odd(GenServer):
        async def init(self) -> None:
            self.thing = Unprintable()

        async def handle_info(self, message: Any) -> None:
            raise ValueError(message)

    async with node() as stage:
        pid = await Odd.start()
        send(pid, "x")
        await wait_exit(pid)
        text = str(stage.crash(ValueError))
        assert "ValueError: x" in text


async def test_orderly_ends_are_not_reported() -> None:
    async with node() as stage:
        reports = stage.events(CrashReport)
        for reason in ("normal", "shutdown", Shutdown("x")):
            pid = await Scripted.start()
            info_with(pid, Stop(reason))
            await wait_exit(pid)
            pid = await Scripted.start()
            send(pid, fail(ProcessExit(reason)))
            await wait_exit(pid)
        assert reports == []


async def test_the_report_has_the_state_from_before_the_end() -> None:
    async with node() as stage:
        pid = await Counter.start(3)
        await Counter.add(pid, 4)
        await stop(pid, "bad")
        assert "'count': 7" in str(stage.crash())


async def crashes_once(stage: Stage, pid: Pid) -> None:
    await wait_exit(pid)
    assert len(stage.log.unclaimed) == 1
    stage.crash(pid=pid)


async def test_a_crash_under_load_is_one_record_though_many_callers_fail() -> None:
    async with node() as stage:
        pid = await Scripted.start()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(failure, call(pid, lambda _: NoReply()))
            await settle()
            send(pid, fail(ValueError("wrong")))
            nursery.start_soon(crashes_once, stage, pid)


# -- misspelt callbacks


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("handel_info", "handle_info"),
        ("handle_inf", "handle_info"),
        ("handle_calls", "handle_call"),
        ("handlecast", "handle_cast"),
        ("handle_contine", "handle_continue"),
        ("terminated", "terminate"),
    ],
)
def test_a_misspelt_callback_is_refused_when_the_class_is_defined(name: str, meant: str) -> None:
    async def callback(self: Any) -> None: ...

    with pytest.raises(TypeError, match=f"Wrong.{name} looks like .* did you mean '{meant}'"):
        type("Wrong", (GenServer,), {name: callback})


@pytest.mark.parametrize(
    "name",
    [
        *["handle_event", "handle_data", "handle_task", "handle_state", "handle_message"],
        *["initialise", "terminate_child", "info", "cast", "call", "_handel_info", "handle_join"],
    ],
)
def test_other_names_are_nobodys_business(name: str) -> None:
    async def callback(self: Any) -> None: ...

    type("Right", (GenServer,), {name: callback})


def test_a_data_attribute_may_be_called_anything() -> None:
    type("Right", (GenServer,), {"handle_inf": 5})


# -- a plain process beside


async def test_idle_processes_and_servers_share_a_node() -> None:
    async with node():
        pid = spawn(idle)
        server = await Counter.start_link()
        exeunt.exit(pid, "bye")
        assert await Counter.add(server) == 1
        with pytest.raises(trio.WouldBlock):
            exeunt.receive_nowait()
        send(self_pid(), "x")
        assert await receive() == "x"


# -- what is for the whole program


class Interrupted(GenServer):
    """Raises what it is given, wherever it is given it."""

    async def init(self, error: BaseException | None = None, at_the_end: object = None) -> None:
        self.at_the_end = at_the_end
        if error is not None:
            raise error

    async def handle_info(self, message: Any) -> None:
        raise message

    async def handle_cast(self, request: Any) -> None:
        raise request

    async def handle_call(self, request: Any, caller: Call) -> NoReply:
        raise request

    @on_call
    async def fail(self, error: BaseException) -> None:
        raise error

    async def terminate(self, reason: object) -> None:
        if isinstance(self.at_the_end, BaseException):
            raise self.at_the_end


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("where", ["info", "cast", "call", "on_call", "init", "group", "terminate"])
async def test_an_interruption_in_a_callback_ends_the_program_in_order(
    where: str, error: BaseException
) -> None:
    log: list[str] = []

    async def last() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("ended in order")

    with pytest.raises(type(error)):
        async with exeunt.open_node(signals=False):
            trap_exit()
            spawn(last)
            server = await Interrupted.start(None, error if where == "terminate" else None)
            match where:
                case "info":
                    send(server, error)
                case "cast":
                    cast_to(server, error)
                case "call":
                    spawn(call, server, error)
                case "on_call":
                    spawn(Interrupted.fail, server, error)
                case "init":
                    spawn(Interrupted.start, error)
                case "group":
                    send(server, BaseExceptionGroup("two", [error, ValueError()]))
                case _:
                    spawn(exeunt.stop, server)
            await trio.sleep_forever()
    assert log == ["ended in order"]


async def test_an_interruption_counts_though_terminate_fails_over_it() -> None:
    with pytest.raises(SystemExit):
        async with exeunt.open_node(signals=False):
            server = await Interrupted.start(None, ValueError("in terminate"))
            send(server, SystemExit(3))
            await trio.sleep_forever()


async def test_an_interruption_that_others_hear_of_is_one_and_not_two() -> None:
    """A second one would stop everything at once; what is linked to the server is no second one."""
    log: list[str] = []

    async def takes_its_time() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            log.append("ended in order")

    async def linked(server: Pid) -> None:
        exeunt.link(server)
        await trio.sleep_forever()

    with pytest.raises(SystemExit):
        async with exeunt.open_node(signals=False):
            trap_exit()
            spawn(takes_its_time)
            server = await Interrupted.start()
            for _ in range(3):
                spawn(linked, server)
            await trio.testing.wait_all_tasks_blocked()
            exeunt.link(server)
            send(server, SystemExit(3))
            await trio.sleep_forever()
    assert log == ["ended in order"]


# -- a bounded mailbox


class Log(GenServer, mailbox=Bound(3, "drop_oldest")):
    async def init(self, ready: trio.Event) -> None:
        self.lines: list[object] = []
        self.ready = ready

    @on_cast
    async def write(self, line: str) -> None:
        await self.ready.wait()
        self.lines.append(line)

    @on_call
    async def read(self) -> list[object]:
        return self.lines


class QuietLog(Log):
    """Has the bound of its base."""


class LargeLog(Log, mailbox=Bound(100, "drop_newest")):
    """Has one of its own."""


@pytest.mark.parametrize(
    ("kind", "written"),
    [(Log, [0, 7, 8, 9]), (QuietLog, [0, 7, 8, 9]), (LargeLog, list(range(10)))],
)
async def test_a_class_of_servers_may_bound_its_mailbox(
    kind: type[Log], written: list[int]
) -> None:
    async with node():
        ready = trio.Event()
        supervisor = await exeunt.Supervisor.start_link([kind.named("log").child(ready)])
        Log.write("log", "line 0")
        await settle()
        for number in range(1, 10):
            Log.write("log", f"line {number}")
        ready.set()
        await settle()
        assert await Log.read("log") == [f"line {number}" for number in written]
        await stop(supervisor)


async def test_a_call_to_a_server_whose_mailbox_is_full_fails_and_a_stop_too() -> None:
    class Busy(GenServer, mailbox=Bound(1, "drop_newest")):
        async def handle_info(self, message: Any) -> None:
            await trio.sleep(1)

        @on_call
        async def ask(self) -> str:
            return "answer"

    async with node():
        server = await Busy.start()
        send(server, "first")
        await settle()
        send(server, "second")
        for request in (Busy.ask(server), stop(server)):
            with pytest.raises(CallFailed) as caught:
                await request
            assert caught.value.reason == "overflow"
        await trio.sleep(3)
        assert await Busy.ask(server) == "answer"


async def test_a_server_that_overflows_ends_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Strict(GenServer, mailbox=Bound(2)):
        async def handle_info(self, message: Any) -> None:
            await trio.sleep_forever()

    async with node():
        server = await Strict.start()
        ref = exeunt.monitor(server)
        for number in range(4):
            send(server, number)
        assert await receive() == Down(ref, server, "overflow")


def test_the_mailbox_of_a_class_is_a_bound() -> None:
    with pytest.raises(TypeError, match=r"the mailbox of .*Wrong is a Bound\(…\), not 1000"):

        class Wrong(GenServer, mailbox=1000):  # type: ignore[arg-type]
            pass

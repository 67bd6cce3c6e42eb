"""get_status, trace and its like: looking into servers, as OTP's `sys` does."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from textwrap import dedent
from typing import Any

import pytest
import trio

import exeunt.otp.introspection
from exeunt import (
    Call,
    CallFailed,
    Continue,
    Down,
    Exit,
    GenServer,
    NoReply,
    Pid,
    Refuse,
    Reply,
    Stop,
    call,
    cast_to,
    get_state,
    monitor,
    on_call,
    replace_state,
    reply,
    resume,
    self_pid,
    send,
    spawn,
    stop,
    suspend,
    trap_exit,
    wait_exit,
)
from exeunt.otp.introspection import (
    Statistics,
    count_events,
    get_statistics,
    get_status,
    install,
    log_events,
    logged_events,
    no_debug,
    remove,
    trace,
)
from exeunt.otp.results import TimeoutAfter
from exeunt.otp.server_loop import Cast
from exeunt.otp.statemachine import StateMachine, state
from exeunt.otp.tracing import TraceEvent
from exeunt.otp.transitions import (
    CallEvent,
    CastEvent,
    EnterEvent,
    InternalEvent,
    KeepState,
    NextEvent,
    NextState,
    Postpone,
    ReplyTo,
    Start,
    StateEvent,
    StateTimedOut,
    StateTimeout,
    Transition,
)
from tests.kernel.nodes import idle, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Counter(GenServer):
    """Counts, and answers in every way that there is."""

    async def init(self, start: int = 0, secret: str = "") -> None:
        self.count = start
        self.secret = secret

    @on_call
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    async def handle_call(self, request: Any, caller: Call) -> Any:
        match request:
            case "reply":
                return Reply("replied")
            case "later":
                self.kept = caller
                return NoReply()
            case "refuse":
                return Refuse(ValueError("refused"))
            case "continue":
                return Reply("first", Continue("more"))
            case "timeout":
                return Reply("waits", TimeoutAfter(1.0))
            case _:
                return Stop("shutdown", "bye")

    async def handle_cast(self, request: Any) -> None:
        self.count += request

    async def handle_info(self, message: Any) -> None:
        pass

    async def handle_continue(self, argument: Any) -> None:
        self.count += 1

    def format_status(self, state: dict[str, Any]) -> Mapping[str, Any]:
        if state["secret"]:
            state["secret"] = "…"
        return state


def kinds(events: list[TraceEvent]) -> list[tuple[str, object]]:
    return [(event.kind, event.content) for event in events]


# -- status ---------------------------------------------------------------------------------------


async def test_get_status_tells_how_a_server_is() -> None:
    async with node():
        counter = await Counter.named("counter").start_link(1)
        send(counter, "some message")
        status = await get_status("counter")
        assert status.pid is counter
        assert (status.name, status.label) == ("counter", "Counter")
        assert status.parent is self_pid()
        assert status.is_suspended is False
        assert status.last_message == "some message"
        assert status.state == {"count": 1, "secret": ""}
        assert status.message_queue_len == 0
        assert status.log == ()
        other = await Counter.start()
        status = await get_status(other)
        assert (status.name, status.parent, status.last_message) == (None, None, None)


async def test_get_status_shows_a_suspended_server_and_what_waits() -> None:
    async with node():
        counter = await Counter.start_link()
        await suspend(counter)
        for number in range(3):
            cast_to(counter, number)
        status = await get_status(counter)
        assert (status.is_suspended, status.message_queue_len) == (True, 3)
        assert "suspended" in str(status)
        await resume(counter)
        assert (await get_status(counter)).is_suspended is False


async def test_a_status_prints_as_a_few_lines() -> None:
    async with node():
        counter = await Counter.named("counter").start_link(1)
        await log_events(counter)
        await Counter.add(counter, 2)
        main = self_pid()
        assert str(await get_status(counter)).splitlines() == [
            f"{counter} 'counter' (Counter), running",
            f"  parent: {main}",
            "  messages waiting: 0",
            f"  last message: Call(Counter.add(2), caller={main})",
            "  state: {'count': 3, 'secret': ''}",
            "  last events:",
            f"    {counter} in: Call(Counter.add(2), caller={main})",
            f"    {counter} out to {main}: 3",
        ]


async def test_format_status_covers_secrets_in_the_status_and_in_crash_reports() -> None:
    async with node() as stage:
        counter = await Counter.start(0, "hunter2")
        assert (await get_status(counter)).state == {"count": 0, "secret": "…"}
        assert (await get_state(counter))["secret"] == "hunter2"
        cast_to(counter, "not a number")
        await wait_exit(counter)
        assert stage.crash(TypeError).details["state"] == "{'count': 0, 'secret': '…'}"


async def test_when_format_status_fails_nothing_is_shown() -> None:
    class Wrong(Counter):
        def format_status(self, state: dict[str, Any]) -> Mapping[str, Any]:
            raise KeyError("wrong")

    async with node() as stage:
        wrong = await Wrong.start(0, "hunter2")
        assert (await get_status(wrong)).state == {"format_status": "failed: KeyError('wrong')"}
        cast_to(wrong, "not a number")
        await wait_exit(wrong)
        assert "hunter2" not in str(stage.crash(TypeError))


async def test_a_misspelt_format_status_is_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'format_status'"):

        class Misspelt(GenServer):
            def format_state(self, state: dict[str, Any]) -> Mapping[str, Any]:
                return state


# -- state ----------------------------------------------------------------------------------------


async def test_replace_state_that_raises_leaves_the_state() -> None:
    async with node():
        counter = await Counter.start(1)

        def wrong(attributes: dict[str, Any]) -> dict[str, Any]:
            attributes["count"] = 2
            raise KeyError("wrong")

        with pytest.raises(KeyError, match="wrong"):
            await replace_state(counter, wrong)
        assert (await get_state(counter))["count"] == 1
        changed = await replace_state(counter, lambda attributes: {**attributes, "count": 3})
        assert changed["count"] == 3
        assert await Counter.add(counter, 1) == 4


async def test_all_of_them_fail_like_calls() -> None:
    async with node():
        dead = spawn(idle)
        exeunt.exit(dead, "kill")
        await wait_exit(dead)
        for ask in (get_status, get_state, suspend, trace, no_debug, logged_events, get_statistics):
            with pytest.raises(CallFailed, match="noproc") as failed:
                await ask(dead)
            assert repr(failed.value.request).endswith("()")
        with pytest.raises(trio.TooSlowError), trio.fail_after(5):
            await get_status(spawn(idle))


# -- events ---------------------------------------------------------------------------------------


async def test_the_log_keeps_messages_and_answers_with_the_state() -> None:
    async with node():
        counter = await Counter.start()
        await log_events(counter, 100)
        await Counter.add(counter, 1)
        cast_to(counter, 5)
        assert await call(counter, "reply") == "replied"
        with pytest.raises(ValueError, match="refused"):
            await call(counter, "refuse")
        send(counter, "plain")
        events = await logged_events(counter)
        assert [event.kind for event in events] == [
            *("in", "out", "in", "noreply", "in", "out", "in", "out", "in", "noreply")
        ]
        assert isinstance(events[0].content, Call)
        assert (events[1].content, events[1].to) == (1, self_pid())
        assert isinstance(events[2].content, Cast)
        assert events[5].content == "replied"
        assert isinstance(events[7].content, ValueError)
        assert events[8].content == "plain"
        assert [event.state["count"] for event in events[:4]] == [0, 1, 1, 6]
        assert all(event.server is counter for event in events)


async def test_the_log_shows_continue_timeouts_and_late_answers() -> None:
    async with node():
        counter = await Counter.start()
        await log_events(counter, 100)
        await call(counter, "continue")
        await call(counter, "timeout")
        await trio.sleep(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, counter, "later")
            await settle()
            reply((await get_state(counter))["kept"], "at last")
        events = await logged_events(counter)
        assert kinds(events)[1:4] == [("out", "first"), ("continue", "more"), ("noreply", None)]
        assert kinds(events)[5:8] == [("out", "waits"), ("in", "timeout"), ("noreply", None)]
        assert [event.kind for event in events[8:]] == ["in", "noreply"]
        assert events[6].time == events[5].time + 1.0


async def test_the_answer_of_a_stop_is_the_last_event() -> None:
    async with node():
        counter = await Counter.start()
        seen: list[TraceEvent] = []
        await install(counter, seen.append)
        assert await call(counter, "stop") == "bye"
        await wait_exit(counter)
        assert kinds(seen)[1:] == [("out", "bye")]


async def test_the_log_keeps_the_last_events_and_its_length_can_be_changed() -> None:
    async with node():
        counter = await Counter.start()
        await log_events(counter)
        for number in range(20):
            cast_to(counter, number)
        events = await logged_events(counter)
        assert len(events) == 10
        assert events[0].state["count"] == sum(range(15))
        await log_events(counter, 3)
        assert await logged_events(counter) == events[-3:]
        await log_events(counter, 5)
        cast_to(counter, 0)
        assert (await logged_events(counter))[:3] == events[-3:]
        await log_events(counter, 0)
        assert await logged_events(counter) == []
        with pytest.raises(ValueError, match="from 0 up"):
            await log_events(counter, -1)


async def test_system_requests_are_no_events() -> None:
    async with node():
        counter = await Counter.start()
        await log_events(counter)
        await get_state(counter)
        await get_status(counter)
        await suspend(counter)
        await resume(counter)
        assert await logged_events(counter) == []


async def test_trace_prints_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    async with node():
        counter = await Counter.start()
        await trace(counter)
        await trace(counter)
        cast_to(counter, 1)
        await trace(counter, on=False)
        cast_to(counter, 2)
        await get_state(counter)
        assert capsys.readouterr().out.splitlines() == [
            f"{counter} in: Cast(1)",
            f"{counter} noreply, state {{'count': 1, 'secret': ''}}",
        ]


async def test_a_handler_is_called_until_it_is_done_or_removed() -> None:
    async with node():
        counter = await Counter.start()
        first: list[TraceEvent] = []
        second: list[TraceEvent] = []

        def two(event: TraceEvent) -> object:
            first.append(event)
            return "done" if len(first) == 2 else None

        await install(counter, two)
        await install(counter, second.append)
        for _ in range(3):
            cast_to(counter, 1)
        await remove(counter, second.append)
        await remove(counter, two)
        cast_to(counter, 1)
        await get_state(counter)
        assert (len(first), len(second)) == (2, 6)
        with pytest.raises(TypeError, match="install takes a function of a TraceEvent"):
            await install(counter, "print")  # type: ignore[arg-type]


async def test_a_handler_that_raises_is_removed_and_the_server_goes_on() -> None:
    async with node() as stage:
        counter = await Counter.start()
        calls = 0

        def wrong(event: TraceEvent) -> None:
            nonlocal calls
            calls += 1
            raise KeyError("wrong")

        await install(counter, wrong)
        assert await Counter.add(counter, 1) == 1
        assert await Counter.add(counter, 1) == 2
        assert calls == 1
        stage.logged("a handler of its trace failed and is removed")


async def test_statistics_count_messages_and_answers() -> None:
    async with node():
        counter = await Counter.start()
        assert await get_statistics(counter) is None
        await count_events(counter)
        await Counter.add(counter, 1)
        cast_to(counter, 1)
        await trio.sleep(3)
        assert await get_statistics(counter) == Statistics(3.0, 2, 1)
        await count_events(counter)
        assert await get_statistics(counter) == Statistics(0.0, 0, 0)
        await count_events(counter, on=False)
        assert await get_statistics(counter) is None


async def test_no_debug_takes_everything_back(capsys: pytest.CaptureFixture[str]) -> None:
    async with node():
        counter = await Counter.start()
        seen: list[TraceEvent] = []
        await trace(counter)
        await install(counter, seen.append)
        await log_events(counter)
        await count_events(counter)
        await no_debug(counter)
        cast_to(counter, 1)
        assert await logged_events(counter) == []
        assert await get_statistics(counter) is None
        assert (seen, capsys.readouterr().out) == ([], "")


async def test_a_message_whose_repr_fails_can_be_traced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    async with node():
        counter = await Counter.start()
        await trace(counter)
        send(counter, Rude())
        send(counter, "x" * 1000)
        await trace(counter, on=False)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{counter} in: <Rude, whose repr() failed: RuntimeError>"
        assert lines[2].endswith("… (1002 characters)")


async def test_down_and_exit_messages_are_events_the_parents_exit_too() -> None:
    class Trapping(Counter):
        async def init(self, start: int = 0, secret: str = "") -> None:
            await super().init()
            trap_exit()
            self.watched = spawn(idle)
            monitor(self.watched)

    seen: list[TraceEvent] = []

    async def parent() -> None:
        server = await Trapping.start_link()
        await install(server, seen.append)
        watched: Pid = (await get_state(server))["watched"]
        exeunt.exit(watched, "kill")
        await wait_exit(watched)
        await get_state(server)

    async with node():
        await wait_exit(spawn(parent))
        await settle()
        assert [event.kind for event in seen] == ["in", "noreply", "in"]
        assert isinstance(seen[0].content, Down)
        assert isinstance(seen[2].content, Exit)


# -- state machines -------------------------------------------------------------------------------


class Machine(StateMachine, state_enter=True):
    """Goes from `a` to `b`, and does there what it was asked for in `a`."""

    async def init(self) -> Start:
        return Start(self.a)

    @state
    async def a(self, event: StateEvent) -> Transition:
        match event:
            case CallEvent():
                return KeepState(Postpone())
            case CastEvent():
                return NextState(self.b, NextEvent(InternalEvent("x")), StateTimeout(0.0))
            case _:
                return None

    @state
    async def b(self, event: StateEvent) -> Transition:
        match event:
            case CallEvent("refuse"):
                return Refuse(ValueError())
            case CallEvent("reply to", caller):
                return KeepState(ReplyTo(caller, 2))
            case CallEvent():
                return Reply(1)
            case _:
                return None


async def test_a_state_machine_tells_what_comes_of_an_event() -> None:
    async with node():
        machine = await Machine.start()
        assert (await get_status(machine)).state == {"state": Machine.a}
        await log_events(machine, 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, machine, "ask")
            await settle()
            cast_to(machine, "go")
        assert await call(machine, "reply to") == 2
        with pytest.raises(ValueError):
            await call(machine, "refuse")
        events = await logged_events(machine)
        assert [event.kind for event in events] == [
            *("in", "postpone", "noreply"),
            *("in", "enter", "in", "in", "out", "in", "noreply"),
            *("in", "out", "noreply", "in", "out", "noreply"),
        ]
        contents = [event.content for event in events]
        assert isinstance(contents[1], CallEvent)
        assert contents[4] == EnterEvent(Machine.a)
        assert contents[5] == InternalEvent("x")
        assert isinstance(contents[6], CallEvent)
        assert contents[7] == 1
        assert contents[8] == StateTimedOut()
        assert contents[11] == 2
        assert isinstance(contents[14], ValueError)
        assert [event.state["state"] for event in events[3:5]] == [Machine.a, Machine.b]
        await stop(machine)


# -- documentation --------------------------------------------------------------------------------


async def test_the_example_of_the_module_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = exeunt.otp.introspection.__doc__
    assert text is not None
    source = dedent(text[text.index("    class Counter") :])
    code = compile(
        source, "introspection.py", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    names = {**vars(exeunt), **vars(exeunt.otp.introspection), "__name__": "example"}
    async with node():
        running = eval(code, names)
        assert inspect.iscoroutine(running)
        await running
    assert "last events" in capsys.readouterr().out

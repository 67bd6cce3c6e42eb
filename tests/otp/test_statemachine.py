"""StateMachine: the statements of OTP's `gen_statem`, one after the other, and what Python adds."""

from __future__ import annotations

import ast
import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import exeunt.otp.statemachine
from exeunt import (
    AlreadyStarted,
    BadReturnValue,
    Call,
    CallCycle,
    CallFailed,
    Crash,
    Exit,
    Ignore,
    NoReply,
    Pid,
    Refuse,
    Reply,
    StartFailed,
    StartIgnored,
    Stop,
    Supervisor,
    call,
    cast_to,
    exit,
    get_state,
    get_status,
    is_alive,
    on_call,
    on_cast,
    process_info,
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
    whereis,
)
from exeunt.otp.genserver import GenServer
from exeunt.otp.results import UnexpectedRequest
from exeunt.otp.statemachine import StateMachine, state
from exeunt.otp.transitions import (
    CallEvent,
    CastEvent,
    EnterEvent,
    EventTimedOut,
    EventTimeout,
    GenericTimedOut,
    GenericTimeout,
    InfoEvent,
    InternalEvent,
    KeepState,
    NextEvent,
    NextState,
    Postpone,
    RepeatState,
    ReplyTo,
    Start,
    StartResult,
    StateEvent,
    StateTimedOut,
    StateTimeout,
    StopAndReply,
    Transition,
    UnknownState,
)
from tests.kernel.nodes import node, run_on_virtual_clock, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")

Act: TypeAlias = Callable[["Scripted", StateEvent], Transition]
Entry: TypeAlias = tuple[str, object]


@dataclass(frozen=True)
class Do:
    """The content of an event that says itself what comes of it, and by what it is noted."""

    label: str
    act: Act = lambda machine, event: None


class Scripted(StateMachine):
    """Notes each event with the state in which it is handled, and does what the event says."""

    async def init(self, log: list[Entry], *actions: Any, **on_enter: Act) -> StartResult:
        self.log = log
        self.on_enter = on_enter
        return Start(self.a, *actions)

    @state
    async def a(self, event: StateEvent) -> Transition:
        return self.handle("a", event)

    @state
    async def b(self, event: StateEvent) -> Transition:
        return self.handle("b", event)

    @state
    async def c(self, event: StateEvent) -> Transition:
        return self.handle("c", event)

    def handle(self, name: str, event: StateEvent) -> Transition:
        match event:
            case EnterEvent(old):
                self.log.append((name, f"enter from {old}"))
                act = self.on_enter.get(name)
                return None if act is None else act(self, event)
            case (
                CallEvent(Do(label, act))
                | CastEvent(Do(label, act))
                | InfoEvent(Do(label, act))
                | InternalEvent(Do(label, act))
            ):
                self.log.append((name, label))
                return act(self, event)
        self.log.append((name, event))
        return None

    async def terminate(self, reason: object) -> None:
        self.log.append((repr(self.state), f"terminate: {reason}"))


class Entering(Scripted, state_enter=True):
    """The same, with state enter calls."""


def go(name: str, *actions: Any) -> Act:
    """Go to a state."""
    return lambda machine, event: NextState(getattr(machine, name), *actions)


def keep(*actions: Any) -> Act:
    """Stay."""
    return lambda machine, event: KeepState(*actions)


def repeat(*actions: Any) -> Act:
    """Stay, and enter the state anew."""
    return lambda machine, event: RepeatState(*actions)


def insert(*labels: str) -> list[NextEvent]:
    """Insert events that do nothing."""
    return [NextEvent(InternalEvent(Do(label))) for label in labels]


def fail(machine: Scripted, event: StateEvent) -> Transition:
    """Raise."""
    raise ZeroDivisionError


def cast(machine: Pid, label: str, act: Act = lambda machine, event: None) -> None:
    cast_to(machine, Do(label, act))


def one_by_one(machine: Pid, *casts: tuple[str, Act]) -> None:
    for label, act in casts:
        cast(machine, label, act)


# -- 3.1: modes, and everything that is a GenServer's ---------------------------------------------


async def test_each_event_comes_to_the_function_of_the_current_state() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(machine, ("1", keep()), ("2", go("b")), ("3", go("c")), ("4", keep()))
        await settle()
        assert log == [("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")]


async def test_handle_event_gets_the_state_which_may_be_any_value() -> None:
    class Counter(StateMachine):
        async def init(self, limit: int) -> Start:
            self.limit = limit
            return Start(("counting", 0))

        async def handle_event(self, state: tuple[str, int], event: StateEvent) -> Transition:
            match state, event:
                case ("counting", count), CastEvent("up") if count < self.limit:
                    return NextState(("counting", count + 1))
                case ("counting", _), CastEvent("up"):
                    return NextState(("full", 0))
                case _, CallEvent("look"):
                    return Reply(state)
            return None

    async with node():
        machine = await Counter.start(1)
        assert await call(machine, "look") == ("counting", 0)
        cast_to(machine, "up")
        assert await call(machine, "look") == ("counting", 1)
        cast_to(machine, "up")
        assert await call(machine, "look") == ("full", 0)


async def test_states_that_are_values_are_the_same_if_they_are_equal() -> None:
    entered: list[object] = []

    class Values(StateMachine, state_enter=True):
        async def init(self) -> Start:
            return Start(["x"])

        async def handle_event(self, state: object, event: StateEvent) -> Transition:
            match event:
                case EnterEvent(old):
                    entered.append((old, state))
                case CastEvent(new):
                    return NextState(new)
            return None

    async with node():
        machine = await Values.start()
        for new in (["x"], ["y"], ["y"], ["x"]):
            cast_to(machine, new)
        await settle()
        assert entered == [(["x"], ["x"]), (["x"], ["y"]), (["y"], ["x"])]


async def test_start_waits_for_init_but_not_for_what_comes_of_its_actions() -> None:
    log: list[Entry] = []

    class Slow(Entering):
        async def init(self, log: list[Entry], *actions: Any, **on_enter: Act) -> StartResult:
            await trio.sleep(1)
            await super().init(log)
            return Start(self.b, *insert("first"))

        @state
        async def b(self, event: StateEvent) -> Transition:
            await trio.sleep(1)
            return self.handle("b", event)

    async with node():
        began = trio.current_time()
        await Slow.start(log)
        assert trio.current_time() == began + 1
        assert log == []
        await trio.sleep(3)
        assert log == [("b", "enter from b"), ("b", "first")]


async def test_init_may_ignore_or_stop() -> None:
    class Refusing(Scripted):
        async def init(self, log: list[Entry], *actions: Any, **on_enter: Act) -> StartResult:
            return Ignore() if not log else Stop("not today")

    async with node() as stage:
        with pytest.raises(StartIgnored):
            await Refusing.start([])
        with pytest.raises(StartFailed) as failed:
            await Refusing.start([("x", 1)])
        assert failed.value.reason == "not today"
        stage.crash()


async def test_init_that_returns_no_state_fails_the_start() -> None:
    class Forgetful(Scripted):
        async def init(self, *args: Any, **kwargs: Any) -> StartResult:
            return None  # type: ignore[return-value]

    async with node() as stage:
        with pytest.raises(StartFailed) as failed:
            await Forgetful.start()
        reason = failed.value.reason
        assert isinstance(reason, Crash) and isinstance(reason.exception, BadReturnValue)
        assert "Forgetful.init returned None: expected Start(state" in str(reason.exception)
        stage.crash(BadReturnValue)


async def test_a_class_without_init_does_not_start() -> None:
    class Empty(StateMachine):
        @state
        async def only(self, event: StateEvent) -> Transition:
            return None

    async with node() as stage:
        with pytest.raises(StartFailed, match="Empty has no init"):
            await Empty.start()
        stage.crash(UnexpectedRequest)


async def test_a_machine_is_named_and_supervised_as_a_server_is() -> None:
    log: list[Entry] = []
    async with node() as stage:
        trap_exit()
        tree = await Supervisor.start_link([Scripted.named("machine").child(log)])
        machine = whereis("machine")
        assert machine is not None
        with pytest.raises(AlreadyStarted):
            await Scripted.named("machine").start(log)
        cast_to("machine", Do("on", go("b")))
        cast_to("machine", Do("crash", fail))
        await wait_exit(machine)
        await settle()
        again = whereis("machine")
        assert again is not None and again is not machine
        assert (await get_state(again))["state"] is Scripted.a
        stage.crash(ZeroDivisionError)
        stage.logged("child 'machine'")
        await stop(tree)


async def test_a_machine_that_traps_exits_ends_with_its_parent_and_terminates() -> None:
    log: list[Entry] = []

    class Trapping(Scripted):
        async def init(self, log: list[Entry], *actions: Any, **on_enter: Act) -> StartResult:
            trap_exit()
            return await super().init(log)

    async def parent() -> None:
        log.append(("pid", await Trapping.start_link(log)))

    async with node():
        await wait_exit(spawn(parent))
        await settle()
        machine = log[0][1]
        assert isinstance(machine, Pid) and not is_alive(machine)
        assert log[1:] == [("a", "terminate: normal")]


async def test_stop_get_state_replace_state_suspend_and_resume_work_as_for_a_server() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        assert await get_state(machine) == {"log": log, "on_enter": {}, "state": Scripted.a}
        await suspend(machine)
        cast(machine, "held back")
        await settle()
        assert log == []
        await replace_state(machine, lambda attributes: {**attributes, "state": Scripted.b})
        await resume(machine)
        await settle()
        assert log == [("b", "held back")]
        await stop(machine, "shutdown")
        assert log[1:] == [("b", "terminate: shutdown")]


async def test_get_state_shows_the_attributes_and_the_state_and_nothing_else() -> None:
    async with node():
        machine = await Scripted.start([])
        shown = await get_state(machine)
        assert list(shown) == ["log", "on_enter", "state"]
        assert repr(shown["state"]) == "a"


async def test_terminate_sees_the_state_and_the_reason() -> None:
    log: list[Entry] = []
    async with node() as stage:
        machine = await Scripted.start(log)
        one_by_one(machine, ("on", go("b")), ("off", lambda machine, event: Stop("enough")))
        assert await wait_exit(machine) == "enough"
        assert log == [("a", "on"), ("b", "off"), ("b", "terminate: enough")]
        stage.crash()


async def test_a_crash_report_shows_the_last_event_and_the_state() -> None:
    async with node() as stage:
        machine = await Scripted.start([])
        one_by_one(machine, ("on", go("b", Postpone(), *insert("inserted"))), ("crash", fail))
        await wait_exit(machine)
        report = stage.crash(ZeroDivisionError)
        assert "CastEvent(request=Do(label='crash'" in str(report.details["last message"])
        assert "'state': b" in str(report.details["state"])


async def test_the_status_and_crash_reports_show_what_is_postponed_and_what_will_time_out() -> None:
    """As in OTP: otherwise nobody sees why a machine stands still."""

    async def put_off(machine: Pid) -> None:
        await call(machine, Do("put off", lambda machine, event: KeepState(Postpone())))

    async with node() as stage:
        machine = await Scripted.start([])
        assert "postponed" not in str(await get_status(machine))
        late = StateTimeout(60.0, "too late")
        cast(machine, "timer", lambda machine, event: KeepState(late))
        cast(machine, "early", lambda machine, event: KeepState(Postpone()))
        with trio.move_on_after(1):
            await put_off(machine)
        status = await get_status(machine)
        assert "[CastEvent(request=Do(label='early'" in str(status.waiting["postponed"])
        assert "put off" not in str(status.waiting), "whoever waited for that has given up"
        assert status.waiting["timeouts"] == [StateTimedOut("too late")]
        assert "timeouts: [StateTimedOut(content='too late')]" in str(status)
        cast(machine, "crash", fail)
        await wait_exit(machine)
        details = stage.crash(ZeroDivisionError).details
        assert "label='early'" in str(details["postponed"])
        assert details["timeouts"] == "[StateTimedOut(content='too late')]"


async def test_calls_may_be_answered_later_and_fail_with_the_machine() -> None:
    kept: list[Call] = []

    def hold(machine: Scripted, event: StateEvent) -> Transition:
        assert isinstance(event, CallEvent)
        kept.append(event.caller)
        return KeepState()

    answers: list[object] = []

    async def ask(machine: Pid) -> None:
        try:
            answers.append(await call(machine, Do("ask", hold)))
        except CallFailed as failed:
            answers.append(failed.reason)

    async with node():
        machine = await Scripted.start([])
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, machine)
            await settle()
            reply(kept[0], "by a function")
            cast(machine, "answer", keep(ReplyTo(kept[1], "by an action")))
            await settle()
            assert answers == ["by a function", "by an action"]
            await stop(machine, "shutdown")
        assert answers[2] == "shutdown"


async def test_a_refusal_is_raised_in_the_caller_and_the_machine_goes_on() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        for refusal in (
            lambda machine, event: Refuse(ValueError("no")),
            go("b", Refuse(ValueError("no"))),
        ):
            with pytest.raises(ValueError, match="no"):
                await call(machine, Do("refused", refusal))
        assert await call(machine, Do("then", keep(Reply(1), Reply(2)))) == 1
        assert [name for name, _ in log] == ["a", "a", "b"]


async def test_a_request_for_every_state_may_be_a_method() -> None:
    class Mixed(Scripted):
        @on_call
        async def double(self, number: int) -> int:
            return 2 * number

        @on_cast
        async def note(self, text: str) -> None:
            self.log.append((repr(self.state), text))

    log: list[Entry] = []
    async with node():
        machine = await Mixed.start(log)
        cast(machine, "on", go("b", EventTimeout(5.0, "nothing happened")))
        assert await Mixed.double(machine, 21) == 42
        Mixed.note(machine, "noted")
        await trio.sleep(6)
        # No event: it has not cancelled the event time-out.
        assert log == [("a", "on"), ("b", "noted"), ("b", EventTimedOut("nothing happened"))]


async def test_the_caller_is_that_of_the_event_being_handled_also_when_it_was_postponed() -> None:
    callers: list[Call] = []

    def look(machine: Scripted, event: StateEvent) -> Transition:
        assert isinstance(event, CallEvent)
        assert machine.caller is event.caller
        callers.append(machine.caller)
        return KeepState(Postpone()) if machine.state is machine.a else Reply("seen")

    def on(machine: Scripted, event: StateEvent) -> Transition:
        with pytest.raises(RuntimeError, match="no call is being handled"):
            assert machine.caller
        return NextState(machine.b, NextEvent(InternalEvent(Do("off", off))))

    def off(machine: Scripted, event: StateEvent) -> Transition:
        with pytest.raises(RuntimeError, match="no call is being handled"):
            assert machine.caller
        return None

    async with node():
        machine = await Scripted.start([])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, machine, Do("look", look))
            await settle()
            cast(machine, "on", on)
        assert len(callers) == 2 and callers[0] is callers[1]


async def test_a_machine_that_calls_itself_or_in_a_circle_is_told() -> None:
    class Circular(StateMachine):
        async def init(self) -> Start:
            return Start(self.only)

        @state
        async def only(self, event: StateEvent) -> Transition:
            match event:
                case CallEvent((Pid() as first, *rest)):
                    return Reply(await call(first, rest))
                case _:
                    raise AssertionError(event)

    async with node() as stage:
        machines = [await Circular.start() for _ in range(2)]
        with pytest.raises(CallFailed) as failed:
            await call(machines[0], [machines[1], machines[0]])
        assert isinstance(failed.value.reason, Crash)
        cause: Any = failed.value.reason.exception
        while isinstance(cause.reason, Crash):
            cause = cause.reason.exception
        assert cause.reason == CallCycle((machines[1], machines[0]))
        stage.crashes(2, CallFailed)


# -- classes that make no sense -------------------------------------------------------------------


def test_a_class_has_states_or_handle_event_and_not_both() -> None:
    with pytest.raises(TypeError, match=r"has both handle_event and @state methods \(a, b, c\)"):

        class Both(Scripted):
            async def handle_event(self, state: Any, event: StateEvent) -> Transition:
                return None


async def test_a_class_without_states_and_without_handle_event_is_refused_at_the_start() -> None:
    class Neither(StateMachine):
        async def init(self) -> Start:
            return Start("nowhere")

    async with node():
        with pytest.raises(TypeError, match="Neither has no states"):
            await Neither.start()


@pytest.mark.parametrize("name", ["handle_call", "handle_cast", "handle_info", "handle_continue"])
def test_a_callback_of_a_genserver_that_would_never_run_is_refused(name: str) -> None:
    async def callback(self: Any, *args: Any) -> None:
        return None

    with pytest.raises(TypeError, match=f"Old.{name} would never see an event"):
        type("Old", (StateMachine,), {name: callback, "__qualname__": "Old"})


def test_misspelt_callbacks_are_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'handle_event'"):

        class One(StateMachine):
            async def handel_event(self, state: Any, event: StateEvent) -> Transition:
                return None

    with pytest.raises(TypeError, match="did you mean 'terminate'"):

        class Two(StateMachine):
            async def terminated(self, reason: object) -> None:
                return None


def test_a_state_may_have_a_name_like_that_of_a_callback() -> None:
    class Ends(StateMachine):
        @state
        async def terminated(self, event: StateEvent) -> Transition:
            """The end."""
            return None

    assert repr(Ends.terminated) == "terminated"
    assert Ends.terminated.__doc__ == "The end."


@pytest.mark.parametrize("name", ["start", "pid", "state", "init", "child", "stop_"])
def test_a_state_cannot_have_the_name_of_something_else(name: str) -> None:
    async def function(self: Any, event: StateEvent) -> Transition:
        return None

    def define() -> None:
        type("Clash", (StateMachine,), {name: state(function), "__qualname__": "Clash"})

    if name == "stop_":
        define()
        return
    with pytest.raises(TypeError, match=f"cannot have the name '{name}'"):
        define()


def test_a_method_that_replaces_a_state_has_to_be_one() -> None:
    with pytest.raises(TypeError, match=r"Sub\.b replaces a state of that name: decorate it"):

        class Sub(Scripted):
            async def b(self, event: StateEvent) -> Transition:  # type: ignore[override]
                return None

        Sub.__qualname__ = "Sub"


def test_a_state_has_one_name() -> None:
    with pytest.raises(TypeError, match="has the second name 'other'"):

        class Twice(StateMachine):
            @state
            async def one(self, event: StateEvent) -> Transition:
                return None

            other = one


async def test_a_subclass_may_replace_a_state_and_ask_the_base_class() -> None:
    class Louder(Scripted):
        @state
        async def b(self, event: StateEvent) -> Transition:
            self.log.append(("b", "louder"))
            return await super().b.handle(self, event)

    log: list[Entry] = []
    async with node():
        machine = await Louder.start(log)
        one_by_one(machine, ("on", go("b")), ("x", go("a")), ("y", keep()))
        await settle()
        assert log == [("a", "on"), ("b", "louder"), ("b", "x"), ("a", "y")]


UNKNOWN = [
    ("b", "'b' is no state of Scripted, whose states are a, b, c: pass the state itself, self.b"),
    ("bee", "'bee' is no state of Scripted, whose states are a, b, c"),
    (Scripted.handle, "is no state of Scripted, whose states are a, b, c: has it the decorator @s"),
    (None, "None is no state of Scripted"),
]


@pytest.mark.parametrize(("wrong", "message"), UNKNOWN)
async def test_what_is_no_state_is_refused_at_the_transition(wrong: object, message: str) -> None:
    log: list[Entry] = []
    async with node() as stage:
        machine = await Scripted.start(log)
        cast(machine, "go", lambda machine, event: NextState(wrong))
        reason = await wait_exit(machine)
        assert isinstance(reason, Crash) and isinstance(reason.exception, UnknownState)
        assert message in str(reason.exception)
        assert log[-1] == ("a", f"terminate: {reason}")
        stage.crash(UnknownState)


async def test_a_state_of_another_class_is_none_of_this_one() -> None:
    class Other(StateMachine):
        @state
        async def locked(self, event: StateEvent) -> Transition:
            return None

    async with node() as stage:
        machine = await Scripted.start([])
        cast(machine, "go", lambda machine, event: NextState(Other.locked))
        await wait_exit(machine)
        assert "locked is no state of Scripted" in str(stage.crash(UnknownState).exception)


async def test_a_first_state_that_is_none_ends_the_machine() -> None:
    class Wrong(Scripted):
        async def init(self, *args: Any, **kwargs: Any) -> StartResult:
            self.log: list[Entry] = []
            return Start("lokked")

        async def terminate(self, reason: object) -> None:
            with pytest.raises(RuntimeError, match="in no state before"):
                assert self.state

    async with node() as stage:
        await wait_exit(await Wrong.start())
        stage.crash(UnknownState)


async def test_the_state_is_changed_by_returning_it_and_not_by_assignment() -> None:
    def assign(machine: Scripted, event: StateEvent) -> Transition:
        machine.state = machine.b  # type: ignore[misc]
        return None

    async with node() as stage:
        machine = await Scripted.start([])
        cast(machine, "assign", assign)
        await wait_exit(machine)
        stage.crash(AttributeError)


# -- results and actions that make no sense -------------------------------------------------------


@pytest.mark.parametrize("wrong", [NoReply(), "ok", Stop("x", "reply"), 3])
async def test_what_a_state_must_not_return_ends_the_machine(wrong: Any) -> None:
    async with node() as stage:
        machine = await Scripted.start([])
        cast(machine, "wrong", lambda machine, event: wrong)
        await wait_exit(machine)
        report = stage.crash(BadReturnValue)
        assert str(report.exception).startswith(f"Scripted.a returned {wrong!r}: expected ")


async def test_a_call_that_a_state_returns_none_for_ends_the_machine() -> None:
    async with node() as stage:
        machine = await Scripted.start([])
        with pytest.raises(CallFailed) as failed:
            await call(machine, "unheard of")
        assert isinstance(failed.value.__cause__, BadReturnValue)
        assert "an answer to the call" in str(failed.value.__cause__)
        stage.crash(BadReturnValue)


async def test_reply_and_refuse_are_for_calls() -> None:
    async with node() as stage:
        for act in (keep(Reply(1)), lambda machine, event: Refuse(ValueError())):
            machine = await Scripted.start([])
            cast(machine, "answer", act)
            await wait_exit(machine)
            assert "is no call" in str(stage.crash(BadReturnValue).exception)


def test_actions_are_looked_at_where_they_are_given() -> None:
    with pytest.raises(TypeError, match="give them one by one, not as a list"):
        KeepState([Postpone()])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an action of NextState is one of Reply, Refuse"):
        NextState("x", Stop())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an action of StopAndReply is one of Reply, Refuse, Rep"):
        StopAndReply("x", Postpone())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has a `then`"):
        KeepState(Reply(1, exeunt.Continue("x")))
    with pytest.raises(TypeError, match="Start takes no Postpone"):
        Start("x", Postpone())
    with pytest.raises(TypeError, match="NextEvent takes an event such as Internal"):
        NextEvent("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="NextEvent takes an event such as Internal"):
        NextEvent(EnterEvent("x"))
    with pytest.raises(TypeError, match="ReplyTo takes the caller"):
        ReplyTo(self_or_none(), 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        GenericTimeout([], 1.0)
    for seconds in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="from 0 up, or inf"):
            StateTimeout(seconds)
    for wrong in ("1", None, True):
        with pytest.raises(TypeError, match="a time-out is a number of seconds"):
            EventTimeout(wrong)  # type: ignore[arg-type]


def self_or_none() -> object:
    return None


def test_transitions_are_values() -> None:
    assert NextState("x", Postpone()) == NextState("x", Postpone())
    assert NextState("x") != NextState("y")
    assert repr(KeepState(StateTimeout(1.0))) == (
        "KeepState(actions=(StateTimeout(seconds=1.0, content=None),))"
    )
    match NextState("x", Postpone()):
        case NextState("x", (Postpone(),)):
            pass
        case _:
            pytest.fail("a transition can be taken apart")


# -- 3.2: events ----------------------------------------------------------------------------------


async def test_there_are_these_types_of_events() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        send(machine, "plain")
        cast_to(machine, "cast")
        timeouts = (StateTimeout(1.0, 1), EventTimeout(2.0, 2), GenericTimeout("x", 3.0, 3))
        cast(machine, "start", keep(*timeouts, NextEvent(InternalEvent("internal"))))
        await settle()
        cast(machine, "again", keep(EventTimeout(2.0, 2)))
        assert await call(machine, Do("call", keep(Reply("answer")))) == "answer"
        cast(machine, "again", keep(EventTimeout(5.0, 2)))
        await trio.sleep(0.5)
        assert [entry for _, entry in log if not isinstance(entry, str)] == [
            InfoEvent("plain"),
            CastEvent("cast"),
            InternalEvent("internal"),
        ]
        del log[:]
        await trio.sleep(5)
        assert log == [("a", StateTimedOut(1)), ("a", GenericTimedOut("x", 3))]
        cast(machine, "again", keep(EventTimeout(2.0, 2)))
        await trio.sleep(3)
        assert log[-1] == ("a", EventTimedOut(2))


async def test_exit_and_down_messages_are_info_events() -> None:
    log: list[Entry] = []

    class Trapping(Scripted):
        async def init(self, log: list[Entry], *actions: Any, **on_enter: Act) -> StartResult:
            trap_exit()
            return await super().init(log)

    async with node():
        machine = await Trapping.start(log)
        exit(machine, "some reason")
        await settle()
        assert log == [("a", InfoEvent(Exit(self_pid(), "some reason")))]
        await stop(machine)


# -- 3.3: state enter calls -----------------------------------------------------------------------


async def test_the_first_state_is_entered_from_itself() -> None:
    log: list[Entry] = []
    async with node():
        await Entering.start(log)
        await settle()
        assert log == [("a", "enter from a")]


async def test_a_state_is_entered_at_each_change_to_another_one() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Entering.start(log)
        one_by_one(machine, ("1", go("b")), ("2", go("c")), ("3", go("a")))
        await settle()
        assert log[1:] == [
            ("a", "1"),
            ("b", "enter from a"),
            ("b", "2"),
            ("c", "enter from b"),
            ("c", "3"),
            ("a", "enter from c"),
        ]


async def test_a_state_is_entered_anew_by_repeat_state_and_by_nothing_else_that_stays() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Entering.start(log)
        one_by_one(machine, ("1", keep()), ("2", go("a")), ("3", repeat()), ("4", keep()))
        await settle()
        assert log[1:] == [("a", "1"), ("a", "2"), ("a", "3"), ("a", "enter from a"), ("a", "4")]


async def test_without_state_enter_no_state_is_entered() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(machine, ("1", go("b")), ("2", repeat()))
        await settle()
        assert log == [("a", "1"), ("b", "2")]


async def test_a_subclass_inherits_state_enter_and_may_turn_it_off() -> None:
    class Inherits(Entering):
        pass

    class Turns(Entering, state_enter=False):
        pass

    async with node():
        log: list[Entry] = []
        await Inherits.start(log)
        await Turns.start(log)
        await settle()
        assert log == [("a", "enter from a")]


@pytest.mark.parametrize("act", [go("c"), lambda machine, event: Reply("x"), keep(Reply("x"))])
async def test_entering_cannot_change_the_state_and_is_no_call(act: Act) -> None:
    async with node() as stage:
        machine = await Entering.start([], b=act)
        cast(machine, "on", go("b"))
        await wait_exit(machine)
        stage.crash(BadReturnValue)


@pytest.mark.parametrize("action", [Postpone(), NextEvent(InternalEvent())])
async def test_entering_can_neither_postpone_nor_insert(action: Any) -> None:
    async with node() as stage:
        machine = await Entering.start([], b=keep(action))
        cast(machine, "on", go("b"))
        await wait_exit(machine)
        assert "neither postpones nor inserts" in str(stage.crash(BadReturnValue).exception)


async def test_entering_may_start_timeouts_and_reply_and_name_its_own_state() -> None:
    log: list[Entry] = []
    kept: list[Call] = []

    def hold(machine: Scripted, event: StateEvent) -> Transition:
        assert isinstance(event, CallEvent)
        kept.append(event.caller)
        return NextState(machine.b)

    def answer(machine: Scripted, event: StateEvent) -> Transition:
        return NextState(machine.b, ReplyTo(kept[0], "from b"), StateTimeout(1.0))

    async with node():
        machine = await Entering.start(log, b=answer)
        assert await call(machine, Do("ask", hold)) == "from b"
        await trio.sleep(2)
        assert log[-2:] == [("b", "enter from a"), ("b", StateTimedOut())]


async def test_entering_may_ask_to_be_repeated() -> None:
    log: list[Entry] = []

    def twice(machine: Scripted, event: StateEvent) -> Transition:
        return RepeatState(StateTimeout(1.0)) if log.count(log[-1]) < 2 else KeepState()

    async with node():
        machine = await Entering.start(log, b=twice)
        cast(machine, "on", go("b"))
        await trio.sleep(2)
        assert log[2:] == [("b", "enter from a")] * 2 + [("b", StateTimedOut())]


async def test_entering_may_stop_and_the_machine_is_then_in_the_new_state() -> None:
    log: list[Entry] = []
    async with node() as stage:
        machine = await Entering.start(log, b=lambda machine, event: Stop("no b today"))
        cast(machine, "on", go("b"))
        assert await wait_exit(machine) == "no b today"
        assert log[-1] == ("b", "terminate: no b today")
        stage.crash()


async def test_when_entering_raises_the_change_has_not_taken_place() -> None:
    log: list[Entry] = []
    async with node() as stage:
        machine = await Entering.start(log, b=fail)
        cast(machine, "on", go("b"))
        await wait_exit(machine)
        assert log[-1] == ("a", "terminate: ZeroDivisionError")
        stage.crash(ZeroDivisionError)


async def test_a_timeout_of_entering_replaces_that_of_the_change() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Entering.start(log, b=keep(StateTimeout(1.0, "enter")))
        cast(machine, "on", go("b", StateTimeout(2.0, "change")))
        await trio.sleep(3)
        assert log[-1:] == [("b", StateTimedOut("enter"))]
        assert StateTimedOut("change") not in [entry for _, entry in log]


async def test_entering_comes_before_postponed_and_inserted_events() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Entering.start(log)
        one_by_one(
            machine,
            ("late", lambda m, event: KeepState(Postpone()) if m.state is m.a else None),
            ("on", go("b", *insert("inserted"))),
        )
        await settle()
        assert log[3:] == [("b", "enter from a"), ("b", "inserted"), ("b", "late")]


# -- 3.4: postponing ------------------------------------------------------------------------------


def unless_in(name: str) -> Act:
    """Postpone in all states but this one."""

    def act(machine: Scripted, event: StateEvent) -> Transition:
        return None if repr(machine.state) == name else KeepState(Postpone())

    return act


async def test_postponed_events_are_tried_again_in_order_and_before_what_is_queued() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(
            machine,
            ("1", unless_in("b")),
            ("2", unless_in("b")),
            ("on", go("b")),
            ("3", keep()),
        )
        await settle()
        assert log == [("a", "1"), ("a", "2"), ("a", "on"), ("b", "1"), ("b", "2"), ("b", "3")]


@pytest.mark.parametrize("act", [keep(), repeat(), go("a")])
async def test_they_are_not_tried_again_while_the_state_stays_the_same(act: Act) -> None:
    log: list[Entry] = []
    async with node():
        machine = await Entering.start(log)
        one_by_one(machine, ("1", unless_in("b")), ("stay", act), ("x", keep()))
        await settle()
        assert [label for _, label in log].count("1") == 1
        await stop(machine)


async def test_what_is_postponed_again_waits_for_the_next_change() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(
            machine,
            ("1", unless_in("c")),
            ("2", unless_in("b")),
            ("3", unless_in("c")),
            ("to b", go("b")),
            ("4", keep()),
            ("to c", go("c")),
        )
        await settle()
        assert log[4:] == [
            ("b", "1"),
            ("b", "2"),
            ("b", "3"),
            ("b", "4"),
            ("b", "to c"),
            ("c", "1"),
            ("c", "3"),
        ]


async def test_an_event_that_changes_the_state_and_is_postponed_is_tried_again_at_once() -> None:
    log: list[Entry] = []

    def on(machine: Scripted, event: StateEvent) -> Transition:
        return NextState(machine.b, Postpone()) if machine.state is machine.a else None

    async with node():
        machine = await Scripted.start(log)
        one_by_one(machine, ("0", unless_in("b")), ("on", on), ("x", keep()))
        await settle()
        assert log == [("a", "0"), ("a", "on"), ("b", "0"), ("b", "on"), ("b", "x")]


async def test_a_retry_that_changes_the_state_leaves_the_rest_in_order() -> None:
    log: list[Entry] = []

    def next_of(first: str, then: str) -> Act:
        def act(machine: Scripted, event: StateEvent) -> Transition:
            if repr(machine.state) != first:
                return KeepState(Postpone())
            return NextState(getattr(machine, then))

        return act

    async with node():
        machine = await Scripted.start(log)
        one_by_one(
            machine,
            ("1", unless_in("c")),
            ("2", next_of("b", "c")),
            ("3", unless_in("c")),
            ("on", go("b")),
        )
        await settle()
        assert log[4:] == [("b", "1"), ("b", "2"), ("c", "1"), ("c", "3")]


async def test_all_kinds_of_events_can_be_postponed() -> None:
    log: list[Entry] = []

    class Late(StateMachine):
        async def init(self) -> Start:
            return Start("early", StateTimeout(0.0), NextEvent(InternalEvent()))

        async def handle_event(self, state: str, event: StateEvent) -> Transition:
            log.append((state, type(event).__name__))
            match state, event:
                case "early", CastEvent("on"):
                    return NextState("late")
                case "early", _:
                    return KeepState(Postpone())
                case _, CallEvent(request):
                    return Reply(request)
            return None

    async with node():
        machine = await Late.start()
        send(machine, "info")
        cast_to(machine, "cast")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, machine, "ask")
            await settle()
            cast_to(machine, "on")
        kinds = ["InternalEvent", "StateTimedOut", "InfoEvent", "CastEvent", "CallEvent"]
        assert log == [
            *(("early", kind) for kind in kinds),
            ("early", "CastEvent"),
            *(("late", kind) for kind in kinds),
        ]


async def test_a_postponed_call_whose_caller_has_given_up_is_dropped() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        with trio.move_on_after(1):
            await call(machine, Do("given up", unless_in("b")))
        cast(machine, "on", go("b"))
        await settle()
        assert log == [("a", "given up"), ("a", "on")]


async def test_a_call_that_was_answered_and_postponed_is_tried_again() -> None:
    log: list[Entry] = []

    def accept(machine: Scripted, event: StateEvent) -> Transition:
        return KeepState(Reply("accepted"), Postpone()) if machine.state is machine.a else None

    def done(machine: Scripted, event: StateEvent) -> Transition:
        return accept(machine, event) or KeepState()

    async with node():
        machine = await Scripted.start(log)
        assert await call(machine, Do("job", done)) == "accepted"
        cast(machine, "on", go("b"))
        await settle()
        assert log == [("a", "job"), ("a", "on"), ("b", "job")]


async def test_postponed_calls_that_nobody_waits_for_do_not_pile_up() -> None:
    async with node():
        machine = await Scripted.start([])
        asked: list[weakref.ref[Do]] = []
        for _ in range(500):
            request = Do("again and again", unless_in("b"))
            asked.append(weakref.ref(request))
            with trio.move_on_after(0.01):
                await call(machine, request)
        assert sum(one() is not None for one in asked) <= 40
        # Those that somebody waits for stay.
        async with trio.open_nursery() as nursery:
            answers: list[object] = []

            def answer(machine: Scripted, event: StateEvent) -> Transition:
                return unless_in("b")(machine, event) or KeepState(Reply("at last"))

            async def ask() -> None:
                answers.append(await call(machine, Do("wait", answer)))

            for _ in range(100):
                nursery.start_soon(ask)
            await settle()
            cast(machine, "on", go("b"))
        assert answers == ["at last"] * 100


async def test_the_callers_of_postponed_calls_hear_of_the_machines_end() -> None:
    async with node():
        machine = await Scripted.start([])
        failures: list[object] = []

        async def ask() -> None:
            with pytest.raises(CallFailed) as failed:
                await call(machine, Do("wait", unless_in("b")))
            failures.append(failed.value.reason)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await settle()
            await stop(machine, "shutdown")
        assert failures == ["shutdown"]


# -- 3.5: inserted events -------------------------------------------------------------------------


async def test_inserted_events_come_in_their_order_before_all_others() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(
            machine,
            ("late", unless_in("b")),
            ("on", go("b", *insert("x", "y", "z"))),
            ("queued", keep()),
        )
        await settle()
        assert log[2:] == [(("b"), label) for label in ("x", "y", "z", "late", "queued")]


async def test_what_an_inserted_event_inserts_comes_before_those_inserted_with_it() -> None:
    log: list[Entry] = []
    first = NextEvent(InternalEvent(Do("1", keep(*insert("1a", "1b")))))
    async with node():
        machine = await Scripted.start(log)
        cast(machine, "0", keep(first, *insert("2")))
        await settle()
        assert [label for _, label in log] == ["0", "1", "1a", "1b", "2"]


async def test_any_type_of_event_can_be_inserted() -> None:
    log: list[Entry] = []
    kept: list[Call] = []

    def pass_on(machine: Scripted, event: StateEvent) -> Transition:
        assert isinstance(event, CallEvent)
        again = CallEvent(Do("again", keep(Reply("second time"))), event.caller)
        return KeepState(
            NextEvent(again), NextEvent(InfoEvent("info")), NextEvent(StateTimedOut("early"))
        )

    async with node():
        machine = await Scripted.start(log)
        assert await call(machine, Do("call", pass_on)) == "second time"
        await settle()
        assert log == [
            ("a", "call"),
            ("a", "again"),
            ("a", InfoEvent("info")),
            ("a", StateTimedOut("early")),
        ]
        assert kept == []


async def test_a_machine_that_inserts_for_ever_can_be_ended_and_lets_others_run() -> None:
    class Busy(StateMachine):
        async def init(self) -> Start:
            return Start("busy", NextEvent(InternalEvent()))

        async def handle_event(self, state: str, event: StateEvent) -> Transition:
            return KeepState(NextEvent(InternalEvent()))

    async with node():
        machine = await Busy.start()
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        assert is_alive(machine)
        exit(machine, "enough")
        assert await wait_exit(machine) == "enough"


# -- 3.6: time-outs -------------------------------------------------------------------------------


async def test_an_event_timeout_is_cancelled_by_any_event() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        cast(machine, "start", keep(EventTimeout(1.0)))
        await trio.sleep(0.5)
        cast(machine, "any")
        await trio.sleep(2)
        cast(machine, "start", keep(EventTimeout(1.0), *insert("inserted")))
        await trio.sleep(2)
        cast(machine, "start", keep(EventTimeout(1.0)))
        await trio.sleep(0.5)
        cast(machine, "postponed", keep(Postpone()))
        await trio.sleep(2)
        assert [entry for _, entry in log if isinstance(entry, EventTimedOut)] == []
        cast(machine, "start", keep(EventTimeout(1.0, "at last")))
        await trio.sleep(2)
        assert log[-1] == ("a", EventTimedOut("at last"))


async def test_an_event_timeout_is_cancelled_by_a_postponed_event_that_is_tried_again() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(machine, ("late", unless_in("b")), ("on", go("b", EventTimeout(1.0))))
        await trio.sleep(2)
        assert log == [("a", "late"), ("a", "on"), ("b", "late")]


async def test_an_event_timeout_is_not_cancelled_by_get_state() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log, EventTimeout(1.0))
        await trio.sleep(0.9)
        await get_state(machine)
        await trio.sleep(0.2)
        assert log == [("a", EventTimedOut())]


async def test_a_state_timeout_is_cancelled_by_a_change_of_the_state_only() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Entering.start(log, StateTimeout(1.0, "stays"))
        await trio.sleep(0.5)
        one_by_one(machine, ("1", keep()), ("2", go("a")), ("3", repeat()))
        await trio.sleep(1)
        assert log[-1] == ("a", StateTimedOut("stays"))
        cast(machine, "start", keep(StateTimeout(1.0, "goes")))
        await trio.sleep(0.5)
        one_by_one(machine, ("4", go("b")), ("5", go("a")))
        await trio.sleep(2)
        assert StateTimedOut("goes") not in [entry for _, entry in log]


async def test_a_state_timeout_that_a_change_starts_is_one_of_the_new_state() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log, StateTimeout(1.0, "of a"))
        cast(machine, "on", go("b", StateTimeout(2.0, "of b")))
        await trio.sleep(3)
        assert log == [("a", "on"), ("b", StateTimedOut("of b"))]


async def test_generic_timeouts_are_cancelled_by_nothing_and_go_by_their_names() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log, GenericTimeout("x", 1.0, 1), GenericTimeout(2, 2.0, 2))
        one_by_one(machine, ("1", go("b")), ("2", keep(Postpone())), ("3", go("c")))
        await trio.sleep(3)
        assert log[-2:] == [("c", GenericTimedOut("x", 1)), ("c", GenericTimedOut(2, 2))]


TIMEOUTS: list[tuple[Callable[..., Any], Any, Callable[[object], StateEvent]]] = [
    (StateTimeout, StateTimeout, StateTimedOut),
    (
        lambda seconds, content: GenericTimeout("x", seconds, content),
        None,
        lambda content: GenericTimedOut("x", content),
    ),
]


@pytest.mark.parametrize(("make", "kind", "event"), TIMEOUTS, ids=["state", "generic"])
async def test_to_start_a_timeout_again_replaces_it(make: Any, kind: Any, event: Any) -> None:
    log: list[Entry] = []
    async with node() as stage:
        machine = await Scripted.start(log, make(1.0, "first"))
        await trio.sleep(0.5)
        cast(machine, "again", keep(make(1.0, "second")))
        await trio.sleep(0.9)
        assert log == [("a", "again")]
        await trio.sleep(0.2)
        assert log[1:] == [("a", event("second"))]
        await trio.sleep(5)
        assert log[2:] == []
        assert len(stage.node.timers) == 0


@pytest.mark.parametrize(("make", "kind", "event"), TIMEOUTS, ids=["state", "generic"])
async def test_infinity_and_cancel_end_a_timeout(make: Any, kind: Any, event: Any) -> None:
    log: list[Entry] = []
    cancelled = StateTimeout.cancel() if kind is StateTimeout else GenericTimeout.cancel("x")
    async with node() as stage:
        for end in (make(float("inf"), None), cancelled):
            machine = await Scripted.start(log, make(1.0, "never"))
            await settle()
            assert len(stage.node.timers) == 1
            cast(machine, "end", keep(end))
            await settle()
            assert len(stage.node.timers) == 0
            # To end one that does not run is no mistake.
            cast(machine, "end", keep(end))
            await trio.sleep(2)
        assert [label for _, label in log] == ["end"] * 4


@pytest.mark.parametrize(("make", "kind", "event"), TIMEOUTS, ids=["state", "generic"])
async def test_update_changes_what_a_timeout_will_say(make: Any, kind: Any, event: Any) -> None:
    log: list[Entry] = []

    def update(content: object) -> Any:
        if kind is StateTimeout:
            return StateTimeout.update(content)
        return GenericTimeout.update("x", content)

    async with node():
        machine = await Scripted.start(log, make(1.0, "before"))
        await trio.sleep(0.5)
        cast(machine, "update", keep(update("after")))
        await trio.sleep(0.4)
        assert log == [("a", "update")]
        await trio.sleep(0.2)
        assert log[1:] == [("a", event("after"))]
        # It does not run any more: so it is over at once.
        cast(machine, "update", keep(update("at once")))
        await settle()
        assert log[2:] == [("a", "update"), ("a", event("at once"))]


async def test_update_of_the_event_timeout_is_one_of_zero_seconds() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log, EventTimeout(1.0, "before"))
        cast(machine, "update", keep(EventTimeout.update("after")))
        await trio.sleep(2)
        assert log == [("a", "update"), ("a", EventTimedOut("after"))]
        cast(machine, "again", keep(EventTimeout(1.0), EventTimeout.cancel()))
        await trio.sleep(2)
        assert log[2:] == [("a", "again")]


async def test_of_several_actions_for_one_timeout_the_last_counts() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        cast(machine, "go", keep(StateTimeout(0.0, 1), StateTimeout(2.0, 2), StateTimeout(1.0, 3)))
        await trio.sleep(3)
        assert log == [("a", "go"), ("a", StateTimedOut(3))]
        again = (StateTimeout(0.0, 1), GenericTimeout("x", 0.0), StateTimeout(0.0, 2))
        cast(machine, "go", keep(*again))
        await settle()
        assert log[3:] == [("a", GenericTimedOut("x")), ("a", StateTimedOut(2))]


async def test_a_timeout_of_zero_comes_after_inserted_events_and_before_queued_ones() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(
            machine,
            ("go", keep(StateTimeout(0.0), GenericTimeout("x", 0.0), *insert("inserted"))),
            ("queued", keep()),
        )
        await settle()
        assert log == [
            ("a", "go"),
            ("a", "inserted"),
            ("a", StateTimedOut()),
            ("a", GenericTimedOut("x")),
            ("a", "queued"),
        ]


async def test_a_timeout_of_zero_comes_after_postponed_events_that_are_tried_again() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(machine, ("late", unless_in("b")), ("on", go("b", StateTimeout(0.0))))
        await settle()
        assert log[2:] == [("b", "late"), ("b", StateTimedOut())]


async def test_an_event_timeout_of_zero_comes_if_nothing_is_inserted() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        one_by_one(machine, ("go", keep(EventTimeout(0.0))), ("queued", keep()))
        await settle()
        assert log == [("a", "go"), ("a", EventTimedOut()), ("a", "queued")]


async def test_an_event_timeout_of_zero_is_lost_if_an_inserted_event_comes_first() -> None:
    log: list[Entry] = []
    async with node():
        machine = await Scripted.start(log)
        cast(machine, "go", keep(EventTimeout(0.0), *insert("inserted")))
        await trio.sleep(1)
        assert log == [("a", "go"), ("a", "inserted")]


async def test_a_timeout_that_is_over_but_not_yet_handled_can_be_cancelled() -> None:
    log: list[Entry] = []

    class Waits(Scripted):
        @state
        async def a(self, event: StateEvent) -> Transition:
            if isinstance(event, CastEvent):
                await trio.sleep(2)
                return NextState(self.b)
            return self.handle("a", event)

    async with node():
        machine = await Waits.start(log, StateTimeout(1.0))
        cast_to(machine, "go")
        cast_to(machine, "ignored")
        await trio.sleep(5)
        assert log == [("b", CastEvent("ignored"))]


async def test_the_timer_of_a_timeout_ends_with_the_machine() -> None:
    async with node() as stage:
        machine = await Scripted.start([], StateTimeout(100.0), GenericTimeout("x", 100.0))
        await settle()
        assert len(stage.node.timers) == 2
        await stop(machine)
        assert len(stage.node.timers) == 0


# -- 3.7: stop and reply --------------------------------------------------------------------------


async def test_the_replies_of_stop_and_reply_go_out_before_terminate() -> None:
    log: list[Entry] = []
    kept: list[Call] = []

    class Slow(Scripted):
        async def terminate(self, reason: object) -> None:
            log.append(("terminate", reason))
            await trio.sleep(1)
            log.append(("terminated", reason))

    def hold(machine: Scripted, event: StateEvent) -> Transition:
        assert isinstance(event, CallEvent)
        kept.append(event.caller)
        return KeepState()

    async def wait() -> None:
        log.append(("other", await call(machine, Do("hold", hold))))

    def end(machine: Scripted, event: StateEvent) -> Transition:
        return StopAndReply("shutdown", Reply("bye"), ReplyTo(kept[0], "bye too"))

    async with node():
        machine = await Slow.start(log)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await settle()
            assert await call(machine, Do("end", end)) == "bye"
            log.append(("first", "bye"))
        assert is_alive(machine)
        assert await wait_exit(machine) == "shutdown"
        assert [name for name, _ in log if name != "a"] == [
            *sorted({"terminate", "first", "other"}, key=[name for name, _ in log].index),
            "terminated",
        ]


async def test_stop_and_reply_may_refuse_and_without_replies_is_stop() -> None:
    async with node():
        machine = await Scripted.start([])
        refuse = StopAndReply("shutdown", Refuse(ValueError("closed")))
        with pytest.raises(ValueError, match="closed"):
            await call(machine, Do("end", lambda machine, event: refuse))
        assert await wait_exit(machine) in ("shutdown", "noproc")
        machine = await Scripted.start([])
        with pytest.raises(CallFailed) as failed:
            await call(machine, Do("end", lambda machine, event: StopAndReply()))
        assert failed.value.reason == "normal"


# -- 3.8: the order of it all ---------------------------------------------------------------------


async def test_all_that_one_transition_brings_about_comes_in_this_order() -> None:
    log: list[Entry] = []
    kept: list[Call] = []

    def hold(machine: Scripted, event: StateEvent) -> Transition:
        assert isinstance(event, CallEvent)
        kept.append(event.caller)
        return KeepState()

    def note(machine: Scripted, event: StateEvent) -> Transition:
        log.append(("entering", kept[0].is_pending))
        return None

    async with node():
        machine = await Entering.start(log)

        async def ask() -> None:
            log.append(("asked", await call(machine, Do("hold", hold))))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await settle()
            del log[:]
            (await get_state(machine))["on_enter"]["b"] = note
            one_by_one(
                machine,
                ("late", unless_in("b")),
                (
                    "on",
                    lambda machine, event: NextState(
                        machine.b,
                        EventTimeout(0.0),
                        StateTimeout(0.0),
                        *insert("inserted"),
                        ReplyTo(kept[0], "answer"),
                    ),
                ),
                ("queued", keep()),
            )
        log.remove(("asked", "answer"))
        assert log == [
            ("a", "late"),
            ("a", "on"),
            ("b", "enter from a"),
            # The reply went out as the list was read.
            ("entering", False),
            ("b", "inserted"),
            ("b", "late"),
            ("b", StateTimedOut()),
            ("b", "queued"),
        ]


# -- against a model ------------------------------------------------------------------------------

Step: TypeAlias = tuple[str, bool, int]
"""What an event does when it is handled: the state it goes to, whether it is postponed, how many
events it inserts."""

steps = st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 2))
programs = st.lists(st.lists(steps, min_size=1, max_size=3), max_size=8)


def model(program: list[list[Step]]) -> list[Entry]:
    """Handle events as the manual of gen_statem tells it, with nothing but lists.

    Each event does what its list says, one step each time that it is handled; the last step
    repeats, but postpones no more. What it inserts does nothing.
    """
    handled: list[Entry] = []
    times = [0] * len(program)
    queue: list[int | str] = list(range(len(program)))
    postponed: list[int | str] = []
    current = "a"
    while queue:
        event = queue.pop(0)
        handled.append((current, event))
        if isinstance(event, str):
            continue
        turn = times[event]
        times[event] += 1
        target, postpones, count = program[event][min(turn, len(program[event]) - 1)]
        if postpones and turn < len(program[event]):
            postponed.append(event)
        if target != current:
            queue = postponed + queue
            postponed = []
            current = target
        inserted: list[int | str] = [f"{event}.{turn}.{number}" for number in range(count)]
        queue = inserted + queue
    return handled


@given(programs)
@pytest.mark.slow
def test_any_program_of_transitions_runs_as_in_the_model(program: list[list[Step]]) -> None:
    log: list[Entry] = []
    times = [0] * len(program)

    class Machine(StateMachine):
        async def init(self) -> Start:
            return Start("a")

        async def handle_event(self, state: str, event: StateEvent) -> Transition:
            match event:
                case InternalEvent(label):
                    log.append((state, label))
                    return None
                case CastEvent(int(number)):
                    log.append((state, number))
                    turn = times[number]
                    times[number] += 1
                    script = program[number]
                    target, postpones, count = script[min(turn, len(script) - 1)]
                    actions: list[Any] = [
                        NextEvent(InternalEvent(f"{number}.{turn}.{one}")) for one in range(count)
                    ]
                    if postpones and turn < len(script):
                        actions.append(Postpone())
                    return NextState(target, *actions)
            raise AssertionError(event)

    async def main() -> None:
        async with node():
            machine = await Machine.start()
            for number in range(len(program)):
                cast_to(machine, number)
            await settle()
            await stop(machine)

    run_on_virtual_clock(main)
    assert log == model(program)


# -- documentation --------------------------------------------------------------------------------


async def test_the_example_of_the_module_runs() -> None:
    text = exeunt.otp.statemachine.__doc__
    assert text is not None
    blocks: list[str] = []
    for line in text.splitlines():
        if line.startswith("    ") or (not line and blocks and blocks[-1]):
            if not blocks or blocks[-1] == "\n":
                blocks.append("")
            blocks[-1] += line + "\n"
        elif blocks and blocks[-1] != "\n":
            blocks.append("\n")
    source = "\n".join(dedent(block) for block in blocks if block.strip())
    assert "class Door" in source and "class Turnstile" in source
    code = compile(
        source, "statemachine.py", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    names: dict[str, Any] = {"__name__": "example"}
    async with node():
        result = eval(code, names)
        assert inspect.iscoroutine(result)
        await result
        door: Pid = names["door"]
        info = process_info(door)
        assert info is not None and info.label == "Door"
        await stop(door)
        await stop(names["turnstile"])


async def test_a_code_that_is_typed_while_the_door_is_open_is_tried_afterwards() -> None:
    # What the module's docstring says of its example, besides what it shows.
    class Press(str):
        pass

    class Door(StateMachine):
        async def init(self) -> Start:
            return Start(self.locked)

        @state
        async def locked(self, event: StateEvent) -> Transition:
            match event:
                case CastEvent(Press()):
                    return NextState(self.unlocked, StateTimeout(10.0))
                case CallEvent():
                    return Reply("locked")
            return None

        @state
        async def unlocked(self, event: StateEvent) -> Transition:
            match event:
                case StateTimedOut():
                    return NextState(self.locked)
                case CastEvent(Press()):
                    return KeepState(Postpone())
                case CallEvent():
                    return Reply("unlocked")
            return None

    async with node():
        door = await Door.start()
        cast_to(door, Press("x"))
        cast_to(door, Press("x"))
        await trio.sleep(15)
        assert await call(door, "?") == "unlocked"
        await trio.sleep(10)
        assert await call(door, "?") == "locked"


def test_a_state_machine_is_a_genserver() -> None:
    assert issubclass(StateMachine, GenServer)

'''StateMachine: a server whose answer to an event depends on the state that it is in.

A GenServer that must not do now what it may do later is soon all `if`s: connected or not, locked or
not, before the handshake or after. In a state machine each state is a method of its own, marked
`@state`; all events come to the method of the current state, which takes them apart with `match`
and returns where to go. Everything else is a GenServer's: how it is started, named, supervised and
stopped, its attributes, `terminate`, what is logged.

A door with a code lock. It locks itself again after ten seconds; and a code that was typed while it
was open is not lost, but tried when it has locked:

    from dataclasses import dataclass

    import trio

    from exeunt import Reply, Request, StateMachine, call, cast_to, state
    from exeunt.otp.transitions import (
        CallEvent,
        CastEvent,
        EnterEvent,
        KeepState,
        NextState,
        Postpone,
        Start,
        StateEvent,
        StateTimedOut,
        StateTimeout,
        Transition,
    )

    @dataclass(frozen=True)
    class Press:
        """Press a button of the lock."""

        digit: str

    @dataclass(frozen=True)
    class IsOpen(Request[bool]):
        """Ask whether the door is open."""

    class Door(StateMachine, state_enter=True):
        """A door that opens for a code, and locks itself again."""

        async def init(self, code: str) -> Start:
            self.code = code
            return Start(self.locked)

        @state
        async def locked(self, event: StateEvent) -> Transition:
            match event:
                case EnterEvent():
                    self.typed = ""
                    return None
                case CastEvent(Press(digit)):
                    self.typed = (self.typed + digit)[-len(self.code) :]
                    return NextState(self.unlocked) if self.typed == self.code else None
                case _:
                    return self.in_any_state(event)

        @state
        async def unlocked(self, event: StateEvent) -> Transition:
            match event:
                case EnterEvent():
                    return KeepState(StateTimeout(10.0))
                case StateTimedOut():
                    return NextState(self.locked)
                case CastEvent(Press()):
                    return KeepState(Postpone())
                case _:
                    return self.in_any_state(event)

        def in_any_state(self, event: StateEvent) -> Transition:
            match event:
                case CallEvent(IsOpen()):
                    return Reply(self.state is self.unlocked)
                case _:
                    return None

    door = await Door.start_link("42")
    for digit in "742":
        cast_to(door, Press(digit))
    assert await call(door, IsOpen()) is True
    await trio.sleep(11)
    assert await call(door, IsOpen()) is False

A state is told by the method itself: `NextState(self.unlocked)`. A type checker finds a misspelt
one, and what is no state of the class is refused when the machine is to go there, with
`UnknownState`. What was not foreseen does nothing (None is `KeepState()`), but for a call: a state
that returns None for one ends the machine, rather than let the caller wait for ever.

Where the states are too many for methods, or carry data, override `handle_event(state, event)`
instead: states are then any values, compared with `==`.

    class Turnstile(StateMachine):
        """Lets one person through for each coin."""

        async def init(self) -> Start:
            return Start(0)

        async def handle_event(self, state: int, event: StateEvent) -> Transition:
            match state, event:
                case coins, CastEvent("coin"):
                    return NextState(coins + 1)
                case 0, CallEvent("push"):
                    return Reply("put a coin in")
                case coins, CallEvent("push"):
                    return NextState(coins - 1, Reply("go through"))
                case _:
                    return None

    turnstile = await Turnstile.start_link()
    assert await call(turnstile, "push") == "put a coin in"
    cast_to(turnstile, "coin")
    assert await call(turnstile, "push") == "go through"

A request that is answered alike in every state may be an `@on_call` or `@on_cast` method, as in a
GenServer. It is no event: it changes no state, and no time-out knows of it.

*When not to use it.* If nothing is postponed, nothing times out, and hardly any answer depends on
the state, a GenServer with an attribute is shorter. The rules are those of OTP's `gen_statem`;
`exeunt.otp.transitions` lists the events, and what may be returned for them.
'''

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, ClassVar, Final

from exeunt.kernel.calls import Call
from exeunt.otp.callbacks import refuse_misspelt
from exeunt.otp.genserver import GenServer
from exeunt.otp.results import (
    BadReturnValue,
    CallResult,
    CastResult,
    Ignore,
    NoReply,
    Stop,
    UnexpectedRequest,
)
from exeunt.otp.state_engine import RunningTimeout, StateEngine, StateFunction
from exeunt.otp.transitions import (
    CallEvent,
    CastEvent,
    InfoEvent,
    NextState,
    Start,
    StartResult,
    StateEvent,
    Transition,
)

_TAKEN: Final = ("handle_call", "handle_cast", "handle_info", "handle_continue")


def state(method: Callable[[Any, StateEvent], Coroutine[Any, Any, Transition]]) -> StateFunction:
    """Make a method a state: it handles the events that come while the machine is in it.

    The name of the method is that of the state, and `self.name` is the state itself, to go to with
    `NextState`. To handle an event as a base class does: `await super().name.handle(self, event)`.
    """
    return StateFunction(method)


class StateMachine(GenServer):
    """The base of all state machines: `@state` methods, or else `handle_event`.

    With `class Door(StateMachine, state_enter=True)` each state is handed an `EnterEvent` when it
    is entered.
    """

    # In a slot, so that the attributes are the user's own.
    __slots__ = ("_engine",)

    # By name; empty if the class has handle_event instead.
    _states: ClassVar[Mapping[str, StateFunction]] = MappingProxyType({})
    _has_enter_calls: ClassVar[bool] = False

    def __init_subclass__(cls, *, state_enter: bool | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_misspelt(cls, ("handle_event",))
        _refuse_what_cannot_be(cls)
        if state_enter is not None:
            cls._has_enter_calls = state_enter
        if "init" in vars(cls):
            cls.init = _checked(cls.init)  # type: ignore[method-assign]
        names = [
            name
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, StateFunction)
        ]
        states = {
            name: one for name in names if isinstance(one := getattr(cls, name), StateFunction)
        }
        if states and cls.handle_event is not StateMachine.handle_event:
            raise TypeError(
                f"{cls.__qualname__} has both handle_event and @state methods "
                f"({', '.join(states)}): have the one or the other"
            )
        cls._states = MappingProxyType(states)

    def __init__(self) -> None:
        if not self._states and type(self).handle_event is StateMachine.handle_event:
            raise TypeError(
                f"{type(self).__qualname__} has no states: mark methods with @state, or have "
                "handle_event"
            )
        self._engine = StateEngine(self)

    def _waiting(self) -> Mapping[str, object]:
        return self._engine.waiting()

    # -- callbacks ------------------------------------------------------------------------------

    async def init(self, *args: Any, **kwargs: Any) -> StartResult:
        """Initialise the attributes, and return `Start(state, *actions)`. The starter waits for it.

        Or else `Ignore()` or `Stop(reason)`, as in a GenServer.
        """
        raise UnexpectedRequest(
            f"{type(self).__qualname__} has no init: a state machine needs one, which returns "
            "Start(state)"
        )

    async def handle_event(self, state: Any, event: StateEvent) -> Transition:
        """Handle all events, whatever the state, in a class without `@state` methods."""
        raise UnexpectedRequest(f"{type(self).__qualname__} has no handle_event for {event!r}")

    # -- for callbacks --------------------------------------------------------------------------

    @property
    def state(self) -> Any:
        """The state that the machine is in. Change it by returning `NextState`."""
        try:
            return vars(self)["state"]
        except KeyError:
            raise RuntimeError("the machine is in no state before init has returned") from None

    # -- as a GenServer -------------------------------------------------------------------------

    async def handle_call(self, request: Any, caller: Call) -> CallResult:
        """Not for you: a call is a `CallEvent`."""
        return await self._engine.handle(CallEvent(request, caller)) or NoReply()

    async def handle_cast(self, request: Any) -> CastResult:
        """Not for you: a cast is a `CastEvent`."""
        return await self._engine.handle(CastEvent(request))

    async def handle_info(self, message: Any) -> CastResult:
        """Not for you: a message is an `InfoEvent`, or one of time-outs."""
        if type(message) is RunningTimeout:
            event = self._engine.fired(message)
            return None if event is None else await self._engine.handle(event)
        return await self._engine.handle(InfoEvent(message))

    async def handle_continue(self, argument: Any) -> CastResult:
        """Not for you: insert an event with `NextEvent`."""
        if isinstance(argument, NextState) and "state" not in vars(self):
            return await self._engine.begin(argument)
        raise UnexpectedRequest(
            f"{type(self).__qualname__} continues with {argument!r}: a state machine inserts an "
            "event with NextEvent instead"
        )


def _refuse_what_cannot_be(cls: type[StateMachine]) -> None:
    for name, value in vars(cls).items():
        if name in _TAKEN:
            raise TypeError(
                f"{cls.__qualname__}.{name} would never see an event: they come to its @state "
                "methods, or to handle_event"
            )
        if isinstance(value, StateFunction):
            if hasattr(StateMachine, name):
                raise TypeError(
                    f"a state of {cls.__qualname__} cannot have the name {name!r}, which every "
                    "state machine has for something else"
                )
            if value.__name__ != name:
                raise TypeError(
                    f"the state {value!r} of {cls.__qualname__} has the second name {name!r}: a "
                    "state has one"
                )
        elif callable(value) and any(name in base._states for base in _machines_above(cls)):
            raise TypeError(
                f"{cls.__qualname__}.{name} replaces a state of that name: decorate it with @state"
            )


def _machines_above(cls: type) -> list[type[StateMachine]]:
    return [base for base in cls.__mro__[1:] if issubclass(base, StateMachine)]


def _checked(
    init: Callable[..., Coroutine[Any, Any, StartResult]],
) -> Callable[..., Coroutine[Any, Any, StartResult]]:
    """Have `init` fail if it returns no state: not only the first event shall find that out."""

    @wraps(init)
    async def checked(self: StateMachine, *args: Any, **kwargs: Any) -> StartResult:
        result: object = await init(self, *args, **kwargs)
        if not isinstance(result, (Start, Ignore, Stop)):
            raise BadReturnValue(
                f"{type(self).__name__}.init",
                result,
                "Start(state, *actions), Ignore() or Stop(reason)",
            )
        return result

    return checked


__all__ = ["StateMachine", "state"]

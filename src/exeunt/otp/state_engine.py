"""The engine of a state machine: what comes of an event, and which event comes next.

One message of the mailbox is one event, and may bring others with it: inserted ones, postponed ones
that are tried again, time-outs of 0 seconds. All of these are handled before the next message is
taken. It follows OTP's `gen_statem`; what a user sees is in `exeunt.otp.statemachine`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from exeunt.kernel.ids import Pid, Ref
from exeunt.kernel.primitives import cancel_timer, send_after
from exeunt.otp.results import NOTHING, BadReturnValue, Refuse, Reply, Stop
from exeunt.otp.tracing import TraceKind
from exeunt.otp.transitions import (
    EVENT_TIMEOUT,
    STATE_TIMEOUT,
    Action,
    CallEvent,
    CancelTimeout,
    EnterEvent,
    KeepState,
    NextEvent,
    NextState,
    Postpone,
    RepeatState,
    ReplyAction,
    ReplyTo,
    StateEvent,
    StopAndReply,
    TimeoutAction,
    TimeoutKey,
    Transition,
    UnknownState,
    UpdateTimeout,
    event_of,
)

if TYPE_CHECKING:
    from exeunt.otp.statemachine import StateMachine

_EXPECTED: Final = (
    "NextState(…), KeepState(…), RepeatState(…), Reply(value), Refuse(error), Stop(reason), "
    "StopAndReply(…) or None"
)


class StateFunction:
    """A method that handles the events of one state, and the name of that state: `@state`."""

    def __init__(
        self, method: Callable[[Any, StateEvent], Coroutine[Any, Any, Transition]]
    ) -> None:
        self.__wrapped__ = method
        self.__doc__ = method.__doc__
        # The first name that a class gives it.
        self.__name__ = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.__name__ = self.__name__ or name

    def __repr__(self) -> str:
        return self.__name__

    def handle(self, machine: StateMachine, event: StateEvent) -> Coroutine[Any, Any, Transition]:
        """Handle an event as this state does: `return await super().open.handle(self, event)`."""
        return self.__wrapped__(machine, event)


class RunningTimeout:
    """A time-out that has a timer, and the message of that timer."""

    __slots__ = ("content", "key", "ref")

    def __init__(self, key: TimeoutKey, content: object) -> None:
        self.key = key
        self.content = content
        self.ref: Ref | None = None

    def __repr__(self) -> str:
        return repr(event_of(self.key, self.content))


class _Effects:
    """What the actions of one transition ask for, the replies apart: those go out at once."""

    __slots__ = ("inserted", "is_postponed", "timeouts")

    def __init__(self) -> None:
        self.inserted: list[StateEvent] = []
        self.is_postponed = False
        # The last action for a time-out is the one that counts.
        self.timeouts: dict[TimeoutKey, TimeoutAction] = {}


class StateEngine:
    """The events and time-outs of one state machine."""

    __slots__ = ("_machine", "_postponed", "_queue", "_sweep_at", "_timeouts", "_zeros")

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        # Inserted events and those that are tried again. Empty whenever a message is taken from the
        # mailbox, as are the time-outs of 0 seconds.
        self._queue: deque[StateEvent] = deque()
        self._zeros: dict[TimeoutKey, object] = {}
        # In order of arrival, each with whether somebody waited for it then. As unbounded as the
        # mailbox from which they come; but calls that nobody waits for any more are swept out.
        self._postponed: list[tuple[StateEvent, bool]] = []
        self._sweep_at = 32
        self._timeouts: dict[TimeoutKey, RunningTimeout] = {}

    def waiting(self) -> Mapping[str, object]:
        """Return the events that are postponed, and those that time-outs will bring."""
        return {
            "postponed": [
                event for event, waited in self._postponed if not _is_withdrawn(event, waited)
            ],
            "timeouts": [event_of(one.key, one.content) for one in self._timeouts.values()],
        }

    # -- events -----------------------------------------------------------------------------------

    async def begin(self, first: NextState) -> Stop | None:
        """Enter the first state, and handle what comes of that."""
        self._check(first.state)
        self._set_state(first.state)
        effects = _Effects()
        self._read(first.actions, None, effects)
        stop = await self._complete(None, first.state, effects, enter=True)
        if stop is not None:
            return stop
        event = self._next()
        if event is None:
            return None
        self._note("in", event)
        return await self.handle(event)

    async def handle(self, event: StateEvent) -> Stop | None:
        """Handle an event, and all those that come before the next message."""
        mailbox = self._machine._loop.process.mailbox
        while True:
            stop = await self._handle(event)
            if stop is not None:
                return stop
            following = self._next()
            if following is None:
                return None
            event = following
            self._note("in", event)
            await mailbox.spend()

    def fired(self, timeout: RunningTimeout) -> StateEvent | None:
        """Return the event of a timer's message; None if the time-out was cancelled meanwhile."""
        if self._timeouts.get(timeout.key) is not timeout:
            return None
        del self._timeouts[timeout.key]
        return event_of(timeout.key, timeout.content)

    def _next(self) -> StateEvent | None:
        if self._queue:
            return self._queue.popleft()
        for key in self._zeros:
            return event_of(key, self._zeros.pop(key))
        return None

    async def _handle(self, event: StateEvent) -> Stop | None:
        process = self._machine._loop.process
        process.handling = event.caller if type(event) is CallEvent else None
        result = await self._run(event)
        process.handling = None
        state = self._machine.state
        actions: tuple[Action, ...] = ()
        enter = False
        if isinstance(result, NextState):
            self._check(result.state)
            enter = result.state is not state and result.state != state
            if enter:
                state = result.state
            actions = result.actions
        elif isinstance(result, KeepState):
            actions = result.actions
        elif isinstance(result, (Reply, Refuse)):
            actions = KeepState(result).actions
        elif isinstance(result, RepeatState):
            actions = result.actions
            enter = True
        elif isinstance(result, (Stop, StopAndReply)):
            return self._stopped(result, event)
        elif result is not None:
            raise BadReturnValue(self._callback(), result, _EXPECTED)
        elif type(event) is CallEvent:
            # Falling off the end of a match would leave the caller waiting for ever.
            raise BadReturnValue(
                self._callback(),
                None,
                "an answer to the call: Reply(value) or Refuse(error), as a result or an action; "
                "or else KeepState(…), to answer it later",
            )
        effects = _Effects()
        self._read(actions, event, effects)
        return await self._complete(event, state, effects, enter=enter)

    async def _complete(
        self, event: StateEvent | None, state: object, effects: _Effects, *, enter: bool
    ) -> Stop | None:
        """Go to `state`, which may be the one it is in, and bring about what was asked for.

        In this order: the state is entered, what it cancels is cancelled, postponed events are put
        before the queue, inserted ones before these, and time-outs are started.
        """
        machine = self._machine
        old = machine.state
        if enter and machine._has_enter_calls:
            stop = await self._enter(state, old, effects)
            if stop is not None:
                return stop
        self._set_state(state)
        if effects.is_postponed and event is not None:
            self._postpone(event)
        self._cancel(EVENT_TIMEOUT)
        if state is not old and state != old:
            self._cancel(STATE_TIMEOUT)
            self._retry_postponed()
        self._queue.extendleft(reversed(effects.inserted))
        for action in effects.timeouts.values():
            self._set_timeout(action)
        return None

    async def _enter(self, state: object, old: object, effects: _Effects) -> Stop | None:
        machine = self._machine
        while True:
            self._set_state(state)
            self._note("enter", EnterEvent(old))
            try:
                result = await self._run(EnterEvent(old))
            except BaseException:
                # The change has not taken place; so `terminate` and the report see it.
                self._set_state(old)
                raise
            if isinstance(result, (Stop, StopAndReply)):
                return self._stopped(result, None)
            if result is None:
                return None
            if isinstance(result, NextState):
                is_same = result.state is state or result.state == state
            else:
                is_same = isinstance(result, (KeepState, RepeatState))
            if not is_same or not isinstance(result, (NextState, KeepState, RepeatState)):
                raise BadReturnValue(
                    self._callback(),
                    result,
                    "KeepState(…), RepeatState(…), Stop(reason), StopAndReply(…) or None: "
                    "an EnterEvent cannot change the state, and is no call",
                )
            if any(isinstance(action, (Postpone, NextEvent)) for action in result.actions):
                raise BadReturnValue(
                    self._callback(),
                    result,
                    "time-outs and ReplyTo(…) only: an EnterEvent neither postpones nor inserts",
                )
            self._read(result.actions, None, effects)
            if not isinstance(result, RepeatState):
                return None
            await machine._loop.process.mailbox.spend()

    def _run(self, event: StateEvent) -> Coroutine[Any, Any, Transition]:
        machine = self._machine
        machine._loop.last_message = event
        current = machine.state
        if not machine._states:
            return machine.handle_event(current, event)
        self._check(current)
        assert isinstance(current, StateFunction)
        return current.handle(machine, event)

    def _stopped(self, result: Stop | StopAndReply, event: StateEvent | None) -> Stop:
        if isinstance(result, Stop):
            if result.reply is not NOTHING:
                raise BadReturnValue(
                    self._callback(),
                    result,
                    "StopAndReply(reason, Reply(value)) for a Stop that answers",
                )
            return result
        for action in result.replies:
            self._answer(action, event)
        return Stop(result.reason)

    # -- actions ----------------------------------------------------------------------------------

    def _read(self, actions: tuple[Action, ...], event: StateEvent | None, to: _Effects) -> None:
        for action in actions:
            if isinstance(action, (Reply, Refuse, ReplyTo)):
                self._answer(action, event)
            elif isinstance(action, Postpone):
                to.is_postponed = True
            elif isinstance(action, NextEvent):
                to.inserted.append(action.event)
            else:
                to.timeouts.pop(action.key, None)
                to.timeouts[action.key] = action

    def _answer(self, action: ReplyAction, event: StateEvent | None) -> None:
        if isinstance(action, ReplyTo):
            action.caller.reply(action.value)
            self._note("out", action.value, action.caller.caller)
        elif not isinstance(event, CallEvent):
            raise BadReturnValue(
                self._callback(),
                action,
                "ReplyTo(caller, value): the event that is being handled is no call",
            )
        elif isinstance(action, Reply):
            event.caller.reply(action.value)
            self._note("out", action.value, event.caller.caller)
        else:
            event.caller.refuse(action.error)
            self._note("out", action.error, event.caller.caller)

    def _postpone(self, event: StateEvent) -> None:
        self._note("postpone", event)
        postponed = self._postponed
        postponed.append((event, isinstance(event, CallEvent) and event.caller.is_pending))
        if len(postponed) >= self._sweep_at:
            self._postponed = [one for one in postponed if not _is_withdrawn(*one)]
            self._sweep_at = max(32, 2 * len(self._postponed))

    def _retry_postponed(self) -> None:
        # OTP: there a call whose caller has given up is handled nevertheless. Here it is dropped,
        # as from a mailbox.
        again = [event for event, waited in self._postponed if not _is_withdrawn(event, waited)]
        self._postponed = []
        self._sweep_at = 32
        self._queue.extendleft(reversed(again))

    def _set_timeout(self, action: TimeoutAction) -> None:
        key = action.key
        if isinstance(action, UpdateTimeout):
            running = self._timeouts.get(key)
            if running is not None:
                running.content = action.content
            else:
                self._zeros[key] = action.content
            return
        self._cancel(key)
        if isinstance(action, CancelTimeout):
            return
        if action.seconds == 0:
            self._zeros[key] = action.content
        elif action.seconds != float("inf"):
            timeout = RunningTimeout(key, action.content)
            timeout.ref = send_after(action.seconds, self._machine.pid, timeout)
            self._timeouts[key] = timeout

    def _cancel(self, key: TimeoutKey) -> None:
        self._zeros.pop(key, None)
        # Its message may be in the mailbox already: `fired` knows it by its absence here.
        running = self._timeouts.pop(key, None)
        if running is not None and running.ref is not None:
            cancel_timer(running.ref)

    # -- the state --------------------------------------------------------------------------------

    def _set_state(self, state: object) -> None:
        vars(self._machine)["state"] = state

    def _check(self, state: object) -> None:
        """Raise `UnknownState` unless this is a state of the machine, if those are functions."""
        machine = self._machine
        states = machine._states
        if states and not (
            isinstance(state, StateFunction) and states.get(state.__name__) is state
        ):
            raise UnknownState(type(machine).__name__, state, list(states))

    def _note(self, kind: TraceKind, content: object, to: Pid | None = None) -> None:
        tracer = self._machine._loop.tracer
        if tracer is not None:
            tracer.note(kind, content, to)

    def _callback(self) -> str:
        machine = self._machine
        name = machine.state if machine._states else "handle_event"
        return f"{type(machine).__name__}.{name}"


def _is_withdrawn(event: StateEvent, was_waited_for: bool) -> bool:
    return was_waited_for and isinstance(event, CallEvent) and not event.caller.is_pending

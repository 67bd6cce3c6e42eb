"""What happens to a state machine, what it does about it, and where it goes: events and results.

A state machine is handed one *event* after the other, and what it returns for each is its
*transition*: stay or go to another state, and a list of *actions* on the way.

| event | comes from |
| --- | --- |
| `CallEvent(request, caller)` | `call(machine, request)` |
| `CastEvent(request)` | `cast_to(machine, request)` |
| `InfoEvent(message)` | any other message: plain ones, `Exit`, `Down`, those of timers |
| `InternalEvent(content)` | the machine itself, by `NextEvent` |
| `StateTimedOut(content)` | `StateTimeout`: it stayed in one state for so long |
| `EventTimedOut(content)` | `EventTimeout`: nothing happened for so long |
| `GenericTimedOut(name, content)` | `GenericTimeout`: so long has passed, whatever happened |
| `EnterEvent(old)` | entering a state, if the class asks for it with `state_enter=True` |

| transition | means |
| --- | --- |
| `NextState(state, *actions)` | go to this state |
| `KeepState(*actions)`, None | stay |
| `RepeatState(*actions)` | stay, and enter the state anew |
| `Reply(value)`, `Refuse(error)` | stay, and answer the call |
| `Stop(reason)` | end |
| `StopAndReply(reason, *replies)` | answer, then end |

| action | does |
| --- | --- |
| `Reply(value)`, `Refuse(error)` | answer the call that is being handled |
| `ReplyTo(caller, value)` | answer another one |
| `Postpone()` | keep the event until the state has changed |
| `NextEvent(event)` | handle that event next, before all that waits |
| `StateTimeout(…)`, `EventTimeout(…)`, `GenericTimeout(…)` | start a time-out |
| `StateTimeout.cancel()`, `StateTimeout.update(content)` and so on | stop or change it |

The rules are those of OTP's `gen_statem`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

from exeunt.kernel.calls import Call
from exeunt.kernel.exits import NORMAL, Reason
from exeunt.otp.results import Continue, Ignore, Refuse, Reply, Stop

# -- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Somebody asks and waits: `Reply(…)` now, or keep `caller` and `ReplyTo(caller, …)` later."""

    request: object
    caller: Call


@dataclass(frozen=True, slots=True)
class CastEvent:
    """Somebody asks and does not wait."""

    request: object


@dataclass(frozen=True, slots=True)
class InfoEvent:
    """A message of any other kind."""

    message: object


@dataclass(frozen=True, slots=True)
class InternalEvent:
    """An event that the machine has given itself."""

    content: object = None


@dataclass(frozen=True, slots=True)
class StateTimedOut:
    """The state time-out is over."""

    content: object = None


@dataclass(frozen=True, slots=True)
class EventTimedOut:
    """The event time-out is over."""

    content: object = None


@dataclass(frozen=True, slots=True)
class GenericTimedOut:
    """The time-out of this name is over."""

    name: object
    content: object = None


@dataclass(frozen=True, slots=True)
class EnterEvent:
    """The state is entered, from `old`: the same one at the start and after `RepeatState`.

    What it returns must stay in the state, and must neither postpone nor insert an event.
    """

    old: object


StateEvent: TypeAlias = (
    CallEvent
    | CastEvent
    | InfoEvent
    | InternalEvent
    | StateTimedOut
    | EventTimedOut
    | GenericTimedOut
    | EnterEvent
)
"""What a state is handed, and `handle_event`."""

# What can be inserted: everything but the entering of a state, which is no event in the queue.
_INSERTABLE: Final = (
    CallEvent,
    CastEvent,
    InfoEvent,
    InternalEvent,
    StateTimedOut,
    EventTimedOut,
    GenericTimedOut,
)

# -- actions --------------------------------------------------------------------------------------

TimeoutKind: TypeAlias = Literal["state", "event", "generic"]

TimeoutKey: TypeAlias = tuple[TimeoutKind, object]
"""Which time-out: there is one of each kind, and of each name among the generic ones."""

STATE_TIMEOUT: Final[TimeoutKey] = ("state", None)
EVENT_TIMEOUT: Final[TimeoutKey] = ("event", None)


@dataclass(frozen=True, slots=True)
class Postpone:
    """Keep the event, and handle it again when the state has changed to another one."""


@dataclass(frozen=True, slots=True)
class NextEvent:
    """Handle an event next, before all that is queued or postponed.

    Of several of these in one transition, the first is handled first.
    """

    event: StateEvent

    def __post_init__(self) -> None:
        if not isinstance(self.event, _INSERTABLE):
            raise TypeError(
                f"NextEvent takes an event such as InternalEvent(content), not {self.event!r}"
            )


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Answer a call that was kept; to a caller who has given up, nothing happens."""

    caller: Call
    value: object

    def __post_init__(self) -> None:
        if not isinstance(self.caller, Call):
            raise TypeError(
                f"ReplyTo takes the caller of a CallEvent and the answer, not {self.caller!r}"
            )


@dataclass(frozen=True, slots=True)
class CancelTimeout:
    """Stop a time-out; what `StateTimeout.cancel()` and its like return."""

    key: TimeoutKey


@dataclass(frozen=True, slots=True)
class UpdateTimeout:
    """Change what a time-out will say; what `StateTimeout.update(…)` and its like return.

    It goes on as it is. If it is not running, it is over at once, like one of 0 seconds.
    """

    key: TimeoutKey
    content: object


@dataclass(frozen=True, slots=True)
class StateTimeout:
    """Have `StateTimedOut(content)` happen when the machine has been in one state for `seconds`.

    A change to another state cancels it. To start one again replaces it. `inf` seconds cancel it;
    0 seconds are no timer: the event comes after those inserted or tried again, and before those
    in the mailbox.
    """

    seconds: float
    content: object = None

    def __post_init__(self) -> None:
        _check_seconds(self.seconds)

    @property
    def key(self) -> TimeoutKey:
        """Which time-out it is."""
        return STATE_TIMEOUT

    @staticmethod
    def cancel() -> CancelTimeout:
        """Stop the state time-out, if it is running."""
        return CancelTimeout(STATE_TIMEOUT)

    @staticmethod
    def update(content: object) -> UpdateTimeout:
        """Change the content of the state time-out."""
        return UpdateTimeout(STATE_TIMEOUT, content)


@dataclass(frozen=True, slots=True)
class EventTimeout:
    """Have `EventTimedOut(content)` happen if nothing else happens for `seconds`.

    Any event cancels it, be it inserted or postponed. Otherwise as `StateTimeout`.
    """

    seconds: float
    content: object = None

    def __post_init__(self) -> None:
        _check_seconds(self.seconds)

    @property
    def key(self) -> TimeoutKey:
        """Which time-out it is."""
        return EVENT_TIMEOUT

    @staticmethod
    def cancel() -> CancelTimeout:
        """Stop the event time-out. The event that is being handled has done so already."""
        return CancelTimeout(EVENT_TIMEOUT)

    @staticmethod
    def update(content: object) -> UpdateTimeout:
        """Change the content of the event time-out.

        As the event being handled has cancelled it, this is an event time-out of 0 seconds.
        """
        return UpdateTimeout(EVENT_TIMEOUT, content)


@dataclass(frozen=True, slots=True)
class GenericTimeout:
    """Have `GenericTimedOut(name, content)` happen in `seconds`, whatever happens until then.

    There may be any number of them, by their names, which are any hashable values. Otherwise as
    `StateTimeout`.
    """

    name: object
    seconds: float
    content: object = None

    def __post_init__(self) -> None:
        hash(self.name)
        _check_seconds(self.seconds)

    @property
    def key(self) -> TimeoutKey:
        """Which time-out it is."""
        return ("generic", self.name)

    @staticmethod
    def cancel(name: object) -> CancelTimeout:
        """Stop the time-out of this name, if it is running."""
        return CancelTimeout(("generic", name))

    @staticmethod
    def update(name: object, content: object) -> UpdateTimeout:
        """Change the content of the time-out of this name."""
        return UpdateTimeout(("generic", name), content)


TimeoutAction: TypeAlias = (
    StateTimeout | EventTimeout | GenericTimeout | CancelTimeout | UpdateTimeout
)
ReplyAction: TypeAlias = Reply[object] | Refuse | ReplyTo
Action: TypeAlias = ReplyAction | Postpone | NextEvent | TimeoutAction

_REPLIES: Final = (Reply, Refuse, ReplyTo)
_ACTIONS: Final = (
    *_REPLIES,
    Postpone,
    NextEvent,
    StateTimeout,
    EventTimeout,
    GenericTimeout,
    CancelTimeout,
    UpdateTimeout,
)


def event_of(key: TimeoutKey, content: object) -> StateEvent:
    """Return the event of a time-out that is over."""
    kind, name = key
    if kind == "state":
        return StateTimedOut(content)
    if kind == "event":
        return EventTimedOut(content)
    return GenericTimedOut(name, content)


def _check_seconds(seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"a time-out is a number of seconds, not {seconds!r}")
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"a time-out is a number of seconds from 0 up, or inf, not {seconds!r}")


def _check_actions(owner: str, actions: tuple[object, ...], allowed: tuple[type, ...]) -> None:
    for action in actions:
        if not isinstance(action, allowed):
            names = ", ".join(kind.__name__ for kind in allowed)
            hint = "; give them one by one, not as a list" if isinstance(action, list) else ""
            raise TypeError(f"an action of {owner} is one of {names}, not {action!r}{hint}")
        if isinstance(action, (Reply, Refuse)) and action.then is not None:
            raise TypeError(
                f"{action!r} has a `then`, which a state machine has no use for: "
                "use NextEvent or a time-out"
            )


# -- transitions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, init=False)
class NextState:
    """Go to another state, and take these actions on the way.

    To the state that the machine is in already, it is `KeepState`.
    """

    state: object
    actions: tuple[Action, ...]

    def __init__(self, state: object, *actions: Action) -> None:
        _check_actions("NextState", actions, _ACTIONS)
        object.__setattr__(self, "state", state)
        object.__setattr__(self, "actions", actions)


@dataclass(frozen=True, slots=True, init=False)
class KeepState:
    """Stay in the state, and take these actions."""

    actions: tuple[Action, ...]

    def __init__(self, *actions: Action) -> None:
        _check_actions("KeepState", actions, _ACTIONS)
        object.__setattr__(self, "actions", actions)


@dataclass(frozen=True, slots=True, init=False)
class RepeatState:
    """Stay in the state, but enter it anew: with `state_enter=True`, `EnterEvent` comes again.

    It is no change of state: postponed events stay postponed, the state time-out goes on.
    """

    actions: tuple[Action, ...]

    def __init__(self, *actions: Action) -> None:
        _check_actions("RepeatState", actions, _ACTIONS)
        object.__setattr__(self, "actions", actions)


@dataclass(frozen=True, slots=True, init=False)
class StopAndReply:
    """Answer calls, then end: the answers go out before `terminate` runs."""

    reason: Reason
    replies: tuple[ReplyAction, ...]

    def __init__(self, reason: Reason = NORMAL, *replies: ReplyAction) -> None:
        _check_actions("StopAndReply", replies, _REPLIES)
        object.__setattr__(self, "reason", reason)
        object.__setattr__(self, "replies", replies)


Transition: TypeAlias = (
    NextState | KeepState | RepeatState | Reply[object] | Refuse | Stop | StopAndReply | None
)
"""What a state function returns."""


class Start(Continue):
    """From `init`: begin in this state, with these actions.

    The starter does not wait for them, nor for the state to be entered.
    """

    __slots__ = ()

    def __init__(self, state: object, *actions: Action) -> None:
        if any(isinstance(action, (Postpone, Reply, Refuse)) for action in actions):
            raise TypeError("Start takes no Postpone, Reply or Refuse: there is no event yet")
        super().__init__(NextState(state, *actions))


StartResult: TypeAlias = Start | Ignore | Stop
"""What the `init` of a state machine returns."""


class UnknownState(ValueError):
    """A state machine was to go to what is none of its states."""

    def __init__(self, machine: str, state: object, states: Collection[str]) -> None:
        name = state if isinstance(state, str) else getattr(state, "__name__", None)
        hint = ""
        if isinstance(name, str):
            if name in states:
                hint = f": pass the state itself, self.{name}"
            elif meant := get_close_matches(name, states, 1):
                hint = f": did you mean self.{meant[0]}?"
            elif callable(state):
                hint = ": has it the decorator @state?"
        super().__init__(
            f"{state!r} is no state of {machine}, whose states are {', '.join(states)}{hint}"
        )
        self.state = state


__all__ = [
    "Action",
    "CallEvent",
    "CancelTimeout",
    "CastEvent",
    "EnterEvent",
    "EventTimedOut",
    "EventTimeout",
    "GenericTimedOut",
    "GenericTimeout",
    "InfoEvent",
    "InternalEvent",
    "KeepState",
    "NextEvent",
    "NextState",
    "Postpone",
    "RepeatState",
    "ReplyTo",
    "Start",
    "StartResult",
    "StateEvent",
    "StateTimedOut",
    "StateTimeout",
    "StopAndReply",
    "Transition",
    "UnknownState",
    "UpdateTimeout",
]

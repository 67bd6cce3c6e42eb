"""Exit reasons and other values, between the JSON of the scenarios and the objects of exeunt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from exeunt import (
    BadReturnValue,
    CallCycle,
    CallFailed,
    Crash,
    Down,
    Exit,
    FailedToStart,
    Pid,
    Ref,
    Shutdown,
)
from tests.conformance.traces import Json

NEVER = 10_000
"""Milliseconds from which on a time-out never comes, within a scenario."""

_kinds: dict[str, type[Exception]] = {}


class ScenarioError(Exception):
    """A scenario makes no sense, so there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A message of a scenario: who sent it, and what."""

    sender: str
    body: Json


@dataclass(frozen=True, slots=True)
class Fired:
    """The message of a scenario's timer."""

    timer: str
    body: Json


@dataclass(frozen=True, slots=True)
class Null:
    """A null that is something to return, where None would be nothing."""


def seconds(milliseconds: float) -> float:
    """Return a time of a scenario in seconds; one that never comes lies far ahead of all others."""
    return milliseconds / 1000 * (1e6 if milliseconds >= NEVER else 1)


def exception(kind: str) -> Exception:
    """Make an exception of a class of this name."""
    if kind not in _kinds:
        _kinds[kind] = type(kind, (Exception,), {})
    return _kinds[kind](f"raised by the scenario: {kind}")


def to_value(json: Json) -> object:
    """Return an immutable object for a JSON value."""
    return tuple(to_value(one) for one in json) if isinstance(json, list) else json


def to_reason(json: Json) -> object:
    """Return the exit reason that a scenario means."""
    match json:
        case ["shutdown", detail]:
            return Shutdown(to_value(detail))
        case ["error", str(kind)]:
            return Crash(exception(kind))
        case _:
            return to_value(json)


def value_json(value: object) -> Json:
    """Return the JSON of a value; of anything foreign its repr, which no trace has."""
    match value:
        case tuple() | list():
            return [value_json(one) for one in value]
        case Null():
            return None
        case None | bool() | int() | float() | str() | dict():
            return value
        case _:
            return repr(value)


def reason_json(reason: object) -> Json:
    """Return how a trace writes an exit reason."""
    match reason:
        case Shutdown(FailedToStart(id, why)):
            return ["shutdown", ["failed_to_start_child", value_json(id), reason_json(why)]]
        case Shutdown(detail):
            return ["shutdown", value_json(detail)]
        case Crash(CallFailed(reason=CallCycle(pids=(_,)))):
            return ["in_call", "calling_self"]
        case Crash(CallFailed(reason=why)):
            return ["in_call", reason_json(why)]
        case Crash(trio.TooSlowError()):
            # A call has no time-out of its own: `trio.fail_after` is that.
            return ["in_call", "timeout"]
        case Crash(BadReturnValue(value=value)):
            return ["bad_return_value", value_json(value)]
        case Crash(error):
            return ["error", type(error).__name__]
        case _:
            return value_json(reason)


def message_json(message: object, who: Callable[[Pid], str], which: Callable[[Ref], str]) -> Json:
    """Return how a trace writes a message, given the labels of processes and of monitors."""
    match message:
        case Plain(sender, body):
            return ["msg", sender, body]
        case Fired(timer, body):
            return ["timer", timer, body]
        case Exit(pid, reason):
            return ["EXIT", who(pid), reason_json(reason)]
        case Down(ref, str(name), reason):
            return ["DOWN", which(ref), {"name": name}, reason_json(reason)]
        case Down(ref, Pid() as pid, reason):
            return ["DOWN", which(ref), who(pid), reason_json(reason)]
        case _:
            return repr(message)

"""Child specifications: what a supervisor needs to know of a child, and whether it makes sense.

Data and validation only. A specification is made with `GenServer.child(…)`, or for a plain async
function with `child(function, …)`, and changed with `spec.replace(restart="transient")`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypedDict, Unpack, get_args

from exeunt.kernel.exits import Reason
from exeunt.kernel.ids import Pid
from exeunt.otp.backoff import Backoff

RestartType: TypeAlias = Literal["permanent", "transient", "temporary"]
"""Restart a child always; only if it ended for a reason that is not orderly; or never."""

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Whom the end of a child concerns: itself, all children, or those started after it too."""

AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]
"""Whether a supervisor ends when significant children have ended by themselves."""

ChildType: TypeAlias = Literal["worker", "supervisor"]

Shutdown: TypeAlias = "float | Literal['brutal_kill', 'infinity']"
"""Seconds that a child has to end after it was told to, before it is killed; or kill it at once;
or wait however long it takes."""

WORKER_SHUTDOWN: Final = 5.0


class _Changes(TypedDict, total=False):
    id: object
    restart: RestartType
    shutdown: Shutdown
    type: ChildType
    significant: bool
    backoff: Backoff | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """How to start a child, and what to do when it ends.

    `start` is an async function that starts a process linked to the caller, and returns its pid
    when it is up; it raises `StartIgnored` if there is nothing to start, and anything else if that
    failed. `id` names the child within its supervisor. `shutdown` is by default 5 seconds for a
    worker, and as long as it takes for a supervisor. A `significant` child can end its supervisor
    by ending. With a `backoff` the child is not restarted at once, but after a delay that grows.
    """

    id: object
    # Not shown: it is some hundred characters that tell nobody anything.
    start: Callable[[], Awaitable[Pid]] = field(repr=False)
    restart: RestartType = "permanent"
    shutdown: Shutdown | None = None
    type: ChildType = "worker"
    significant: bool = False
    backoff: Backoff | None = None

    def __post_init__(self) -> None:
        if not callable(self.start):
            raise TypeError(
                f"the start of child {self.id!r} is an async function, not {self.start!r}"
            )
        check_choice("restart", self.restart, RestartType)
        check_choice("type", self.type, ChildType)
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise TypeError(
                f"the backoff of child {self.id!r} is a Backoff(…) or None, not {self.backoff!r}"
            )
        budget = self.shutdown
        if budget is None or budget in ("brutal_kill", "infinity"):
            return
        if isinstance(budget, str) or math.isnan(budget) or budget < 0:
            raise ValueError(
                f"the shutdown of child {self.id!r} is a number of seconds, 'brutal_kill' or "
                f"'infinity', not {budget!r}"
            )

    @property
    def budget(self) -> Shutdown:
        """The shutdown that counts, with the default of its type filled in."""
        if self.shutdown is not None:
            return self.shutdown
        return WORKER_SHUTDOWN if self.type == "worker" else "infinity"

    def replace(self, **changes: Unpack[_Changes]) -> ChildSpec:
        """Return the same specification but for the fields given."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class FailedToStart:
    """The detail of a supervisor's `Shutdown` when one of its first children did not start."""

    id: object
    reason: Reason

    def __str__(self) -> str:
        return f"child {self.id!r} did not start: {self.reason}"


class BadChildSpec(ValueError):
    """A child specification, or a set of them, makes no sense."""


def check_choice(what: str, value: object, choices: object) -> None:
    """Raise ValueError, listing what is allowed, unless `value` is one of a `Literal`'s."""
    allowed = get_args(choices)
    if value not in allowed:
        listed = ", ".join(repr(one) for one in allowed)
        raise ValueError(f"{what} is one of {listed}, not {value!r}")


def check_flags(
    strategy: Strategy, max_restarts: int, max_seconds: float, auto_shutdown: AutoShutdown
) -> None:
    """Raise ValueError if the options of a supervisor make no sense."""
    check_choice("strategy", strategy, Strategy)
    check_choice("auto_shutdown", auto_shutdown, AutoShutdown)
    if max_restarts < 0 or max_restarts != int(max_restarts):
        raise ValueError(f"max_restarts is a whole number from 0 up, not {max_restarts!r}")
    if not max_seconds > 0:
        raise ValueError(f"max_seconds is a positive number of seconds, not {max_seconds!r}")


def check_children(specs: Sequence[ChildSpec], auto_shutdown: AutoShutdown) -> None:
    """Raise `BadChildSpec` if the children of one supervisor do not go together."""
    given: object = specs
    if isinstance(given, ChildSpec):
        raise TypeError("the children of a supervisor are a list: [Counter.child(), …]")
    seen: set[object] = set()
    for spec in specs:
        check_child(spec, auto_shutdown)
        if spec.id in seen:
            raise BadChildSpec(
                f"two children have the id {spec.id!r}: give one another, with spec.replace(id=…)"
            )
        seen.add(spec.id)


def check_child(spec: ChildSpec, auto_shutdown: AutoShutdown) -> None:
    """Raise `BadChildSpec` if a child does not fit its supervisor."""
    given: object = spec
    if not isinstance(given, ChildSpec):
        raise BadChildSpec(
            f"a child is given as a ChildSpec, from Server.child(…) or child(function, …), "
            f"not {spec!r}"
        )
    try:
        hash(spec.id)
    except TypeError:
        raise BadChildSpec(f"the id of a child is hashable, unlike {spec.id!r}") from None
    if spec.significant and auto_shutdown == "never":
        raise BadChildSpec(
            f"child {spec.id!r} is significant, but its supervisor has auto_shutdown='never'"
        )
    if spec.significant and spec.restart == "permanent":
        raise BadChildSpec(
            f"child {spec.id!r} is significant, so it must not be permanent: it would always be "
            "restarted, and never end its supervisor"
        )

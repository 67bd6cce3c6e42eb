"""The decisions of a supervisor, as plain functions: restart or not, whom, and when it is too much.

No trio in it, and no processes. The rules are those of OTP's `supervisor`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

from exeunt.kernel.exits import KILLED, NORMAL, SHUTDOWN, Reason, is_orderly, is_reason
from exeunt.otp.supervision import RestartType, Strategy

C = TypeVar("C")


def is_restarted(restart: RestartType, reason: Reason) -> bool:
    """Tell whether a child that ended by itself for this reason is started again."""
    if restart == "transient":
        return not is_orderly(reason)
    return restart == "permanent"


def is_reported(restart: RestartType, reason: Reason) -> bool:
    """Tell whether the end of a child by itself is worth a report."""
    return restart == "permanent" or not is_orderly(reason)


def is_shutdown_error(restart: RestartType, was_brutal: bool, reason: Reason) -> bool:
    """Tell whether a child that was told to shut down ended in a way that is worth a report."""
    if is_reason(reason, KILLED if was_brutal else SHUTDOWN):
        return False
    return restart == "permanent" or not is_orderly(reason)


def is_dynamic_shutdown_error(restart: RestartType, was_brutal: bool, reason: Reason) -> bool:
    """Tell the same for a child of a dynamic supervisor, where Elixir's rule differs a little."""
    if was_brutal:
        return not is_reason(reason, KILLED)
    if is_reason(reason, NORMAL):
        return restart == "permanent"
    return not is_orderly(reason)


def concerned(strategy: Strategy, children: Sequence[C], ended: int) -> Sequence[C]:
    """Return the children, in order of start, that are started anew when one has ended."""
    if strategy == "one_for_one":
        return children[ended : ended + 1]
    if strategy == "rest_for_one":
        return children[ended:]
    return children


class Intensity:
    """How many restarts within how much time are too many.

    As in OTP the times of restarts are kept in whole seconds, and one exactly `max_seconds` old
    still counts.
    """

    def __init__(self, max_restarts: int, max_seconds: float) -> None:
        self.max_restarts = max_restarts
        self.max_seconds = max_seconds
        self._restarts: list[int] = []

    def __repr__(self) -> str:
        times = "restart" if self.max_restarts == 1 else "restarts"
        return f"{self.max_restarts} {times} within {self.max_seconds:g} seconds"

    def allows(self, now: float) -> bool:
        """Count a restart at `now`, in seconds; False if it is one too many."""
        second = math.floor(now)
        # In order of time, so that many of them cost no more than few.
        del self._restarts[: bisect_left(self._restarts, second - self.max_seconds)]
        self._restarts.append(second)
        # Never longer than max_restarts + 1: the supervisor gives up then.
        return len(self._restarts) <= self.max_restarts

"""What a server measures of itself.

Nothing of trio or exeunt is imported here: a rival's process is not to carry what it does not use.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

clock: Callable[[], float] = time.process_time
"""Seconds of processor time of this process, all threads of it, user and system together."""

now: Callable[[], float] = time.monotonic
"""Seconds on the clock by which latencies are told: the same one in all processes."""


def resident() -> int:
    """Return the resident memory of this process in bytes; where Linux is not, its peak so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def allow_many_files() -> None:
    """Have as many sockets as this process may ever have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Leaves:
    """Counts clients that leave, and notes when they did."""

    def __init__(self) -> None:
        self._left = 0
        self._times: list[float] = []
        self._started = 0.0
        self._on_last: Callable[[], object] = lambda: None

    def count(self) -> None:
        """Note that one has left."""
        self._times.append(now())
        self._left -= 1
        if not self._left:
            self._on_last()

    def expect(self, count: int, on_last: Callable[[], object]) -> None:
        """Begin to count, down from `count`."""
        self._left, self._on_last = count, on_last
        self._times = []
        self._started = clock()

    def seconds(self) -> float:
        """Return the processor time since that began."""
        return clock() - self._started

    def report(self, seconds: float) -> str:
        """Return what the load is told: the processor time, and when each one left."""
        if self._left:
            raise AssertionError(f"{-self._left} leaves too many")
        return json.dumps({"seconds": seconds, "times": self._times})


leaves = Leaves()
"""Those of this process."""

"""The floors: what each ratio is held to.

A line of output whose name stands here is held to its floor; all others are for information. A
ratio is always exeunt's figure over the figure of *raw* trio (or of the rival that the name tells),
so of a rate it wants to be large, and of a cost, in time or in memory, small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Floor:
    """A limit of a ratio (or of the value itself, where there is no raw figure)."""

    kind: Literal["at least", "at most"]
    limit: float

    def holds(self, figure: float) -> bool:
        """Tell whether a figure keeps to the limit."""
        return figure >= self.limit if self.kind == "at least" else figure <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.kind == 'at least' else '≤'} {self.limit:g}"


def at_least(limit: float) -> Floor:
    """Return the floor of a rate."""
    return Floor("at least", limit)


def at_most(limit: float) -> Floor:
    """Return the floor of a cost."""
    return Floor("at most", limit)


# "The same" among 100 and among 100,000: the tables of the larger crowd do not fit into the
# processor's caches, which raw trio pays for as well.
SAME: Final = at_most(1.5)

FLOORS: Final[Mapping[str, Floor]] = {
    "call, 1 client": at_least(0.85),
    "call, 1 client: against memory channels": at_least(1.0),
    "call, 100 clients": at_least(0.85),
    "call, 100 clients: against memory channels": at_least(1.0),
    "messages drained": at_least(0.4),
    "spawn, run, exit": at_least(0.5),
    "memory of an idle process": at_most(1.5),
    "exit signal along a chain of links": at_most(2.0),
    "call among 10,000": SAME,
    "call among 100,000": SAME,
    "spawn and exit among 10,000": SAME,
    "spawn and exit among 100,000": SAME,
    "crash of a linked pair among 10,000": SAME,
    "crash of a linked pair among 100,000": SAME,
    "timer set and cancelled among 10,000": SAME,
    "timer set and cancelled among 100,000": SAME,
    "broadcast to 1,000 sockets": at_least(0.5),
    "echo, 100 sockets": at_least(0.6),
    # kB: what a real Phoenix 1.8 takes.
    "memory of an idle client": at_most(36.0),
    # µs of processor time for each leave; Phoenix takes 80.
    "1,000 sockets reset at once": at_most(150.0),
}

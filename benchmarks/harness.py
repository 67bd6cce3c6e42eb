"""Measuring by turns: what makes ratios of a noisy machine worth something.

All contenders of a benchmark are run one after the other, again and again, so that whatever slows
the machine down for a while slows down all of them. Time is the processor time of this process, so
others on the same cores do not count; none of the work measured here ever waits for the outside.
Before each turn the garbage is collected, and the collector stays on.

Of all rounds the one with the median ratio is shown, so a line's ratio is that of its two figures.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from benchmarks.floors import FLOORS, Floor
from benchmarks.meters import clock as clock

Work: TypeAlias = Callable[[int], float]
"""Does something so many times, and returns the seconds that it took."""

AsyncWork: TypeAlias = Callable[[int], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """How often all contenders have their turn."""
        return 5 if self.quick else 15

    def times(self, usual: int) -> int:
        """Return how often to do something in one turn."""
        return max(1, usual // 4) if self.quick else usual


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output; `raw` and what follows from it are None where there is none."""

    name: str
    value: float | None
    unit: str
    raw: float | None = None
    note: str = field(default="", compare=False)

    @property
    def ratio(self) -> float | None:
        """The value in terms of raw's."""
        if self.value is None or self.raw is None or not self.raw:
            return None
        return self.value / self.raw

    @property
    def floor(self) -> Floor | None:
        """What the ratio, or the value if there is no raw, is held to."""
        return FLOORS.get(self.name)

    @property
    def holds(self) -> bool | None:
        """Whether it does; None without a floor or a figure."""
        figure = self.value if self.raw is None else self.ratio
        return None if self.floor is None or figure is None else self.floor.holds(figure)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: `run` yields its lines as it gets them."""

    name: str
    summary: str
    run: Callable[[Settings], Iterator[Line]]


class Rounds:
    """What the contenders needed in each round, in seconds for each time."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self._seconds = seconds

    def _median_round(self, ours: str, other: str) -> tuple[float, float]:
        pairs = list(zip(self._seconds[ours], self._seconds[other], strict=True))
        pairs.sort(key=lambda pair: pair[0] / pair[1])
        return pairs[len(pairs) // 2]

    def rate(self, name: str, ours: str = "exeunt", raw: str = "raw") -> Line:
        """Return a line that tells how many a second of processor time."""
        mine, its = self._median_round(ours, raw)
        return Line(name, 1 / mine, "/s", 1 / its)

    def cost(self, name: str, ours: str = "exeunt", raw: str = "raw") -> Line:
        """Return a line that tells how many microseconds of processor time each."""
        mine, its = self._median_round(ours, raw)
        return Line(name, mine * 1e6, "µs", its * 1e6)


def by_turns(contenders: Mapping[str, Work], times: int, rounds: int) -> Rounds:
    """Let the contenders do their work `times` times each, in turn, `rounds` times over.

    Every second round goes in the opposite order. One short round before the first is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for work in contenders.values():
        work(max(1, times // 10))
    for number in range(rounds):
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            gc.collect()
            seconds[name].append(contenders[name](times) / times)
    return Rounds(seconds)


def on_trio(work: AsyncWork) -> Work:
    """Make work of an async function: each turn is a `trio.run` of its own."""

    def run(times: int) -> float:
        return trio.run(work, times)

    return run


async def settled() -> None:
    """Let all tasks that were just started run until they wait for something."""
    for _ in range(3):
        await trio.lowlevel.checkpoint()


class Countdown:
    """Lets one task wait until something has happened so many times; the same for all contenders.

    Set `on_zero` to something else than an event of trio where there is none.
    """

    __slots__ = ("left", "on_zero")

    def __init__(self, times: int, on_zero: Callable[[], object]) -> None:
        self.left = times
        self.on_zero = on_zero

    def count(self) -> None:
        """Count one."""
        self.left -= 1
        if not self.left:
            self.on_zero()

"""How long processes have been alive, without noting when each was started.

Pids are numbered in order of start. So it is enough to note now and then which the newest process
is: one with a higher number was started later, one with a lower number earlier. A note a second
tells every age to the second.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

MOST_NOTES: Final = 4096
"""How many notes are kept. When there are more, every other one of the older half is dropped: who
has lived for hours is known to some seconds less."""


class Births:
    """Notes of which the newest process was at which time."""

    def __init__(self) -> None:
        # Invariant: both in rising order. All processes up to `_numbers[i]` were there at
        # `_times[i]`, and all later ones were not there at `_times[i - 1]`.
        self._numbers: list[int] = []
        self._times: list[float] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def note(self, newest: int, now: float) -> None:
        """Note the highest number of the processes that are alive."""
        if self._numbers and newest <= self._numbers[-1]:
            return
        self._numbers.append(newest)
        self._times.append(now)
        if len(self._numbers) > MOST_NOTES:
            half = MOST_NOTES // 2
            # The first says who was there before all notes, so it stays.
            del self._numbers[1:half:2]
            del self._times[1:half:2]

    def since(self, number: int) -> tuple[float, bool] | None:
        """Return since when a process is there, and whether it may have been there before.

        None if it is newer than the last note.
        """
        index = bisect_left(self._numbers, number)
        if index == len(self._numbers):
            return None
        return self._times[index], index == 0

"""When to try again: the delays before a new connection and a new join.

    connect(url, reconnect=Delays(0.1, 1, 10, jitter=0.5))

Data only; the random numbers are given by who asks. Anything with such a `delay` will do, a
`Backoff` of a supervised child for instance.
"""

from __future__ import annotations

import math
from typing import Protocol

from exeunt.otp.backoff import HasRandom

__all__ = ["RECONNECT", "REJOIN", "Delays", "Schedule"]


class Schedule(Protocol):
    """How long to wait before the next try."""

    def delay(self, tries: int, random: HasRandom, /) -> float:
        """Return the seconds to wait when so many tries have failed before this one."""
        ...


class Delays:
    """A list of delays in seconds; the last one is repeated for ever.

    Of every delay a random part, at most `jitter` of it, is left out, so that clients that lost
    their server together do not come back together: with 0.25, 2 seconds become 1.5 to 2.
    """

    __slots__ = ("jitter", "seconds")

    def __init__(self, *seconds: float, jitter: float = 0.25) -> None:
        if not seconds or not all(0 <= one < math.inf for one in seconds):
            raise ValueError(f"delays are one or more numbers of seconds from 0 up, not {seconds}")
        if not 0 <= jitter <= 1:
            raise ValueError(f"jitter is a number from 0 to 1, not {jitter!r}")
        self.seconds = seconds
        self.jitter = jitter

    def __repr__(self) -> str:
        return f"Delays{self.seconds} with jitter {self.jitter}"

    def delay(self, tries: int, random: HasRandom, /) -> float:
        """Return the seconds to wait when so many tries have failed before this one."""
        at = min(tries, len(self.seconds) - 1)
        return self.seconds[at] * (1.0 - self.jitter * random.random())


RECONNECT = Delays(0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)
"""The delays of phoenix.js before it connects again, with jitter."""

REJOIN = Delays(1.0, 2.0, 5.0, 10.0)
"""The delays of phoenix.js before it joins a channel again that crashed, with jitter."""

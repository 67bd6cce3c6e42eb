"""Restart backoff: how long to wait before a child that has ended is started again.

A child that cannot work at the moment, because what it needs is not there, is of no use however
often it is restarted; it only fills the log, and uses up the restarts of its supervisor. With a
`Backoff` in its specification it is restarted after a while, and after a longer one if it ends
again:

    Database.child(url).replace(backoff=Backoff(initial=0.5, maximum=60.0))

The first restart comes after `initial` seconds, each further one after `factor` times as long as
the one before, up to `maximum`; and a child that has run for `reset_after` seconds begins anew. Of
every delay a random part, at most `jitter` of it, is left out, so that children that failed
together do not come back together.

Data and functions only: the time and the random numbers are given by who asks.

Siblings that a strategy starts together with the child are shut down at once, and wait for it.

OTP: supervisors restart at once, always. Here a child may wait, and its siblings with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class HasRandom(Protocol):
    """A source of random numbers, such as a `random.Random`."""

    def random(self) -> float:
        """Return a number from 0 up to, but without, 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How the delays before the restarts of one child grow. All times are in seconds.

    `jitter` is a part of a whole: with 0.1, a delay that would be 10 seconds is between 9 and 10.
    With `reset_after` of infinity the delays never begin anew.
    """

    initial: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.1
    reset_after: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.initial < math.inf:
            raise ValueError(f"initial is a positive number of seconds, not {self.initial!r}")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor is a number from 1 up, not {self.factor!r}")
        if not self.initial <= self.maximum < math.inf:
            raise ValueError(
                f"maximum is a number of seconds from initial ({self.initial!r}) up, "
                f"not {self.maximum!r}"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a number from 0 to 1, not {self.jitter!r}")
        if not self.reset_after >= 0:
            raise ValueError(
                f"reset_after is a number of seconds from 0 up, not {self.reset_after!r}"
            )

    def recent(self, restarts: int, lived: float) -> int:
        """Return how many of its restarts count, for a child that has then run for so long."""
        return 0 if lived >= self.reset_after else restarts

    def delay(self, restarts: int, random: HasRandom) -> float:
        """Return the seconds to wait, when so many restarts that count went before."""
        try:
            grown = self.initial * self.factor**restarts
        except OverflowError:
            grown = math.inf
        delay = min(grown, self.maximum)
        # Drawn in any case: what is drawn next does not depend on the settings of this child.
        return delay * (1.0 - self.jitter * random.random())


class RestartHistory:
    """How often one child was restarted lately, and since when it runs."""

    __slots__ = ("_restarts", "_started")

    def __init__(self) -> None:
        self._restarts = 0
        # None while it does not run.
        self._started: float | None = None

    def has_started(self, now: float) -> None:
        """Take note that the child is up."""
        self._started = now

    def next_delay(self, backoff: Backoff, now: float, random: HasRandom) -> float:
        """Take note that the child has ended, or did not start; return the seconds to wait."""
        if self._started is not None:
            self._restarts = backoff.recent(self._restarts, now - self._started)
            self._started = None
        delay = backoff.delay(self._restarts, random)
        self._restarts += 1
        return delay


__all__ = ["Backoff", "HasRandom", "RestartHistory"]

"""Delays: which one comes when, and how far jitter may take it."""

from __future__ import annotations

import math
import random

import pytest

from exeunt import Backoff
from exeunt.channels.client import RECONNECT, REJOIN, Delays
from exeunt.channels.client.retry import Schedule


class Fixed:
    def __init__(self, number: float) -> None:
        self._number = number

    def random(self) -> float:
        return self._number


def test_the_delays_are_those_of_the_official_client() -> None:
    reconnect = [round(RECONNECT.delay(tries, Fixed(0)) * 1000) for tries in range(11)]
    assert reconnect == [10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000, 5000]
    assert [REJOIN.delay(tries, Fixed(0)) for tries in range(6)] == [1, 2, 5, 10, 10, 10]


def test_jitter_leaves_out_a_part_and_never_more() -> None:
    delays = Delays(1.0, 4.0, jitter=0.25)
    assert delays.delay(1, Fixed(1)) == 3.0
    source = random.Random(1)
    drawn = [delays.delay(7, source) for _ in range(200)]
    assert all(3.0 <= one <= 4.0 for one in drawn)
    assert max(drawn) - min(drawn) > 0.5


def test_a_backoff_of_a_child_will_do() -> None:
    schedule: Schedule = Backoff(initial=0.1, maximum=1.0, jitter=0)
    assert [schedule.delay(tries, Fixed(0)) for tries in (0, 1, 9)] == [0.1, 0.2, 1.0]


@pytest.mark.parametrize("seconds", [(), (-1.0,), (math.inf,), (1.0, math.nan)])
def test_what_are_no_delays_is_refused(seconds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Delays(*seconds)


def test_jitter_is_a_part() -> None:
    with pytest.raises(ValueError, match="jitter"):
        Delays(1, jitter=1.5)
    assert repr(Delays(1, 2, jitter=0)) == "Delays(1, 2) with jitter 0"

"""Backoff: how the delays before restarts grow, vary and begin anew, as plain data."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exeunt.otp.backoff import Backoff, RestartHistory

STEADY = Backoff(initial=0.5, factor=2.0, maximum=10.0, jitter=0.0, reset_after=20.0)

backoffs = st.builds(
    lambda initial, factor, times, jitter, reset_after: Backoff(
        initial=initial,
        factor=factor,
        maximum=initial * times,
        jitter=jitter,
        reset_after=reset_after,
    ),
    st.floats(1e-6, 1e6),
    st.floats(1, 100),
    st.floats(1, 1000),
    st.floats(0, 1),
    st.floats(0, 1e6),
)


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    source = random.Random(0)
    delays = [STEADY.delay(restarts, source) for restarts in range(7)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_factor_of_one_keeps_the_delay() -> None:
    backoff = Backoff(initial=3.0, factor=1.0, maximum=3.0, jitter=0.0)
    assert [backoff.delay(restarts, random.Random(0)) for restarts in (0, 1, 1000)] == [3.0] * 3


def test_any_number_of_restarts_has_a_delay() -> None:
    assert STEADY.delay(10**9, random.Random(0)) == 10.0
    assert Backoff(factor=1e300).delay(5, random.Random(0)) <= 30.0


def test_a_child_that_has_run_long_enough_begins_anew() -> None:
    assert STEADY.recent(5, 19.9) == 5
    assert STEADY.recent(5, 20.0) == 0
    assert Backoff(reset_after=math.inf).recent(5, 1e12) == 5
    assert Backoff(reset_after=0.0).recent(5, 0.0) == 0


@given(backoffs, st.integers(0, 10_000), st.integers())
def test_jitter_only_shortens_a_delay_and_by_no_more_than_its_part(
    backoff: Backoff, restarts: int, seed: int
) -> None:
    delay = backoff.delay(restarts, random.Random(seed))
    longest = backoff.delay(restarts, Fixed(0.0))
    assert longest * (1 - backoff.jitter) * (1 - 1e-9) <= delay <= longest <= backoff.maximum
    assert longest >= backoff.initial


@given(backoffs, st.integers(0, 1000))
def test_without_jitter_no_delay_is_shorter_than_the_one_before(
    backoff: Backoff, restarts: int
) -> None:
    source = Fixed(0.0)
    assert backoff.delay(restarts, source) <= backoff.delay(restarts + 1, source)


def test_jitter_spreads_the_delays() -> None:
    source = random.Random(1)
    backoff = Backoff(initial=10.0, maximum=10.0, jitter=0.5)
    delays = [backoff.delay(0, source) for _ in range(200)]
    assert 5.0 <= min(delays) < 5.5
    assert 9.5 < max(delays) <= 10.0


def test_the_same_seed_gives_the_same_delays_whatever_the_jitter_of_others() -> None:
    def delays(jitter: float) -> list[float]:
        source = random.Random(7)
        STEADY.delay(0, source)
        Backoff(jitter=jitter).delay(0, source)
        return [Backoff().delay(restarts, source) for restarts in range(5)]

    assert delays(0.0) == delays(0.0) == delays(1.0)


class Fixed:
    """A source of random numbers that are all alike."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


def test_a_history_counts_restarts_until_the_child_has_run_long_enough() -> None:
    history = RestartHistory()
    source = random.Random(0)
    now = 100.0

    def end_after(lived: float) -> float:
        nonlocal now
        history.has_started(now)
        now += lived
        delay = history.next_delay(STEADY, now, source)
        now += delay
        return delay

    assert [end_after(lived) for lived in (0.0, 1.0, 19.0, 25.0, 1.0)] == [0.5, 1.0, 2.0, 0.5, 1.0]


def test_starts_that_fail_count_like_short_lives() -> None:
    history = RestartHistory()
    source = random.Random(0)
    history.has_started(0.0)
    delays = [history.next_delay(STEADY, now, source) for now in (5.0, 1000.0, 2000.0)]
    assert delays == [0.5, 1.0, 2.0]


WRONG = [
    ({"initial": 0.0}, "initial is a positive number"),
    ({"initial": math.inf}, "initial is a positive number"),
    ({"initial": math.nan}, "initial is a positive number"),
    ({"factor": 0.5}, "factor is a number from 1 up"),
    ({"factor": math.nan}, "factor is a number from 1 up"),
    ({"initial": 5.0, "maximum": 1.0}, r"maximum is a number of seconds from initial \(5.0\) up"),
    ({"maximum": math.inf}, "maximum is a number of seconds"),
    ({"jitter": -0.1}, "jitter is a number from 0 to 1"),
    ({"jitter": 1.1}, "jitter is a number from 0 to 1"),
    ({"reset_after": -1.0}, "reset_after is a number of seconds from 0 up"),
    ({"reset_after": math.nan}, "reset_after is a number of seconds from 0 up"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backoff(**given)


def test_a_backoff_is_a_value() -> None:
    assert Backoff() == Backoff(initial=0.1, factor=2.0, maximum=30.0, jitter=0.1, reset_after=60.0)
    assert hash(Backoff()) == hash(Backoff())

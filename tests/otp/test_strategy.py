"""The decisions of a supervisor: tables and properties of functions that know no processes."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exeunt import Crash, Shutdown
from exeunt.otp.strategy import (
    Intensity,
    concerned,
    is_dynamic_shutdown_error,
    is_reported,
    is_restarted,
    is_shutdown_error,
)
from exeunt.otp.supervision import RestartType, Strategy

ORDERLY = ["normal", "shutdown", Shutdown("x")]
BAD = ["bad", "kill", "killed", "noproc", None, Crash(ValueError())]
RESTARTS = get_args(RestartType)


# -- is_restarted and is_reported


@pytest.mark.parametrize("reason", [*ORDERLY, *BAD])
def test_permanent_is_always_restarted_and_temporary_never(reason: object) -> None:
    assert is_restarted("permanent", reason)
    assert not is_restarted("temporary", reason)


@pytest.mark.parametrize("reason", [*ORDERLY, *BAD])
def test_transient_is_restarted_unless_it_ended_in_order(reason: object) -> None:
    assert is_restarted("transient", reason) == (reason in BAD)


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("reason", [*ORDERLY, *BAD])
def test_an_end_is_reported_if_it_is_bad_or_the_child_permanent(
    restart: RestartType, reason: object
) -> None:
    assert is_reported(restart, reason) == (restart == "permanent" or reason in BAD)


# -- is_shutdown_error


@pytest.mark.parametrize("restart", RESTARTS)
def test_shutdown_is_the_answer_to_shutdown_and_killed_that_to_a_kill(restart: RestartType) -> None:
    assert not is_shutdown_error(restart, False, "shutdown")
    assert not is_shutdown_error(restart, True, "killed")
    assert is_shutdown_error(restart, False, "killed")
    assert is_shutdown_error(restart, False, "bad")


@pytest.mark.parametrize("reason", ["normal", Shutdown("x")])
def test_another_orderly_end_is_an_error_of_permanent_children_only(reason: object) -> None:
    assert is_shutdown_error("permanent", False, reason)
    assert not is_shutdown_error("transient", False, reason)
    assert not is_shutdown_error("temporary", False, reason)


@pytest.mark.parametrize("restart", RESTARTS)
def test_a_dynamic_supervisor_forgives_any_shutdown_but_no_other_answer_to_a_kill(
    restart: RestartType,
) -> None:
    assert not is_dynamic_shutdown_error(restart, False, "shutdown")
    assert not is_dynamic_shutdown_error(restart, False, Shutdown("x"))
    assert is_dynamic_shutdown_error(restart, False, "normal") == (restart == "permanent")
    assert not is_dynamic_shutdown_error(restart, True, "killed")
    for reason in ("normal", "shutdown", "bad"):
        assert is_dynamic_shutdown_error(restart, True, reason)


# -- concerned


@given(st.lists(st.integers(), min_size=1, unique=True), st.data())
def test_whom_an_end_concerns(children: list[int], data: st.DataObject) -> None:
    ended = data.draw(st.integers(0, len(children) - 1))
    assert list(concerned("one_for_one", children, ended)) == [children[ended]]
    assert list(concerned("one_for_all", children, ended)) == children
    assert list(concerned("rest_for_one", children, ended)) == children[ended:]


@given(st.sampled_from(get_args(Strategy)), st.integers(1, 9), st.data())
def test_the_one_that_ended_is_always_concerned_and_the_order_kept(
    strategy: Strategy, count: int, data: st.DataObject
) -> None:
    ended = data.draw(st.integers(0, count - 1))
    who = list(concerned(strategy, range(count), ended))
    assert ended in who and who == sorted(who)


# -- Intensity


def test_so_many_restarts_are_allowed_and_one_more_is_too_many() -> None:
    intensity = Intensity(3, 5)
    assert [intensity.allows(0.5) for _ in range(4)] == [True, True, True, False]


def test_none_are_allowed() -> None:
    assert not Intensity(0, 5).allows(100)


def test_old_restarts_are_forgotten_but_not_one_exactly_as_old_as_the_period() -> None:
    intensity = Intensity(1, 5)
    assert intensity.allows(0)
    assert not intensity.allows(5.9), "five whole seconds"
    intensity = Intensity(1, 5)
    assert intensity.allows(0.9)
    assert intensity.allows(6.0), "six whole seconds"


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(0, 5), st.integers(1, 6))
def test_no_more_than_so_many_restarts_fall_into_any_period(
    gaps: list[float], max_restarts: int, period: int
) -> None:
    intensity = Intensity(max_restarts, period)
    now = 0.0
    allowed: list[int] = []
    for gap in gaps:
        now += gap
        is_allowed = intensity.allows(now)
        counted = [one for one in allowed if int(now) - one <= period]
        assert is_allowed == (len(counted) < max_restarts)
        if not is_allowed:
            return
        allowed.append(int(now))

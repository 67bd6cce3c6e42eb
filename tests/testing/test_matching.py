"""Matchers compare by `==`, at any depth."""

from __future__ import annotations

import pytest

from exeunt.testing import ANYTHING, containing, satisfying


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        (ANYTHING, None),
        (ANYTHING, [1]),
        (containing({}), {"a": 1}),
        (containing({"a": 1}), {"a": 1, "b": 2}),
        (containing({"a": containing({"b": 1})}), {"a": {"b": 1, "c": 2}}),
        (containing({"a": None}), {"a": None}),
        (satisfying(lambda value: value > 1), 2),
        ({"a": [ANYTHING, 2]}, {"a": [1, 2]}),
        ([satisfying(bool)], [1]),
    ],
)
def test_what_matches_is_equal_from_either_side(matcher: object, value: object) -> None:
    assert matcher == value
    assert value == matcher
    assert (matcher != value) is False


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        (containing({"a": 1}), {"a": 2}),
        (containing({"a": None}), {"b": 1}),
        (containing({}), []),
        (containing({"a": containing({"b": 1})}), {"a": 1}),
        (satisfying(lambda value: value > 1), 1),
        ({"a": ANYTHING}, {"b": 1}),
    ],
)
def test_what_does_not_match_is_not_equal(matcher: object, value: object) -> None:
    assert matcher != value
    assert value != matcher


def test_matchers_say_what_they_match() -> None:
    def is_late(at: float) -> bool:
        return at > 1

    assert repr(ANYTHING) == "ANYTHING"
    assert repr(containing({"a": ANYTHING})) == "containing({'a': ANYTHING})"
    assert repr(satisfying(is_late)).endswith("is_late)")


def test_what_cannot_be_matched_with_is_refused() -> None:
    with pytest.raises(TypeError, match="containing takes"):
        containing(["a"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="satisfying takes"):
        satisfying(1)  # type: ignore[arg-type]


def test_an_error_of_the_predicate_is_not_taken_for_a_mismatch() -> None:
    with pytest.raises(TypeError, match="'>' not supported"):
        assert satisfying(lambda value: value > 1) == "text"

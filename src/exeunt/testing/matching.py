"""Matchers: what to expect of a payload of which not everything is known, or matters.

They compare by `==`, so they stand wherever a value may stand, at any depth:

    await room.assert_push("said", {"text": "hi", "at": ANYTHING})
    await room.assert_push("joined", containing({"user": containing({"name": "ann"})}))
    await room.assert_reply(ref, "ok", {"id": satisfying(lambda id: id > 0)})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final


class Matcher:
    """The base of all matchers."""

    # A matcher stands in for many values, so there is no hash that would go with its `==`.
    __hash__ = None  # type: ignore[assignment]


class _Anything(Matcher):
    def __eq__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING: Final[Any] = _Anything()
"""Equal to whatever comes."""


class _Containing(Matcher):
    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = dict(wanted)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return False
        return all(key in other and value == other[key] for key, value in self._wanted.items())

    def __repr__(self) -> str:
        return f"containing({self._wanted!r})"


class _Satisfying(Matcher):
    def __init__(self, predicate: Callable[[Any], object]) -> None:
        self._predicate = predicate

    def __eq__(self, other: object) -> bool:
        return bool(self._predicate(other))

    def __repr__(self) -> str:
        return f"satisfying({getattr(self._predicate, '__qualname__', self._predicate)})"


def containing(wanted: Mapping[str, Any]) -> Any:
    """Match an object that has these keys with these values, and perhaps others."""
    if not isinstance(wanted, Mapping):
        raise TypeError(f"containing takes the keys and values that must be there, not {wanted!r}")
    return _Containing(wanted)


def satisfying(predicate: Callable[[Any], object]) -> Any:
    """Match a value of which `predicate` returns something true.

    What the predicate raises is raised by the assertion that asks it.
    """
    if not callable(predicate):
        raise TypeError(f"satisfying takes a function of the value, not {predicate!r}")
    return _Satisfying(predicate)


def check_expected(expected: object) -> None:
    """Raise `TypeError` for a plain function, which would never be equal to anything."""
    if callable(expected) and not isinstance(expected, Matcher):
        raise TypeError(f"to match with a function, wrap it: satisfying({expected!r})")


__all__ = ["ANYTHING", "Matcher", "check_expected", "containing", "satisfying"]

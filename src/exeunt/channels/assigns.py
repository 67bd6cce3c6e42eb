"""Assigns: what a socket and a channel have for the application to use, a dict for each instance.

It is made when it is first asked for, so that a class whose `__init__` does not call that of its
base has it all the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["OWN_ASSIGNS", "check_assigns", "refuse_shared_assigns"]


class _OwnAssigns:
    """Stands in the class; from the first use on the instance's own dict is in front of it."""

    def __get__(self, instance: Any, owner: type) -> object:
        if instance is None:
            return self
        made: dict[str, Any] = {}
        instance.assigns = made
        return made

    def __repr__(self) -> str:
        return "{}"


OWN_ASSIGNS: Final = _OwnAssigns()


def refuse_shared_assigns(cls: type) -> None:
    """Raise `TypeError` if a class has assigns of its own, which all its clients would share."""
    if inspect.getattr_static(cls, "assigns") is not OWN_ASSIGNS:
        raise TypeError(
            f"{cls.__qualname__}.assigns would be one for all clients: assign to `self.assigns` in "
            "a callback, or give them to a Route"
        )


def check_assigns(given: object, whose: str) -> None:
    """Raise `TypeError` unless these can be assigns: values by name."""
    if not isinstance(given, Mapping) or not all(isinstance(one, str) for one in given):
        raise TypeError(
            f"the assigns of {whose} are values by name, {{'role': 'guest'}}, not {given!r}"
        )

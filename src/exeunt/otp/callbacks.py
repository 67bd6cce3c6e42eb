"""Guard against misspelt callbacks.

A method `handel_info` would simply never be called. A class of callbacks refuses such a name when
it is defined, and says which one was probably meant.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def refuse_misspelt(cls: type, callbacks: Collection[str]) -> None:
    """Raise TypeError if a method of `cls` is nearly, but not quite, named like a callback."""
    for name, value in vars(cls).items():
        if name.startswith("_") or name in callbacks or not callable(value):
            continue
        if any(name in vars(base) for base in cls.__mro__[1:]):
            continue
        meant = _meant(name, callbacks)
        if meant is not None:
            raise TypeError(
                f"{cls.__qualname__}.{name} looks like a misspelt callback: did you mean "
                f"{meant!r}? If not, give the method another name"
            )


def _meant(name: str, callbacks: Collection[str]) -> str | None:
    """Return the callback that a name is nearly the same as, None if there is none.

    `handle_` alone makes no likeness: of two names that begin with it, the rest is compared.
    """
    if name.startswith("handle_"):
        rests = [one.removeprefix("handle_") for one in callbacks if one.startswith("handle_")]
        found = get_close_matches(name.removeprefix("handle_"), rests, 1, 0.8)
        return f"handle_{found[0]}" if found else None
    found = get_close_matches(name, [one for one in callbacks if len(one) > 5], 1, 0.8)
    return found[0] if found else None

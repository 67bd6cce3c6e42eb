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
        meant = get_close_matches(name, [one for one in callbacks if len(one) > 5], 1, 0.8)
        if meant:
            raise TypeError(
                f"{cls.__qualname__}.{name} looks like a misspelt callback: did you mean "
                f"{meant[0]!r}? If not, give the method another name"
            )

"""Guard against callbacks that would never be called, or could not be.

A method `handel_info` would simply never be called, and one without `async` would fail when the
first message comes. A class of callbacks refuses both when it is defined, and says what was
probably meant.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches


def refuse_misspelt(
    cls: type, callbacks: Collection[str], attributes: Collection[str] = ()
) -> None:
    """Raise TypeError if a method of `cls` is nearly, but not quite, a callback.

    And if a value in it is nearly named like one of the `attributes` by which it is configured.
    """
    for name, value in vars(cls).items():
        if name in callbacks:
            _refuse_unfit(cls, name, value)
            continue
        if name.startswith("_") or any(name in vars(base) for base in cls.__mro__[1:]):
            continue
        if callable(value):
            what, meant = "callback", _meant(name, callbacks)
        else:
            what, meant = "attribute", next(iter(get_close_matches(name, attributes, 1, 0.8)), None)
        if meant is not None:
            raise TypeError(
                f"{cls.__qualname__}.{name} looks like a misspelt {what}: did you mean "
                f"{meant!r}? If not, give it another name"
            )


def refuse_plain(method: Callable[..., object], what: str) -> None:
    """Raise TypeError if a function that is awaited later is a plain one."""
    # One that wraps another may well return what can be awaited.
    if (
        inspect.isfunction(method)
        and not inspect.iscoroutinefunction(method)
        and not hasattr(method, "__wrapped__")
    ):
        raise TypeError(f"{what} is awaited: write `async def {method.__name__}`")


def _refuse_unfit(cls: type, name: str, method: object) -> None:
    """Refuse a callback that is not async where that of the base is, or takes other arguments."""
    overridden = next((vars(base)[name] for base in cls.__mro__[1:] if name in vars(base)), None)
    if not inspect.isfunction(method) or not inspect.isfunction(overridden):
        return
    if inspect.iscoroutinefunction(overridden):
        refuse_plain(method, f"{cls.__qualname__}.{name}")
    given = inspect.signature(overridden).parameters.values()
    # The arguments of `init` are what a class chooses.
    if name == "init" or any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in given):
        return
    try:
        inspect.signature(method).bind(*(None for _ in given))
    except TypeError:
        names = ", ".join(one.name for one in given)
        raise TypeError(f"{cls.__qualname__}.{name} is called with ({names})") from None


def _meant(name: str, callbacks: Collection[str]) -> str | None:
    """Return the callback that a name is nearly the same as, None if there is none.

    `handle_` alone makes no likeness: of two names that begin with it, the rest is compared.
    """
    prefix = "handle_" if name.startswith("handle_") else ""
    rest = name.removeprefix(prefix)
    words = [one.removeprefix(prefix) for one in callbacks if one.startswith(prefix)]
    for word in words:
        if len(word) <= 5 and _is_slip(rest.strip("_").lower(), word):
            return prefix + word
    # Of a short word a few other letters make another one.
    long = [one for one in words if prefix or len(one) > 5]
    found = get_close_matches(rest, long, 1, 0.75 if prefix else 0.8)
    return prefix + found[0] if found else None


def _is_slip(name: str, word: str) -> bool:
    """Tell whether two letters have changed places, or one is there twice, or missing."""
    if sorted(name) == sorted(word):
        return True
    shorter, longer = sorted((name, word), key=len)
    return (
        len(word) > 3
        and len(longer) == len(shorter) + 1
        and any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
    )

"""Checks of what an application hands over: what cannot work is refused where it is given.

Not when the first client comes, whom it would be too late to tell, and who could do nothing about
it. Each of them says what was expected and what it got instead.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from typing import cast

from exeunt.otp.callbacks import refuse_plain

__all__ = [
    "check_makes",
    "check_number",
    "check_pages",
    "needed",
    "refuse_async",
]


def check_number(given: object, name: str, *, least: float | None = None) -> None:
    """Raise `ValueError` unless this is a number from `least` up; without that, one above 0."""
    if (
        not isinstance(given, (int, float))
        or isinstance(given, bool)
        or not (given > 0 if least is None else given >= least)
    ):
        what = "a number above 0" if least is None else f"a number from {least:g} up"
        raise ValueError(f"{name} is {what}, not {given!r}")


def refuse_async(method: object, what: str) -> None:
    """Raise `TypeError` if a function that is called without `await` is an async one."""
    if inspect.iscoroutinefunction(method):
        raise TypeError(f"{what} is called without await: write `def`, not `async def`")


def needed(make: Callable[..., object]) -> list[str]:
    """Return the arguments without which `make` cannot be called, those by keyword as `name=…`."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):
        return []  # one that does not say what it takes
    return [
        f"{one.name}=…" if one.kind is one.KEYWORD_ONLY else one.name
        for one in signature.parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]


def check_makes(make: object, base: type, where: str, what: str) -> None:
    """Raise `TypeError` unless `make`, called without arguments, may make an instance of `base`.

    It is given to `where`, such as "a mount", and makes `what`, such as "sockets".
    """
    is_other_class = isinstance(make, type) and not issubclass(make, base)
    if is_other_class or not callable(make):
        raise TypeError(
            f"{where} is given a class of {what}, or a function that makes one, not {make!r}"
        )
    refuse_async(make, f"what makes {what}")
    missing = needed(make)
    if missing:
        made = make.func if isinstance(make, partial) else make
        name = getattr(made, "__qualname__", "it")
        names = ", ".join(one.removesuffix("=…") for one in missing)
        raise TypeError(
            f"{name} is called without arguments, and needs {names}: give {where} "
            f"partial({name}, {', '.join(missing)})"
        )


def check_pages(pages: object) -> None:
    """Raise `TypeError` unless this can answer requests."""
    wanted = "pages is an async function of a request, or StaticFiles(…)"
    if isinstance(pages, (str, os.PathLike)):
        shown = os.fspath(cast("str", pages))
        raise TypeError(
            f"{wanted}, not {pages!r}: for the files of a directory StaticFiles({shown!r})"
        )
    if isinstance(pages, type) or not callable(pages):
        raise TypeError(f"{wanted}, not {pages!r}")
    function: object = pages
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    # What a lambda returns may well be awaited, and it cannot be written otherwise.
    if inspect.isfunction(function) and function.__name__ != "<lambda>":
        refuse_plain(function, "pages")
    try:
        inspect.signature(pages).bind(None)
    except TypeError:
        raise TypeError(
            f"{wanted}; it is called with (request), which {pages!r} does not take"
        ) from None
    except ValueError:
        pass  # one that does not say what it takes

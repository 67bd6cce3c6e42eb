"""Runs the listings in the docstring of a module, as one program, in a node that is open."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Awaitable
from types import ModuleType
from typing import Any

import trio

import exeunt


def listings(module: ModuleType) -> list[str]:
    """Return the listings of a module's docstring: its paragraphs that are indented."""
    found: list[str] = []
    is_open = False
    for paragraph in inspect.cleandoc(module.__doc__ or "").split("\n\n"):
        if not paragraph.startswith("    "):
            is_open = False
        elif is_open:
            found[-1] += "\n\n" + paragraph
        else:
            found.append(paragraph)
            is_open = True
    return [textwrap.dedent(one) for one in found]


async def run_listings(module: ModuleType, *more: ModuleType, **names: Any) -> dict[str, Any]:
    """Run the listings with what the package and the modules export; return what they define."""
    space: dict[str, Any] = {"trio": trio, "__name__": module.__name__}
    for source in (exeunt, module, *more):
        space.update((name, getattr(source, name)) for name in source.__all__)
    space.update(names)
    found = listings(module)
    assert found, f"{module.__name__} has no listing"
    for number, listing in enumerate(found, start=1):
        code = compile(
            listing,
            f"{module.__name__}, listing {number}",
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        result = eval(code, space)
        if isinstance(result, Awaitable):
            await result
    return space

"""Rivals that need not be installed: `python -m benchmarks.rivals` exits with 0 if all of them are.

Their modules are imported by name, so that who checks the types need not have them either.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from typing import Any, Final

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pykka": ("pykka",),
    "python-socketio": ("socketio", "uvicorn", "websockets", "uvloop"),
    "Starlette": ("starlette", "uvicorn", "websockets", "uvloop"),
}
"""The modules that each rival needs; `pip install -e '.[bench]'` installs all of them."""

HOW_TO_INSTALL: Final = "pip install -e '.[bench]'"


def is_missing(rival: str) -> str:
    """Say how to install a rival; an empty string if it is there."""
    if all(importlib.util.find_spec(name) for name in NEEDS[rival]):
        return ""
    return f"not installed: {HOW_TO_INSTALL}"


def module(name: str) -> Any:
    """Return a module of a rival."""
    return importlib.import_module(name)


if __name__ == "__main__":
    sys.exit(any(is_missing(rival) for rival in NEEDS))

"""Rivals that need not be installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


def pykka_is_missing() -> str:
    """Say how to install pykka; an empty string if it is there."""
    return "" if importlib.util.find_spec("pykka") else "not installed: pip install pykka"


def pykka() -> Any:
    """Return the module pykka."""
    return importlib.import_module("pykka")

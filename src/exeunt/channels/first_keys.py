"""JSON with a key more than once: the first one counts, as in Phoenix.

The decoder that reads all messages lets the last one count, and says nothing of it. So it is found
out afterwards whether a text may have had such keys, by counting colons, which costs next to
nothing; only then is it read once more, by a decoder that is slow and sees every pair.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["may_repeat_keys", "with_first_keys"]


def may_repeat_keys(text: str | bytes, own_keys: int, values: tuple[object, ...]) -> bool:
    """Tell whether a text may hold a key twice, by the `values` that were read from it.

    In JSON a colon stands behind each key, and otherwise only within strings. The text has
    `own_keys` besides those of the values.
    """
    colons = text.count(":") if isinstance(text, str) else text.count(b":")
    keys = own_keys
    waiting = list(values)
    while waiting and keys <= colons:
        value = waiting.pop()
        if isinstance(value, str):
            colons -= value.count(":")
        elif isinstance(value, dict):
            keys += len(value)
            for key, inner in value.items():
                colons -= key.count(":")
                if isinstance(inner, (str, dict, list)):
                    waiting.append(inner)
        elif isinstance(value, list):
            waiting.extend(value)
    return colons != keys


def with_first_keys(text: str | bytes) -> Any:
    """Read a text that is known to be JSON, of keys that are there twice the first one.

    None if this decoder has narrower limits than the other: on nesting, or on digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_first)
    except (ValueError, RecursionError):
        return None


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found

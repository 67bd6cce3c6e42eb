"""Differences between two pictures of a node: what is sent to who has the older one.

    difference = difference_of(older, newer)
    assert applied(older, difference) == newer

A picture has sections, a section has rows, a row has fields. A row that is new is sent as a whole,
of one that is known the fields that have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Rows: TypeAlias = "Mapping[str, Mapping[str, Any]]"

Difference: TypeAlias = "dict[str, dict[str, Any]]"
"""By section: `put` has whole rows by their keys, `change` fields by the key of their row, and
`drop` is a list of keys. What would be empty is left out."""


def difference_of(older: Mapping[str, Rows], newer: Mapping[str, Rows]) -> Difference:
    """Return what has to be done to `older` for it to be `newer`."""
    found: Difference = {}
    for section in [*newer, *(one for one in older if one not in newer)]:
        change = _of_section(older.get(section, {}), newer.get(section, {}))
        if change or section not in newer or section not in older:
            found[section] = change
            if section not in newer:
                change["gone"] = True
    return found


def _of_section(older: Rows, newer: Rows) -> dict[str, Any]:
    put: dict[str, Any] = {}
    change: dict[str, dict[str, Any]] = {}
    for key, row in newer.items():
        known = older.get(key)
        if known is None or known.keys() != row.keys():
            put[key] = dict(row)
        elif known != row:
            change[key] = {one: row[one] for one in row if row[one] != known[one]}
    drop = [key for key in older if key not in newer]
    parts: dict[str, Any] = {"put": put, "change": change, "drop": drop}
    return {name: part for name, part in parts.items() if part}


def applied(
    older: Mapping[str, Rows], difference: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the newer picture; `older` stays as it is."""
    newer = {section: {**rows} for section, rows in older.items()}
    for section, change in difference.items():
        if change.get("gone"):
            newer.pop(section, None)
            continue
        rows: dict[str, Any] = newer.setdefault(section, {})
        for key in change.get("drop", ()):
            rows.pop(key, None)
        rows.update(change.get("put", {}))
        for key, fields in change.get("change", {}).items():
            rows[key] = {**rows[key], **fields}
    return {
        section: {key: dict(row) for key, row in rows.items()} for section, rows in newer.items()
    }


__all__ = ["Difference", "applied", "difference_of"]

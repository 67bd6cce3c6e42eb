"""A summary holds if everything does, and says what does not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from .driver import Outcome, Plan
from .ledger import Audit
from .summary import checks, page, text

MEASURED: dict[str, Any] = {
    "watched": 0,
    "leaving": 0,
    "unwritten": 0,
    "serving": 0,
    "present": 0,
    "zombies": 0,
    "presences": [],
    "topics": [],
    "faults": [],
    "names": ["endpoint"],
    "processes": {"Watcher": 2},
    "tasks": 20,
    "memory": 50_000_000,
    "peak": 70_000_000,
    "allocated": 40_000_000,
    "objects": 40_000,
    "files": 15,
}


def outcome() -> Outcome:
    found = Outcome(Plan(60, 100, 1), seconds=60.0, exit_status=143)
    found.before, found.after = dict(MEASURED), dict(MEASURED)
    found.audit = Audit(10, 12, 2, 9, Counter({"killed": 12}), ())
    return found


def test_all_holds() -> None:
    found = outcome()
    assert all(one.holds for one in checks(found))
    assert "FAILS" not in text(found)
    assert "**no**" not in page(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("watched", 1),
        ("leaving", 1),
        ("unwritten", 1),
        ("serving", 1),
        ("present", 1),
        ("zombies", 1),
        ("presences", ["ada"]),
        ("topics", ["room:1"]),
        ("faults", ["a leave function failed"]),
        ("names", ["endpoint", "other"]),
        ("processes", {"Watcher": 3}),
        ("tasks", 21),
        ("allocated", 42_100_000),
        ("memory", 70_000_001),
        ("objects", 42_100),
        ("files", 16),
    ],
)
def test_what_is_left_behind_fails(name: str, value: object) -> None:
    found = outcome()
    found.after[name] = value
    [failed] = [one for one in checks(found) if not one.holds]
    assert "FAILS" in text(found) and failed.name in text(found)
    assert "**no**" in page(found)


def test_what_went_wrong_fails() -> None:
    lost, violated, seen, audited, noisy, unmeasured = (outcome() for _ in range(6))
    lost.lost = "the server has ended in the middle of the soak"
    violated.chronicle.violations.append("c1: a join is not answered after 31 s")
    seen.pictures.append("co1: c7.1.1")
    audited.audit = Audit(10, 9, 0, 9, Counter(), ("c1 has never left: asked, watched, joined",))
    noisy.stderr = "Traceback"
    unmeasured.after = {}
    for found in (lost, violated, seen, audited, noisy, unmeasured):
        assert len([one for one in checks(found) if not one.holds]) == 1


def test_growth_within_the_tolerance_holds() -> None:
    found = outcome()
    found.after["allocated"] = 41_900_000
    found.after["memory"] = 60_000_000
    found.after["objects"] = 30_000
    assert all(one.holds for one in checks(found))


def test_growth_is_not_judged_where_the_soak_was_cut_short() -> None:
    found = outcome()
    found.is_interrupted = True
    found.after["allocated"] = 80_000_000
    assert all(one.holds for one in checks(found))
    assert "not judged" in text(found)

"""The audit finds every fault that a server could have."""

from __future__ import annotations

from pathlib import Path

import pytest

from .ledger import MOST_FAULTS, Ledger, audit

IN_ORDER = ("asked", "watched", "joined", "left")


def lines(key: str, *steps: str) -> list[str]:
    return [f"{step}\t{key}\t{'killed' if step == 'left' else ''}\n" for step in steps]


@pytest.mark.parametrize(
    "steps",
    [
        IN_ORDER,
        # The watcher was killed, and has not let it in.
        ("asked",),
        # It was killed when it was watched already, and did not know yet.
        ("asked", "left"),
        ("asked", "watched", "left"),
    ],
)
def test_histories_that_are_in_order(steps: tuple[str, ...]) -> None:
    found = audit(lines("ada", *steps), ())
    assert found.faults == ()
    assert found.joins == steps.count("joined")
    assert found.leaves == steps.count("left")
    assert found.unjoined == ("left" in steps and "joined" not in steps)
    assert found.reasons["killed"] == steps.count("left")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (("asked", "watched", "joined"), "never left"),
        (("asked", "watched"), "never left"),
        ((*IN_ORDER, "left"), "left more than once"),
        (("asked", "left", "left"), "left more than once"),
        (("left",), "without having asked"),
        (("asked", "watched", "left", "joined"), "cannot be"),
        (("asked", "joined", "watched", "left"), "cannot be"),
        (("asked", "watched", "joined", "joined", "left"), "cannot be"),
    ],
)
def test_histories_that_are_faults(steps: tuple[str, ...], says: str) -> None:
    found = audit([*lines("eve", *IN_ORDER), *lines("ada", *steps)], ())
    [fault] = found.faults
    assert fault.startswith("ada ") and says in fault


def test_a_client_that_was_told_of_a_join_that_never_was() -> None:
    assert audit(lines("ada", *IN_ORDER), {"ada"}).faults == ()
    [fault] = audit(lines("ada", "asked", "watched", "left"), {"ada"}).faults
    assert fault.startswith("ada was told")
    [fault] = audit([], {"ada"}).faults
    assert fault.startswith("ada was told")


def test_many_faults_are_counted() -> None:
    found = audit([], {f"user{number}" for number in range(100)})
    assert len(found.faults) == MOST_FAULTS + 1
    assert found.faults[-1] == "and 80 faults more"


def test_a_line_that_is_none_is_a_fault() -> None:
    [fault] = audit(["torn\tada\t\n"], ()).faults
    assert "torn" in fault


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for key in ("ada", "eve"):
        for step in IN_ORDER[:3]:
            ledger.note(step, key)  # type: ignore[arg-type]
    assert ledger.present == {"ada", "eve"}
    ledger.note("left", "ada", "a reason\nof two lines")
    assert (ledger.joined, ledger.left, ledger.present) == (2, 1, {"eve"})
    ledger.close()
    with (tmp_path / "ledger").open() as written:
        found = audit(written, {"ada"})
    assert (found.joins, found.leaves) == (2, 1)
    assert dict(found.reasons) == {"a reason of two lines": 1}
    [fault] = found.faults
    assert fault.startswith("eve has never left")

"""The ledger of a soak: what became of each join, written down as it happens, and its audit.

The server appends a line at each step of a join: *asked* (the watcher is being told), *watched*
(`Watcher.watch` has returned), *joined* (the join has succeeded), *left* (the first line of the
leave function). In memory it keeps only those who are watched and have not left, so it costs the
server nothing in the long run, and whoever audits it reads the file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

Step: TypeAlias = Literal["asked", "watched", "joined", "left"]

STEPS: Final[tuple[Step, ...]] = ("asked", "watched", "joined", "left")

MOST_FAULTS: Final = 20
"""How many faults are told one by one; the others are counted."""


class Ledger:
    """The book in which a server writes. The methods are one step each."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # Whoever is known to be watched, and has not left.
        self.present: set[str] = set()
        self.joined = 0
        self.left = 0

    def note(self, step: Step, key: str, detail: str = "") -> None:
        """Write a line."""
        if step == "left":
            self.left += 1
            self.present.discard(key)
        elif step != "asked":
            self.present.add(key)
            self.joined += step == "joined"
        line = "\t".join((step, key, detail)).replace("\n", " ") + "\n"
        os.write(self._file, line.encode(errors="replace"))

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Audit:
    """What a ledger says.

    `unjoined` are leaves of those who were watched, or about to be, and whose join then did not
    succeed, because something was killed in between. `faults` is empty if all is in order.
    """

    joins: int
    leaves: int
    unjoined: int
    confirmed: int
    reasons: Counter[str]
    faults: tuple[str, ...]


def audit(lines: Iterable[str], confirmed: Collection[str]) -> Audit:
    """See whether each join has its one leave; `confirmed` are the keys that clients saw joined.

    A fault is: a join without a leave, or with two; a leave before its join was decided, or of
    somebody unknown; one who was watched, did not join in the end, and has no leave either; and a
    join that a client was told of and the server knows nothing of.
    """
    book: dict[str, list[Step]] = {}
    reasons: Counter[str] = Counter()
    faults: list[str] = []
    for line in lines:
        step, key, *details = line.rstrip("\n").split("\t")
        if step not in STEPS:
            faults.append(f"the ledger has a line that is none: {line!r}")
            continue
        book.setdefault(key, []).append(step)
        if step == "left" and details:
            reasons[details[0]] += 1
    joins = leaves = unjoined = 0
    for key, steps in book.items():
        joins += steps.count("joined")
        leaves += steps.count("left")
        unjoined += "left" in steps and "joined" not in steps
        fault = _fault(steps)
        if fault is not None:
            faults.append(f"{key} {fault}: {', '.join(steps)}")
    for key in confirmed:
        if "joined" not in book.get(key, ()):
            faults.append(f"{key} was told that it has joined, and has not")
    if len(faults) > MOST_FAULTS:
        faults[MOST_FAULTS:] = [f"and {len(faults) - MOST_FAULTS} faults more"]
    return Audit(joins, leaves, unjoined, len(confirmed), reasons, tuple(faults))


def _fault(steps: list[Step]) -> str | None:
    if steps.count("left") > 1:
        return "has left more than once"
    expected = [step for step in STEPS if step in steps]
    if steps != expected:
        return "has a history that cannot be"
    if steps[0] != "asked":
        return "is known without having asked"
    if "left" not in steps and len(steps) > 1:
        return "has never left"
    return None


__all__ = ["STEPS", "Audit", "Ledger", "Step", "audit"]

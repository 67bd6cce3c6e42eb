"""Have every way to leave happen at every moment, and print the tables: `python -m tests.faults`.

The output is Markdown, of what was seen. What was not as expected is listed below it, and makes the
exit status 1. Words given as arguments choose the cells and rows that have one of them in their
names. With `--write` the page of the documentation is written, if everything was as it should be.
"""

from __future__ import annotations

import sys

import trio

import exeunt.channels.session

from .cell import observe_cell
from .matrix import Cell, cells
from .page import PAGE, Outcome, expected_page, matrix, short, ways_in_detail
from .row import Row, observe
from .table import rows
from .world import quiet


def have_cells_happen(chosen: list[Cell]) -> tuple[dict[str, str], list[str]]:
    """Return what each cell shows, and what was not as expected."""
    shown: dict[str, str] = {}
    troubles: list[str] = []
    for number, cell in enumerate(chosen, start=1):
        if sys.stderr.isatty():
            print(f"\r{number} of {len(chosen)} cells", end="", file=sys.stderr, flush=True)
        if cell.expected is None:
            shown[cell.name] = short(cell)
            continue
        try:
            seen = trio.run(observe_cell, cell)
        except Exception as error:
            shown[cell.name] = "**failed**"
            troubles.append(f"{cell.name}: {_leaf(error)!r}")
            continue
        mark = " **!**" if seen.troubles else ""
        shown[cell.name] = short(cell, seen.reasons) + mark
        troubles += [f"{cell.name}: {one}" for one in seen.troubles]
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return shown, troubles


def have_rows_happen(chosen: list[Row]) -> tuple[list[tuple[Row, Outcome]], list[str]]:
    """Return what came of each row, and what was not as expected."""
    outcomes: list[tuple[Row, Outcome]] = []
    troubles: list[str] = []
    for row in chosen:
        try:
            observed = trio.run(observe, row)
        except Exception as error:
            troubles.append(f"{row.name}: {_leaf(error)!r}")
            continue
        outcomes.append((row, Outcome.observed(observed)))
        troubles += [f"{row.name}: {one}" for one in row.differences(observed)]
    return outcomes, troubles


def _leaf(error: Exception) -> BaseException:
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def main(words: list[str]) -> int:
    """Print the tables; return the exit status."""
    is_to_write = "--write" in words
    words = [word for word in words if word != "--write"]
    if is_to_write and words:
        print("--write is for the whole of it: give no words", file=sys.stderr)
        return 2
    quiet()
    exeunt.channels.session.DUPLICATE_PATIENCE = 0.1  # type: ignore[misc]

    def is_chosen(name: str) -> bool:
        return not words or any(word in name for word in words)

    shown, troubles = have_cells_happen([one for one in cells() if is_chosen(one.name)])
    print(matrix(shown), end="\n\n")
    outcomes, more = have_rows_happen([one for one in rows() if is_chosen(one.name)])
    print(ways_in_detail(outcomes))
    troubles += more
    if troubles:
        print("\nNot as expected:\n", *(f"- {one}" for one in troubles), sep="\n")
        return 1
    if is_to_write:
        PAGE.write_text(expected_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

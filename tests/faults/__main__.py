"""Have every row of the disconnect table happen, and print the table: `python -m tests.faults`.

The output is a table of Markdown, for the documentation. Rows of one kind, which are named alike
up to a colon, share a line if the same came of them. Words given as arguments choose the rows that
have one of them in their names.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import trio

import exeunt.channels.session
from exeunt import Crash, Reason, Shutdown

from .client import Closed, Frame, Gone
from .row import Observed, Row, observe
from .table import rows
from .world import quiet


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a row, as it is shown."""

    reason: str
    terminate: str
    frames: str
    end: str

    @classmethod
    def of(cls, observed: Observed) -> Outcome:
        return cls(
            ", ".join(map(shown_reason, observed.reasons)) or "(it lives)",
            "yes" if observed.terminated else "no",
            ", ".join(map(shown_frame, observed.frames)),
            shown_end(observed),
        )


def shown_reason(reason: Reason) -> str:
    """Show a reason as one writes it, without what is accidental."""
    match reason:
        case Crash(exception):
            return f"`Crash({type(exception).__name__})`"
        case Shutdown(("deserializing", str(detail))) if detail != "max_frame_size_exceeded":
            return '`Shutdown(("deserializing", …))`'
        case Shutdown(detail):
            return f"`Shutdown({detail!r})`".replace("'", '"')
        case _:
            return f"`{reason!r}`".replace("'", '"')


def shown_frame(frame: Frame) -> str:
    """Name a frame that a client saw."""
    match frame:
        case [_, _, _, "phx_reply", {"status": str(status)}]:
            return f"reply {status}"
        case [_, _, _, str(event), _]:
            return f"`{event}`"
        case _:
            return repr(frame)


def shown_end(observed: Observed) -> str:
    """Tell how the connection ended, as its client saw it."""
    match observed.end:
        case Closed(code):
            return f"{code}"
        case Gone():
            return "1006"
        case None:
            return "stays open"
        case _:
            return "—"


def lines(seen: list[tuple[Row, Outcome]]) -> list[tuple[str, Outcome]]:
    """Put rows of one kind with one outcome together; return the name of each line, too."""
    found: dict[tuple[str, Outcome], list[str]] = {}
    for row, outcome in seen:
        kind, colon, which = row.name.partition(": ")
        found.setdefault((kind, outcome) if colon else (row.name, outcome), []).append(which)
    return [
        (f"{kind}: {', '.join(names)}" if names != [""] else kind, outcome)
        for (kind, outcome), names in found.items()
    ]


def main(words: list[str]) -> None:
    """Print the table."""
    quiet()
    exeunt.channels.session.DUPLICATE_PATIENCE = 0.1  # type: ignore[misc]
    chosen = [row for row in rows() if not words or any(word in row.name for word in words)]
    seen = [(row, Outcome.of(trio.run(observe, row))) for row in chosen]
    print("| way to leave | reason | terminate | frames | close code |")
    print("| --- | --- | --- | --- | --- |")
    for name, one in lines(seen):
        print(f"| {name} | {one.reason} | {one.terminate} | {one.frames} | {one.end} |")


if __name__ == "__main__":
    main(sys.argv[1:])

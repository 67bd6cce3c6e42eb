"""The page on disconnects of the documentation: what the suite expects, as tables.

`python -m tests.faults --write` writes it. It is made of the expectations alone, so that it can be
compared with the committed page without having them happen; that they do is what the tests are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exeunt import Crash, Reason, Shutdown

from .client import Closed, Frame, Gone
from .matrix import CANNOT_BE, NO_LEAVE, STAYS, Cell, cells
from .moments import MOMENTS, Moment
from .row import LIVES, UNSEEN, CrashOf, Deserializing, Observed, OneOf, Row
from .table import rows

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "disconnects.md"


# -- words ----------------------------------------------------------------------------------------


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


def shown_expected(expected: object) -> str:
    """Show a reason that is expected, or what stands for some."""
    match expected:
        case CrashOf(kind):
            return f"`Crash({kind.__name__})`"
        case Deserializing():
            return '`Shutdown(("deserializing", …))`'
        case OneOf(reasons):
            return " or ".join(map(shown_expected, reasons))
        case _:
            return "(it lives)" if expected is LIVES else shown_reason(expected)


def shown_frame(frame: Frame) -> str:
    """Name a frame that a client sees."""
    match frame:
        case [_, _, _, "phx_reply", {"status": str(status)}]:
            return f"reply {status}"
        case [_, _, _, str(event), _]:
            return f"`{event}`"
        case _:
            return repr(frame)


def shown_end(end: Closed | Gone | str | None) -> str:
    """Tell how a connection ends, as its client sees it."""
    match end:
        case Closed(code):
            return f"{code}"
        case Gone():
            return "1006"
        case None:
            return "stays open"
        case _:
            return "—"


# -- the matrix -----------------------------------------------------------------------------------


def short(cell: Cell, reasons: Sequence[str] | None = None) -> str:
    """Show a cell: what is expected, or the reasons that were seen."""
    match cell.expected:
        case None:
            return f"– ({cell.because})"
        case expected if expected is NO_LEAVE or expected is STAYS:
            return f"{expected}"
        case expected:
            shown = [shown_expected(expected)] if reasons is None else reasons
            return ", ".join(map(_without_shutdown, shown)) or "no leave"


def _without_shutdown(shown: str) -> str:
    """Leave out what a reason of an orderly end begins with."""
    for begin, end in (('`Shutdown(("deserializing", "', '"))`'), ('`Shutdown("', '")`')):
        if shown.startswith(begin):
            return f"`{shown.removeprefix(begin).removesuffix(end)}`"
    return "`…not UTF-8`" if "UTF-8" in shown else shown


GROUPS: Final = (
    ("Coming", MOMENTS[:4]),
    ("There", MOMENTS[4:8]),
    ("Going", MOMENTS[8:]),
)


def matrix(shown: dict[str, str]) -> str:
    """Return the matrix as tables, one for each group of moments, of what each cell shows."""
    return "\n\n".join(f"### {title}\n\n{_part(moments, shown)}" for title, moments in GROUPS)


def _part(moments: Sequence[Moment], shown: dict[str, str]) -> str:
    lines = [
        f"| | {' | '.join(one.name for one in moments)} |",
        f"| --- {'| --- ' * len(moments)}|",
    ]
    by_way: dict[str, list[str]] = {}
    for cell in cells():
        if cell.moment in moments:
            by_way.setdefault(cell.way.name, []).append(shown.get(cell.name, ""))
    lines += [f"| {name} | {' | '.join(those)} |" for name, those in by_way.items()]
    return "\n".join(lines)


# -- the ways in detail ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of a row, as it is shown."""

    reason: str
    terminate: str
    frames: str
    end: str

    @classmethod
    def expected(cls, row: Row) -> Outcome:
        frames = [*map(shown_frame, row.frames), *(f"({shown_frame(one)})" for one in row.maybe)]
        return cls(
            shown_expected(row.reason),
            "yes" if row.terminate else "no",
            ", ".join(frames),
            shown_end(UNSEEN if not row.connects else row.end),
        )

    @classmethod
    def observed(cls, observed: Observed) -> Outcome:
        return cls(
            ", ".join(map(shown_reason, observed.reasons)) or "(it lives)",
            "yes" if observed.terminated else "no",
            ", ".join(map(shown_frame, observed.frames)),
            shown_end(observed.end),
        )


def ways_in_detail(seen: Sequence[tuple[Row, Outcome]]) -> str:
    """Return rows as a table; those of one kind with one outcome share a line."""
    found: dict[tuple[str, Outcome], list[str]] = {}
    for row, outcome in seen:
        kind, colon, which = row.name.partition(": ")
        found.setdefault((kind, outcome) if colon else (row.name, outcome), []).append(which)
    lines = [
        "| way to leave | reason | terminate | frames | close code |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (kind, one), names in found.items():
        name = f"{kind}: {', '.join(names)}" if names != [""] else kind
        lines.append(f"| {name} | {one.reason} | {one.terminate} | {one.frames} | {one.end} |")
    return "\n".join(lines)


# -- the page -------------------------------------------------------------------------------------

_TEXT: Final = """\
<!-- Written by `python -m tests.faults --write`: change tests/faults instead. -->

# How clients leave

For every successful join its `leave` runs, exactly once. To be precise: a channel is watched from
the moment in which `Watcher.watch` has its process on the roll, and then one leave function runs
for it when the process has ended, whatever the way, with the reason of that end. A join that fails
before it is watched has no leave.

The tables below are what `tests/faults` has happen, with real processes and sockets, and compares
with what is written here. `python -m tests.faults` has all of it happen and prints what it saw.

## Every way, at every moment

One client, *ada*, at a moment of her visit (the columns), and what then happens to her (the lines).
A cell is the reason with which her `leave` runs, once; where it is a `Shutdown(detail)`, only the
detail is written. *No leave*: her channel was never watched. *Stays*: nothing happens to her until
she goes. A dash: that cannot be, for the reason below. The way and the moment meet in one step of
the event loop: within a broadcast means between two of its receivers, and "in" some function of the
application means that it is running, and goes on running until all that can happen meanwhile has
happened.

{matrix}

Why some cannot be:

{cannot_be}

After each cell:

- One leave for each watch, of everybody, and none before the last line of that channel's code has
  run.
- No process, task, zombie, socket, file descriptor, timer, name or subscription is left; nobody is
  watched, and no leave function waits; no process that was there before has a link, a monitor, a
  call, a message or a clean-up function more than it had.
- No connection, session, socket or channel of those who have gone is left in memory, but for the
  one that came last: a supervisor keeps its last request, and the listener its last socket.
- One who stays in the same room has had every message of a numbered stream, each in time; and a
  newcomer is served as ever. Only where the whole server goes they go too.
- Nothing is logged as a warning, unless it was somebody's mistake: a crash, a kill, a frame that is
  none, a client that does not read.

A client goes silent behind a proxy that swallows everything; that is a half-open connection, as the
server sees it. The same is done once more with a cable that is pulled between two network
namespaces. A client that is killed is a program of its own, which gets a SIGKILL. In *watcher
killed* the watcher is one with a name, under a supervisor; its successor takes the roll over. There
is one more moment, before all of these, at which a process can be ended: when it has been made and
has not run a step. It has tests of its own, `tests/faults/test_newborn.py`.

## Clients that do not read

What waits for a client is bounded in bytes: `max_queued` of its `Mount`. Once the kernel takes
nothing more for it (its window is zero), broadcasts wait in its queue, and the one that goes over
the bound ends it: `Shutdown("slow_consumer")`, at once, whatever its channels do. The queue is
dropped in that step. A broadcast is encoded once, and waits as the same bytes in all queues, so
that any number of slow clients in a room takes the memory of one. A write never waits for such a
client, and so the others get theirs when they would have anyway. All three are measured in
`tests/faults/test_slow_clients.py`, with clients that read nothing, one that reads a little at a
time, and one whose program is stopped.

A client that is not joined yet has its broadcasts kept until the join is answered, up to 1,000 of
them; they count from then on.

## Every way in detail

What `terminate` and the client see. *(It lives)*: this is no way to leave. A frame in parentheses
may come or not, as two things happen at once. The close code is what the client's WebSocket
reports, 1006 where there is no close frame; a dash where the client has gone itself.

{ways}
"""


def expected_page() -> str:
    """Return the page as it has to be."""
    return _TEXT.format(
        matrix=matrix({cell.name: short(cell) for cell in cells()}),
        cannot_be="\n".join(f"- ({key}) {why}" for key, why in CANNOT_BE.items()),
        ways=ways_in_detail([(row, Outcome.expected(row)) for row in rows()]),
    )


__all__ = [
    "PAGE",
    "Outcome",
    "expected_page",
    "matrix",
    "short",
    "shown_reason",
    "ways_in_detail",
]

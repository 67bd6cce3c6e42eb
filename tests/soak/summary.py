"""The judgement of a soak, and how it is shown: on a terminal, and as a page of the documentation.

Each condition is demanded of every run, whatever was killed in it. The page says what is not
demanded, too.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .driver import Outcome
from .killer import HEAVY, PARTS

TOLERANCE: Final = 0.05
"""How much more of memory and descriptors the server may hold afterwards."""

MEASURES: Final = (
    ("allocated", 1e6, "memory in use (MB)"),
    ("objects", 1e3, "objects (thousands)"),
    ("files", 1, "descriptors"),
)

MANY: Final = 20


@dataclass(frozen=True, slots=True)
class Check:
    """Something that has to hold; `found` are the figures, or what is wrong."""

    name: str
    holds: bool
    found: str


def checks(outcome: Outcome) -> list[Check]:
    """Judge a soak."""
    return list(_checks(outcome))


def _checks(outcome: Outcome) -> Iterator[Check]:
    before, after, books = outcome.before, outcome.after, outcome.audit
    assert books is not None
    yield Check(
        "every join has one leave, and every leave its join",
        not books.faults,
        "; ".join(books.faults[:5])
        or f"{books.joins:,} joins and their leaves; {books.unjoined:,} leaves of those whose join "
        f"was broken off after they were watched; {books.confirmed:,} joins that clients were told "
        "of are all among them",
    )
    server_lost = outcome.lost is not None or outcome.exit_status != 143 or outcome.stderr != ""
    yield Check(
        "the server lives to its end",
        not server_lost,
        f"SIGTERM ended it with {outcome.exit_status}"
        + (f"; {outcome.lost}" if outcome.lost else "")
        + (f"; it said {outcome.stderr[-500:]!r}" if outcome.stderr else ""),
    )
    violations = outcome.chronicle.violations
    yield Check(
        "clients are answered, or cut off; nobody is left hanging",
        not violations,
        "; ".join(violations[:5]) or f"{len(outcome.chronicle.latencies):,} heartbeats answered",
    )
    yield Check(
        "presence is empty, as the clients see it",
        not outcome.pictures,
        ", ".join(outcome.pictures[:5]) or "the onlookers saw nobody else",
    )
    if not after or not before:
        yield Check("the server could be measured", False, "it was not there any more")
        return
    yield Check(
        "presence is empty",
        not (before["presences"] or after["presences"]),
        ", ".join([*before["presences"], *after["presences"]]) or "nobody is present",
    )
    faults = after["faults"]
    yield Check(
        "no leave function has failed, no process hangs",
        not faults,
        "; ".join(faults[:3]) or "none",
    )
    names = ("watched", "leaving", "unwritten", "serving", "present", "zombies")
    left = {name: after[name] for name in names if after[name]}
    yield Check(
        "nothing is left of anybody", not left and not after["topics"], str(left or "nothing")
    )
    for name in ("processes", "names", "tasks"):
        yield Check(
            f"the same {name} as before",
            before[name] == after[name],
            _difference(before[name], after[name]),
        )
    for name, unit, what in MEASURES:
        was, now = before[name], after[name]
        grown = now / was - 1 if was else 0.0
        found = f"{was / unit:,.1f} before, {now / unit:,.1f} after ({grown:+.1%})"
        if outcome.is_interrupted:
            found += "; not judged, since not every part has had its turn"
        yield Check(
            f"{what} within {TOLERANCE:.0%} of the start",
            grown <= TOLERANCE or outcome.is_interrupted,
            found,
        )
    yield Check(
        "resident memory below its first peak",
        after["memory"] < before["peak"] or outcome.is_interrupted,
        f"{before['memory'] / 1e6:,.1f} MB before, {after['memory'] / 1e6:,.1f} MB after; "
        f"{before['peak'] / 1e6:,.1f} and {after['peak'] / 1e6:,.1f} MB with the clients there",
    )


def _difference(before: object, after: object) -> str:
    if before == after:
        return str(sum(before.values()) if isinstance(before, dict) else _size(before))
    return f"{before!r} before, {after!r} after"


def _size(found: object) -> object:
    return len(found) if isinstance(found, list) else found


def text(outcome: Outcome) -> str:
    """Return the summary for a terminal."""
    found = checks(outcome)
    width = max(len(one.name) for one in found)
    lines = [*_figures(outcome), ""]
    lines += [
        f"{'holds' if one.holds else 'FAILS'}  {one.name:{width}}  {one.found}" for one in found
    ]
    return "\n".join(lines)


def _figures(outcome: Outcome) -> list[str]:
    chronicle, plan = outcome.chronicle, outcome.plan
    beats = sorted(chronicle.latencies) or [0.0]
    half, most, worst = (beats[int((len(beats) - 1) * part)] * 1000 for part in (0.5, 0.99, 1.0))
    short = ", interrupted" if outcome.is_interrupted else ""
    books = outcome.audit
    assert books is not None
    return [
        f"{outcome.seconds:.0f} seconds{short}, {plan.clients:,} clients, seed {plan.seed}",
        f"{books.joins:,} joins, {books.leaves:,} leaves",
        f"{sum(outcome.kills.values()):,} kills: " + _listed(dict(outcome.kills)),
        "clients left: " + _listed(dict(chronicle.left.most_common())),
        "clients were cut off: " + _listed(dict(chronicle.cut.most_common(12))),
        "reasons of leaves: " + _listed(dict(books.reasons.most_common(MANY))),
        f"heartbeats answered after {half:.0f} ms (half of them), {most:.0f} ms (99 %), "
        f"{worst:.0f} ms (all)",
    ]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items()) or "none"


# -- the page ------------------------------------------------------------------------------------

_HEAD: Final = """\
<!-- Written by `python -m tests.soak --write`: change tests/soak/summary.py instead. -->

# Soak

`make soak` has thousands of clients join, talk, crash, vanish and return over real sockets, while
processes of the server are killed at random by a seeded script. A short form of it is part of
`make test`. Each run ends with a summary, and with the exit status 1 if anything below does not
hold. This is the summary of the run that was made last for this page.
"""

_DEMANDS: Final = """\
## What is demanded

A join counts from the moment when `Watcher.watch` has returned and `join` is about to answer `Ok`;
a leave is the first line of the leave function. Both are written to a file by the key of the join,
so that each can be laid beside the other afterwards, and beside what the clients were told. Half of
the rooms have a watcher that keeps its roll in memory, the others one with a file.

*Named watchers* may be killed at any moment: the roll is not theirs, and the next one goes on. The
same holds for the process that writes the roll to its file. Who asks to be watched while there is
no watcher is not watched and does not join: the client is told so, and joins again.

*Presence.* A tracker that is killed takes those whom it tracks with it, for nobody would know of
them any more: they leave, once each, and the clients join anew. So what is demanded of it is that
it is empty in the end, and that clients who are present themselves see the same. One who only
looks on, and is not tracked, does not hear that a tracker was replaced, and has to ask again.

*The supervisors of channels and of connections, the listener, the endpoint.* If one is killed, what
it supervised ends with it, as with OTP: the clients are thrown out, leave once each, and come back.
A listener throws nobody out: the sockets are the endpoint's.

*The hub* is no process: it belongs to the application, and there is nothing of it to kill.

*Leave functions* that run are not killed here. One that is killed in the middle has failed, and
`attempts` says whether it runs again: then it has begun twice, which is for its key to tell.

*Memory and descriptors* are measured when all clients have left, after a first part of the soak in
which all of them were there and every part of the server was killed once, and again at the end,
each time after a garbage collection. They may have grown by 5 %. *Memory in use* is what the C
library has given out and not got back (`mallinfo2`); the server runs without Python's own allocator
(`PYTHONMALLOC=malloc`), so that this is all of it. *Resident memory* is more: a page of 4 kB stays
as long as one object lives on it, and what lives is scattered by the throngs that were there
meanwhile. It is demanded that it is below what it was when the clients were there for the first
time, and both figures are shown.
"""


def page(outcome: Outcome) -> str:
    """Return the page for the documentation."""
    plan, books = outcome.plan, outcome.audit
    assert books is not None
    beats = sorted(outcome.chronicle.latencies) or [0.0]
    rows = [
        ("seconds", f"{outcome.seconds:.0f}"),
        ("clients at a time", f"{plan.clients:,}"),
        ("seed", f"{plan.seed}"),
        ("joins", f"{books.joins:,}"),
        ("leaves of those", f"{books.joins if not books.faults else books.leaves:,}"),
        ("leaves of those whose join was broken off", f"{books.unjoined:,}"),
        ("processes of the server killed", f"{sum(outcome.kills.values()):,}"),
        ("heartbeats answered", f"{len(beats):,}"),
        ("half of them within", f"{beats[len(beats) // 2] * 1000:.0f} ms"),
        ("99 % of them within", f"{beats[int((len(beats) - 1) * 0.99)] * 1000:.0f} ms"),
        ("Python", f"{platform.python_version()} on {platform.system()}"),
    ]
    lines = [_HEAD, "| | |", "| --- | --: |", *(f"| {name} | {value} |" for name, value in rows)]
    lines += ["", "| condition | holds | found |", "| --- | --- | --- |"]
    lines += [
        f"| {one.name} | {'yes' if one.holds else '**no**'} | {_cell(one.found)} |"
        for one in checks(outcome)
    ]
    lines += ["", "## What was killed", "", "| part | times |", "| --- | --: |"]
    lines += [f"| {part} | {outcome.kills[part]:,} |" for part in PARTS]
    lines += [
        "",
        f"The last {len(HEAVY)} concern all clients at once, or many of them, who then have the "
        "time to come back.",
        "",
        "## How clients left",
        "",
        "| of their own accord | times |",
        "| --- | --: |",
        *(f"| {way} | {number:,} |" for way, number in outcome.chronicle.left.most_common()),
        "",
        "| exit reason of the channel | leaves |",
        "| --- | --: |",
        *(f"| `{_cell(name)}` | {number:,} |" for name, number in books.reasons.most_common(MANY)),
        "",
        _DEMANDS,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


__all__ = ["TOLERANCE", "Check", "checks", "page", "text"]

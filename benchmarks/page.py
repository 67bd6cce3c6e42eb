"""The page of the documentation that shows the figures: docs/reference/benchmarks.md."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.harness import Line

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "benchmarks.md"

RIVALS: Final = ("python-socketio", "Starlette")
SOCKETS: Final = (
    "connect and join",
    "echo, 100 sockets",
    "fan-out to 10 sockets",
    "fan-out to 100 sockets",
    "fan-out to 1,000 sockets",
    "1,000 sockets reset at once",
    "memory of an idle client",
)
BARE: Final = ": against bare trio-websocket"


def shown(figure: float | None) -> str:
    """Write a figure with three digits that count."""
    if figure is None:
        return "-"
    if figure >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.3g}" if figure < 100 else f"{figure:.0f}"


def _cell(figure: float | None, unit: str) -> str:
    return "" if figure is None else f"{shown(figure)} {unit}".strip()


def _floor(line: Line) -> str:
    if line.floor is None:
        return ""
    return f"{line.floor}, {'holds' if line.holds else '**missed**'}"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _rates(lines: Mapping[str, Line]) -> Iterator[Sequence[str]]:
    for name in SOCKETS:
        held = lines[name]
        bare = lines.get(f"{name}{BARE}", held)
        ratio = "" if bare.ratio is None else f"{bare.ratio:.2f}"
        cells = [name, _cell(bare.value, bare.unit), _cell(bare.raw, bare.unit), ratio]
        others = (lines[f"{name}: against {rival}"] for rival in RIVALS)
        yield [*cells, _floor(held), *(_cell(one.raw, one.unit) for one in others)]


def _latencies(lines: Mapping[str, Line]) -> Iterator[Sequence[str]]:
    for name in SOCKETS:
        if f"{name}: latency p50" not in lines:
            continue
        rows = [[lines[f"{name}: latency p{percent}"] for percent in (50, 99)]]
        for rival in RIVALS:
            rows.append(
                [lines[f"{name}: latency p{percent}, against {rival}"] for percent in (50, 99)]
            )
        mine = " / ".join(shown(line.value) for line in rows[0])
        yield [name, mine, *(" / ".join(shown(line.raw) for line in row) for row in rows)]


def _others(lines: Sequence[Line]) -> Iterator[Sequence[str]]:
    for line in lines:
        if line.name.startswith(SOCKETS):
            continue
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        value, raw = _cell(line.value, line.unit), _cell(line.raw, line.unit)
        yield [line.name, value, raw, ratio, _floor(line)]


def _losses(lines: Mapping[str, Line]) -> Iterator[str]:
    """Yield a point for each floor that is missed, and for each rival that does better."""
    for line in lines.values():
        if line.holds is False:
            figure = line.value if line.raw is None else line.ratio
            yield f"- {line.name}: {shown(figure)}, where the floor is {line.floor}."
    for rival in RIVALS:
        ahead: list[str] = []
        for name in SOCKETS:
            line = lines[f"{name}: against {rival}"]
            if line.ratio is not None:
                factor = 1 / line.ratio if line.unit == "/s" else line.ratio
                if factor > 1.05:
                    ahead.append(f"{name} ({factor:.1f} times)")
        if ahead:
            yield f"- {rival} does better at {', '.join(ahead)}."


def page(lines: Sequence[Line]) -> str:
    """Return the page for a full run."""
    by_name = {line.name: line for line in lines}
    held = [line for line in lines if line.holds is not None]
    holding = sum(bool(line.holds) for line in held)
    versions = ", ".join(
        f"{name} {version(name)}"
        for name in ("trio", "trio-websocket", "python-socketio", "starlette", "uvicorn")
    )
    blocks = [
        "<!-- Written by `make bench ARGS=--page`: change benchmarks/page.py instead. -->",
        "# Benchmarks",
        _wrapped(_OPENING),
        "## Sockets",
        _wrapped(_SOCKETS),
        _table(
            ("", "exeunt", "bare", "ratio", "floor", *RIVALS),
            _rates(by_name),
        ),
        _wrapped(_LATENCIES),
        _table(("p50 / p99 in ms", "exeunt", "bare", *RIVALS), _latencies(by_name)),
        "## Where exeunt loses",
        _wrapped(f"{holding} of {len(held)} floors hold in this run."),
        "\n".join(_wrapped(point, "  ") for point in _losses(by_name)),
        _wrapped(_WHY),
        "## Processes, messages, supervision",
        _wrapped(_RAW),
        _table(("", "exeunt", "raw", "ratio", "floor"), _others(lines)),
        "## How to repeat it",
        _wrapped(_AGAIN),
        _wrapped(
            f"This run: {platform.python_implementation()} {platform.python_version()}, "
            f"{versions}, "
            f"{platform.system()} {platform.machine()}, two cores that others used as well."
        ),
    ]
    return "\n\n".join(blocks) + "\n"


_OPENING: Final = (
    "All figures of a line come from one run, in which all contenders do the same work by turns, "
    "so that whatever slows the machine down for a while slows down all of them. Compare figures "
    "of one line with each other, and nothing else: from one run to the next, and more so from one "
    "machine to the next, they move together, by half and more, while the ratios repeat to a few "
    "hundredths where they are near 1. *Floors* are what a ratio, or a figure that has no "
    "counterpart, is held to. A ratio is the median of all rounds, and what it compares are the "
    "figures of that round. Time is processor time, unless it is called a latency."
)

_SOCKETS: Final = (
    "The servers run on one core and the load on the other: plain sockets without an event loop, "
    "the same for all of them. A rate is how many of a thing the server does in one second of its "
    "processor time. *Bare* is trio-websocket alone: an echo, or a loop over the members of the "
    "room, without JSON, topics or processes. *Starlette* is a room after its documentation, with "
    "JSON, and *python-socketio* its ASGI server; both are under uvicorn with uvloop, whose "
    "pings are off. All messages have about 100 bytes, and nobody compresses. In a fan-out a "
    "client sends a message to the room, and all members, it included, get it: one delivery each. "
    "A reset is a TCP connection cut by its client; the time is that until the server has run the "
    "function for the last who left. For exeunt these are a Phoenix client's messages: a join is a "
    "process of its own, and each leave is run by a watcher, in another process."
)

_LATENCIES: Final = (
    "Latencies are on the wall's clock, from the client's first byte until it has the answer, with "
    "50 clients connecting at a time, with 100 echoes under way, and with one broadcast under "
    "way; of a reset, until the server has run the function for that client. Whatever else the "
    "machine was doing is in them, so trust the order of magnitude."
)

_WHY: Final = (
    "What exeunt does more than the others has its price where connections come and go: a "
    "connection is a process, a join another one, each under a supervisor, linked or monitored by "
    "whoever has to know of its end; and a leave is run in a process of its own, so that one which "
    "crashes or hangs harms nobody. Also, uvloop and the parsers behind uvicorn are written in C, "
    "and trio's loop in Python. Where exeunt gains is a fan-out to many: a broadcast is encoded "
    "once, and written to the sockets without waking anybody."
)

_RAW: Final = (
    "*Raw* is the same work on trio without exeunt, mostly two tasks and a deque; where a line "
    "says *against*, it is that."
)

_AGAIN: Final = (
    "`make bench` runs everything (about ten minutes), `make bench ARGS='--only echo fan-out'` "
    "some of it, `--quick` in less time, `--json` prints an object a line, and `--page` writes "
    "this page anew. What it is measured beside is an extra of its own, `bench`; a rival that is "
    "not installed is named, and its figures are missing. Nothing here is asserted by the tests."
)


def _wrapped(paragraph: str, indent: str = "") -> str:
    return textwrap.fill(
        paragraph, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

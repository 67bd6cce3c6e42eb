"""Write the reference page on events: from their classes, their docstrings and the calls that log.

`python -m scripts.event_tables DIRECTORY` writes `events.md` there. What the code cannot say, which
is what each field means, stands in `scripts.event_meanings`; a class or a field of which nothing is
said is an error, so that the page cannot fall behind the code.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import logging
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import exeunt
from exeunt.channels import Channel, Socket
from exeunt.channels.events import (
    ChannelHandledIn,
    ChannelJoined,
    JoinRefused,
    SlowConsumerDropped,
    SocketConnected,
    SocketRefused,
    SocketsDrained,
)
from exeunt.kernel.events import LOGGED, Event
from scripts.event_meanings import FIELDS, OWN_FIELDS, SAMPLES, WHEN, Kind

SOURCE: Final = Path(exeunt.__file__).parent

CHOSEN: Final[dict[Kind, tuple[str, object]]] = {
    SocketConnected: ("Socket.log", Socket.log),
    SocketRefused: ("Socket.log", Socket.log),
    ChannelJoined: ("Channel.log_join", Channel.log_join),
    JoinRefused: ("Channel.log_join", Channel.log_join),
    ChannelHandledIn: ("Channel.log_handle_in", Channel.log_handle_in),
}
"""The events that are logged at a level of the user's, by `exeunt.channels`: what sets it, and what
it is if nobody does."""

FIXED: Final[dict[Kind, str]] = {SlowConsumerDropped: "warning", SocketsDrained: "info"}
"""Those that `exeunt.channels` logs at a level of its own."""

ROOMS: Final = {"kernel": "The kernel", "otp": "OTP", "channels": "Channels"}

# -- gathering ------------------------------------------------------------------------------------


def event_types() -> list[Kind]:
    """Return all types of events, wherever in the library they are declared."""
    for module in pkgutil.walk_packages([str(SOURCE)], "exeunt."):
        if "__main__" not in module.name and ".template" not in module.name:
            importlib.import_module(module.name)
    found = [
        kind
        for kind in _below(Event)
        # A dataclass with slots leaves behind the class that it was made of.
        if getattr(sys.modules[kind.__module__], kind.__name__, None) is kind
    ]
    return list(dict.fromkeys(found))


def _below(kind: Kind) -> Iterator[Kind]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def how_logged(kind: Kind) -> tuple[str, str, str] | None:
    """Return the logger, the level, and what sets that if anything; None if it is not logged."""
    if kind in CHOSEN:
        setting, level = CHOSEN[kind]
        return "exeunt.channels", str(level), setting
    if kind in FIXED:
        return "exeunt.channels", FIXED[kind], ""
    if kind in LOGGED:
        return "exeunt", logging.getLevelName(kind.level).lower(), ""
    return None


def meaning(kind: Kind, field: str) -> str:
    """Return what a field means; `LookupError` if nobody has said so."""
    found = OWN_FIELDS.get((kind, field)) or FIELDS.get(field)
    if found is None:
        raise LookupError(
            f"say in OWN_FIELDS of scripts/event_meanings.py what {kind.__name__}.{field} means"
        )
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log that is no event."""

    logger: str
    level: str
    text: str
    module: str


def log_lines() -> list[Line]:
    """Return what is written to the log with a text of its own, in order of module and line."""
    found: list[Line] = []
    for path in sorted(SOURCE.rglob("*.py")):
        if "template" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = ".".join(("exeunt", *path.relative_to(SOURCE).with_suffix("").parts))
        calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call)]
        for call in sorted(calls, key=lambda one: one.lineno):
            level, text = _logged_text(call)
            if text and text != "%s":
                found.append(Line(_logger_of(module), level, text, module))
    return found


def _logged_text(call: ast.Call) -> tuple[str, str]:
    match call.func, call.args:
        case ast.Attribute(value=ast.Name("logger"), attr=level), [first, *_]:
            pass
        case ast.Name("_log"), [ast.Attribute(attr=level), first, *_]:
            pass
        case _:
            return "", ""
    match first:
        case ast.Constant(value=str(text)):
            pass
        case ast.JoinedStr(values=values):
            text = "".join(
                str(one.value) if isinstance(one, ast.Constant) else "%s" for one in values
            )
        case _:
            return "", ""
    return {"exception": "error"}.get(level.lower(), level.lower()), text


def _logger_of(module: str) -> str:
    return str(importlib.import_module(module).logger.name)


# -- the page -------------------------------------------------------------------------------------

OPENING: Final = """\
# Events

What a node tells of itself while it runs, as small frozen objects. A subscriber is a plain
function; it is called with each event of exactly the types that it asked for, in the process that
causes the event, and so must be quick and must not block. One that raises is removed, and that is
logged. An event that nobody wants is not made, so what nobody subscribes to costs nothing.

```python
{listing}```

`subscribe` returns a function that undoes it. Some events are also written to the standard logging,
whether or not anybody subscribes; the record has the event as its attribute `event`. The guide is
[Log, filter and count](../../howto/logging.md). Durations are seconds on trio's clock.
"""

LISTING: Final = """\
from collections import Counter

from exeunt import open_node, spawn, wait_exit
from exeunt.kernel.events import Event, Exited, Spawned


async def work() -> None:
    pass


async def main() -> Counter[str]:
    seen: Counter[str] = Counter()

    def count(event: Event) -> None:
        seen[type(event).__name__] += 1

    async with open_node() as node:
        stop = node.events.subscribe(count, Spawned, Exited)
        for _ in range(3):
            await wait_exit(spawn(work))
        stop()
    return seen
"""


def page() -> str:
    """Return the page."""
    kinds = [type(one) for one in SAMPLES]
    missing = {one.__name__ for one in set(event_types()) ^ set(kinds)}
    if missing:
        raise LookupError(
            f"SAMPLES of scripts/event_meanings.py has no event of, or one too many: {missing}"
        )
    lines = [
        OPENING.format(listing=LISTING),
        "| event | of | log | logger |",
        "| --- | --- | --- | --- |",
    ]
    for kind in kinds:
        log = "not logged | "
        if (logged := how_logged(kind)) is not None:
            logger, level, setting = logged
            log = f"{level}, set by `{setting}`" if setting else level
            log += f" | `{logger}`"
        lines.append(f"| [`{kind.__name__}`](#event-{_anchor(kind)}) | {_room(kind)} | {log} |")
    room = ""
    for sample in SAMPLES:
        kind = type(sample)
        if _room(kind) != room:
            room = _room(kind)
            lines += ["", f"## {ROOMS[room]}"]
        lines += ["", *_section(sample)]
    lines += ["", *_lines_section()]
    return "\n".join(lines) + "\n"


def _room(kind: Kind) -> str:
    return kind.__module__.split(".")[1]


def _anchor(kind: Kind) -> str:
    return kind.__name__.lower()


def _section(sample: Event) -> list[str]:
    kind = type(sample)
    lines = [
        f"(event-{_anchor(kind)})=",
        f"### {kind.__name__}",
        "",
        f"{{py:class}}`{kind.__module__}.{kind.__name__}`: {inspect.getdoc(kind)}",
        "",
        f"*Told* {WHEN[kind]}.",
        "",
        "| field | type | |",
        "| --- | --- | --- |",
    ]
    for field in dataclasses.fields(kind):
        shown = str(field.type).replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{shown}` | {meaning(kind, field.name)} |")
    if how_logged(kind) is not None:
        lines += ["", "As it is logged:", "", "```text", str(sample), "```"]
    return lines


def _lines_section() -> list[str]:
    lines = [
        "## Other lines of the log",
        "",
        "What is written to the log without being an event, gathered from the source. `%s` and the",
        "like stand for what is filled in.",
        "",
        "| logger | level | text | from |",
        "| --- | --- | --- | --- |",
    ]
    for one in log_lines():
        text = " ".join(one.text.replace("|", "\\|").replace("`", "'").split())
        lines.append(f"| `{one.logger}` | {one.level} | `{text}` | `{one.module}` |")
    return lines


def main(directory: Path) -> None:
    """Write the page."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "events.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

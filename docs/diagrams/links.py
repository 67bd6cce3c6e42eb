"""How an end travels along links, recorded: one process crashes, and the others are looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import trio
from trio.testing import wait_all_tasks_blocked

from docs.diagrams.recorder import Data, shown_reason
from exeunt import Down, Exit, Pid, link, monitor, open_node, receive, spawn, trap_exit
from exeunt.kernel.events import Exited

CRASHES: Final = "ear"

Ties: TypeAlias = dict[str, dict[str, Any]]

SCENES: Final[dict[str, Ties]] = {
    "link": {
        "ear": {},
        "mouth": {"links": "ear"},
        "room": {},
    },
    "links": {
        "ear": {},
        "mouth": {"links": "ear"},
        "watcher": {"links": "mouth", "traps": True},
        "archive": {"links": "watcher"},
        "room": {"monitors": "mouth"},
    },
}
"""Who is there, in order, and what each does to tie itself to another, before the ear crashes."""


@dataclass(slots=True)
class _Fate:
    """What has become of a process."""

    traps: bool = False
    links: list[str] = field(default_factory=list)
    monitors: list[str] = field(default_factory=list)
    gets: list[str] = field(default_factory=list)
    ended: str = ""


def record() -> Data:
    """Crash the ear; return what each process was tied to, what it got, and whether it ended."""
    return {name: trio.run(_crash, ties) for name, ties in SCENES.items()}


async def _crash(everybody: Ties) -> Data:
    pids: dict[str, Pid] = {}
    fates = {name: _Fate() for name in everybody}

    def name_of(process: object) -> str:
        return next(name for name, pid in pids.items() if pid is process)

    def note_exit(event: Exited) -> None:
        if event.pid in pids.values():
            fates[name_of(event.pid)].ended = shown_reason(event.reason)

    async def live(name: str) -> None:
        fate, ties = fates[name], everybody[name]
        if ties.get("traps"):
            trap_exit()
            fate.traps = True
        if "links" in ties:
            link(pids[ties["links"]])
            fate.links.append(ties["links"])
        if "monitors" in ties:
            monitor(pids[ties["monitors"]])
            fate.monitors.append(ties["monitors"])
        while True:
            match await receive():
                case "crash":
                    raise ValueError("on purpose")
                case Exit(pid, reason):
                    fate.gets.append(f"Exit({name_of(pid)}, {shown_reason(reason)})")
                case Down(_, pid, reason):
                    fate.gets.append(f"Down(ref, {name_of(pid)}, {shown_reason(reason)})")

    async with open_node(signals=False) as node:
        unsubscribe = node.events.subscribe(note_exit, Exited)
        for name in everybody:
            pids[name] = spawn(live, name)
            await wait_all_tasks_blocked()
        node.processes[pids[CRASHES].number].deliver("crash")
        await wait_all_tasks_blocked()
        unsubscribe()
        return {
            name: {
                "traps": fate.traps,
                "links": [*fate.links],
                "monitors": [*fate.monitors],
                "gets": [*fate.gets],
                "ended": fate.ended,
            }
            for name, fate in fates.items()
        }

"""Searching: the processes of a node by what they are called, in whole or in part.

A process is found by what its row shows: its registered name, its label, in which the key of a
`Registry` or the topic of a channel stands, the id that its supervisor knows it by, and the socket
id of a channel. All of a node are searched and not those alone that the picture has room for; in
small steps, between which the others run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.kernel.process import Process
from exeunt.observer.clients import socket_id_of
from exeunt.observer.looking import cut, family_of, status_of
from exeunt.observer.scanning import STEP, Rest, Sources

MOST_FOUND: Final = 50
"""How many of those that are found are listed."""

LONGEST: Final = 200
"""Characters of a text that is searched for."""

# How well a text fits: it is the name, or the key; it begins one; it is in one.
_WHOLE, _START, _PART, _NOT = range(4)


async def search(node: Node, text: str, sources: Sources, rest: Rest) -> dict[str, Any]:
    """Return the processes whose name has `text` in it, whatever its case, the best first.

    Of those that fit equally the older come first, and the observer's own last. `found` has the
    first of them, `total` says how many there are.
    """
    wanted = text.strip()[:LONGEST].casefold()
    fitting: list[list[Process]] = [[] for _ in range(2 * _NOT)]
    total = 0
    ids: dict[Pid, str] = {}
    own: set[Pid] = set()
    for number, process in enumerate(list(node.processes.values()) if wanted else (), start=1):
        if number % STEP == 0:
            await rest()
        if process.status == "dead":
            continue
        is_own = process.pid is sources.own or process.parent in own
        if is_own:
            own.add(process.pid)
        family = family_of(process)
        if family is not None and not family.is_dynamic:
            # A supervisor is older than its children.
            for spec, pid in family.first(len(family)):
                if isinstance(pid, Pid):
                    ids[pid] = sources.ids(spec.id)
        id = ids.get(process.pid, "")
        how = min(_fit(one.casefold(), wanted) for one in _texts(process, id))
        if how == _NOT:
            continue
        total += 1
        some = fitting[2 * how + is_own]
        if len(some) < MOST_FOUND:
            some.append(process)
    best = [one for some in fitting for one in some][:MOST_FOUND]
    return found(best, ids, total)


def found(
    processes: Sequence[Process], ids: Mapping[Pid, str] | None = None, total: int | None = None
) -> dict[str, Any]:
    """Return the answer that has these processes."""
    ids = {} if ids is None else ids
    rows = [_row(one, ids.get(one.pid, "")) for one in processes]
    return {"found": rows, "total": len(rows) if total is None else total}


def _texts(process: Process, id: str) -> Iterator[str]:
    yield process.label
    if process.name is not None:
        yield process.name
    if id:
        yield id
    _, _, key = process.label.partition(" ")
    if key:
        yield key.strip("'\"")
    socket_id = socket_id_of(process)
    if socket_id:
        yield socket_id


def _fit(name: str, wanted: str) -> int:
    if wanted not in name:
        return _NOT
    if name == wanted:
        return _WHOLE
    return _START if name.startswith(wanted) else _PART


def _row(process: Process, id: str) -> dict[str, str]:
    return {
        "pid": repr(process.pid),
        "id": id,
        "name": cut(process.name or ""),
        "label": cut(process.label),
        "socket": cut(socket_id_of(process)),
        "status": status_of(process, process.node.zombies),
    }

"""Sampling: from a running node to a picture of it, which is plain data that JSON can carry.

The picture is bounded whatever the size of the node: under each process so many are shown, and how
many more there are; of all together so many at most. To make it nobody is asked, and nothing is
read that may be secret: neither the state of a server nor the content of a message.

A look at a node of 100,000 processes takes a while, so it is made in small steps, between which the
others run; what it shows may so be a fraction of a second apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.kernel.process import Process
from exeunt.observer.clients import (
    SocketRow,
    TopicRow,
    connections_of,
    hubs_of,
    sockets_of,
    topic_row,
)
from exeunt.observer.looking import cut, line_of, status_of
from exeunt.observer.rows import Extent, MailboxRow, NodeRow, ProcessRow, Record, record
from exeunt.observer.scanning import Rest, Scan, Sources, scan
from exeunt.otp.supervision import ChildSpec
from exeunt.otp.tree import BranchStatus

ROW_STEP: Final = 20
"""After how many that are looked at closely the others run."""

_LONGEST_KEY: Final = 160

Picture: TypeAlias = "dict[str, dict[str, Record]]"
"""All rows, by the section that they belong to and by their key in it."""


@dataclass(slots=True)
class Rates:
    """How many messages processes had at the last look, to tell how many a second there were."""

    at: float | None = None
    total: int = 0
    counts: dict[Pid, int] = field(default_factory=dict[Pid, int])


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row that is still to be made."""

    key: str
    process: Process | None
    child: ChildSpec | None = None
    is_restarting: bool = False


class _Sketch:
    """The tree while it is being made."""

    def __init__(
        self, node: Node, sources: Sources, extent: Extent, rates: Rates, scan: Scan, now: float
    ) -> None:
        self._node = node
        self._sources = sources
        self._extent = extent
        self._scan = scan
        self._now = now
        self._before = rates
        self._seconds = 0.0 if rates.at is None else now - rates.at
        self.counts: dict[Pid, int] = {}
        self.rows: dict[str, Record] = {}
        self.room = extent.processes
        self._keys: set[str] = set()
        self._seen: set[Pid] = set()

    async def draw(self, rest: Rest) -> tuple[tuple[str, ...], int]:
        """Make all rows; return the keys of the roots, and how many roots are not shown."""
        orphans = self._scan.spawned
        roots = [self._draft(self._node.main)]
        roots += [self._draft(one) for one in orphans.first(None, self.room - 1)]
        self.room -= len(roots)
        waiting = deque(roots)
        number = 0
        while waiting:
            number += 1
            if number % ROW_STEP == 0:
                await rest()
            draft = waiting.popleft()
            below, more = self._below(draft)
            # From the top down: if there is no room for all, the deepest are left out.
            waiting.extend(below)
            row = self._row(draft, tuple(one.key for one in below), more)
            self.rows[draft.key] = record(row)
        return tuple(one.key for one in roots), orphans.count(None) + 1 - len(roots)

    def _draft(self, process: Process) -> _Draft:
        key = repr(process.pid)
        self._keys.add(key)
        self._seen.add(process.pid)
        return _Draft(key, process)

    def _below(self, draft: _Draft) -> tuple[list[_Draft], int]:
        process = draft.process
        if process is None or process.status == "dead":
            return [], 0
        most = min(self._extent.children, self.room)
        drafts: list[_Draft] = []
        total = 0
        family = self._scan.family_of(process)
        if family is not None:
            total += len(family)
            for spec, state in family.first(most):
                drafts.append(self._child(draft, spec, state, is_dynamic=family.is_dynamic))
        total += self._scan.spawned.count(process.pid)
        for one in self._scan.spawned.first(process.pid, most - len(drafts)):
            is_there = one.status != "dead" or one.pid in self._node.zombies
            if is_there and one.pid not in self._seen:
                drafts.append(self._draft(one))
            else:
                total -= 1
        self.room -= len(drafts)
        return drafts, max(0, total - len(drafts))

    def _child(self, above: _Draft, spec: ChildSpec, state: Any, *, is_dynamic: bool) -> _Draft:
        process = state._process if isinstance(state, Pid) else None
        if isinstance(state, Pid) and process is None:
            process = self._node.zombies.get(state)
        if process is not None:
            if process.pid in self._seen:
                # Two supervisors say that it is theirs, or it is above itself.
                process = None
            else:
                self._seen.add(process.pid)
        if is_dynamic and process is not None:
            key = repr(process.pid)
        else:
            key = f"{above.key}/{self._sources.ids(spec.id)}"
        if len(key) > _LONGEST_KEY:
            key = f"{above.key[:32]}…{self._sources.ids(spec.id)[:32]}"
        if key in self._keys:
            number = 2
            while f"{key}#{number}" in self._keys:
                number += 1
            key = f"{key}#{number}"
        self._keys.add(key)
        return _Draft(key, process, spec, state == "restarting")

    def _row(self, draft: _Draft, children: tuple[str, ...], more: int) -> ProcessRow:
        process, spec = draft.process, draft.child
        # The ids of specifications mean nothing in a dynamic supervisor, whose keys are pids.
        is_named = spec is not None and "/" in draft.key
        if process is None or process.status == "dead":
            status: BranchStatus = "restarting" if draft.is_restarting else "stopped"
            if process is not None:
                status = status_of(process, self._node.zombies)
            return ProcessRow(
                pid="" if process is None else repr(process.pid),
                id=self._sources.ids(spec.id) if spec is not None and is_named else "",
                name="",
                label="" if process is None else cut(process.label),
                kind="worker" if spec is None else spec.type,
                restart=None if spec is None else spec.restart,
                status=status,
                is_own=False,
                mailbox=0,
                rate=0.0,
                links=0,
                monitors=0,
                restarts=0,
                crash="",
                line="" if process is None else line_of(process),
                since=0.0,
                is_older=False,
                children=children,
                more=more,
            )
        pid = process.pid
        known = self._sources.ledger.record_of(pid)
        since = self._sources.births.since(pid.number)
        family = self._scan.family_of(process)
        return ProcessRow(
            pid=repr(pid),
            id=self._sources.ids(spec.id) if spec is not None and is_named else "",
            name=cut(process.name or ""),
            label=cut(process.label),
            kind="supervisor"
            if family is not None or (spec and spec.type != "worker")
            else "worker",
            restart=None if spec is None else spec.restart,
            status=status_of(process, self._node.zombies),
            is_own=pid in self._scan.own,
            mailbox=len(process.mailbox.messages),
            rate=self._rate(process),
            links=len(process.links or ()),
            monitors=len(process.monitors or ()),
            restarts=known.restarts,
            crash=known.crash,
            line=line_of(process),
            since=round(self._now if since is None else since[0], 1),
            is_older=since is not None and since[1],
            children=children,
            more=more,
        )

    def _rate(self, process: Process) -> float:
        count = self.counts[process.pid] = self._sources.meter.count_of(process)
        before = self._before.counts.get(process.pid)
        if before is None or self._seconds <= 0:
            return 0.0
        return round(max(0, count - before) / self._seconds, 1)


async def sample(
    node: Node,
    sources: Sources,
    *,
    now: float,
    rest: Rest,
    rates: Rates | None = None,
    lag: float = 0.0,
    extent: Extent | None = None,
) -> Picture:
    """Return the picture of a node.

    `now` is the time of the node's clock. `rates` are those of the last picture, and brought up to
    date; without them, messages a second are 0. `lag` is shown as it is.
    """
    extent = Extent() if extent is None else extent
    rates = Rates() if rates is None else rates
    found = await scan(node, sources, extent, rest)
    sketch = _Sketch(node, sources, extent, rates, found, now)
    roots, more_roots = await sketch.draw(rest)
    sockets, topics, connection_count, topic_count = await _clients(sources, found, extent, rest)
    total = sources.meter.total
    seconds = 0.0 if rates.at is None else now - rates.at
    messages = max(0, total - rates.total) / seconds if seconds > 0 else 0.0
    rates.at, rates.total, rates.counts = now, total, sketch.counts
    sources.meter.forget_ended(node)
    ledger = sources.ledger
    row = NodeRow(
        number=node.number,
        now=round(now, 3),
        processes=found.count,
        zombies=len(node.zombies),
        messages=round(messages, 1),
        lag=round(lag, 5),
        connections=connection_count,
        topics=topic_count,
        crashes=ledger.crash_count,
        restarts=ledger.restart_count,
        roots=roots,
        more_roots=max(0, more_roots),
    )
    return {
        "node": {"node": record(row)},
        "process": sketch.rows,
        "socket": {one.pid: record(one) for one in sockets},
        "topic": {key: record(one) for key, one in topics.items()},
        "mailbox": {
            repr(process.pid): record(
                MailboxRow(repr(process.pid), cut(process.name or ""), cut(process.label), length)
            )
            for length, process in found.longest_mailboxes()
        },
        "crash": {str(one.number): record(one) for one in ledger.crashes},
    }


async def _clients(
    sources: Sources, scan: Scan, extent: Extent, rest: Rest
) -> tuple[list[SocketRow], dict[str, TopicRow], int, int]:
    sockets: list[SocketRow] = []
    count = 0
    endpoints = [one for one in scan.endpoints if one.pid not in scan.own]
    for endpoint in endpoints:
        connections = connections_of(endpoint)
        if connections is None:
            continue
        count += len(connections)
        for row in sockets_of(connections, extent.sockets - len(sockets)):
            sockets.append(row)
            if len(sockets) % ROW_STEP == 0:
                await rest()
    topics: dict[str, TopicRow] = {}
    topic_count = 0
    for order, hub in enumerate(hubs_of(endpoints, sources.hubs)):
        names = hub.topics()
        topic_count += len(names)
        for number, name in enumerate(names[: extent.topics - len(topics)], start=1):
            found = topic_row(hub, name)
            key = f"{order}/{cut(name)}"
            if found is not None and key not in topics:
                topics[key] = found
            if number % ROW_STEP == 0:
                await rest()
    return sockets, topics, count, topic_count


def history_point(picture: Mapping[str, Mapping[str, Record]]) -> list[float]:
    """Return what the curves show of a picture: time, processes, messages a second, lag."""
    row = picture["node"]["node"]
    return [row["now"], row["processes"], row["messages"], row["lag"]]

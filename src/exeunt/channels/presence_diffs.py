"""How the changes of a presence tracker are told: one after the other, on the topics of each.

A change is broadcast by the tracker itself, unless the class has a `fetch` or a `handle_metas`,
which may take their time. Then a process of its own works through the changes in order, so that
nobody who tracks has to wait.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from exeunt.channels.presence_state import Diff, Entry
from exeunt.channels.pubsub import Dispatch, PubSub
from exeunt.kernel.primitives import receive

__all__ = [
    "DIFF",
    "Fetch",
    "HandleMetas",
    "Here",
    "PresenceDiff",
    "Presences",
    "Teller",
    "diffs_of",
    "fetched",
    "grouped",
]

logger = logging.getLogger("exeunt.channels")

Presences: TypeAlias = "dict[str, dict[str, Any]]"
"""By key: `{"metas": [meta, …]}`, the longest present first, and what `fetch` has added."""

Here: TypeAlias = "Mapping[str, tuple[Mapping[str, Any], ...]]"
"""By key: the metas of everybody who is there, the longest present first."""

DIFF: Final = "presence_diff"


@dataclass(frozen=True, slots=True)
class PresenceDiff:
    """What has changed on one topic, as it is broadcast."""

    topic: str
    joins: Presences
    leaves: Presences


Fetch: TypeAlias = "Callable[[str, Presences], Awaitable[Presences]]"
HandleMetas: TypeAlias = "Callable[[str, PresenceDiff, Here], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells of changes: at once with `tell`, or as the body of a process with `run`.

    `fetch` and `handle_metas` are None where the class has none of its own.
    """

    hub: PubSub
    fetch: Fetch | None
    handle_metas: HandleMetas | None
    dispatch: Dispatch | None

    @property
    def needs_a_process(self) -> bool:
        """Whether telling may take time."""
        return self.fetch is not None or self.handle_metas is not None

    def tell(self, diff: PresenceDiff) -> None:
        """Broadcast a change on its topic, to the subscribers on this node."""
        payload = {"joins": diff.joins, "leaves": diff.leaves}
        self.hub.local_broadcast(diff.topic, DIFF, payload, dispatch=self.dispatch)

    async def run(self) -> None:
        """Tell, for ever, of the changes that are sent to this process."""
        metas = _Metas()
        while True:
            diff = await receive(PresenceDiff)
            told = await self._tell_with_fetched(diff)
            if self.handle_metas is not None:
                await self.handle_metas(diff.topic, told, metas.after(diff))

    async def _tell_with_fetched(self, diff: PresenceDiff) -> PresenceDiff:
        """Broadcast a change with what `fetch` adds; return it as it was broadcast."""
        if self.fetch is not None:
            try:
                joins = await _enriched(self.fetch, diff.topic, diff.joins)
                leaves = await _enriched(self.fetch, diff.topic, diff.leaves)
                found = PresenceDiff(diff.topic, joins, leaves)
                self.tell(found)
                return found
            except Exception:
                # Phoenix: a fetch that fails for a diff ends the tracker, and so all that it
                # tracks. Here the diff goes out as it is: a client that misses one shows somebody
                # who has left for as long as it stays.
                logger.exception(
                    "fetch failed for a diff on %.200r: it is sent as it is", diff.topic
                )
        self.tell(diff)
        return diff


class _Metas:
    """Who is where after each change that was told, which may be less than the tracker knows."""

    def __init__(self) -> None:
        # Nothing in it is empty.
        self._topics: dict[str, dict[str, tuple[Mapping[str, Any], ...]]] = {}

    def after(self, diff: PresenceDiff) -> Here:
        """Take a change in; return who is on its topic then."""
        here = self._topics.setdefault(diff.topic, {})
        for key, presence in diff.joins.items():
            metas = list(here.get(key, ()))
            for meta in presence["metas"]:
                # A new version takes the place of the old one, which leaves in the same diff.
                before = meta.get("phx_ref_prev")
                places = (at for at, old in enumerate(metas) if old["phx_ref"] == before)
                at = next(places, len(metas))
                metas[at : at + 1] = [meta]
            here[key] = tuple(metas)
        for key, presence in diff.leaves.items():
            gone = {meta["phx_ref"] for meta in presence["metas"]}
            here[key] = tuple(meta for meta in here.get(key, ()) if meta["phx_ref"] not in gone)
            if not here[key]:
                del here[key]
        if not here:
            del self._topics[diff.topic]
        return MappingProxyType(here)


def diffs_of(change: Diff) -> Iterator[PresenceDiff]:
    """Take a change of the state apart: one diff for each topic that something has changed on."""
    joins, leaves = _by_topic(change.joins), _by_topic(change.leaves)
    for topic in {**joins, **leaves}:
        yield PresenceDiff(topic, grouped(joins.get(topic, ())), grouped(leaves.get(topic, ())))


def grouped(entries: Iterable[Entry]) -> Presences:
    """Return entries of one topic by key, as clients are told of them."""
    found: Presences = {}
    for entry in entries:
        found.setdefault(entry.key, {"metas": []})["metas"].append(dict(entry.meta))
    return found


def fetched(presences: object) -> Presences:
    """Return what a `fetch` has returned, which may be anything; raise `TypeError` if it is."""
    if not isinstance(presences, dict):
        raise TypeError(f"fetch returned {presences!r}: expected the presences, by key")
    return presences


def _by_topic(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.topic, []).append(entry)
    return found


async def _enriched(fetch: Fetch, topic: str, presences: Presences) -> Presences:
    if not presences:
        return presences
    copied: Presences = {
        key: {"metas": [dict(meta) for meta in presence["metas"]]}
        for key, presence in presences.items()
    }
    return fetched(await fetch(topic, copied))

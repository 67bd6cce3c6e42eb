"""Who is where, as several nodes can know it without asking each other: plain data, no I/O.

Each node, a *replica*, adds and removes entries of its own, and merges what others know into what
it knows. States can be merged in any order, any number of times, and come out the same; where one
removes what another adds anew at the same time, the addition wins. For that a state needs no record
of what was removed: it remembers, for each replica, up to which number it has seen that replica's
entries. An entry that one side has and the other has not is new if its number is beyond what the
other has seen, and removed if it is not.

    >>> here, there = PresenceState("here"), PresenceState("there")
    >>> _ = here.add("room:1", "ann", 7, "r1", {"name": "Ann"})
    >>> there.merge(here).joins[0].key
    'ann'
    >>> here.remove_owner(7)[0].ref
    'r1'
    >>> there.merge(here).leaves[0].key, there.entries("room:1")
    ('ann', [])

This is an observed-remove set with a version vector instead of tombstones, as Phoenix.Tracker uses.
What is merged are whole states.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Diff", "Entry", "PresenceState", "Tag"]


class Tag(NamedTuple):
    """What tells an entry from all others, for ever: the replica that made it, and its number."""

    number: int
    replica: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One presence: `owner` is there, on `topic`, as `key`.

    The owner is a process of the replica, or anything else that stands for one and can be hashed.
    `ref` names this version of the entry, and `since` is the tag of its first one, so that an entry
    which is updated keeps its place.
    """

    tag: Tag
    topic: str
    key: str
    owner: Hashable
    ref: str
    meta: Mapping[str, Any]
    since: Tag


@dataclass(frozen=True, slots=True)
class Diff:
    """What a merge has changed: entries that came and entries that went, oldest first."""

    joins: tuple[Entry, ...] = ()
    leaves: tuple[Entry, ...] = ()


_Place: TypeAlias = tuple[str, str]  # a topic and a key


class PresenceState:
    """What one replica knows of all.

    Invariant: an owner has one entry at most for a topic and a key.
    """

    __slots__ = ("_by_tag", "_by_topic", "_mine", "_seen", "replica")

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._by_tag: dict[Tag, Entry] = {}
        # Those of every replica by topic, this replica's own by owner; nothing in them is empty.
        self._by_topic: dict[str, dict[Tag, Entry]] = {}
        self._mine: dict[Hashable, dict[_Place, Entry]] = {}
        # The highest number of each replica that this one has seen, removed entries included.
        self._seen: dict[str, int] = {}

    # -- this replica's own -----------------------------------------------------------------------

    def add(
        self, topic: str, key: str, owner: Hashable, ref: str, meta: Mapping[str, Any]
    ) -> Entry:
        """Add an entry; raises `ValueError` if the owner has one for this topic and key already."""
        if self.find(topic, key, owner) is not None:
            raise ValueError(f"{owner!r} is on {topic!r} as {key!r} already")
        tag = self._next_tag()
        entry = Entry(tag, topic, key, owner, ref, meta, since=tag)
        self._put(entry)
        return entry

    def replace(self, old: Entry, ref: str, meta: Mapping[str, Any]) -> Entry:
        """Put a new version in the place of an entry of this replica, and return it.

        Raises `KeyError` if the entry is not there any more.
        """
        self._drop(old.tag)
        new = Entry(self._next_tag(), old.topic, old.key, old.owner, ref, meta, since=old.since)
        self._put(new)
        return new

    def remove(self, topic: str, key: str, owner: Hashable) -> Entry | None:
        """Remove an owner's entry, and return it; None if there is none."""
        entry = self.find(topic, key, owner)
        if entry is not None:
            self._drop(entry.tag)
        return entry

    def remove_owner(self, owner: Hashable) -> list[Entry]:
        """Remove all entries of an owner, and return them, oldest first."""
        mine = list(self._mine.get(owner, {}).values())
        for entry in mine:
            self._drop(entry.tag)
        return sorted(mine, key=_age)

    def find(self, topic: str, key: str, owner: Hashable) -> Entry | None:
        """Return the entry of an owner of this replica, or None."""
        return self._mine.get(owner, {}).get((topic, key))

    def has_owner(self, owner: Hashable) -> bool:
        """Whether an owner of this replica has any entry."""
        return owner in self._mine

    # -- everybody's ------------------------------------------------------------------------------

    def entries(self, topic: str, key: str | None = None) -> list[Entry]:
        """Return the entries of a topic, or those of one key there, the longest present first."""
        found = self._by_topic.get(topic, {}).values()
        return sorted((one for one in found if key is None or one.key == key), key=_age)

    def topics(self) -> list[str]:
        """Return the topics on which there is anybody."""
        return list(self._by_topic)

    def seen(self) -> dict[str, int]:
        """Return how far this replica has seen each of them, itself included."""
        return dict(self._seen)

    def merge(self, other: PresenceState) -> Diff:
        """Take in all that another state knows, and return what that has changed here."""
        theirs, seen = other._by_tag, self._seen
        leaves = [
            entry
            for tag, entry in self._by_tag.items()
            if tag not in theirs and tag.number <= other._seen.get(tag.replica, 0)
        ]
        joins = [
            entry
            for tag, entry in theirs.items()
            if tag not in self._by_tag and tag.number > seen.get(tag.replica, 0)
        ]
        for entry in leaves:
            self._drop(entry.tag)
        for entry in joins:
            self._put(entry)
        for replica, number in other._seen.items():
            seen[replica] = max(number, seen.get(replica, 0))
        return Diff(tuple(sorted(joins, key=_age)), tuple(sorted(leaves, key=_age)))

    def forget(self, replica: str) -> list[Entry]:
        """Remove all entries of a replica that is gone for good, and return them, oldest first.

        Whoever merges this state forgets them too. A replica that comes back takes another name,
        since its old entries count as removed.
        """
        gone = [entry for tag, entry in self._by_tag.items() if tag.replica == replica]
        for entry in gone:
            self._drop(entry.tag)
        return sorted(gone, key=_age)

    def copy(self, replica: str | None = None) -> PresenceState:
        """Return the same state, perhaps as that of another replica."""
        twin = PresenceState(self.replica if replica is None else replica)
        twin.merge(self)
        return twin

    def __eq__(self, other: object) -> bool:
        """Tell whether two states know the same, whosever they are."""
        if not isinstance(other, PresenceState):
            return NotImplemented
        return self._seen == other._seen and self._by_tag == other._by_tag

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._by_tag)

    def __repr__(self) -> str:
        return f"<PresenceState of {self.replica!r}: {len(self)} entries>"

    # ---------------------------------------------------------------------------------------------

    def _next_tag(self) -> Tag:
        # Beyond every number seen, whosever it is, so that tags are in the order of what was known.
        number = max(self._seen.values(), default=0) + 1
        self._seen[self.replica] = number
        return Tag(number, self.replica)

    def _put(self, entry: Entry) -> None:
        self._by_tag[entry.tag] = entry
        self._by_topic.setdefault(entry.topic, {})[entry.tag] = entry
        if entry.tag.replica == self.replica:
            self._mine.setdefault(entry.owner, {})[entry.topic, entry.key] = entry

    def _drop(self, tag: Tag) -> None:
        entry = self._by_tag.pop(tag)
        of_topic = self._by_topic[entry.topic]
        del of_topic[tag]
        if not of_topic:
            del self._by_topic[entry.topic]
        if tag.replica == self.replica:
            mine = self._mine[entry.owner]
            del mine[entry.topic, entry.key]
            if not mine:
                del self._mine[entry.owner]


def _age(entry: Entry) -> tuple[Tag, Tag]:
    return entry.since, entry.tag

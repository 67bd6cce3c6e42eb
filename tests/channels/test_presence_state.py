"""PresenceState: states merge in any order to the same, and nothing comes back or is lost.

A history is played on three replicas: each adds, replaces and removes entries of its own, gives
others up, and now and then merges what another one knows, or knew when it wrote a letter which may
be late, come twice, or never. Beside it runs a model that never forgets: the set of all entries
ever made, and for each replica those that it has seen made and seen removed.
"""

from __future__ import annotations

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exeunt.channels import presence_state
from exeunt.channels.presence_state import Diff, Entry, PresenceState, Tag

REPLICAS = ("a", "b", "c")

steps = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(("add", "replace", "remove")),
            st.sampled_from(REPLICAS),
            st.sampled_from(("room:1", "room:2")),
            st.sampled_from(("ann", "bob")),
            st.integers(1, 2),
        ),
        st.tuples(st.just("leave"), st.sampled_from(REPLICAS), st.integers(1, 2)),
        st.tuples(st.just("merge"), st.sampled_from(REPLICAS), st.sampled_from(REPLICAS)),
        st.tuples(st.just("forget"), st.sampled_from(REPLICAS), st.sampled_from(REPLICAS)),
        st.tuples(st.just("write"), st.sampled_from(REPLICAS)),
        st.tuples(st.just("read"), st.sampled_from(REPLICAS), st.integers(0, 5)),
    ),
    max_size=60,
)


class World:
    """Three replicas, and the model of each: the tags it knows of, and those it knows removed."""

    def __init__(self) -> None:
        self.states = {name: PresenceState(name) for name in REPLICAS}
        self.known: dict[str, set[Tag]] = {name: set() for name in REPLICAS}
        self.removed: dict[str, set[Tag]] = {name: set() for name in REPLICAS}
        self.letters: list[tuple[PresenceState, set[Tag], set[Tag]]] = []
        self.count = 0

    def play(self, history: list[tuple[Any, ...]]) -> World:
        for what, *arguments in history:
            getattr(self, what)(*arguments)
        return self

    def add(self, at: str, topic: str, key: str, owner: int) -> None:
        if self.states[at].find(topic, key, owner) is None:
            self._made(at, self.states[at].add(topic, key, owner, self._ref(), {}))

    def replace(self, at: str, topic: str, key: str, owner: int) -> None:
        old = self.states[at].find(topic, key, owner)
        if old is not None:
            self.removed[at].add(old.tag)
            self._made(at, self.states[at].replace(old, self._ref(), {"again": True}))

    def remove(self, at: str, topic: str, key: str, owner: int) -> None:
        entry = self.states[at].remove(topic, key, owner)
        if entry is not None:
            self.removed[at].add(entry.tag)

    def leave(self, at: str, owner: int) -> None:
        self.removed[at] |= {entry.tag for entry in self.states[at].remove_owner(owner)}
        assert not self.states[at].has_owner(owner)

    def merge(self, at: str, other: str) -> Diff:
        diff = self.states[at].merge(self.states[other])
        self.known[at] |= self.known[other]
        self.removed[at] |= self.removed[other]
        return diff

    def forget(self, at: str, other: str) -> None:
        gone = {tag for tag in self.known[at] if tag.replica == other} - self.removed[at]
        assert {entry.tag for entry in self.states[at].forget(other)} == gone
        self.removed[at] |= gone

    def write(self, at: str) -> None:
        self.letters.append((self.states[at].copy(), {*self.known[at]}, {*self.removed[at]}))

    def read(self, at: str, number: int) -> None:
        if number < len(self.letters):
            state, known, removed = self.letters[number]
            self.states[at].merge(state)
            self.known[at] |= known
            self.removed[at] |= removed

    def _made(self, at: str, entry: Entry) -> None:
        assert entry.tag not in set[Tag]().union(*self.known.values()), "a tag is made once"
        self.known[at].add(entry.tag)

    def _ref(self) -> str:
        self.count += 1
        return str(self.count)


def tags(state: PresenceState) -> set[Tag]:
    return {entry.tag for topic in state.topics() for entry in state.entries(topic)}


def shown(state: PresenceState) -> list[tuple[Entry, ...]]:
    return [tuple(state.entries(topic)) for topic in sorted(state.topics())]


def merged(*states: PresenceState) -> PresenceState:
    result = states[0].copy()
    for state in states[1:]:
        result.merge(state)
    return result


@given(steps)
def test_a_replica_shows_what_it_has_seen_made_and_has_not_seen_removed(
    history: list[tuple[Any, ...]],
) -> None:
    world = World().play(history)
    for name, state in world.states.items():
        assert tags(state) == world.known[name] - world.removed[name]


@given(steps)
def test_merging_is_commutative(history: list[tuple[Any, ...]]) -> None:
    a, b, _ = World().play(history).states.values()
    assert merged(a, b) == merged(b, a)
    assert shown(merged(a, b)) == shown(merged(b, a))


@given(steps)
def test_merging_is_associative(history: list[tuple[Any, ...]]) -> None:
    a, b, c = World().play(history).states.values()
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@given(steps)
def test_merging_is_idempotent(history: list[tuple[Any, ...]]) -> None:
    a, b, _ = World().play(history).states.values()
    once = merged(a, b)
    assert merged(a, a) == a
    assert merged(once, b) == once
    assert once.copy().merge(b) == Diff()


@given(steps)
def test_merging_with_what_is_older_changes_nothing(history: list[tuple[Any, ...]]) -> None:
    """Of two states of one replica the later one knows more, so they merge to it either way."""
    half = len(history) // 2
    world = World().play(history[:half])
    before = {name: state.copy() for name, state in world.states.items()}
    world.play(history[half:])
    for name, state in world.states.items():
        assert merged(state, before[name]) == state
        assert merged(before[name], state) == state


@given(steps)
def test_the_order_in_which_several_are_merged_makes_no_difference(
    history: list[tuple[Any, ...]],
) -> None:
    world = World().play(history)
    known = [*world.states.values(), *(state for state, _, _ in world.letters[:2])]
    once = merged(*known)
    assert merged(*reversed(known)) == once
    assert merged(*known[2:], *known, *known[:2], *known) == once
    assert shown(merged(*reversed(known))) == shown(once)


@given(steps)
def test_a_diff_is_exactly_what_a_merge_changes(history: list[tuple[Any, ...]]) -> None:
    a, b, _ = World().play(history).states.values()
    before = tags(a)
    diff = a.merge(b)
    joined, left = ({entry.tag for entry in one} for one in (diff.joins, diff.leaves))
    assert joined == tags(a) - before
    assert left == before - tags(a)


@given(steps)
def test_all_are_equal_after_everybody_has_heard_of_everybody(
    history: list[tuple[Any, ...]],
) -> None:
    world = World().play(history)
    for at in REPLICAS:
        for other in REPLICAS:
            world.merge(at, other)
    for at in REPLICAS:
        world.merge(at, "c")
    a, b, c = world.states.values()
    assert a == b == c
    assert shown(a) == shown(b) == shown(c)


@given(steps)
def test_a_merge_does_not_change_the_other_side(history: list[tuple[Any, ...]]) -> None:
    a, b, _ = World().play(history).states.values()
    before = b.copy()
    a.merge(b)
    assert b == before


@given(steps)
def test_a_replica_finds_its_own_entries_and_no_others(history: list[tuple[Any, ...]]) -> None:
    for name, state in World().play(history).states.items():
        for topic in state.topics():
            for entry in state.entries(topic):
                found = state.find(topic, entry.key, entry.owner)
                assert (found is entry) == (entry.tag.replica == name)


def test_an_addition_wins_over_a_removal_made_at_the_same_time() -> None:
    a, b = PresenceState("a"), PresenceState("b")
    old = a.add("room", "ann", 1, "r1", {})
    b.merge(a)
    new = a.replace(old, "r2", {})
    b.forget("a")
    a.merge(b)
    b.merge(a)
    assert a.entries("room") == b.entries("room") == [new]


def test_an_entry_that_was_removed_does_not_come_back_from_one_who_has_not_heard() -> None:
    a, b, c = (PresenceState(name) for name in REPLICAS)
    a.add("room", "ann", 1, "r1", {})
    b.merge(a)
    c.merge(a)
    a.remove_owner(1)
    b.merge(a)
    b.merge(c)
    assert b.entries("room") == []
    c.merge(b)
    assert len(c) == 0


def test_one_entry_for_an_owner_a_topic_and_a_key() -> None:
    state = PresenceState("a")
    state.add("room", "ann", 1, "r1", {})
    with pytest.raises(ValueError, match="already"):
        state.add("room", "ann", 1, "r2", {})
    state.add("room", "ann", 2, "r3", {})
    state.add("room", "bob", 1, "r4", {})
    state.add("hall", "ann", 1, "r5", {})
    assert [entry.ref for entry in state.entries("room")] == ["r1", "r3", "r4"]
    assert [entry.ref for entry in state.entries("room", "ann")] == ["r1", "r3"]
    assert [entry.ref for entry in state.remove_owner(1)] == ["r1", "r4", "r5"]
    assert state.topics() == ["room"]


def test_an_entry_that_is_replaced_keeps_its_place() -> None:
    state = PresenceState("a")
    old = state.add("room", "ann", 1, "r1", {})
    state.add("room", "ann", 2, "r2", {})
    new = state.replace(old, "r3", {"n": 1})
    assert [entry.ref for entry in state.entries("room")] == ["r3", "r2"]
    assert new.since == old.tag != new.tag
    with pytest.raises(KeyError):
        state.replace(old, "r4", {})


def test_who_comes_later_comes_later_on_every_replica() -> None:
    a, b = PresenceState("a"), PresenceState("b")
    for number in range(3):
        a.add("room", f"a{number}", number, "", {})
    b.merge(a)
    b.add("room", "b0", 0, "", {})
    a.merge(b)
    assert [entry.key for entry in a.entries("room")] == ["a0", "a1", "a2", "b0"]


def test_remove_of_what_is_not_there_is_none() -> None:
    state = PresenceState("a")
    assert state.remove("room", "ann", 1) is None
    assert state.remove_owner(1) == []
    assert state.forget("b") == []
    assert state.seen() == {}


def test_a_copy_may_be_of_another_replica_and_only_finds_what_that_one_made() -> None:
    a = PresenceState("a")
    a.add("room", "ann", 1, "r1", {})
    twin = a.copy("b")
    assert twin == a
    assert twin.replica == "b"
    assert twin.find("room", "ann", 1) is None
    assert a.copy().find("room", "ann", 1) is not None
    assert (a == 1) is False


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(presence_state).failed == 0

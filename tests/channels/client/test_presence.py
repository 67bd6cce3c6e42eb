"""PresenceView: it ends up knowing what the server knows, in whatever order it is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exeunt.channels import ProtocolError
from exeunt.channels.client import Event, PresenceView
from exeunt.channels.client.presence import MAX_PENDING


def state(payload: Any, join_ref: str = "1") -> Event:
    return Event("room:1", "presence_state", payload, join_ref)


def diff(joins: Any = None, leaves: Any = None, join_ref: str = "1") -> Event:
    payload = {"joins": joins or {}, "leaves": leaves or {}}
    return Event("room:1", "presence_diff", payload, join_ref)


def one(*refs: str, **more: Any) -> dict[str, Any]:
    return {"metas": [{"phx_ref": ref, **more} for ref in refs]}


class Said:
    """What a view has said, in order."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.view = PresenceView(
            on_join=lambda key, before, new: self.lines.append(
                ("join", key, None if before is None else refs(before), refs(new))
            ),
            on_leave=lambda key, rest, old: self.lines.append(
                ("leave", key, refs(rest), refs(old))
            ),
            on_sync=lambda: self.lines.append("sync"),
        )

    def take(self) -> list[Any]:
        taken, self.lines = self.lines, []
        return taken


def refs(presence: dict[str, Any]) -> list[str]:
    return [meta["phx_ref"] for meta in presence["metas"]]


def test_a_state_replaces_what_was_known_and_says_what_is_new() -> None:
    said = Said()
    said.view.apply(state({"u1": one("1"), "u2": one("2")}))
    assert said.take() == [("join", "u1", None, ["1"]), ("join", "u2", None, ["2"]), "sync"]
    said.view.apply(state({"u1": one("1", "1.2"), "u3": one("3")}))
    assert said.take() == [
        ("join", "u1", ["1"], ["1.2"]),
        ("join", "u3", None, ["3"]),
        ("leave", "u2", [], ["2"]),
        "sync",
    ]
    assert said.view.list() == [one("1", "1.2"), one("3")]


def test_a_diff_adds_metas_behind_those_that_stay() -> None:
    said = Said()
    said.view.apply(state({"u1": one("1")}))
    said.take()
    said.view.apply(diff(joins={"u1": one("1.2")}, leaves={"u1": one("1")}))
    assert said.take() == [("join", "u1", ["1"], ["1.2"]), ("leave", "u1", ["1.2"], ["1"]), "sync"]
    assert dict(said.view) == {"u1": one("1.2")}
    said.view.apply(diff(leaves={"u1": one("1.2"), "nobody": one("9")}))
    assert said.take() == [("leave", "u1", [], ["1.2"]), "sync"]
    assert dict(said.view) == {}


def test_what_else_is_known_of_a_key_is_kept_up_to_date() -> None:
    view = PresenceView()
    view.apply(state({"u1": {"metas": [{"phx_ref": "1"}], "user": {"name": "Ann"}}}))
    view.apply(diff(joins={"u1": {"metas": [{"phx_ref": "2"}], "user": {"name": "Anna"}}}))
    assert view["u1"] == {"metas": [{"phx_ref": "1"}, {"phx_ref": "2"}], "user": {"name": "Anna"}}


def test_diffs_that_come_before_the_state_wait_for_it() -> None:
    said = Said()
    synced = [said.view.is_synced]
    said.view.apply(diff(joins={"u2": one("2")}))
    said.view.apply(diff(leaves={"u1": one("1")}))
    assert said.take() == []
    said.view.apply(state({"u1": one("1"), "u3": one("3")}))
    assert [*synced, said.view.is_synced] == [False, True]
    assert list(said.view) == ["u3", "u2"]
    assert said.take()[-1] == "sync"


def test_after_another_join_diffs_wait_for_the_new_state() -> None:
    said = Said()
    said.view.apply(state({"u1": one("1")}, "1"))
    said.take()
    said.view.apply(diff(joins={"u2": one("2")}, join_ref="4"))
    assert (said.take(), list(said.view)) == ([], ["u1"])
    said.view.apply(state({"u2": one("2"), "u1": one("7")}, "4"))
    assert said.take() == [
        ("join", "u2", None, ["2"]),
        ("join", "u1", ["1"], ["7"]),
        ("leave", "u1", ["7"], ["1"]),
        ("join", "u2", ["2"], ["2"]),
        "sync",
    ]
    assert dict(said.view) == {"u1": one("7"), "u2": one("2")}


def test_an_update_is_known_by_its_previous_ref_and_loses_nobody() -> None:
    seen: list[list[str]] = []
    view = PresenceView(on_leave=lambda key, rest, left: seen.append(refs(rest)))
    view.apply(state({"u1": one("1", "2")}))
    new = {"u1": {"metas": [{"phx_ref": "3", "phx_ref_prev": "1"}]}}
    view.apply(diff(joins=new, leaves={"u1": one("1")}))
    assert refs(view["u1"]) == ["2", "3"]
    assert seen == [["2", "3"]]


def test_other_events_are_not_for_a_view_and_names_can_be_others() -> None:
    assert not PresenceView().apply(Event("room:1", "shout", {}, "1"))
    view = PresenceView(events=("here", "moved"))
    assert not view.apply(state({}))
    assert view.apply(Event("room:1", "here", {"u1": one("1")}, "1"))
    assert view.apply(Event("room:1", "moved", {"joins": {}, "leaves": {"u1": one("1")}}, "1"))
    assert len(view) == 0


def test_it_is_a_mapping_and_lists_by_choice() -> None:
    view = PresenceView()
    view.apply(state({"__proto__": one("1"), "b": one("2")}))
    assert "b" in view and "c" not in view
    assert view.get("c") is None
    assert view.list(lambda key, presence: (key, refs(presence))) == [
        ("__proto__", ["1"]),
        ("b", ["2"]),
    ]
    assert repr(view) == "<PresenceView of 2 keys>"


def test_what_it_is_given_stays_as_it_is() -> None:
    first = state({"u1": one("1"), "u2": one("2")})
    second = diff(joins={"u1": one("3")}, leaves={"u1": one("1"), "u2": one("2")})
    before = copy.deepcopy((first, second))
    view = PresenceView()
    view.apply(first)
    view.apply(second)
    assert (first, second) == before


@pytest.mark.parametrize(
    "event",
    [
        state(None),
        state([]),
        state({"u1": None}),
        state({"u1": {}}),
        state({"u1": {"metas": {}}}),
        state({"u1": {"metas": [1]}}),
        state({"u1": {"metas": [{"phx_ref": []}]}}),
        Event("room:1", "presence_diff", [], "1"),
        Event("room:1", "presence_diff", {"joins": {}}, "1"),
        Event("room:1", "presence_diff", {"joins": 1, "leaves": {}}, "1"),
    ],
)
def test_what_presence_never_sends_is_an_error_and_changes_nothing(event: Event) -> None:
    view = PresenceView()
    view.apply(state({"u1": one("1")}))
    with pytest.raises(ProtocolError, match="Presence"):
        view.apply(event)
    assert dict(view) == {"u1": one("1")}


def test_diffs_do_not_wait_without_a_bound() -> None:
    view = PresenceView()
    for number in range(MAX_PENDING + 10):
        view.apply(diff(joins={f"u{number}": one(str(number))}))
    view.apply(state({}))
    assert next(iter(view)) == "u10"
    assert len(view) == MAX_PENDING


changes = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "update"]), st.sampled_from("abc")), max_size=30
)


@given(changes, st.integers(0, 30), st.integers(0, 30))
def test_a_view_knows_what_the_server_knows_wherever_the_state_comes(
    steps: list[tuple[str, str]], taken: int, told: int
) -> None:
    # The server takes its state after `taken` changes; the client has it after `told` diffs.
    here: dict[str, list[str]] = {}
    diffs: list[Event] = []
    states: list[dict[str, Any]] = []
    number = 0
    for kind, key in steps:
        states.append({key: one(*metas) for key, metas in here.items() if metas})
        metas = here.setdefault(key, [])
        if kind == "leave" or (kind == "update" and metas):
            if not metas:
                states.pop()
                continue
            old = metas.pop(0)
            leaves = {key: one(old)}
        else:
            leaves = {}
        joins = {}
        if kind != "leave":
            number += 1
            metas.append(str(number))
            joins = {key: one(str(number))}
        diffs.append(diff(joins, leaves))
    states.append({key: one(*metas) for key, metas in here.items() if metas})
    taken = min(taken, len(diffs))
    view = PresenceView()
    for at, event in enumerate([*diffs, None]):
        if at == told:
            view.apply(state(states[taken]))
        if event is not None:
            view.apply(event)
    if told > len(diffs):
        view.apply(state(states[taken]))
    assert {key: set(refs(value)) for key, value in view.items()} == {
        key: set(metas) for key, metas in here.items() if metas
    }

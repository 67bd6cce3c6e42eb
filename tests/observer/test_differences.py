"""What is sent to viewers: a change that makes the newer picture of the older one, and no more."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from exeunt.observer.differences import applied, difference_of
from exeunt.observer.view import View

values = st.one_of(st.integers(0, 3), st.text("ab", max_size=2), st.lists(st.integers(0, 2)))
rows = st.dictionaries(st.sampled_from("xyz"), values)
pictures: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["node", "process", "socket"]), st.dictionaries(st.sampled_from("abcd"), rows)
)


@given(pictures, pictures)
def test_a_change_makes_the_newer_picture_of_the_older(older: Any, newer: Any) -> None:
    before = copy.deepcopy(older)
    change = difference_of(older, newer)
    assert applied(older, change) == newer
    assert older == before, "the older one is left as it was"


@given(pictures, pictures)
def test_a_change_is_the_same_after_its_way_as_json(older: Any, newer: Any) -> None:
    change = msgspec.json.decode(msgspec.json.encode(difference_of(older, newer)))
    assert applied(older, change) == newer


@given(pictures)
def test_between_equal_pictures_there_is_nothing_to_tell(picture: Any) -> None:
    assert difference_of(picture, copy.deepcopy(picture)) == {}


def test_of_a_row_that_is_known_only_the_changed_fields_are_told() -> None:
    older = {"process": {"<0.1>": {"pid": "<0.1>", "mailbox": 0}, "<0.2>": {"pid": "<0.2>"}}}
    newer = {"process": {"<0.1>": {"pid": "<0.1>", "mailbox": 3}, "<0.3>": {"pid": "<0.3>"}}}
    assert difference_of(older, newer) == {
        "process": {
            "put": {"<0.3>": {"pid": "<0.3>"}},
            "change": {"<0.1>": {"mailbox": 3}},
            "drop": ["<0.2>"],
        }
    }


def node(version: int) -> dict[str, Any]:
    row = {"now": float(version), "processes": version, "messages": 0.0, "lag": 0.0}
    return {"node": {"node": row}}


def test_a_view_takes_changes_in_order_and_says_when_one_is_missing() -> None:
    view = View()
    view.begin({"version": 4, "picture": node(4), "history": [], "allow_kill": False})
    assert view.take({"version": 4, "change": {"node": {"drop": ["node"]}}}), "it is older"
    assert view.take({"version": 5, "change": difference_of(node(4), node(5))})
    assert view.picture == node(5)
    assert not view.take({"version": 7, "change": {}})
    assert view.curve(1) == [5]

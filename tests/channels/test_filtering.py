"""Filtering: secrets are covered, what is too much is cut, and a line stays a line."""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exeunt.channels import Binary
from exeunt.channels.filtering import (
    FILTERED,
    MOST_TEXT,
    OPEN,
    SECRETS,
    Filter,
    plain,
    quoted,
)

SECRET = "hush-hush"

default = Filter()


# -- what is covered


@pytest.mark.parametrize(
    "key",
    [
        *SECRETS,
        "user_password",
        "Password",
        "PASSWORD2",
        "accessToken",
        "Authorization",
        "client_secret",
        "X-Api_Key",
        "set-cookie",
    ],
)
def test_a_key_that_names_a_secret_is_covered_in_any_spelling(key: str) -> None:
    assert default({key: SECRET, "foo": "bar"}) == {key: FILTERED, "foo": "bar"}


@pytest.mark.parametrize("secret", [SECRET, None, 7, ["a"], {"a": "b"}, "", False])
def test_a_secret_is_covered_whatever_it_is(secret: object) -> None:
    assert default({"password": secret}) == {"password": FILTERED}


def test_objects_and_lists_are_searched_to_the_bottom() -> None:
    value = {"a": [{"b": {"password": SECRET, "c": 1}}, ({"token": SECRET},)], "d": None}
    assert default(value) == {
        "a": [{"b": {"password": FILTERED, "c": 1}}, ({"token": FILTERED},)],
        "d": None,
    }


def test_what_was_given_is_left_alone() -> None:
    value = {"a": {"password": SECRET}}
    default(value)
    assert value == {"a": {"password": SECRET}}


def test_the_words_can_be_chosen() -> None:
    assert Filter(["pin", "c.v"])({"spin": 1, "password": SECRET, "cxv": 2, "c.v": 3}) == {
        "spin": FILTERED,
        "password": SECRET,
        "cxv": 2,
        "c.v": FILTERED,
    }
    assert Filter(())({"password": SECRET}) == {"password": SECRET}
    assert Filter(("discard", ["pin"]))({"pin": 1, "a": 2}) == {"pin": FILTERED, "a": 2}


def test_with_a_list_of_what_to_keep_everything_else_is_covered() -> None:
    keep = Filter(("keep", ["id", "user"]))
    value = {
        "id": 1,
        "user": {"name": "joe", "password": SECRET},
        "ID": 2,
        "list": [1, {"id": 3}],
        "binary": Binary(b"x"),
    }
    assert keep(value) == {
        "id": 1,
        "user": {"name": "joe", "password": SECRET},
        "ID": FILTERED,
        "list": [FILTERED, {"id": 3}],
        "binary": FILTERED,
    }
    assert keep("text") == FILTERED


def test_two_words_are_words_also_if_one_of_them_is_keep() -> None:
    assert Filter(("keep", "id"))({"keep": 1, "id": 2, "a": 3}) == {
        "keep": FILTERED,
        "id": FILTERED,
        "a": 3,
    }


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ("password", TypeError),
        (None, TypeError),
        (["a", 1], TypeError),
        (["a", ""], ValueError),
        (("keep", 7), TypeError),
        (("drop", ["a"]), ValueError),
    ],
)
def test_what_is_no_list_of_words_is_refused(parameters: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Filter(parameters)


# -- what is no JSON


@dataclass
class User:
    name: str
    password: str
    note: str = field(default="unsaid", repr=False)


@dataclass
class Discreet:
    password: str

    def __repr__(self) -> str:
        return "Discreet()"


class Account(msgspec.Struct):
    name: str
    token: str


class Pair(NamedTuple):
    name: str
    secret: str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (User("joe", SECRET), "User(name='joe', password='[FILTERED]')"),
        (Discreet(SECRET), "Discreet()"),
        (Account("joe", SECRET), "Account(name='joe', token='[FILTERED]')"),
        (Pair("joe", SECRET), "Pair(name='joe', secret='[FILTERED]')"),
        (MappingProxyType({"token": SECRET}), "{'token': '[FILTERED]'}"),
        (UserDict({"token": SECRET}), "{'token': '[FILTERED]'}"),
        ([("Authorization", SECRET), ("host", "a")], "[('Authorization', '[FILTERED]'), "),
        (Binary(b"123"), "Binary(3 bytes)"),
        (b"x" * 1000, "<1000 bytes>"),
        (10**500, "<an int of 1661 bits>"),
        (float("nan"), "nan"),
        (True, "True"),
    ],
)
def test_other_values_are_searched_as_far_as_they_show_themselves(value: object, text: str) -> None:
    for nested in (value, [value], {"a": value}):
        shown = default.show(nested)
        assert text in shown
        assert SECRET not in shown
        assert SECRET not in repr(default(nested))


def test_an_object_without_secrets_stays_itself() -> None:
    @dataclass
    class Point:
        x: int

    point = Point(1)
    assert default({"at": point})["at"] is point
    account = User("joe", SECRET)
    assert OPEN({"user": account})["user"] is account


# -- what is too much


def test_long_strings_and_keys_are_cut() -> None:
    shown = default({"k" * 10_000: "v" * 10_000})
    [(key, value)] = shown.items()
    assert len(key) < 300 and key.endswith("(10000 characters)")
    assert len(value) < 1100 and value.endswith("(10000 characters)")


def test_of_many_entries_the_first_are_shown() -> None:
    assert repr(default(list(range(1000)))).endswith("48, 49, … 950 more]")
    assert repr(default({str(one): one for one in range(1000)})).endswith("'49': 49, …: 950 more}")


def test_a_secret_far_down_is_never_shown() -> None:
    value: Any = {"password": SECRET}
    for _ in range(sys.getrecursionlimit() * 10):
        value = [value]
    assert SECRET not in default.show(value)
    assert default.show(value).startswith("[[[")


def test_a_value_that_contains_itself_comes_to_an_end() -> None:
    value: Any = {}
    for number in range(40):
        value[str(number)] = value
    assert len(default.show(value)) <= MOST_TEXT + 100


def test_dataclasses_that_branch_come_to_an_end() -> None:
    @dataclass
    class Node:
        a: Any
        b: Any

    value: Any = 1
    for _ in range(100):
        value = Node(value, value)
    assert len(default.show(value)) <= MOST_TEXT + 100


def test_the_text_has_a_bound_of_its_own() -> None:
    shown = default.show(["x" * 900] * 40, 100)
    assert shown.startswith("['xxx") and shown.endswith("characters)")
    assert len(shown) < 130


# -- what does not want to be shown


class Bad:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class BadMapping(dict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no")


class BadClass:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no")

    @__class__.setter
    def __class__(self, value: object) -> None:
        raise RuntimeError("no")


class Lines:
    def __repr__(self) -> str:
        return "one\n2026-01-01 ERROR forged"


@pytest.mark.parametrize("make", [Bad, lambda: BadMapping(a=1), BadClass])
def test_a_value_that_cannot_be_shown_is_named_and_the_rest_is_shown(
    make: Callable[[], object],
) -> None:
    bad = make()
    shown = default.show({"bad": bad, "good": 1})
    assert f"<a {type(bad).__name__}, which cannot be shown: RuntimeError>" in shown
    assert "'good': 1" in shown
    assert default.show(bad)


def test_the_text_of_an_object_of_several_lines_is_one_line() -> None:
    assert default.show(Lines()) == "one\\n2026-01-01 ERROR forged"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("room:lobby", "room:lobby"),
        ("Zürich 漢字", "Zürich 漢字"),
        ("a\nERROR b\r\x1b[31m\x00\x7f\x85\u2028\u202e", r"a\nERROR b\r\x1b[31m\x00\x7f\x85"),
        ("lone \ud800", "lone \\ud800"),
        ("x" * 300, "x" * 200 + "… (300 characters)"),
    ],
)
def test_plain_text_has_no_control_characters(text: str, shown: str) -> None:
    assert plain(text).startswith(shown)
    assert plain(text).isprintable()


def test_a_number_too_long_to_be_written_is_measured() -> None:
    assert default.show([10**5000]) == "[<an int of 16610 bits>]"
    assert default({"a": 10**5000})["a"] == "<an int of 16610 bits>"


def test_quotes() -> None:
    assert quoted("room:1") == '"room:1"'
    assert quoted(None) == "None"
    assert quoted({"a": "\n"}) == r"{'a': '\n'}"


# -- whatever it is

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=100),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=100), inner),
    max_leaves=30,
)
anything = st.recursive(
    st.none()
    | st.integers()
    | st.text()
    | st.binary()
    | st.builds(Bad)
    | st.builds(Lines)
    | st.builds(Binary, st.binary()),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
        | st.builds(User, inner, inner)
        | st.builds(BadMapping)
    ),
    max_leaves=30,
)
filters = st.sampled_from([default, OPEN, Filter(("keep", ["a", "id"])), Filter(["a"])])


@given(anything, filters)
def test_nothing_raises_and_every_text_is_one_bounded_line(value: object, by: Filter) -> None:
    shown = by.show(value)
    assert shown.isprintable()
    assert len(shown) <= 10 * MOST_TEXT + 100
    by(value)


@given(json)
def test_small_json_without_secrets_is_itself(value: object) -> None:
    assert repr(OPEN(value)) == repr(value)


def covered(value: object) -> bool:
    """Tell whether all that is under a key with a secret's name is covered."""
    if isinstance(value, dict):
        return all(
            item == FILTERED if default.covers(key) else covered(item)
            for key, item in value.items()
        )
    if isinstance(value, (list, tuple)):
        return all(covered(item) for item in value)
    return True


keys = st.sampled_from(["password", "name", "myTOKEN", "list", "Secret!"]) | st.text(max_size=3)
with_secrets = st.recursive(
    st.just(SECRET), lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=60
)


@given(with_secrets)
def test_all_that_has_the_name_of_a_secret_is_covered(value: object) -> None:
    assert covered(default(value))


@given(with_secrets)
def test_with_a_list_of_what_to_keep_no_other_leaf_is_shown(value: object) -> None:
    assert SECRET not in repr(Filter(("keep", ["no such key"]))(value))

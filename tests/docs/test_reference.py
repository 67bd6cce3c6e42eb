"""The reference has every public name, with a text that says more than the name does.

That the built pages have them too, by Sphinx's own inventory, is tested where the pages are built:
tests/e2e/test_docs_pages.py.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts import name_tables
from scripts.name_tables import PublicName, documentation, public_names

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
NAMES = list(public_names())


def _directives() -> dict[str, set[str]]:
    """Return the modules that have a page, each with what that leaves out."""
    found: dict[str, set[str]] = {}
    for path in sorted(REFERENCE.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for module, options in re.findall(r"\.\. automodule:: (\S+)\n((?:   :.*\n)*)", text):
            left_out = re.search(r":exclude-members: (.*)", options)
            found[module] = set(left_out[1].split(", ")) if left_out else set()
            if ":no-members:" in options:
                found[module] = {"*"}
    return found


def _single() -> set[str]:
    """Return what a page names by itself."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    return set(re.findall(r"\.\. auto(?:class|function|exception|data|fixture):: (\S+)", text))


def _is_on_a_page(one: PublicName) -> bool:
    if one.target in _single():
        return True
    left_out = _directives().get(one.home)
    if left_out is None or one.name in left_out or "*" in left_out:
        return False
    listed = getattr(importlib.import_module(one.home), "__all__", None)
    return listed is None or one.name in listed


@pytest.mark.parametrize("package", name_tables.PACKAGES)
def test_every_public_name_is_on_a_page(package: str) -> None:
    names = [one for one in NAMES if one.package == package]
    assert names
    assert [one.target for one in names if not _is_on_a_page(one)] == []


def test_every_public_name_is_in_the_table_of_names_with_a_sentence() -> None:
    page = name_tables.page()
    for one in NAMES:
        assert f"`{one.name} <{one.target}>`" in page
    assert [one.target for one in NAMES if not documentation(one).strip()] == []


def test_nothing_stands_on_the_pages_twice() -> None:
    homes: dict[int, list[str]] = {}
    for module, left_out in _directives().items():
        found = importlib.import_module(module)
        for name in getattr(found, "__all__", ()):
            value = getattr(found, name)
            is_ours = str(getattr(value, "__module__", "")).startswith("exeunt.")
            if is_ours and name not in left_out and "*" not in left_out:
                homes.setdefault(id(value), []).append(f"{module}.{name}")
    assert len(homes) > 200
    assert [names for names in homes.values() if len(names) > 1] == []


# -- what the texts say

COMMON = frozenset(
    re.findall(r"\w+", "a an the of to it in is are be by for and or with this that one from as on")
)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def says_more_than_its_name(name: str, text: str) -> bool:
    """Tell whether a text has something in it that the name does not say."""
    known = (
        set(words(name.replace("_", " "))) | COMMON | set(words(re.sub("([A-Z])", r" \1", name)))
    )
    return len([one for one in words(text) if one not in known]) >= 3


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("send_after", "Send after.", False),
        ("send_after", "Send after a time.", False),
        (
            "send_after",
            "Send a message in `delay` seconds; return a timer for `cancel_timer`.",
            True,
        ),
        ("BadChildSpec", "The bad child spec.", False),
    ],
)
def test_a_text_that_repeats_the_name_is_seen(name: str, text: str, says: bool) -> None:
    assert says_more_than_its_name(name, text) is says


def _callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public functions, and the public methods of public classes."""
    for one in NAMES:
        if inspect.isclass(one.value):
            for name, member in vars(one.value).items():
                function = inspect.unwrap(getattr(member, "__func__", member))
                if not name.startswith("_") and inspect.isfunction(function):
                    yield f"{one.target}.{name}", function
        elif inspect.isfunction(one.value):
            yield one.target, one.value


def test_what_takes_parameters_has_a_text_that_says_more_than_its_name() -> None:
    missing: list[str] = []
    checked = 0
    for where, function in _callables():
        taken = [
            name for name in inspect.signature(function).parameters if name not in ("self", "cls")
        ]
        checked += bool(taken)
        if taken and not says_more_than_its_name(
            where.rpartition(".")[2], inspect.getdoc(function) or ""
        ):
            missing.append(where)
    assert checked > 150
    assert missing == []


def own_text(kind: type) -> str:
    """Return the text of a class itself: `inspect.getdoc` would take that of a base instead.

    What a dataclass makes of its fields, where nobody has written anything, is none.
    """
    text = vars(kind).get("__doc__") or ""
    return "" if text.startswith(f"{kind.__name__}(") else inspect.cleandoc(text)


def test_an_inherited_text_is_none_of_the_class() -> None:
    class Base:
        """Say something that is more than a name."""

    class Silent(Base):
        pass

    @dataclass
    class Fields:
        one: int

    assert own_text(Base)
    assert inspect.getdoc(Silent)
    assert not own_text(Silent)
    assert not own_text(Fields)


def test_every_public_class_says_more_than_its_name() -> None:
    classes = [one for one in NAMES if inspect.isclass(one.value)]
    assert len(classes) > 100
    assert [
        one.target for one in classes if not says_more_than_its_name(one.name, own_text(one.value))
    ] == []


# -- what is awaited

NEITHER = {"child", "on_call", "on_cast", "open_node", "run", "state"}
"""Decorators, what makes a specification, and what a program begins with."""


def _is_awaited(function: Callable[..., Any]) -> bool:
    returns = str(inspect.signature(function).return_annotation)
    return inspect.iscoroutinefunction(function) or returns.startswith(("Coroutine", "Awaitable"))


def test_what_is_awaited_and_what_is_plain_is_what_the_page_says() -> None:
    page = (REFERENCE / "guarantees.md").read_text(encoding="utf-8")
    section = page.partition("## What is awaited, and what is plain")[2]
    plain, looks, awaited = (
        set(re.findall(r"`(\w+)`", one.partition("; also")[0]))
        for one in re.findall(r"^- (.*?)(?=^- |\n\n)", section, re.M | re.S)
    )
    for one in NAMES:
        if one.package != "exeunt" or one.name in NEITHER or not inspect.isfunction(one.value):
            continue
        assert (one.name in awaited) is _is_awaited(one.value), one.name
        assert (one.name in plain | looks) is not _is_awaited(one.value), one.name
    assert plain | looks | awaited <= {one.name for one in NAMES}

"""What a process is called where there is little room, and typing in the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from rich.text import Text

from exeunt.observer.finding import LONGEST, Finder
from exeunt.observer.naming import Name, fitted
from exeunt.observer.view import title_of


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (24, "ListChannel 'list:smith'"),
        (20, "ListCh… 'list:smith'"),
        (16, "Li… 'list:smith'"),
        (12, "Li… 'list:s…"),
        (1, "…"),
        (0, ""),
    ],
)
def test_the_class_is_cut_before_the_key(room: int, shown: str) -> None:
    assert fitted("ListChannel 'list:smith'", room) == shown


def test_a_name_without_a_key_is_cut_at_its_end() -> None:
    assert fitted("sweep_the_floor", 8) == "sweep_t…"
    assert fitted("'what is', this", 8) == "'what i…"


def test_letters_that_are_wide_have_the_room_that_they_need() -> None:
    assert fitted("Room '部屋の名前'", 16) == "Ro… '部屋の名前'"


@pytest.mark.parametrize("room", range(1, 60))
def test_a_cell_is_never_wider_than_its_column_and_keeps_the_key(room: int) -> None:
    name = Name(Text("├─ ● "), "RoomChannel 'room:lobby'", "bold", "Label", "<0.20>")
    text = name.within(room)
    text.truncate(room, overflow="ellipsis")
    assert text.cell_len <= room
    if room >= 22:
        assert " 'room:lobby'" in text.plain
    if room >= 30:
        assert " RoomChannel 'room:lobby'" in text.plain
    if room >= 43:
        assert text.plain == "├─ ● RoomChannel 'room:lobby' Label <0.20>"


def test_an_id_that_is_the_class_says_less_than_the_key() -> None:
    row = {"id": "Room", "name": "", "label": "Room 'hall'"}
    assert title_of(row) == "Room 'hall'"
    assert title_of({**row, "id": "hall"}) == "hall"
    assert title_of({**row, "id": "", "name": "x"}) == "x"
    assert title_of({"id": "", "name": "", "label": ""}) == "(not running)"


# -- what is typed


def type_in(finder: Finder, keys: bytes) -> list[bool]:
    return [finder.typed(keys[at : at + 1]) for at in range(len(keys))]


def test_letters_of_several_bytes_are_taken_and_taken_back() -> None:
    finder = Finder()
    finder.begin()
    assert not any(type_in(finder, "häx".encode() + b"\x7f" + b"ll\x01" + b"\xff"))
    assert finder.text == "häll"
    assert type_in(finder, b"\r") == [True]
    assert not finder.is_typing


def test_escape_ends_it_and_nothing_is_looked_for() -> None:
    for keys in (b"\x1b", b"\x1b[A", b"\r"):
        finder = Finder()
        finder.begin()
        assert not finder.typed(keys)
        assert not finder.is_typing


def test_a_text_has_an_end() -> None:
    finder = Finder()
    finder.begin()
    type_in(finder, b"x" * 10_000)
    assert len(finder.text) == LONGEST


def found(*names: str) -> list[dict[str, Any]]:
    return [
        {"pid": f"<0.{number}>", "id": "", "name": name, "label": "x", "socket": ""}
        for number, name in enumerate(names)
    ]


def test_those_found_come_one_after_the_other_and_then_again() -> None:
    finder = Finder()
    finder.step(1)
    assert finder.note(is_shown=False) == ""
    finder.take({"found": found("a", "b", "c"), "total": 7})
    seen: list[str] = []
    for steps in (0, 1, 1, 1, -1):
        finder.step(steps)
        assert finder.current is not None
        seen.append(finder.current["name"])
    assert seen == ["a", "b", "c", "a", "c"]
    note = finder.note(is_shown=False)
    assert note == "3 of the first 3 of 7: c <0.2>, for which the tree has no room; n: next"
    finder.text = "z"
    finder.take({"found": [], "total": 0})
    finder.step(1)
    assert finder.note(is_shown=False) == "nothing has 'z' in its name or key"

"""Every number that bounds something has a line in the reference, with the value that it has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import exeunt
from exeunt.channels import Mount, Socket
from scripts import limit_tables
from scripts.limit_tables import SECTIONS, Limit, shown, value_at

SOURCE: Final = Path(exeunt.__file__).parent

LIMITS: Final = [one for limits in SECTIONS.values() for one in limits]

ROOMS: Final = ("kernel", "otp", "channels", "observer")

SHOWS: Final = "observer"
"""The room whose constants are about what is drawn, how wide and how often: they need no line."""

DATA: Final = {"Limits", "Mount", "LongPoll", "Draining", "Backoff", "Extent"}
"""The classes whose fields are limits."""

NO_LIMITS: Final = {
    "exeunt.channels.client.frames:BINARY": "an opcode",
    "exeunt.channels.client.frames:CLOSE": "an opcode",
    "exeunt.channels.client.frames:TEXT": "an opcode",
    "exeunt.otp.roll_file:APPLICATION_ID": "marks a file",
    "exeunt.otp.roll_file:FORMAT": "the version of a file",
}
"""Numbers that stand alone in capitals and bound nothing that a user meets."""


def numbers_in_source() -> Iterator[str]:
    """Find the constants with a number as their value, and the numbers of the classes of limits."""
    for room in ROOMS:
        for path in sorted((SOURCE / room).rglob("*.py")):
            module = ".".join(("exeunt", *path.relative_to(SOURCE).with_suffix("").parts))
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                match node:
                    case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)):
                        is_number = isinstance(value, (int, float)) and room != SHOWS
                        if name.isupper() and name[0] != "_" and is_number:
                            yield f"{module}:{name}"
                    case ast.ClassDef(name=owner) if owner in DATA:
                        for one in node.body:
                            match one:
                                case ast.AnnAssign(
                                    target=ast.Name(id=name),
                                    annotation=ast.Name(id="int" | "float"),
                                ):
                                    yield f"{module}:{owner}.{name}"
                                case _:
                                    pass
                    case _:
                        pass


def test_every_number_in_the_code_has_a_line() -> None:
    found = set(numbers_in_source())
    assert len(found) > 45
    told = {one.place for one in LIMITS}
    assert found - told - NO_LIMITS.keys() == set()
    assert NO_LIMITS.keys() <= found, "what is left out is still there"


@pytest.mark.parametrize("limit", LIMITS, ids=lambda one: one.place)
def test_a_line_has_a_number_a_way_to_set_it_and_a_reason(limit: Limit) -> None:
    assert limit.value is None or isinstance(limit.value, (int, float))
    assert limit.why
    line = f"| {limit.what}: {limit.setting} | {limit.shown} | {limit.beyond} | {limit.why} |"
    assert line in limit_tables.tables()


def test_no_number_has_two_lines() -> None:
    places = [one.place for one in LIMITS]
    assert len(set(places)) == len(places)


def test_a_place_is_where_the_code_has_its_number() -> None:
    assert value_at("exeunt.channels.site:Mount.timeout") == Mount(Socket).timeout
    assert value_at("exeunt.kernel.node:open_node(watchdog)") is None
    with pytest.raises(LookupError):
        value_at("exeunt.channels.site:Mount.no_such_field")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (4 * 1024 * 1024, "bytes", "4 MiB"),
        (16 * 1024, "bytes", "16 KiB"),
        (8_000_000, "bytes", "8,000,000 bytes"),
        (0.05, "s", "0.05 s"),
        (1_209_600.0, "s", "1,209,600 s"),
        (None, "", "none"),
        (float("inf"), "s", "no end"),
        (16_384, "", "16,384"),
    ],
)
def test_a_number_is_written_to_be_read(value: object, unit: str, text: str) -> None:
    assert shown(value, unit) == text

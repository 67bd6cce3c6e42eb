"""The guide "When something goes wrong" shows messages as they really are.

If one of them is worded anew, its test says which line of the guide to change, and into what.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.docs.provoking import PROVOCATIONS
from tests.docs.test_howto import DOCS

PATH = DOCS / "howto" / "when-something-goes-wrong.md"
GUIDE = PATH.read_text(encoding="utf-8") if PATH.exists() else ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that the guide shows, and where it stands."""

    line: str
    number: int

    def fits(self, said: str) -> bool:
        """Tell whether it was said: `…` is anything, and so is the number of a pid or a port."""
        pattern = re.escape(self.line).replace("…", ".*")
        pattern = re.sub(r"<\d+\\?\.\d+>", r"<[\\d.]+>", pattern)
        pattern = re.sub(r"127\\\.0\\\.0\\\.1:\d+|\b4000\b", r"[\\d.:]+", pattern)
        return re.fullmatch(pattern, said) is not None


def read_guide() -> dict[str, list[Shown]]:
    """Return the messages that are shown under each heading; what is indented goes on with one."""
    found: dict[str, list[Shown]] = {}
    heading, within = "", False
    for number, line in enumerate(GUIDE.splitlines(), 1):
        if line.startswith("```"):
            within = line == "```text"
        elif within and line.startswith("    "):
            before = found[heading].pop()
            found[heading].append(Shown(f"{before.line} {line.strip()}", before.number))
        elif within:
            found.setdefault(heading, []).append(Shown(line, number))
        elif line.startswith("### "):
            heading = line.removeprefix("### ")
    return found


def said(provoke: Callable[[], object]) -> str:
    """Do what leads to a message; return what is logged, warned of and raised."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    listener, logger = Listener(), logging.getLogger("exeunt")
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                provoke()
            except Exception as error:
                # A nursery of the program's own is no part of the message.
                while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
                    error = error.exceptions[0]
                lines.append(f"{type(error).__name__}: {error}")
        lines += [f"{one.category.__name__}: {one.message}" for one in warned]
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
    return "\n".join(lines)


SHOWN = read_guide()


def test_the_guide_has_a_message_for_each_heading_and_each_is_provoked() -> None:
    headings = re.findall(r"^### (.*)$", GUIDE, re.MULTILINE)
    assert len(headings) >= 20
    assert list(SHOWN) == headings
    assert set(PROVOCATIONS) == set(headings)


def test_no_message_has_to_be_scrolled() -> None:
    blocks = re.findall(r"^```text\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert blocks and not [line for one in blocks for line in one.splitlines() if len(line) > 90]


@pytest.mark.parametrize("heading", SHOWN)
def test_a_message_is_as_the_guide_shows_it(heading: str) -> None:
    lines = "\n".join(map(said, PROVOCATIONS[heading])).splitlines()
    # A class within a function is called after it, which those of a reader's are not.
    lines = [re.sub(r"\w+\.<locals>\.", "", line) for line in lines]
    wrong = [shown for shown in SHOWN[heading] if not any(map(shown.fits, lines))]
    if wrong:
        place = PATH.relative_to(DOCS.parent)
        told = [f"{place}:{one.number} shows\n    {one.line}" for one in wrong]
        pytest.fail(
            "\n".join([*told, "What is said now, one of which belongs there:", *lines]),
            pytrace=False,
        )

"""The tutorial: every program runs, and prints what its page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.tutorial import TUTORIAL, output_of, programs, recorded

PROGRAMS = programs()
PAGES = sorted(TUTORIAL.glob("[01]*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_prints_what_is_shown(program: Path) -> None:
    assert output_of(program) == recorded(program).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_its_programs_and_what_they_print(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    number = page.name[:2]
    for name in (f"chapter{number}", f"solution{number}"):
        assert f"literalinclude}} programs/{name}.py" in text
        assert f"literalinclude}} output/{name}.txt" in text
    assert "## Exercise" in text


def test_every_program_and_every_output_is_shown_somewhere() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:programs|output)/(\w+)\.(?:py|txt)", shown))
    assert named == {program.stem for program in PROGRAMS}
    outputs = {path.stem for path in (TUTORIAL / "output").glob("*.txt")}
    assert outputs == {program.stem for program in PROGRAMS}


def test_there_is_a_page_for_every_chapter() -> None:
    chapters = [program.stem[-2:] for program in PROGRAMS if program.stem.startswith("chapter")]
    assert [page.name[:2] for page in PAGES] == chapters

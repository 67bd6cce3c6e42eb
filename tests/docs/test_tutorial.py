"""The tutorial: every program runs, and prints what its page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.tutorial import LOGGING, TUTORIAL, output_of, programs, recorded, recorded_log

PROGRAMS = programs()
PAGES = sorted(TUTORIAL.glob("[01]*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_prints_what_is_shown(program: Path) -> None:
    printed, log = output_of(program)
    assert printed == recorded(program).read_text(encoding="utf-8")
    if program.stem in LOGGING:
        assert log == recorded_log(program).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_its_programs_and_what_they_print(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    number = page.name[:2]
    for name in (f"chapter{number}", f"solution{number}"):
        assert f"literalinclude}} programs/{name}.py" in text
        assert f"literalinclude}} output/{name}.txt" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_chapter_opens_with_its_problem(page: Path) -> None:
    title, problem, first, *_ = page.read_text(encoding="utf-8").split("\n\n")
    assert re.fullmatch(rf"# {int(page.name[:2])}\. .+", title)
    assert re.fullmatch(r"\*[^*]+[.?]\*", problem), "the problem is a paragraph in italics"
    assert len(problem.split()) >= 15
    assert not first.startswith("*")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_chapter_ends_with_an_exercise_and_its_solution(page: Path) -> None:
    body, _, outlook = page.read_text(encoding="utf-8").partition("\n---\n")
    assert "Next: [](" in outlook or page == PAGES[-1]
    chapter, _, last = body.rpartition("\n## ")
    assert last.startswith("Exercise\n"), "the exercise comes last"
    exercise, _, solution = last.partition("<details>\n<summary>Solution</summary>\n")
    number = page.name[:2]
    assert f"solution{number}" not in chapter + exercise
    assert f"programs/solution{number}.py" in solution
    assert solution.rstrip().endswith("</details>")
    assert len(exercise.split()) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_chapter_shows_nothing_that_is_not_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^ *(?:`{3,}|~{3,}|:{3,})(.*)$", text, re.MULTILINE)
    opened = {one.split(" ")[0] for one in fences if one}
    assert opened <= {"{literalinclude}", "{diagram}"}
    # Nor by indentation, which is a block as well.
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"\n\n {4,}\S", outside)


def test_every_program_and_every_output_is_shown_somewhere() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:programs|output)/(\w+)\.(?:py|txt)", shown))
    assert named == {program.stem for program in PROGRAMS}
    logs = {path.stem for path in (TUTORIAL / "output").glob("*.log")}
    assert logs == set(re.findall(r"output/(\w+)\.log", shown)) == LOGGING
    outputs = {path.stem for path in (TUTORIAL / "output").glob("*.txt")}
    assert outputs == {program.stem for program in PROGRAMS}


def test_there_is_a_page_for_every_chapter() -> None:
    chapters = [program.stem[-2:] for program in PROGRAMS if program.stem.startswith("chapter")]
    assert [page.name[:2] for page in PAGES] == chapters

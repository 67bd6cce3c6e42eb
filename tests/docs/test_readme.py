"""The README's example does what the README says, and what the READMEs name is there.

The links within the pages of `docs` are tested where these are built: tests/e2e/test_docs_pages.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_watcher_of_the_readme_prints_what_the_readme_shows() -> None:
    [program] = blocks("python")
    shown = README.split("It prints\n\n```\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == (shown, "", 0)


READMES: Final = ("README.md", "examples/README.md")
"""The pages outside of `docs`, which Sphinx does not look at."""


def prose(path: Path) -> str:
    """Return a page without its listings."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(path: Path) -> set[str]:
    """Return what may stand behind the `#` of a link to a page: its headings, as they are slugged.

    GitHub and MyST do it alike: lower case, a hyphen for a space, and no other punctuation.
    """
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def links(path: Path) -> list[str]:
    """Return where a page links to, or takes its pictures from, within the repository."""
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(path).replace("\n", " "))


def is_there(path: Path, link: str) -> bool:
    """Tell whether what a page links to is there: the file, and the heading within it."""
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    if not (target.exists() and target.is_relative_to(ROOT)):
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


@pytest.mark.parametrize("readme", READMES)
def test_the_links_of_a_readme_lead_somewhere(readme: str) -> None:
    path = ROOT / readme
    found = links(path)
    assert len(found) >= 10
    assert [one for one in found if not is_there(path, one)] == []


def test_a_link_to_nowhere_is_seen() -> None:
    path = ROOT / "examples" / "README.md"
    assert any("#" in one for one in links(path)), "there is a link to a heading"
    assert is_there(path, "../docs/reference/exits.md#what-a-signal-does")
    assert not is_there(path, "../docs/reference/exits.md#what-no-signal-does")
    assert not is_there(path, "#the-cat")
    assert not is_there(path, "bank/no.py")


@pytest.mark.parametrize("readme", READMES)
def test_the_files_that_a_readme_names_exist(readme: str) -> None:
    path = ROOT / readme
    named = re.findall(r"`((?:src|tests|examples|docs|benchmarks)/[\w/.]*)`", prose(path))
    assert named
    assert [one for one in named if not (ROOT / one).exists()] == []


def test_the_files_of_the_chat_that_its_tour_names_exist_and_none_is_left_out() -> None:
    chat = ROOT / "examples" / "chat"
    tour = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    tour = tour.partition("### A tour of its files\n")[2].partition("\n### ")[0]
    named = set(re.findall(r"`([\w/-]+\.(?:py|js))`", tour))
    assert [one for one in named if not (chat / one).is_file()] == []
    assert named >= {one.name for one in chat.glob("*.py")} - {"__init__.py"}


def test_the_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE))
    assert {"chat", "test"} <= named
    assert not {one for one in named if f"\n{one}:" not in makefile}


def lines_of(folder: Path, *patterns: str) -> int:
    """Count the lines of a program."""
    paths = {path for pattern in patterns for path in folder.glob(pattern)}
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_the_examples_are_as_long_as_their_readme_says() -> None:
    examples = ROOT / "examples"
    says = (examples / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    [(counter, least, most)] = re.findall(r"the counter is (\d+) lines, .* (\d+) to (\d+)\)", says)
    assert lines_of(examples / "counter", "__main__.py") == int(counter)
    for one in ("bank", "crawler", "game", "jobs", "dashboard"):
        assert int(least) <= lines_of(examples / one, "*.py", "static/*.js") <= int(most), one
    [python] = re.findall(r"some ([\d,]+) lines of Python, and as many of JavaScript", says)
    for patterns in (("*.py",), ("static/*.js",)):
        assert abs(lines_of(examples / "chat", *patterns) - int(python.replace(",", ""))) <= 150
    [sitting] = re.findall(r"one sitting, fewer than (\d+) lines", says)
    tour = says.partition("A tour of its files")[2]
    first = re.findall(r"\| `(\w+\.py)` \|", tour)[:4]
    assert lines_of(examples / "chat", *first) < int(sitting)

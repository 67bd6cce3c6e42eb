"""The repository stands alone: no file of it names a place that only its author has."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Written so that this file, too, keeps the rule: no pattern matches its own text.
FOREIGN = {
    "a path of one machine": re.compile(
        r"(?<![\w./$}-])/(?:work|root|tmp|home/(?!user\b|you\b)\w+|Users/\w+)/[\w.]"
    ),
    "a folder outside the repository": re.compile(r"\.\./(?:\.\./)*share[d]\b"),
    "the host of a package registry": re.compile(
        r"\bpypi\.[a-z]{2,}|\bpythonhosted\.[a-z]|\bnpmjs\.[a-z]|\bdeb\.debian\.[a-z]"
    ),
    "where a lock file's package came from": re.compile(r'"resolved"\s*:\s*"https?:'),
}
UNTRACKED = {".git", ".venv", "node_modules", "_build", "dist", "build", "htmlcov", "__pycache__"}


def files() -> Iterator[Path]:
    """Yield what git tracks or would track; without git, all but what the tools make."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if listing.returncode == 0:
        for name in filter(None, os.fsdecode(listing.stdout).split("\0")):
            if (path := ROOT / name).is_file():
                yield path
        return
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in UNTRACKED and not name.endswith(("_cache", ".egg-info"))
        ]
        yield from (Path(folder, name) for name in names)


def foreign_names(text: str) -> list[tuple[int, str, str]]:
    """Return each line's number, what it names, and the line."""
    return [
        (number, what, line.strip()[:100])
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FOREIGN.items()
        if pattern.search(line)
    ]


def test_no_file_names_a_place_that_only_its_author_has() -> None:
    seen = 0
    found: list[str] = []
    for path in files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        seen += 1
        for number, what, line in foreign_names(content.decode("utf-8", errors="replace")):
            found.append(f"{path.relative_to(ROOT)}:{number}: {what}: {line}")
    assert found == []
    assert seen > 10


@pytest.mark.parametrize(
    "parts",
    [
        ("see /wo", "rk/main/x.py"),
        ("open('/ro", "ot/x')"),
        ('cd "/tm', 'p/x"'),
        ("/ho", "me/anna/x"),
        ("in ../sha", "red/x"),
        ("https://py", "pi.org/simple"),
        ('"resol', 'ved": "https://example.org/x.tgz"'),
    ],
)
def test_the_search_finds_such_a_name(parts: tuple[str, str]) -> None:
    assert len(foreign_names("first line\n" + "".join(parts))) == 1


@pytest.mark.parametrize(
    "line", ["/usr/bin/chromium", "/work/", "a/work/b", "GET /tmp", "/home/you/x"]
)
def test_the_search_leaves_ordinary_text_alone(line: str) -> None:
    assert foreign_names(line) == []

"""The README's example does what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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


def test_the_files_that_the_readme_names_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    paths = re.findall(r"`((?:src|tests|examples|docs|benchmarks)/[\w/.]*)`", README)
    assert links, "the README has a picture at least"
    missing = [one for one in links + paths if not (ROOT / one).exists()]
    assert not missing


def test_the_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE))
    assert {"chat", "test"} <= named
    assert not {one for one in named if f"\n{one}:" not in makefile}

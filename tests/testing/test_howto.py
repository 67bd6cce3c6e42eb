"""The listings of the guide "Test a channel" are run as its reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "howto" / "test-a-channel.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write the listings into the files that their first lines name."""
    blocks = re.findall(r"^```(?:python|ini)\n# ([\w.]+)\n(.*?)^```", GUIDE, re.M | re.S)
    assert len(blocks) == len(re.findall(r"^```(?:python|ini)$", GUIDE, re.M))
    for name, text in blocks:
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(text)
    return tmp_path


def run(project: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def run_pytest(project: Path, *arguments: str) -> tuple[int, str]:
    return run(project, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *arguments)


def test_the_tests_of_the_guide_pass(project: Path) -> None:
    status, said = run_pytest(project, "-q", "test_chat.py", "test_processes.py")
    assert status == 0, said
    tests = len(re.findall(r"^async def test_", GUIDE, re.M)) - 1
    assert f"{tests} passed" in said


def test_a_crash_fails_the_test_as_the_guide_shows(project: Path) -> None:
    status, said = run_pytest(project, "test_crash.py")
    assert status == 1, said
    [shown] = re.findall(r"^```text\n(.*?)^```", GUIDE, re.M | re.S)
    lines = [re.sub(r"<[\d.]+>", "<…>", line) for line in said.splitlines()]
    places = [lines.index(re.sub(r"<[\d.]+>", "<…>", line)) for line in shown.splitlines()]
    assert places == sorted(places)


def test_the_program_without_pytest_does_what_it_says(project: Path) -> None:
    assert run(project, "-W", "error", "check.py") == (0, "ann can join\n")

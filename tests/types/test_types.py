"""The programs beside this file pass mypy and pyright: what is asserted is inferred, what is wrong
is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.slow

CHECKERS = {
    # As in pyproject.toml: strict, and a comment that allows nothing is an error.
    "mypy": ["mypy", "--python-executable", sys.executable],
    # With a configuration of its own, in which mypy's comments mean nothing.
    "pyright": ["pyright", "--pythonpath", sys.executable, "-p", str(HERE / "pyright.json")],
}


def check(name: str, *paths: Path) -> tuple[int, str]:
    """Run a checker; return its status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", *CHECKERS[name], *map(str, paths)],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", CHECKERS)
def test_the_programs_are_typed_as_they_say(name: str) -> None:
    paths = [HERE] if name == "mypy" else []
    status, said = check(name, *paths)
    assert status == 0, said


def test_the_check_finds_a_mistake_that_is_not_allowed(tmp_path: Path) -> None:
    program = tmp_path / "mistake.py"
    program.write_text(
        "import exeunt\n"
        "async def f(x: int) -> None: ...\n"
        "exeunt.spawn(f, 'a string')\n"
        "exeunt.spawn(f, 1)  # type: ignore[arg-type]\n"
    )
    status, said = check("mypy", program)
    assert status == 1
    assert ":3: error" in said and ":4: error: Unused" in said

"""Run the programs of the tutorial, and write down what they print: `python scripts/tutorial.py`.

What stands in `docs/tutorial/output` is shown on the pages, and the tests compare it with what the
programs print. So it is written by this script, and read through before it is kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial"


def programs() -> list[Path]:
    """Return the programs, in order."""
    return sorted((TUTORIAL / "programs").glob("*.py"))


def output_of(program: Path) -> str:
    """Run a program; return what it prints. What goes to the log is left out."""
    source = Path(__file__).parents[1] / "src"
    path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, program.name],
        cwd=program.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{program.name} failed:\n{ran.stderr}")
    return ran.stdout


def recorded(program: Path) -> Path:
    """Return the file in which the output of a program stands."""
    return TUTORIAL / "output" / f"{program.stem}.txt"


if __name__ == "__main__":
    (TUTORIAL / "output").mkdir(exist_ok=True)
    for one in programs():
        recorded(one).write_text(output_of(one), encoding="utf-8")
        print(one.name)

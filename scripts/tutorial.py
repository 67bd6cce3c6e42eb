"""Run the programs of the tutorial, and write down what they print: `python scripts/tutorial.py`.

What stands in `docs/tutorial/output` is shown on the pages, and the tests compare it with what the
programs print. So it is written by this script, and read through before it is kept. `NAME.txt` is
what a program prints. `NAME.log` is what it writes to the standard error, its log, for the programs
whose log a page shows.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial"

LOGGING = {"chapter03"}
"""The programs whose log a page shows."""

_FRAMES = re.compile(r"(?<=^Traceback \(most recent call last\):\n)(?: .*\n)+", re.MULTILINE)


def programs() -> list[Path]:
    """Return the programs, in order."""
    return sorted((TUTORIAL / "programs").glob("*.py"))


def output_of(program: Path) -> tuple[str, str]:
    """Run a program; return what it prints, and its log.

    The frames of a traceback are left out of the log: they name files and lines of this machine.
    """
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
    return ran.stdout, _FRAMES.sub("  ...\n", ran.stderr)


def recorded(program: Path) -> Path:
    """Return the file in which the output of a program stands."""
    return TUTORIAL / "output" / f"{program.stem}.txt"


def recorded_log(program: Path) -> Path:
    """Return the file in which the log of a program stands, if a page shows it."""
    return TUTORIAL / "output" / f"{program.stem}.log"


if __name__ == "__main__":
    (TUTORIAL / "output").mkdir(exist_ok=True)
    for one in programs():
        printed, log = output_of(one)
        recorded(one).write_text(printed, encoding="utf-8")
        if one.stem in LOGGING:
            recorded_log(one).write_text(log, encoding="utf-8")
        print(one.name)

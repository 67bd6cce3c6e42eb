"""Other interpreters: for what wants memory of its own, or a core of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def _command(module: str, arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def _environment() -> dict[str, str]:
    here = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([here, *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


def cores() -> tuple[int, int] | tuple[None, None]:
    """Return two cores, one for a load and one for the servers; None twice if there are not two.

    Or if the system does not let a process choose.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[1], allowed[0]) if len(allowed) > 1 else (None, None)


def output_of(module: str, *arguments: object) -> str:
    """Run a module of this package in an interpreter of its own; return what it prints."""
    done = subprocess.run(
        _command(module, arguments),
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout


class Interpreter:
    """Runs a module of this package, which answers each line that it is told with another one."""

    def __init__(self, module: str, *arguments: object, core: int | None = None) -> None:
        self._what = f"{module} {' '.join(map(str, arguments))}"
        self._process = subprocess.Popen(
            _command(module, arguments),
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """Read a line from its standard output; raises `RuntimeError` if it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._what} has ended too early")
        return line.strip()

    def ask(self, line: str) -> float:
        """Tell it something, and return the number that it answers."""
        self.tell(line)
        return float(self.answer())

    def end(self) -> None:
        """End it, without ado: nothing in it wants to be cleaned up."""
        self._process.kill()
        self._process.communicate()

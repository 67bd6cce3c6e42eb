"""Examples in processes of their own, as their users run them."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from types import TracebackType

from tests.e2e.programs import ROOT, WITHIN, Ended, Program


def interrupt(module: str, *arguments: str, after: str) -> Ended:
    """Run an example until a line of its output fits, then press Ctrl-C."""
    with Program(module, *arguments) as program:
        program.line(after)
        return program.end(signal.SIGINT)


def help_of(module: str) -> str:
    """Return what an example says of itself."""
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def complaint_of(module: str, *arguments: str) -> str:
    """Return the last line that an example says of arguments with which it does not start."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


class Terminal:
    """An example at a terminal, at which one can type; killed on leaving the block."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._keyboard, stdin = pty.openpty()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(stdin)
        assert self._process.stdout is not None
        self._screen = self._process.stdout
        self.said = ""

    def write(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def see(self, pattern: str) -> None:
        """Wait until what it has said so far has this in it."""
        deadline = time.monotonic() + WITHIN
        while not re.search(pattern, self.said):
            assert self._read(deadline), f"no {pattern!r}: {self.said}"

    def press_ctrl_c(self) -> int:
        """Interrupt it; return its exit status, when it has said its last."""
        self._process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + WITHIN
        while self._read(deadline):
            pass
        return self._process.wait(WITHIN)

    def _read(self, deadline: float) -> bool:
        left = max(0.0, deadline - time.monotonic())
        assert select.select([self._screen], [], [], left)[0], f"silence after: {self.said}"
        chunk = os.read(self._screen.fileno(), 65_536)
        self.said += chunk.decode()
        return bool(chunk)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._screen.close()
        os.close(self._keyboard)

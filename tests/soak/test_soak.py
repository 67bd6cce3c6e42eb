"""The soak in its short form, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from .driver import ROOT


def start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soak", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )


@pytest.mark.soak
@pytest.mark.slow
def test_a_soak_of_a_minute() -> None:
    """Have 45 seconds with clients, and what it takes until the last is known to be gone."""
    with start("--seconds", "45", "--clients", "300", "--seed", "1") as soak:
        try:
            summary, progress = soak.communicate(timeout=280)
        finally:
            soak.kill()
    assert soak.returncode == 0, f"{summary}\n{progress}"
    assert "FAILS" not in summary
    assert "holds  every join has one leave" in summary


@pytest.mark.slow
def test_a_soak_that_is_interrupted_tells_how_far_it_came() -> None:
    with start("--seconds", "600", "--clients", "30") as soak:
        try:
            assert soak.stderr is not None
            soak.stderr.readline()
            time.sleep(1)
            soak.send_signal(signal.SIGINT)
            summary, progress = soak.communicate(timeout=120)
        finally:
            soak.kill()
    assert soak.returncode == 0, f"{summary}\n{progress}"
    assert "interrupted" in summary.splitlines()[0]
    assert "holds  every join has one leave" in summary


@pytest.mark.parametrize("option", [("--seconds", "3"), ("--clients", "9"), ("--clients", "99999")])
def test_a_soak_that_makes_no_sense_is_refused(option: tuple[str, str]) -> None:
    with start(*option) as soak:
        summary, says = soak.communicate(timeout=60)
    assert (soak.returncode, summary) == (2, "")
    assert f"{option[0]} is" in says

"""A test whose part is missing fails, says how to install it, and is named in the summary."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PARTS

pytestmark = pytest.mark.slow

CONFTEST = Path(__file__).parents[1] / "conftest.py"
CONFIG = "[pytest]\nmarkers = needs\naddopts = --strict-markers -p no:cacheprovider\n"


def run_pytest(folder: Path, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "pytest.ini").write_text(CONFIG)
    (folder / "test_inner.py").write_text("import pytest\n" + source)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--color=no"],
        cwd=folder,
        env={**kept, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
    )


def test_a_missing_part_fails_the_test_that_is_marked(tmp_path: Path) -> None:
    source = "@pytest.mark.needs('chromium')\ndef test_page(): pass\n\ndef test_other(): pass\n"
    run = run_pytest(tmp_path, source, EXEUNT_MISSING="chromium netns")
    assert run.returncode == 1
    assert "1 passed, 1 error" in run.stdout
    assert "this test needs chromium, which is missing here" in run.stdout
    summary = run.stdout.partition("PARTS ARE MISSING ON THIS MACHINE")[2]
    assert f"chromium: 1 tests could not run. To mend it: {PARTS['chromium'].install}" in summary
    assert "netns: 0 tests could not run" in summary


def test_a_missing_part_fails_the_test_that_asks_for_its_path(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "def test_page(part): part('node')\n", EXEUNT_MISSING="node")
    assert run.returncode == 1
    assert "1 failed" in run.stdout
    assert "node: 1 tests could not run" in run.stdout


def test_what_the_set_up_did_not_report_is_found_out_by_looking(tmp_path: Path) -> None:
    source = "@pytest.mark.needs('node')\ndef test_client(): pass\n"
    (tmp_path / "empty").mkdir()
    run = run_pytest(tmp_path, source, EXEUNT_MISSING="", PATH=str(tmp_path / "empty"))
    assert run.returncode == 1
    assert "node: 1 tests could not run" in run.stdout


def test_a_part_that_is_there_lets_the_test_run_with_its_path(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "node").symlink_to(sys.executable)
    source = (
        "@pytest.mark.needs('node')\ndef test_client(part): assert part('node').name == 'node'\n"
    )
    run = run_pytest(tmp_path, source, EXEUNT_MISSING="", PATH=str(programs))
    assert run.returncode == 0
    assert "1 passed" in run.stdout
    assert "MISSING" not in run.stdout


def test_an_unknown_part_is_refused_before_anything_runs(tmp_path: Path) -> None:
    source = "@pytest.mark.needs('chrome')\ndef test_page(): pass\n"
    run = run_pytest(tmp_path, source, EXEUNT_MISSING="")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "needs() takes some of chromium, node, phoenix, netns; got 'chrome'" in run.stderr

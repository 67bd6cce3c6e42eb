"""`python -m exeunt new`: the project that it writes runs, and passes its own tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from exeunt.__main__ import main
from exeunt.scaffold import CannotCreate, create


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def python(*words: str, within: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=within,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_tests_of_a_new_project_pass(tmp_path: Path) -> None:
    made = python("-m", "exeunt", "new", "visits", within=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "visits is ready" in made.stdout and "visits/tests/test_web.py" in made.stdout
    ran = python("-m", "pytest", "-q", "-p", "no:cacheprovider", within=tmp_path / "visits")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\b8 passed\b", ran.stdout)


@contextmanager
def started(*words: str, within: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=within,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


@pytest.mark.slow
def test_a_new_project_runs_and_tells_how_a_visitor_has_left(tmp_path: Path) -> None:
    create("visits", tmp_path)
    within = tmp_path / "visits"
    with started("-m", "visits", "--port", "0", within=within) as (server, said):
        url = said.readline().split()[-1].replace("http", "ws") + "/socket"
        for name, how, says in (
            ("Ada", signal.SIGINT, "shutdown: local_closed"),
            ("Bob", signal.SIGKILL, "shutdown: peer_closed"),
        ):
            words = ("-m", "visits.visit", name, "--url", url)
            with started(*words, within=within) as (visitor, seen):
                assert seen.readline() == f"Here: {name}\n"
                assert seen.readline() == f"{name} has waved\n"
                visitor.send_signal(how)
                assert said.readline() == f"{name} has left: {says}\n"
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        assert said.read() == "Everybody out.\n"


def test_a_visitor_without_a_server_is_told_so(tmp_path: Path) -> None:
    create("visits", tmp_path)
    url = "ws://127.0.0.1:1/socket"
    tried = python("-m", "visits.visit", "Ada", "--url", url, within=tmp_path / "visits")
    assert tried.returncode == 1 and "Traceback" not in tried.stderr
    assert "127.0.0.1:1" in tried.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "no name for a package"),
        ("my-app", "no name for a package"),
        ("../up", "no name for a package"),
        ("7days", "no name for a package"),
        ("Visits", "no name for a package"),
        ("class", "a word of Python's own"),
        ("json", "would hide another"),
        ("exeunt", "would hide another"),
        ("taken", "is there already"),
    ],
)
def test_a_name_that_will_not_do(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(CannotCreate, match=says):
        create(name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_refusal_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "my-app", "--in", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "small letters" in err


@pytest.mark.parametrize("words", [["--help"], ["new", "--help"], ["--version"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0 and "exeunt" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["old"], ["new"]])
def test_a_command_line_that_says_nothing(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2

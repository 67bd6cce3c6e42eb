"""`python -m exeunt new`: the project that it writes runs, and passes its own tests."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

import exeunt.__main__ as command
from exeunt import scaffold
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
    assert re.search(r"\b11 passed\b", ran.stdout)


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


@pytest.mark.slow
def test_a_new_project_can_be_watched_and_outlives_a_kill(tmp_path: Path) -> None:
    create("visits", tmp_path)
    within = tmp_path / "visits"
    program = (
        "import sys, trio\n"
        "from exeunt.channels.client import connect\n"
        "from exeunt.observer.view import View\n"
        "async def main(url):\n"
        "    base, _, token = url.partition('#token=')\n"
        "    async with connect(base + 'socket', auth_token=token) as socket:\n"
        "        channel = await socket.join('observer:node')\n"
        "        view = View()\n"
        "        view.begin(channel.response)\n"
        "        rows = {row['id']: row for row in view.picture['process'].values()}\n"
        "        await channel.push('kill', {'pid': rows['visitors']['pid']})\n"
        "        while True:\n"
        "            view.take((await channel.receive()).payload)\n"
        "            rows = {row['id']: row for row in view.picture['process'].values()}\n"
        "            if rows['endpoint']['restarts'] and rows['endpoint']['pid']: break\n"
        "        print([rows[one]['restarts'] for one in ('lobby', 'visitors', 'Observer')])\n"
        "trio.run(main, sys.argv[1])\n"
    )
    log = tmp_path / "log"
    words = [sys.executable, "-m", "visits", "--port", "0", "--observe", "0"]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            words, cwd=within, env=environment(), stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as server,
    ):
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Open for visitors at ")
        found = re.search(r"observing node 0 at (\S+)", log.read_text())
        assert found is not None
        watched = python("-c", program, found[1], within=within)
        assert watched.stdout == "[0, 1, 0]\n", watched.stderr
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    assert "Traceback" not in log.read_text()


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    create("visits", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        tried = python("-m", "visits", "--port", port, within=tmp_path / "visits")
    assert tried.returncode == 1 and "Traceback" not in tried.stderr
    assert f"cannot listen on port {port}" in tried.stderr


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
        ("pytest", "would hide another"),
        ("conftest", "would hide another"),
        ("h11", "would hide another"),
        ("test", "would hide another"),
        ("match", "a word of Python's own"),
        ("_visits", "no name for a package"),
        ("__init__", "no name for a package"),
        ("ünïcode", "no name for a package"),
        ("visits\n", "no name for a package"),
        ("v" * 61, "60 are the most"),
        ("v" * 5000, "60 are the most"),
        ("dangling", "is there already"),
        ("taken", "is there already"),
    ],
)
def test_a_name_that_will_not_do(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CannotCreate, match=says):
        create(name, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "taken"]


def test_a_directory_beside_it_is_no_package_to_hide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "visits").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    assert create("visits", tmp_path / "there")


def test_what_cannot_be_written_is_taken_away_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scaffold.shutil, "copyfile", full)
    with pytest.raises(CannotCreate, match="No space left"):
        create("visits", tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreate, match="cannot be written"):
        create("visits", tmp_path / "file" / "below")


@pytest.mark.parametrize("is_venv", [True, False])
def test_what_is_to_be_done_next_works_in_a_system_too(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_venv: bool,
) -> None:
    monkeypatch.setattr(command, "is_venv", lambda: is_venv)
    assert main(["new", "visits", "--in", str(tmp_path / "my projects")]) == 0
    out, _ = capsys.readouterr()
    assert f"    cd '{tmp_path}/my projects/visits'\n" in out
    assert ("venv" in out) is not is_venv
    assert "python -m visits --observe" in out


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

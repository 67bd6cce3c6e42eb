"""The guides and the explanations do what they show: their listings are written out and run.

A listing belongs to the file that its first line names (`# chat.py`, `// chat.mjs`,
`<!-- chat.html -->`); listings of one name follow each other in it. A `console` block is what a
reader types into a terminal beside these files, and what comes of it:

    $ python chat.py                 the lines below are its output, to the letter
    $ python chat.py 2>&1            the same with what goes to the standard error: the log
    $ python server.py &             the lines below are its output so far; it runs on
    $ kill %1                        it is told to end (SIGTERM); below is the rest of its output
    $ wait %1                        it ends by itself; below is the rest of its output

A line `...` stands for any number of lines, and how long something took (`0.25s`) may differ. The
ports 4000, 4001, 4040 and 8080 are replaced by others, which are free. Listings that are no
programs by themselves are put to use by a `check.py`, which the page does not show: it is in
`docs/howto/programs/PAGE/`, and is run last.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROGRAMS = DOCS / "howto" / "programs"

# `tests/testing/test_howto.py` runs this one, whose listings are tests.
# `tests/docs/test_install.py` runs this other, which goes into the folder that it makes.
TESTED_ELSEWHERE = {"test-a-channel", "install"}
# What a page is run with besides Python; each has a part of that name in tests/conftest.py.
NEEDS = {"phoenix-js": ("node", "phoenix"), "phone": ("node", "phoenix")}

WITHIN = 30.0
"""Seconds that a command may take on a busy machine."""

_BLOCK = re.compile(r"^( *)```([\w-]+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TOOK = re.compile(r"\b\d+\.\d\ds\b")
_NAMED = re.compile(r"(?:#|//|<!--) ([\w/-]+\.\w+)(?: -->)?\n")


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the listings that belong to files, and the commands with what they print."""

    files: dict[str, str] = field(default_factory=dict[str, str])
    commands: list[tuple[str, list[str]]] = field(default_factory=list[tuple[str, list[str]]])
    unnamed: list[str] = field(default_factory=list[str])


def read_page(text: str) -> Page:
    """Take the listings and commands out of a page."""
    page = Page()
    for indent, language, body in _BLOCK.findall(text):
        body = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
        if language == "console":
            for command in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                first, *output = command.rstrip("\n").split("\n")
                page.commands.append((first, output))
        elif named := _NAMED.match(body):
            name = named.group(1)
            page.files[name] = page.files.get(name, "") + body[named.end() :]
        elif language == "python":
            page.unnamed.append(body)
    return page


PAGES = {
    path.stem: path
    for folder in ("howto", "explanation")
    for path in sorted((DOCS / folder).glob("*.md"))
    if path.stem not in TESTED_ELSEWHERE
}


def fits(shown: list[str], said: list[str]) -> bool:
    """Tell whether output is as shown, where a line `...` stands for any number of lines."""
    if not shown:
        return not said
    if shown[0].strip() == "...":
        return any(fits(shown[1:], said[skipped:]) for skipped in range(len(said) + 1))
    first, other = (_TOOK.sub("0.00s", lines[0]) if lines else None for lines in (shown, said))
    return first == other and fits(shown[1:], said[1:])


class Command:
    """A command of a page, and what it has said."""

    def __init__(self, words: list[str], folder: Path, *, with_log: bool) -> None:
        self._lines: list[str] = []
        self._seen = 0
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            words,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "src"),
                "PYTHONUNBUFFERED": "1",
                "PYTHONWARNINGS": "error",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_log else self._log,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.rstrip("\n"))

    def end(self) -> list[str]:
        """Wait for the end, and return what it has said that was not seen before."""
        try:
            self._process.wait(WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"it does not end; it has said {self._lines}")
        self._reader.join(WITHIN)
        return self._lines[self._seen :]

    def status(self) -> int:
        """Return its exit status."""
        return self._process.wait()

    def log(self) -> list[str]:
        """Return what it has written to the standard error."""
        if self._log.closed:
            return []
        self._log.seek(0)
        return self._log.read().splitlines()

    def says(self, shown: list[str]) -> list[str]:
        """Wait until it has said that, or has ended; return what it has said."""
        deadline = time.monotonic() + WITHIN
        while not fits(shown, said := self._lines[:]) and time.monotonic() < deadline:
            if self._process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.02)
        self._seen = len(said)
        return said

    def send(self, sign: signal.Signals) -> None:
        self._process.send_signal(sign)

    def tell_to_end(self) -> None:
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """End it if it has not ended, and whatever it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(WITHIN)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


@dataclass(slots=True)
class Project:
    """A folder with the files of a page, in which its commands are run."""

    page: Page
    folder: Path
    ports: dict[str, str] = field(
        default_factory=lambda: {port: free_port() for port in ("4000", "4001", "4040", "8080")}
    )
    # Where programs are that are called otherwise than on the page.
    programs: dict[str, list[str]] = field(
        default_factory=lambda: {"python": [sys.executable]},
    )
    commands: list[Command] = field(default_factory=list[Command])
    # Those of them that were started with &, which `kill %1` counts.
    jobs: list[Command] = field(default_factory=list[Command])

    def write(self) -> None:
        for name, text in self.page.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.here(text), encoding="utf-8")

    def here(self, text: str) -> str:
        """Put the ports of this run in the place of the page's."""
        return re.sub(r"\b(4000|4001|4040|8080)\b", lambda found: self.ports[found.group()], text)

    def run(self, command: str, shown: list[str]) -> None:
        """Run a command and assert that its output is as shown."""
        shown = [self.here(line) for line in shown]
        words = self.here(command).split()
        status: int | None = 0
        if words[0] in ("kill", "wait"):
            job = self.jobs[int(words[1].removeprefix("%")) - 1]
            if words[0] == "kill":
                job.tell_to_end()
                status = 128 + signal.SIGTERM
            said = job.end()
        else:
            stays = words[-1] == "&"
            program = self.programs.get(words[0], [words[0]])
            arguments = [word for word in words[1:] if word not in ("&", "2>&1")]
            job = Command([*program, *arguments], self.folder, with_log="2>&1" in words)
            self.commands.append(job)
            if stays:
                self.jobs.append(job)
                status = None
            said = job.says(shown) if stays else job.end()
        assert fits(shown, said), "\n".join(
            [f"$ {command}", "-- shown:", *shown, "-- said:", *said, "-- log:", *job.log()]
        )
        if status is not None:
            assert job.status() == status, "\n".join([f"$ {command}", *job.log()])


@pytest.fixture
def start(tmp_path: Path) -> Generator[Callable[[str], Project]]:
    """Return a function that writes out the listings of a page."""
    projects: list[Project] = []

    def start(name: str) -> Project:
        beside = PROGRAMS / name
        if beside.is_dir():
            shutil.copytree(
                beside, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        page = read_page(PAGES[name].read_text(encoding="utf-8"))
        project = Project(page, tmp_path)
        for path in tmp_path.iterdir():
            if path.is_file():
                path.write_text(project.here(path.read_text(encoding="utf-8")), encoding="utf-8")
        project.write()
        projects.append(project)
        return project

    yield start
    for project in projects:
        for command in project.commands:
            command.kill()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAGES if name != "nginx"])
def test_a_page_does_what_it_shows(
    name: str, start: Callable[[str], Project], part: Callable[[str], Path]
) -> None:
    found = {need: part(need) for need in NEEDS.get(name, ())}
    project = start(name)
    if "phoenix" in found:
        # Node looks for packages beside the file that imports them.
        (project.folder / "node_modules").symlink_to(found["phoenix"].parent)
    for command, shown in project.page.commands:
        project.run(command, shown)
    if (project.folder / "check.py").exists():
        project.run("python check.py", [])


@pytest.mark.parametrize("name", PAGES)
def test_every_listing_of_a_page_is_run(name: str) -> None:
    page = read_page(PAGES[name].read_text(encoding="utf-8"))
    assert not page.unnamed, f"these listings name no file: {page.unnamed}"
    programs = {one for one in page.files if one.endswith(".py")}
    run = {word for command, _ in page.commands for word in command.split()}
    everything = "\n".join(page.files.values())
    check = PROGRAMS / name / "check.py"
    if check.exists():
        everything += check.read_text(encoding="utf-8")
    if "pytest" in run:
        run |= {one for one in programs if one.startswith("test_") or one == "conftest.py"}
    unused = {
        one
        for one in programs - run
        if not re.search(rf"^(from|import) {one.removesuffix('.py')}\b", everything, re.MULTILINE)
    }
    assert not unused, f"no command runs these: {unused}"


@pytest.mark.parametrize("name", PAGES)
def test_no_line_of_a_listing_has_to_be_scrolled(name: str) -> None:
    page = read_page(PAGES[name].read_text(encoding="utf-8"))
    lines = [line for text in page.files.values() for line in text.splitlines()]
    assert not [line for line in lines if len(line) > 100]


def test_a_guarantee_points_at_a_test_that_is_there() -> None:
    text = (DOCS / "reference" / "guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)`((?:[^`|]*`test_\w+`)+)", text)
    assert len(named) > 20
    missing = [
        f"{path}::{name}"
        for path, names in named
        for name in re.findall(r"test_\w+", names)
        if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert not missing
    # None stands there without the file that it is in.
    assert len(re.findall(r"`test_\w+`", text)) == sum(
        len(re.findall(r"test_\w+", names)) for _, names in named
    )


# -- nginx

NGINX_CONF = """
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include chat.conf;
}
"""


def wait_for(port: str) -> None:
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(port)), 1.0).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def knock(port: str, origin: str) -> int:
    """Ask nginx for a WebSocket as a page of this origin would; return the status."""
    client = http.client.HTTPConnection("127.0.0.1", int(port), timeout=WITHIN)
    headers = {
        "Host": "chat.example.org:8443",
        "Origin": origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    try:
        client.request("GET", "/socket/websocket?vsn=2.0.0", headers=headers)
        return client.getresponse().status
    finally:
        client.close()


@pytest.mark.slow
def test_nginx_passes_on_what_the_guide_says_it_does(start: Callable[[str], Project]) -> None:
    nginx = shutil.which("nginx", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    project = start("nginx")
    conf = ("user root;" if os.geteuid() == 0 else "") + NGINX_CONF
    (project.folder / "nginx.conf").write_text(conf, encoding="utf-8")
    words = [nginx, "-p", str(project.folder), "-e", "stderr", "-c", "nginx.conf"]
    project.programs["nginx"] = words
    project.run("nginx &", [])
    project.jobs.clear()  # the page does not start it, and so does not count it
    wait_for(project.ports["8080"])
    for command, shown in project.page.commands[:3]:
        project.run(command, shown)
    assert knock(project.ports["8080"], "https://chat.example.org:8443") == 101
    assert knock(project.ports["8080"], "https://evil.example.org:8443") == 403
    for command, shown in project.page.commands[3:]:
        project.run(command, shown)

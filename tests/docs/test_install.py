"""What the guide "Begin a project" tells its reader to type does what it says.

But for what pip fetches: the tests need no network. That the package can be built, and what is in
it, is what `make venv` shows each time.
"""

from __future__ import annotations

import re
import signal
import tomllib
from collections.abc import Generator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.docs.test_howto import DOCS, ROOT, Page, Project, read_page

GUIDE = (DOCS / "howto" / "install.md").read_text(encoding="utf-8")


class Beginner(Project):
    """A reader who has begun a project, and has gone into its folder."""

    def run(self, command: str, shown: list[str]) -> None:
        if command.startswith("cd "):
            self.folder = self.folder / command.removeprefix("cd ")
            self.put_ports_in()
        else:
            super().run(command, shown)

    def put_ports_in(self) -> None:
        for path in self.folder.rglob("*.py"):
            path.write_text(self.here(path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.fixture
def beginner(tmp_path: Path) -> Generator[Beginner]:
    project = Beginner(Page(), tmp_path)
    yield project
    for command in project.commands:
        command.kill()


@pytest.mark.slow
def test_the_guide_does_what_it_shows(beginner: Beginner) -> None:
    commands = read_page(GUIDE).commands
    assert [command for command, _ in commands] == [
        "python -m exeunt new visits",
        "cd visits",
        "python -m pytest -q",
        "python -m visits --observe &",
        "kill %1",
    ]
    for command, shown in commands[:-1]:
        beginner.run(command, shown)
    files = re.findall(r"^\| `([\w/.]+)`", GUIDE, re.MULTILINE)
    assert len(files) > 5
    assert [path for path in files if not (beginner.folder / path).exists()] == []

    server = beginner.jobs[0]
    with urlopen(f"http://127.0.0.1:{beginner.ports['4000']}/", timeout=10) as page:
        assert page.status == 200
    for sign, how in (signal.SIGINT, "local_closed"), (signal.SIGKILL, "peer_closed"):
        beginner.run("python -m visits.visit Ada &", ["Here: Ada", "Ada has waved"])
        visitor = beginner.jobs.pop()
        visitor.send(sign)
        visitor.end()
        line = f"Ada has left: shutdown: {how}"
        assert line in GUIDE.splitlines()
        assert server.says(["...", line])[-1] == line
    observed = f"observing node 0 at http://127.0.0.1:{beginner.ports['4040']}/#token="
    assert any(observed in line for line in server.log()), server.log()
    beginner.run(*commands[-1])


def test_what_is_to_be_installed_is_there() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        package = tomllib.load(file)
    assert package["build-system"]["build-backend"]
    extras = package["project"]["optional-dependencies"]
    assert set(re.findall(r"exeunt\[(\w+)\]", GUIDE)) <= set(extras)
    assert package["project"]["requires-python"] == ">=3.11"
    assert "Python 3.11 or newer" in GUIDE

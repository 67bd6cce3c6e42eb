"""The pages of two guides do in a browser what the guides say: log in, join, come back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.docs.test_howto import PAGES, ROOT, Project, read_page
from tests.e2e.browser import WITHIN, Visitor, kill, open_browser
from tests.e2e.chat_fixtures import browser as browser
from tests.e2e.chat_fixtures import chromium as chromium
from tests.e2e.chat_fixtures import playwright as playwright

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("chromium", "phoenix")]

# The program of the guide, with a process beside it that kills what it is told to: the guide's
# reader does that in the observer.
WITH_A_KILLER = """
import sys
import chat, trio
from rooms import ROOMS, Room
from exeunt import exit, get_state, run, spawn, whereis

async def find(what):
    match what.split():
        case ["watcher"]:
            return whereis("watcher")
        case ["room", name]:
            return ROOMS.via(name).whereis()
        case ["channel", name, who]:
            state = await get_state(ROOMS.via(name))
            return next(pid for pid, one in state["members"].items() if one == who)

async def obey():
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        exit(await find(line), "kill")
        print("killed", line.strip(), flush=True)

async def main():
    spawn(obey)
    await chat.main()

try:
    run(main)
except KeyboardInterrupt:
    pass
"""


class Server:
    """A program of a guide, in a folder of its own."""

    def __init__(self, project: Project, program: str) -> None:
        self.url = f"http://127.0.0.1:{project.ports['4000']}/"
        self._project = project
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, self._program],
            cwd=self._project.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SECRET": "so that it stays one"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._out.readline().startswith("open at ")

    @property
    def _out(self) -> IO[str]:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout

    def kill(self, what: str) -> None:
        """Have a process in the server killed."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._out.readline() == f"killed {what}\n"

    def stop(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            assert process.stdin is not None
            process.stdin.close()
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            finally:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()


@pytest.fixture
def serve(tmp_path: Path, part: Callable[[str], Path]) -> Generator[Callable[[str, str], Server]]:
    """Return a function that writes out the program of a guide, and starts it."""
    servers: list[Server] = []

    def serve(name: str, program: str) -> Server:
        project = Project(read_page(PAGES[name].read_text(encoding="utf-8")), tmp_path)
        project.write()
        (tmp_path / "with_a_killer.py").write_text(project.here(WITH_A_KILLER), encoding="utf-8")
        phoenix = part("phoenix") / "priv" / "static" / "phoenix.mjs"
        shutil.copy(phoenix, tmp_path / "static" / "phoenix.mjs")
        server = Server(project, program)
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.stop()


def faults(visitor: Visitor) -> list[str]:
    """Return what the page has done wrong.

    The browser also notes each status of 400 or more: of the login that is refused, of the icon
    that it asks for and the guide's page has not.
    """
    return [one for one in visitor.problems if not one.startswith("Failed to load resource")]


def enter(page: Page, url: str, **fields: str) -> None:
    page.goto(url)
    for name, value in fields.items():
        page.locator(f"input[name={name}]").fill(value)
    page.get_by_role("button", name="Enter").click()


def test_the_page_of_the_guide_logs_in_and_joins(
    browser: Browser, serve: Callable[[str, str], Server]
) -> None:
    server = serve("serve-a-page", "server.py")
    visitor = Visitor(browser, "ann")
    state = visitor.page.locator("#state")
    enter(visitor.page, server.url, name="ann", password="sesame")
    expect(state).to_have_text("There is nobody of this name and password.", timeout=WITHIN)
    enter(visitor.page, server.url, name="ann", password="open sesame")
    expect(state).to_have_text("You are in, ann.", timeout=WITHIN)
    assert faults(visitor) == []
    visitor.context.close()


def test_the_app_does_what_its_table_says(
    browser: Browser, serve: Callable[[str, str], Server]
) -> None:
    server = serve("a-whole-app", "with_a_killer.py")
    ann = Visitor(browser, "ann")
    enter(ann.page, server.url, name="ann", room="hall")
    lines = ann.page.locator("#lines")
    expect(lines).to_have_text("ann has come", timeout=WITHIN)

    def hears(line: str) -> None:
        expect(lines.locator("li").last).to_have_text(line, timeout=WITHIN)

    def comes(browser: Browser) -> Visitor:
        bob = Visitor(browser, "bob")
        enter(bob.page, server.url, name="bob", room="hall")
        hears("bob has come")
        expect(bob.page.locator("#lines li").last).to_have_text("bob has come", timeout=WITHIN)
        return bob

    bob = comes(browser)
    bob.page.locator("input[name=text]").fill("<b>hello</b>")
    bob.page.keyboard.press("Enter")
    hears("bob: <b>hello</b>")

    server.kill("channel hall bob")
    expect(lines).to_contain_text("bob has gone (killed)", timeout=WITHIN)
    hears("bob has come")

    server.kill("room hall")
    for visitor in (ann, bob):
        expect(visitor.page.locator("#lines li")).to_have_count(2, timeout=WITHIN)
        expect(visitor.page.locator("#lines")).not_to_contain_text("hello")
        expect(visitor.page.locator("#state")).to_have_text("You are in hall.", timeout=WITHIN)

    server.kill("watcher")
    bob.context.close()
    hears("bob has closed the page")

    server.stop()
    expect(ann.page.locator("#state")).to_have_text("joining again …", timeout=WITHIN)
    server.start()
    expect(ann.page.locator("#state")).to_have_text("You are in hall.", timeout=WITHIN)
    expect(lines).to_have_text("ann has come", timeout=WITHIN)
    assert faults(ann) == faults(bob) == []
    ann.context.close()


def test_a_browser_that_is_killed_has_lost_its_connection(
    browser: Browser,
    playwright: Playwright,
    chromium: Path,
    serve: Callable[[str, str], Server],
) -> None:
    server = serve("a-whole-app", "with_a_killer.py")
    ann = Visitor(browser, "ann")
    enter(ann.page, server.url, name="ann", room="hall")
    with open_browser(playwright, chromium) as other:
        bob = Visitor(other, "bob")
        enter(bob.page, server.url, name="bob", room="hall")
        last = ann.page.locator("#lines li").last
        expect(last).to_have_text("bob has come", timeout=WITHIN)
        kill(other)
        expect(last).to_have_text("bob has lost the connection", timeout=WITHIN)
    ann.context.close()

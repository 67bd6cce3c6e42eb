"""The page of a new project in a real browser: two visitors see each other come and go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from exeunt.scaffold import create
from tests.e2e.browser import WITHIN
from tests.e2e.chat_fixtures import *  # noqa: F403

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("chromium")]


@pytest.fixture
def url(tmp_path: Path) -> Generator[str]:
    create("visits", tmp_path)
    path = os.pathsep.join(one for one in sys.path if one)
    with subprocess.Popen(
        [sys.executable, "-m", "visits", "--port", "0"],
        cwd=tmp_path / "visits",
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.kill()


def enter(page: Page, url: str, name: str) -> None:
    page.set_default_timeout(WITHIN)
    page.goto(url)
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")


def test_two_visitors_see_each_other_come_and_go(browser: Browser, url: str) -> None:
    problems: list[str] = []
    ann, bob = (browser.new_context() for _ in range(2))
    try:
        pages = [ann.new_page(), bob.new_page()]
        for page in pages:
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda one: problems.append(one.text) if one.type == "error" else 0)
        enter(pages[0], url, "Ann")
        enter(pages[1], url, "<b>Bob</b>")
        here, log = pages[0].locator("#here"), pages[0].locator("#log")
        expect(here).to_have_text(re.compile("^<b>Bob</b>Ann$"), timeout=WITHIN)
        pages[1].get_by_role("button", name="Wave").click()
        expect(log).to_contain_text("<b>Bob</b> waves", timeout=WITHIN)
        bob.close()
        expect(log).to_contain_text("<b>Bob</b> has left", timeout=WITHIN)
        expect(here).to_have_text("Ann")
        pages[0].get_by_role("button", name="Leave").click()
        expect(pages[0].get_by_label("Your name")).to_be_visible()
        assert problems == []
    finally:
        ann.close()
        bob.close()

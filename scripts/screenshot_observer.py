"""The pictures of the observer: of a small program, one process of which crashes now and then."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Playwright, expect

from scripts.screenshot_kit import PHONE, Scheme, desk, take
from tests.e2e.browser import WITHIN
from tests.e2e.programs import Program
from tests.e2e.test_observer import Guest, Onlooker

PICTURES: Final = (
    "observer.png",
    "observer-dark.png",
    "observer-phone.png",
    "observer-tree.png",
    "observer-tree-dark.png",
)

NARROW: Final = {**desk(860, 820), "device_scale_factor": 1.5}
"""A window in which the tree is large enough to be read where a page shows it 760 pixels wide."""

CURVES_MS: Final = 20_000
"""How long the curves are drawn before they are worth a picture."""


def take_all(playwright: Playwright, chromium: Path, browser: Browser) -> None:
    """Start the program with its observer, and take the pictures while a restart flashes."""
    with Program("tests.e2e.observer_stage", "--spoil", "6") as program:
        url = program.line(r"observer at (\S+)")[1]
        socket = program.line(r"socket at (\S+)")[1]
        with Guest(socket, "room:foyer"), Guest(socket, "room:gallery"):
            at_a_desk = Onlooker(browser, **desk(1600, 930)).open(url)
            on_a_phone = Onlooker(browser, **PHONE).open(url)
            narrow = Onlooker(browser, **NARROW).open(url)
            at_a_desk.page.wait_for_timeout(CURVES_MS)
            at_a_desk.process("cellar").click()
            detail = at_a_desk.page.get_by_test_id("detail")
            expect(detail).to_contain_text("Room", timeout=WITHIN)
            _at_a_restart(at_a_desk, "observer.png", "light")
            _at_a_restart(at_a_desk, "observer-dark.png", "dark")
            _at_a_restart(on_a_phone, "observer-phone.png", "dark")
            _at_a_restart(narrow, "observer-tree.png", "light")
            _at_a_restart(narrow, "observer-tree-dark.png", "dark")
            problems = at_a_desk.problems + on_a_phone.problems + narrow.problems
            assert problems == [], problems


def _at_a_restart(onlooker: Onlooker, name: str, scheme: Scheme) -> None:
    cellar = onlooker.process("cellar")
    onlooker.page.emulate_media(color_scheme=scheme)
    expect(cellar).not_to_have_attribute("data-flash", "restart", timeout=2 * WITHIN)
    expect(cellar).to_have_attribute("data-flash", "restart", timeout=2 * WITHIN)
    # The new process is in the picture, and the flash has not faded yet.
    onlooker.page.wait_for_timeout(1_000)
    onlooker.page.evaluate("scrollTo(0, 0)")
    take(onlooker.page, name)

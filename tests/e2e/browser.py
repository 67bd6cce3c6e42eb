"""People in a real browser: what a test does with the chat's page, and what it sees on it.

Every expectation waits until it holds, so that no test sleeps.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, Playwright, expect

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

WITHIN = 10_000.0
"""Milliseconds that anything which is bound to happen may take on a busy machine."""


@contextlib.contextmanager
def open_browser(playwright: Playwright, chromium: Path) -> Generator[Browser]:
    """Start a Chromium; it ends with the block."""
    browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    try:
        yield browser
    finally:
        browser.close()


def kill(browser: Browser) -> None:
    """End all processes of a browser at one blow.

    If its main process alone is killed, the one for the network lives on for a moment, and uses it
    to close the WebSockets of the pages properly.
    """
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    (pid,) = [one["id"] for one in processes if one["type"] == "browser"]
    group = os.getpgid(pid)
    assert group != os.getpgid(0), "the browser has a process group of its own"
    os.killpg(group, signal.SIGKILL)


class Visitor:
    """Somebody with a page of their own, in a browser context of their own."""

    def __init__(self, browser: Browser | Page, name: str, **context: Any) -> None:
        self.name = name
        self.has_options = bool(context)
        if isinstance(browser, Page):
            self.context = browser.context
        else:
            self.context = browser.new_context(**context)
        self.context.set_default_timeout(WITHIN)
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("dialog", self._refuse)
        self.page.on("console", self._note)

    def _refuse(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note(self, message: ConsoleMessage) -> None:
        # A server that is gone leaves messages of the network's; all others are the page's fault.
        if message.type == "error" and "net::ERR" not in message.text:
            self.problems.append(message.text)

    # -- what they do -----------------------------------------------------------------------------

    def knock(self, url: str, room: str) -> None:
        """Open the page, fill in the door's form and send it."""
        self.page.goto(url)
        self.page.get_by_test_id("name").fill(self.name)
        self.page.get_by_test_id("room").fill(room)
        self.page.get_by_test_id("enter").click()

    def enter(self, url: str, room: str) -> None:
        self.knock(url, room)
        self.is_("live")
        expect(self.page.get_by_test_id("room-title")).to_have_text(room)

    def say(self, text: str) -> None:
        self.page.get_by_test_id("text").fill(text)
        self.page.get_by_test_id("text").press("Enter")

    def press(self, button: str) -> None:
        self.page.get_by_test_id(button).click()

    def throw_out(self, name: str) -> None:
        self.member(name).get_by_role("button", name="Throw out").click()

    def whisper(self, name: str, text: str) -> None:
        """Open the private conversation with somebody who is here, and write to them."""
        self.member(name).get_by_role("button", name="Whisper to").click()
        expect(self.page.get_by_test_id("room-title")).to_have_text(name)
        self.say(text)

    def show(self, place: str) -> None:
        """Switch to a room, which is opened if it is not yet, or to a private conversation."""
        places = self.page.locator("#places")
        places.get_by_role("button").filter(has=self.page.get_by_text(place, exact=True)).click()
        expect(self.page.get_by_test_id("room-title")).to_have_text(place)

    def open_room(self, room: str) -> None:
        self.page.get_by_test_id("open-room").fill(room)
        self.page.get_by_test_id("open").click()
        expect(self.page.get_by_test_id("room-title")).to_have_text(room)

    def another_tab(self, url: str, room: str) -> Visitor:
        """Open another tab of this browser, which is the same person."""
        tab = Visitor(self.page, self.name)
        tab.enter(url, room)
        return tab

    # -- what they see ----------------------------------------------------------------------------

    def is_(self, status: str, *, within: float = WITHIN) -> None:
        """Wait for the page's own idea of where it stands."""
        body = self.page.locator("body")
        expect(body).to_have_attribute("data-status", status, timeout=within)

    def sees_here(self, *names: str) -> None:
        """Wait until the list of those present is exactly this: oneself first, then by arrival.

        The bot, which is in every room, does not count.
        """
        people = self.page.get_by_test_id("members").locator("li:not([data-bot])")
        names_shown = people.locator(".member-name")
        expect(names_shown).to_have_text(list(names), timeout=WITHIN)
        assert all(names), names
        expect(self.page.locator("#here-count")).to_have_text(str(len(names)), timeout=WITHIN)

    def member(self, name: str) -> Locator:
        named = self.page.locator(".member-name").get_by_text(name, exact=True)
        return self.page.get_by_test_id("members").locator("li").filter(has=named)

    def hears(self, name: str, text: str, *, times: int = 1, within: float = WITHIN) -> None:
        """Wait until somebody has said something, so many times as far as the log shows."""
        said = self.entries("said", name).filter(has=self.page.get_by_text(text, exact=True))
        expect(said).to_have_count(times, timeout=within)

    def sees_left(self, name: str, how: str, *, times: int = 1, within: float = WITHIN) -> None:
        """Wait until the log tells that somebody has left, and how."""
        left = self.entries("left", name).filter(has=self.page.get_by_text(how, exact=True))
        expect(left).to_have_count(times, timeout=within)

    def has_said(self, name: str, *texts: str) -> None:
        """Wait until these, in this order, are all that the log shows of what somebody said."""
        said = self.entries("said", name).locator(".text")
        expect(said).to_have_text(list(texts), timeout=WITHIN)

    def is_waiting_with(self, *texts: str) -> None:
        """Wait until exactly these messages are shown as not sent yet."""
        pending = self.page.get_by_test_id("pending").locator(".text")
        expect(pending).to_have_text(list(texts), timeout=WITHIN)

    def sees_typing(self, words: str) -> None:
        expect(self.page.get_by_test_id("typing")).to_have_text(words, timeout=WITHIN)

    def sees_joined(self, name: str, *, times: int = 1) -> None:
        expect(self.entries("joined", name)).to_have_count(times, timeout=WITHIN)

    def ways_seen(self) -> list[tuple[str, str]]:
        """Return who has left so far, and how, in the order of the log."""
        return [
            (item.locator(".name").inner_text(), item.get_attribute("data-how") or "")
            for item in self.entries("left").all()
        ]

    def entries(self, kind: str, name: str | None = None) -> Locator:
        """Return the log's entries of a kind: said, joined, left or note."""
        entries = self.page.get_by_test_id("log").locator(f"li[data-kind={kind}]")
        if name is None:
            return entries
        named = self.page.locator(".name").get_by_text(name, exact=True)
        return entries.filter(has=named)

    def time_of(self, kind: str) -> float:
        """Return when the last entry of a kind happened, in seconds since the epoch."""
        time = self.entries(kind).locator("time").last.get_attribute("datetime")
        assert time is not None
        return datetime.fromisoformat(time).timestamp()

    def is_told(self, words: str, *, within: float = WITHIN) -> None:
        """Wait until the banner says something."""
        expect(self.page.get_by_test_id("banner")).to_contain_text(words, timeout=within)

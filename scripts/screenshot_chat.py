"""The pictures of the chat: a few people meet in it, and each of them leaves in another way.

Two stay and are photographed: one at a desk, one on a phone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Playwright, expect

from scripts.screenshot_kit import PHONE, desk, take
from tests.e2e.browser import Visitor, kill, open_browser
from tests.e2e.programs import Program

PICTURES: Final = ("chat.png", "chat-dark.png", "chat-phone-dark.png")
ROOM: Final = "lobby"


def take_all(playwright: Playwright, chromium: Path, browser: Browser) -> None:
    """Start the chat, and take its pictures."""
    with Program("examples.chat", "--port", "0") as chat:
        url = chat.line(r"Chat rooms are open at (http://\S+)")[1]
        _play(playwright, chromium, browser, url)


def _play(playwright: Playwright, chromium: Path, browser: Browser, url: str) -> None:
    """Let everybody come, talk, and leave; take the pictures."""

    def enter(name: str, **context: object) -> Visitor:
        visitor = Visitor(browser, name, **context)
        visitor.enter(url, ROOM)
        return visitor

    ada = enter("Ada", **desk(1120, 816))
    grace = enter("Grace", **PHONE)
    ada.say("Shall we try every way out?")
    grace.hears("Ada", "Shall we try every way out?")
    grace.say("Yes. I stay and watch.")
    ada.hears("Grace", "Yes. I stay and watch.")

    edsger = enter("Edsger")
    edsger.press("leave")
    ada.sees_left("Edsger", "left")

    dennis = enter("Dennis")
    dennis.page.close()
    ada.sees_left("Dennis", "closed the tab")

    with open_browser(playwright, chromium) as doomed:
        alan = Visitor(doomed, "Alan")
        alan.enter(url, ROOM)
        kill(doomed)
        ada.sees_left("Alan", "connection lost")

    frances = enter("Frances")
    frances.press("crash")
    ada.sees_joined("Frances", times=2)
    frances.is_("live")
    frances.say("That was only my handler. The page came back by itself.")
    ada.hears("Frances", "That was only my handler. The page came back by itself.")

    enter("Leslie")
    ada.sees_here("Ada", "Grace", "Frances", "Leslie")
    ada.throw_out("Leslie")
    ada.sees_left("Leslie", "thrown out by Ada")

    grace.sees_left("Leslie", "thrown out by Ada")
    grace.say("Five ways, and each one told.")
    ada.hears("Grace", "Five ways, and each one told.")
    ada.sees_here("Ada", "Grace", "Frances")
    ada.page.get_by_test_id("text").fill("And who is next?")

    for visitor in (ada, grace):
        expect(visitor.entries("said").last).to_be_in_viewport()
        # What has just come slides in, and would be seen on its way.
        visitor.page.wait_for_timeout(500)
    take(ada.page, "chat.png", scheme="light")
    take(ada.page, "chat-dark.png", scheme="dark")
    take(grace.page, "chat-phone-dark.png")

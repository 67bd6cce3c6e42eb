"""Take the pictures of the chat in docs/images: `make screenshot`.

Starts the chat on a free port and lets a few people meet in it, in a real browser; each of them
leaves in another way, while two stay and are photographed: one at a desk, one on a phone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from tests.conftest import PARTS, find_chromium
from tests.e2e.browser import Visitor, kill, open_browser
from tests.e2e.programs import Program

IMAGES = Path(__file__).parents[1] / "docs" / "images"
LARGEST = 300_000
ROOM = "lobby"

DESK = {"viewport": {"width": 1120, "height": 816}, "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


def play(playwright: Playwright, chromium: Path, browser: Browser, url: str) -> None:
    """Let everybody come, talk, and leave; take the pictures."""

    def enter(name: str, **context: object) -> Visitor:
        visitor = Visitor(browser, name, **context)
        visitor.enter(url, ROOM)
        return visitor

    ada = enter("Ada", **DESK)
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

    for visitor, name in ((ada, "chat.png"), (grace, "chat-phone-dark.png")):
        expect(visitor.entries("said").last).to_be_in_viewport()
        visitor.page.mouse.move(0, 0)
        path = IMAGES / name
        visitor.page.screenshot(path=path, animations="disabled", caret="hide")
        size = path.stat().st_size
        print(f"{path.relative_to(Path.cwd())}: {size // 1000} kB")
        if size > LARGEST:
            sys.exit(f"{name} is larger than {LARGEST // 1000} kB")


def main() -> None:
    """Start what is needed, and end all of it."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit(f"no Chromium was found: {PARTS['chromium'].install}")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with Program("examples.chat", "--port", "0") as chat, sync_playwright() as playwright:
        url = chat.line(r"Chat rooms are open at (http://\S+)")[1]
        with open_browser(playwright, chromium) as browser:
            play(playwright, chromium, browser, url)


if __name__ == "__main__":
    main()

"""Take the pictures of the observer in docs/images: `python -m tests.e2e.observer_pictures`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from tests.conftest import PARTS, find_chromium
from tests.e2e.browser import WITHIN, open_browser
from tests.e2e.programs import Program
from tests.e2e.test_observer import Guest, Onlooker

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LARGEST = 300_000

PICTURES: dict[str, dict[str, Any]] = {
    "observer.png": {"viewport": {"width": 1600, "height": 930}, "color_scheme": "light"},
    "observer-dark.png": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "observer-phone.png": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "dark",
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}


def take(browser: Browser, url: str, name: str, options: dict[str, Any]) -> None:
    """Wait for a restart, and take the picture while it flashes."""
    onlooker = Onlooker(browser, **options).open(url)
    page = onlooker.page
    page.wait_for_timeout(20_000)
    is_phone = "is_mobile" in options
    if not is_phone:
        onlooker.process("cellar").click()
        expect(page.get_by_test_id("detail")).to_contain_text("Room", timeout=WITHIN)
    expect(onlooker.process("cellar")).to_have_attribute(
        "data-flash", "restart", timeout=2 * WITHIN
    )
    page.wait_for_timeout(1_000)
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    path = IMAGES / name
    page.screenshot(path=path, caret="hide")
    size = path.stat().st_size
    print(f"{name}: {size // 1000} kB")
    if size > LARGEST:
        sys.exit(f"{name} is larger than {LARGEST // 1000} kB")
    onlooker.context.close()


def main() -> None:
    """Start what is needed, and end all of it."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit(f"no Chromium was found: {PARTS['chromium'].install}")
    with Program("tests.e2e.observer_stage", "--spoil", "6") as program:
        url = program.line(r"observer at (\S+)")[1]
        socket = program.line(r"socket at (\S+)")[1]
        with (
            Guest(socket, "room:foyer"),
            Guest(socket, "room:gallery"),
            sync_playwright() as playwright,
            open_browser(playwright, chromium) as browser,
        ):
            for name, options in PICTURES.items():
                take(browser, url, name, options)


if __name__ == "__main__":
    main()

"""The pictures of the dashboard of sensors: one has crashed, one was killed, four measure."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Playwright, expect

from scripts.screenshot_kit import Scheme, desk, take
from tests.e2e.browser import WITHIN
from tests.e2e.programs import Program

PICTURES: Final = ("dashboard.png", "dashboard-dark.png")

CURVES_MS: Final = 15_000
"""How long the curves are drawn before they are worth a picture."""

FADE_MS: Final = 600


def take_all(playwright: Playwright, chromium: Path, browser: Browser) -> None:
    """Start the dashboard, end two of its sensors, and take the pictures."""
    with Program("examples.dashboard", "--port", "0", "--wear", "0") as dashboard:
        url = dashboard.line(r"The dashboard is at (http://\S+)")[1]
        context = browser.new_context(**desk(1120, 760))
        page = context.new_page()
        page.goto(url)
        page.wait_for_timeout(CURVES_MS)
        schemes: tuple[tuple[str, Scheme], ...] = (
            ("dashboard.png", "light"),
            ("dashboard-dark.png", "dark"),
        )
        for name, scheme in schemes:
            expect(page.get_by_test_id("alive")).to_have_text("6 of 6 alive", timeout=2 * WITHIN)
            page.emulate_media(color_scheme=scheme)
            # Colours fade into each other, here and once a sensor is gone.
            page.wait_for_timeout(FADE_MS)
            for sensor, button in (("greenhouse", "Crash"), ("roof", "Kill")):
                card = page.locator(f"[data-sensor={sensor}]")
                card.get_by_role("button", name=button).click()
                expect(card).to_have_attribute("data-state", "gone", timeout=WITHIN)
            page.wait_for_timeout(FADE_MS)
            page.evaluate("scrollTo(0, 0)")
            take(page, name)
        context.close()

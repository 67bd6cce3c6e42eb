"""The dashboard of sensors, started as its users start it, and its page in a real browser."""

from __future__ import annotations

import re
import signal
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.browser import WITHIN
from tests.e2e.chat_fixtures import browser as browser
from tests.e2e.chat_fixtures import chromium as chromium
from tests.e2e.chat_fixtures import playwright as playwright
from tests.e2e.programs import Program

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("chromium")]

NAMES = ["cellar", "attic", "greenhouse", "river", "roof", "yard"]
NUMBER = re.compile(r"^\d+\.\d$")

GONE = """([name, how]) => {
  const card = document.querySelector(`[data-sensor=${name}]`);
  return card.dataset.state === "gone"
    && card.querySelector(".state").textContent === "gone"
    && card.querySelector(".how").textContent === how
    && [...card.querySelectorAll("button")].every((button) => button.disabled)
    && document.getElementById("alive").textContent === "5 of 6 alive";
}"""
"""Whether a page shows a sensor as gone: asked in one step, as it does not stay away for long."""


class Dashboard(Program):
    """A dashboard of one's own, whose sensors end only when they are told to."""

    def __init__(self, port: int = 0) -> None:
        super().__init__("examples.dashboard", "--port", str(port), "--wear", "0")
        self.port = port
        self.url = ""

    def __enter__(self) -> Dashboard:
        super().__enter__()
        found = self.line(r"The dashboard is at (http://127\.0\.0\.1:(\d+))")
        self.url, self.port = found[1], int(found[2])
        return self


@pytest.fixture(scope="module")
def dashboard() -> Generator[Dashboard]:
    with Dashboard() as dashboard:
        yield dashboard
        # Nobody has pressed but the tests, and nothing but the sensors has crashed.
        assert dashboard.stderr() == ""


@pytest.fixture
def problems() -> Generator[list[str]]:
    """Collect what the pages complain of; there must be nothing in the end."""
    problems: list[str] = []
    yield problems
    assert problems == []


def open_page(browser: Browser, url: str, problems: list[str], **context: object) -> Page:
    opened = browser.new_context(**context)  # type: ignore[arg-type]
    opened.set_default_timeout(WITHIN)
    page = opened.new_page()
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))

    def note(text: str) -> None:
        # A server that is gone leaves messages of the network's; all others are the page's fault.
        if "net::ERR" not in text:
            problems.append(text)

    page.on("console", lambda one: note(one.text) if one.type in ("error", "warning") else None)
    page.goto(url)
    return page


@pytest.fixture
def page(browser: Browser, dashboard: Dashboard, problems: list[str]) -> Generator[Page]:
    page = open_page(browser, dashboard.url, problems)
    yield page
    page.context.close()


def card(page: Page, name: str) -> Locator:
    return page.locator(f"[data-sensor={name}]")


def sees_alive(page: Page, number: int) -> None:
    expect(page.get_by_test_id("alive")).to_have_text(f"{number} of 6 alive", timeout=WITHIN)


def sees_log(page: Page, text: str) -> None:
    line = page.get_by_test_id("log").locator("li").filter(has_text=text)
    expect(line.first).to_be_visible(timeout=WITHIN)


def test_all_sensors_are_there_and_measure(page: Page) -> None:
    sees_alive(page, 6)
    expect(page.locator(".sensor h2")).to_have_text(NAMES)
    for name in NAMES:
        expect(card(page, name).locator("output")).to_have_text(NUMBER, timeout=WITHIN)
    river = card(page, "river").locator("output")
    first = river.inner_text()
    expect(river).not_to_have_text(first, timeout=WITHIN)
    points = card(page, "river").locator("polyline").get_attribute("points")
    assert points is not None and len(points.split()) >= 2


@pytest.mark.parametrize(
    ("button", "how"), [("Crash", "Failed: somebody pressed the button"), ("Kill", "killed")]
)
def test_a_sensor_that_ends_is_gone_everywhere_and_comes_back(
    button: str,
    how: str,
    page: Page,
    browser: Browser,
    dashboard: Dashboard,
    problems: list[str],
) -> None:
    other = open_page(browser, dashboard.url, problems)
    for one in (page, other):
        sees_alive(one, 6)
    page.get_by_role("button", name=f"{button} attic").click()
    for one in (page, other):
        one.wait_for_function(GONE, arg=["attic", how], timeout=WITHIN)
    for one in (page, other):
        sees_log(one, f"attic has ended: {how}")
    for one in (page, other):
        expect(card(one, "attic")).to_have_attribute("data-state", "alive", timeout=WITHIN)
        expect(card(one, "attic").locator(".how")).to_have_text("")
        sees_alive(one, 6)
        sees_log(one, "attic is back")
    other.context.close()


def test_a_page_that_comes_late_knows_who_is_gone(
    page: Page, browser: Browser, dashboard: Dashboard, problems: list[str]
) -> None:
    late = open_page(browser, "about:blank", problems)
    roof = card(late, "roof")
    for _ in range(5):
        # The more often it was killed, the longer it stays away: in the end it is away for longer
        # than a page takes to open on a slow machine.
        sees_alive(page, 6)
        page.get_by_role("button", name="Kill roof").click()
        expect(card(page, "roof")).to_have_attribute("data-state", "gone", timeout=WITHIN)
        late.goto(dashboard.url)
        expect(roof).to_have_attribute("data-state", re.compile("alive|gone"), timeout=WITHIN)
        if roof.get_attribute("data-state") == "gone":
            break
    else:
        pytest.fail("a page that comes late has never seen that the sensor is gone")
    sees_alive(late, 6)
    late.context.close()


def test_a_server_that_is_killed_and_started_again(browser: Browser, problems: list[str]) -> None:
    with Dashboard() as first:
        page = open_page(browser, first.url, problems)
        sees_alive(page, 6)
        first.end(signal.SIGKILL)
        expect(page.locator("body")).to_have_attribute("data-status", "away", timeout=WITHIN)
        expect(page.get_by_test_id("alive")).to_have_text("not connected; trying again")
    with Dashboard(first.port):
        expect(page.locator("body")).to_have_attribute("data-status", "live", timeout=WITHIN)
        sees_alive(page, 6)
        expect(page.locator(".sensor")).to_have_count(6)
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(
    scheme: str, browser: Browser, dashboard: Dashboard, problems: list[str]
) -> None:
    page = open_page(browser, dashboard.url, problems, color_scheme=scheme)
    sees_alive(page, 6)
    ground, ink = page.evaluate(
        "() => { const style = getComputedStyle(document.body);"
        " return [style.backgroundColor, style.color].map("
        "  (one) => one.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b)); }"
    )
    assert (ground > ink) is (scheme == "light")
    assert abs(ground - ink) > 400
    page.context.close()


def test_on_a_phone(browser: Browser, dashboard: Dashboard, problems: list[str]) -> None:
    phone = {"width": 320, "height": 640}
    page = open_page(browser, dashboard.url, problems, viewport=phone, has_touch=True)
    sees_alive(page, 6)
    assert page.evaluate("document.documentElement.scrollWidth") == phone["width"]
    button = page.get_by_role("button", name="Crash cellar")
    box = button.bounding_box()
    assert box is not None and box["height"] >= 44
    button.tap()
    expect(card(page, "cellar")).to_have_attribute("data-state", "gone", timeout=WITHIN)
    assert page.evaluate("document.documentElement.scrollWidth") == phone["width"]
    sees_alive(page, 6)
    page.context.close()


def test_nothing_comes_from_elsewhere(browser: Browser, dashboard: Dashboard) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(dashboard.url)
    sees_alive(page, 6)
    assert len(asked) >= 4
    assert all(url.startswith(dashboard.url) for url in asked)
    context.close()

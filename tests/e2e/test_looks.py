"""The chat, the observer and the dashboard: in light and dark, at a desk and on a phone.

In each they fit, their texts can be read, and they complain of nothing. That the checks see what
they are for is tested first.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import WITHIN
from tests.e2e.chat_fixtures import browser as browser
from tests.e2e.chat_fixtures import chromium as chromium
from tests.e2e.chat_fixtures import playwright as playwright
from tests.e2e.looks import (
    DESK,
    PHONE,
    SCHEMES,
    TABLET,
    Complaints,
    Scheme,
    broken_images,
    faint_texts,
    too_wide,
)
from tests.e2e.programs import Program

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("chromium")]

WIDTHS: Final = (DESK, TABLET, PHONE)


@contextmanager
def opened(browser: Browser, scheme: Scheme, width: int) -> Generator[tuple[Page, Complaints]]:
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    try:
        yield page, Complaints(page)
    finally:
        context.close()


def looks_right(page: Page, complaints: Complaints, scheme: Scheme) -> None:
    """Fail unless the page fits, can be read, and has complained of nothing."""
    assert too_wide(page) <= 0
    assert broken_images(page) == []
    assert faint_texts(page) == []
    assert complaints.found == []


# -- the checks themselves


@pytest.mark.parametrize(
    ("body", "wide", "faint"),
    [
        ("<p>plain</p>", False, False),
        ("<p style='color: #bbb'>pale</p>", False, True),
        ("<p style='color: #ccc; font-size: 30px; background: #666'>large</p>", False, False),
        ("<div style='width: 2000px'>wide</div>", True, False),
        ("<div style='overflow: auto'><p style='width: 2000px'>in a box</p></div>", False, False),
        (
            "<div style='background: #000'><p style='color: rgb(0 0 0 / 90%)'>x</p></div>",
            False,
            True,
        ),
        ("<button disabled style='color: #ddd'>not now</button><p>plain</p>", False, False),
    ],
)
def test_what_is_too_wide_or_too_faint_is_seen(
    browser: Browser, body: str, wide: bool, faint: bool
) -> None:
    with opened(browser, "light", PHONE) as (page, complaints):
        page.set_content(f"<body style='margin: 0'>{body}</body>")
        assert (too_wide(page) > 0) is wide
        assert bool(faint_texts(page)) is faint
        assert complaints.found == []


def test_what_a_page_complains_of_is_seen(browser: Browser) -> None:
    with opened(browser, "light", PHONE) as (page, complaints):
        page.set_content("<img src='nowhere.png' alt='x'><script>nothing()</script>")
        page.evaluate("console.warn('careful')")
        assert any("nothing is not defined" in one for one in complaints.found)
        assert any("careful" in one for one in complaints.found)
        assert len(broken_images(page)) == 1


# -- the pages


@pytest.fixture(scope="module")
def chat() -> Generator[str]:
    with Program("examples.chat", "--port", "0") as program:
        yield program.line(r"Chat rooms are open at (http://\S+)")[1]


@pytest.fixture(scope="module")
def observer() -> Generator[str]:
    with Program("tests.e2e.observer_stage") as program:
        yield program.line(r"observer at (\S+)")[1]


@pytest.fixture(scope="module")
def dashboard() -> Generator[str]:
    with Program("examples.dashboard", "--port", "0", "--wear", "0") as program:
        yield program.line(r"The dashboard is at (http://\S+)")[1]


in_every_way = pytest.mark.parametrize(
    ("scheme", "width"), [(scheme, width) for scheme in SCHEMES for width in WIDTHS]
)


@in_every_way
def test_the_chat(browser: Browser, chat: str, scheme: Scheme, width: int) -> None:
    with opened(browser, scheme, width) as (page, complaints):
        page.goto(chat)
        looks_right(page, complaints, scheme)
        page.get_by_test_id("name").fill("Ada")
        page.get_by_test_id("room").fill(f"{scheme} {width}")
        page.get_by_test_id("enter").click()
        expect(page.locator("body")).to_have_attribute("data-status", "live", timeout=WITHIN)
        for text in ("Shall we?", "A" * 300):
            page.get_by_test_id("text").fill(text)
            page.get_by_test_id("text").press("Enter")
        said = page.get_by_test_id("log").locator("li[data-kind=said]")
        expect(said).to_have_count(2, timeout=WITHIN)
        looks_right(page, complaints, scheme)


@in_every_way
def test_the_observer(browser: Browser, observer: str, scheme: Scheme, width: int) -> None:
    with opened(browser, scheme, width) as (page, complaints):
        page.goto(observer)
        expect(page.locator("body")).to_have_attribute("data-status", "live", timeout=WITHIN)
        cellar = page.get_by_test_id("process").filter(has=page.get_by_text("cellar", exact=True))
        expect(cellar).to_be_visible(timeout=WITHIN)
        looks_right(page, complaints, scheme)
        cellar.click()
        expect(page.get_by_test_id("detail")).to_contain_text("Room", timeout=WITHIN)
        looks_right(page, complaints, scheme)


@in_every_way
def test_the_dashboard(browser: Browser, dashboard: str, scheme: Scheme, width: int) -> None:
    with opened(browser, scheme, width) as (page, complaints):
        page.goto(dashboard)
        expect(page.get_by_test_id("alive")).to_have_text("6 of 6 alive", timeout=2 * WITHIN)
        looks_right(page, complaints, scheme)

"""The documentation as its readers have it: built as `make docs` does, and opened in a browser."""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import Browser, expect
from sphinx.util.inventory import InventoryFile

from scripts.name_tables import public_names
from scripts.screenshot import SUBJECTS
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
    Faint,
    Scheme,
    broken_images,
    faint_texts,
    too_wide,
)
from tests.e2e.programs import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
in_a_browser = pytest.mark.needs("chromium")

CLOSELY: Final = (
    "index.html",
    "tutorial/09-a-supervisor.html",
    "howto/observe.html",
    "explanation/why-supervise.html",
    "reference/kernel.html",
    "reference/disconnects.html",
    "reference/limits.html",
    "reference/generated/names.html",
    "reference/generated/events.html",
)
"""The pages that are looked at in every width and colour: one of each kind, and the widest."""


# -- the pages, and what they are made of


@dataclass(slots=True)
class Parsed:
    """What a page links to, and what can be linked to in it."""

    title: str = ""
    ids: set[str] = field(default_factory=set[str])
    links: list[str] = field(default_factory=list[str])
    without_alt: list[str] = field(default_factory=list[str])


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parsed = Parsed()
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.parsed.ids.add(given["id"])
        for name in ("href", "src", "data"):
            if name in given and tag != "base":
                self.parsed.links.append(given[name])
        if tag == "img" and not given.get("alt", "").strip():
            self.parsed.without_alt.append(given.get("src", ""))
        self._in_title = tag == "title" and not self.parsed.title

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.parsed.title += data

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False


@dataclass(frozen=True, slots=True)
class Site:
    """The built documentation, and where it is served."""

    folder: Path
    url: str
    pages: dict[str, Parsed]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    folder = tmp_path_factory.mktemp("docs")
    html, doctrees = folder / "html", folder / "doctrees"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "2"]
    run = subprocess.run(
        [*command, "-b", "html", "-d", str(doctrees), "docs", str(html)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    pages: dict[str, Parsed] = {}
    for path in sorted(html.rglob("*.html")):
        reader = _Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        pages[path.relative_to(html).as_posix()] = reader.parsed
    handler = partial(_Quiet, directory=str(html))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Site(html, f"http://127.0.0.1:{server.server_address[1]}", pages)
        server.shutdown()
        thread.join()


def test_every_link_and_every_anchor_leads_somewhere(site: Site) -> None:
    assert len(site.pages) > 50
    broken: list[str] = []
    for name, page in site.pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link) or link.startswith("//"):
                continue
            path, anchor = urldefrag(link)
            path = unquote(path.partition("?")[0])
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
            target = name if not path else target
            if not (site.folder / target).is_file():
                broken.append(f"{name}: {link}")
            elif anchor and target in site.pages and unquote(anchor) not in site.pages[target].ids:
                broken.append(f"{name}: {link} (no such place on the page)")
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site: Site) -> None:
    for path in site.folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        fetched = re.findall(
            r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"(https?:[^\"]+)", text
        )
        assert fetched == [], path.name


def test_every_image_has_a_text_and_every_page_a_title_of_its_own(site: Site) -> None:
    assert {name: page.without_alt for name, page in site.pages.items() if page.without_alt} == {}
    titles = [page.title.strip() for page in site.pages.values()]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def _inventory(site: Site) -> set[str]:
    with (site.folder / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    return {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}


def test_every_public_name_is_in_the_inventory(site: Site) -> None:
    known = _inventory(site)
    assert [one.target for one in public_names() if one.target not in known] == []


def test_every_name_that_a_page_refers_to_is_in_the_inventory(site: Site) -> None:
    # Sphinx shows one that is not as plain text, and says nothing.
    known, seen = _inventory(site), 0
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        for role in re.findall(r"\{py:\w+\}`([^`]+)`", text):
            target = role.rpartition("<")[2].rstrip(">").lstrip("~")
            assert target in known, f"{path.name} refers to {target}"
            seen += 1
    assert seen > 100


def test_every_public_name_leads_to_its_text(site: Site) -> None:
    links = set(site.pages["reference/generated/names.html"].links)
    targets = {link.partition("#")[2] for link in links if "#" in link}
    assert [one.target for one in public_names() if one.target not in targets] == []


def test_the_pictures_are_those_that_the_script_takes() -> None:
    taken = {name for subject in SUBJECTS.values() for name in subject.pictures}
    assert {path.name for path in (ROOT / "docs" / "images").glob("*.png")} == taken
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for name in re.findall(r"images/([\w-]+\.png)", path.read_text(encoding="utf-8")):
            assert name in taken, f"{path.name} has a picture that nobody takes: {name}"


# -- in a browser


@in_a_browser
def test_every_page_fits_a_phone_and_complains_of_nothing(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": PHONE, "height": 844}, color_scheme="dark")
    page = context.new_page()
    complaints = Complaints(page)
    wide: dict[str, int] = {}
    broken: list[str] = []
    for name in site.pages:
        page.goto(f"{site.url}/{name}")
        if (more := too_wide(page)) > 0:
            wide[name] = more
        broken += broken_images(page)
    context.close()
    assert complaints.found == []
    assert wide == {}
    assert broken == []


@in_a_browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_page_of_each_kind_fits_and_can_be_read(
    site: Site, browser: Browser, scheme: Scheme
) -> None:
    context = browser.new_context(viewport={"width": DESK, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    complaints = Complaints(page)
    faint: dict[str, list[Faint]] = {}
    wide: dict[tuple[str, int], int] = {}
    for name in CLOSELY:
        page.set_viewport_size({"width": DESK, "height": 900})
        page.goto(f"{site.url}/{name}")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light"), name
        if found := faint_texts(page, "article"):
            faint[name] = found
        for width in (DESK, TABLET, PHONE):
            page.set_viewport_size({"width": width, "height": 900})
            if (more := too_wide(page)) > 0:
                wide[name, width] = more
    context.close()
    assert faint == {}
    assert wide == {}
    assert complaints.found == []


@in_a_browser
def test_the_search_finds_things(site: Site, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints = Complaints(page)
    page.goto(f"{site.url}/search.html?q=watcher")
    results = page.locator("#search-results li")
    expect(results.first).to_be_visible(timeout=WITHIN)
    expect(page.locator("#search-results")).to_contain_text("watcher", timeout=WITHIN)
    results.first.get_by_role("link").first.click()
    expect(page.locator("h1").first).to_be_visible()
    context.close()
    # Sphinx looks for the ids of modules as if what follows a dot were a class, and shows the
    # beginning of the page instead of the place.
    others = [one for one in complaints.found if "Anchored content block not found" not in one]
    assert others == []

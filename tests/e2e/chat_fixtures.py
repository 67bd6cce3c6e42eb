"""What the tests of the chat share: a chat of their own, browsers, and people in them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.conftest import locate
from tests.e2e.browser import Visitor, open_browser
from tests.e2e.programs import Program

SECRET = "a secret for nothing but tests"

CRASHES = (
    "RuntimeError: the crash button was pressed",
    "RuntimeError: the room was told to crash",
    "RuntimeError: somebody said /crash bot",
)
"""What the tests make crash on purpose, as the log of the server has it."""

Visit: TypeAlias = Callable[..., Visitor]


class Chat(Program):
    """A chat of one's own."""

    def __init__(self, port: int = 0, *options: str) -> None:
        super().__init__("examples.chat", "--port", str(port), "--secret", SECRET, *options)
        self.url = ""

    def __enter__(self) -> Chat:
        super().__enter__()
        with ExitStack() as stack:
            stack.push(super().__exit__)
            self.url = self.line(r"Chat rooms are open at (http://\S+)")[1]
            stack.pop_all()
        return self

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port


@pytest.fixture(scope="module")
def chat() -> Generator[Chat]:
    """The chat that those tests share which do it no harm; each has a room of its own."""
    with Chat() as chat:
        yield chat
        lines = chat.stderr().splitlines()
        expected = sum(line in CRASHES for line in lines)
        assert sum(line.startswith("Traceback") for line in lines) == expected


@pytest.fixture(scope="module")
def playwright() -> Generator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium() -> Path:
    path = locate("chromium")
    assert path is not None, "the tests that use this are marked to need it"
    return path


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: Path) -> Generator[Browser]:
    with open_browser(playwright, chromium) as browser:
        yield browser


@pytest.fixture(scope="module")
def idle_visitors() -> list[Visitor]:
    """Those whose test is over: to open a browser context takes longer than most tests."""
    return []


@pytest.fixture
def visit(browser: Browser, idle_visitors: list[Visitor]) -> Generator[Visit]:
    """Return what opens a page for somebody; in the end no page may have had a problem."""
    visitors: list[Visitor] = []

    def visit(name: str, **context: object) -> Visitor:
        if context or not idle_visitors:
            visitor = Visitor(browser, name, **context)
        else:
            visitor = idle_visitors.pop()
            visitor.name = name
        visitors.append(visitor)
        return visitor

    yield visit
    problems = [problem for visitor in visitors for problem in visitor.problems]
    for visitor in visitors:
        if problems or visitor.has_options or visitor.page.is_closed():
            visitor.context.close()
        else:
            if visitor.page.url != "about:blank":
                # Who comes next is somebody else.
                visitor.page.evaluate("localStorage.clear()")
            visitor.page.goto("about:blank")
            idle_visitors.append(visitor)
    assert problems == []


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).removeprefix("test_")[:32]


@pytest.fixture
def ada(visit: Visit, chat: Chat, room: str) -> Visitor:
    ada = visit("Ada")
    ada.enter(chat.url, room)
    return ada


@pytest.fixture
def bob(ada: Visitor, visit: Visit, chat: Chat, room: str) -> Visitor:
    bob = visit("Bob")
    bob.enter(chat.url, room)
    ada.sees_here("Ada", "Bob")
    return bob


__all__ = [
    "SECRET",
    "Chat",
    "Visit",
    "ada",
    "bob",
    "browser",
    "chat",
    "chromium",
    "idle_visitors",
    "playwright",
    "room",
    "visit",
]

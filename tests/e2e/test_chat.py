"""The chat, started as its users start it, and its page in a real browser.

Each way to leave is gone once, and the others read on their page which one it was.
"""

from __future__ import annotations

import http.client
import re
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from exeunt.channels import Tokens
from tests.conftest import locate
from tests.e2e.browser import Visitor, kill, open_browser
from tests.e2e.programs import Program
from tests.e2e.proxy import SilentProxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
in_a_browser = pytest.mark.needs("chromium")

SECRET = "a secret for nothing but tests"
CRASHED = "crashed: RuntimeError: the crash button was pressed"

Visit: TypeAlias = Callable[..., Visitor]


class Chat(Program):
    """A chat of one's own."""

    def __init__(self, port: int = 0) -> None:
        super().__init__("examples.chat", "--port", str(port), "--secret", SECRET)
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
        crashes = chat.stderr().count("\nRuntimeError: the crash button was pressed\n")
        assert chat.stderr().count("Traceback") == crashes


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


@dataclass(frozen=True, slots=True)
class Silence:
    """A network that was pulled out: who was behind it, and since when."""

    ada: Visitor
    bob: Visitor
    proxy: SilentProxy
    since: float


@pytest.fixture(scope="module")
def silence(browser: Browser, chat: Chat) -> Generator[Silence]:
    """Bob's network is pulled out; it takes the server 15 seconds to find out.

    So this begins with the first test that uses a browser, and the last one looks what came of it.
    """
    with SilentProxy(chat.port) as proxy, ExitStack() as stack:
        ada, bob = (Visitor(browser, name) for name in ("Ada", "Bob"))
        for visitor in (ada, bob):
            stack.callback(visitor.context.close)
        ada.enter(chat.url, "silence")
        bob.enter(f"http://127.0.0.1:{proxy.port}", "silence")
        bob.say("Can you hear me?")
        ada.hears("Bob", "Can you hear me?")
        proxy.go_silent()
        since = time.time()
        bob.context.set_offline(True)
        bob.is_told("This device is offline.")
        yield Silence(ada, bob, proxy, since)


@pytest.fixture(scope="module")
def idle_visitors() -> list[Visitor]:
    """Those whose test is over: to open a browser context takes longer than most tests."""
    return []


@pytest.fixture
def visit(browser: Browser, silence: Silence, idle_visitors: list[Visitor]) -> Generator[Visit]:
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


# -- talking


@in_a_browser
def test_two_people_see_each_other_and_talk(ada: Visitor, bob: Visitor) -> None:
    ada.sees_joined("Bob")
    bob.sees_here("Bob", "Ada")
    ada.say("Hello Bob")
    bob.hears("Ada", "Hello Bob")
    ada.hears("Ada", "Hello Bob")
    bob.say("Hello Ada")
    ada.hears("Bob", "Hello Ada")
    assert ada.ways_seen() == bob.ways_seen() == []


@in_a_browser
def test_who_comes_later_reads_what_was_said(
    ada: Visitor, visit: Visit, chat: Chat, room: str
) -> None:
    for number in range(3):
        ada.say(f"line {number}")
        ada.hears("Ada", f"line {number}")
    bob = visit("Bob")
    bob.enter(chat.url, room)
    texts = bob.entries("said").locator(".text")
    expect(texts).to_have_text(["line 0", "line 1", "line 2"])


@in_a_browser
def test_rooms_do_not_hear_each_other(ada: Visitor, visit: Visit, chat: Chat) -> None:
    bob = visit("Bob")
    bob.enter(chat.url, "another room")
    bob.say("Is there anybody?")
    bob.hears("Bob", "Is there anybody?")
    ada.say("In here")
    ada.hears("Ada", "In here")
    ada.sees_here("Ada")
    bob.sees_here("Bob")
    assert bob.entries("said").count() == ada.entries("said").count() == 1


@in_a_browser
def test_markup_in_names_and_messages_is_text(visit: Visit, chat: Chat, room: str) -> None:
    name = "<b>Mallory</b><img src=x>"
    text = "<img src=x onerror=alert(1)><script>alert(2)</script> & <i>so on</i>"
    mallory, bob = visit(name), visit("Bob")
    mallory.enter(chat.url, room)
    bob.enter(chat.url, room)
    mallory.say(text)
    for visitor in (mallory, bob):
        visitor.hears(name, text)
        page = visitor.page
        assert page.locator("#stage :is(b, img, i, script)").count() == 0
    bob.sees_here("Bob", name)
    mallory.press("leave")
    bob.sees_left(name, "left")


@in_a_browser
def test_a_name_or_a_room_that_is_not_accepted_is_explained_at_the_door(
    visit: Visit, chat: Chat
) -> None:
    ada = visit(" ")
    ada.knock(chat.url, "lobby")
    door = ada.page.get_by_test_id("door-error")
    expect(door).to_have_text("Choose a name first.")
    ada.page.get_by_test_id("name").fill("Ada\N{RIGHT-TO-LEFT OVERRIDE}")
    ada.page.get_by_test_id("enter").click()
    expect(door).to_have_text("Choose a name of 1 to 32 letters.")
    ada.problems.clear()  # the browser reports the status 400 of the token
    ada.page.get_by_test_id("name").fill("Ada")
    ada.page.get_by_test_id("room").fill("lobby\N{RIGHT-TO-LEFT OVERRIDE}")
    ada.page.get_by_test_id("enter").click()
    expect(door).to_have_text("A room has a name of 1 to 32 letters.")
    ada.page.get_by_test_id("room").fill("lobby")
    ada.page.get_by_test_id("enter").click()
    ada.is_("live")


@in_a_browser
def test_it_works_on_a_phone(ada: Visitor, visit: Visit, chat: Chat, room: str) -> None:
    phone = {"width": 360, "height": 640}
    bob = visit("Bob", viewport=phone, is_mobile=True, has_touch=True, device_scale_factor=2)
    bob.page.goto(chat.url)
    bob.page.get_by_test_id("name").fill("Bob")
    bob.page.get_by_test_id("room").fill(room)
    bob.page.get_by_test_id("enter").tap()
    bob.is_("live")
    ada.say("A long word: " + "x" * 300)
    expect(bob.entries("said", "Ada")).to_have_count(1)
    bob.page.get_by_test_id("text").fill("From the phone")
    bob.page.get_by_test_id("send").tap()
    ada.hears("Bob", "From the phone")
    expect(bob.entries("said", "Bob")).to_be_in_viewport()
    # Who is here is behind a button, and can be put away again.
    members = bob.page.get_by_test_id("members")
    expect(members).not_to_be_in_viewport()
    bob.page.get_by_test_id("roster-toggle").tap()
    expect(members).to_be_in_viewport()
    bob.sees_here("Bob", "Ada")
    bob.page.keyboard.press("Escape")
    expect(members).not_to_be_in_viewport()
    for button in ("send", "leave", "roster-toggle", "text"):
        expect(bob.page.get_by_test_id(button)).to_be_in_viewport(ratio=1)
    assert bob.page.evaluate("document.documentElement.scrollWidth") == phone["width"]
    bob.page.get_by_test_id("leave").tap()
    ada.sees_left("Bob", "left")


# -- leaving, in every way


@in_a_browser
def test_a_closed_tab(ada: Visitor, bob: Visitor) -> None:
    bob.page.close()
    ada.sees_left("Bob", "closed the tab")
    ada.sees_here("Ada")
    assert ada.ways_seen() == [("Bob", "closed the tab")]


@in_a_browser
def test_a_reloaded_page(ada: Visitor, bob: Visitor) -> None:
    bob.page.reload()
    ada.sees_left("Bob", "closed the tab")
    bob.page.get_by_test_id("enter").click()
    bob.is_("live")
    ada.sees_joined("Bob", times=2)
    ada.sees_here("Ada", "Bob")


@in_a_browser
def test_a_killed_browser(
    ada: Visitor, playwright: Playwright, chromium: Path, chat: Chat, room: str
) -> None:
    with open_browser(playwright, chromium) as doomed:
        bob = Visitor(doomed, "Bob")
        bob.enter(chat.url, room)
        ada.sees_here("Ada", "Bob")
        kill(doomed)
        ada.sees_left("Bob", "connection lost")
        ada.sees_here("Ada")
        assert ada.ways_seen() == [("Bob", "connection lost")]


@in_a_browser
def test_the_leave_button(ada: Visitor, bob: Visitor) -> None:
    bob.press("leave")
    ada.sees_left("Bob", "left")
    ada.sees_here("Ada")
    bob.is_("away")
    # And in again, by the same door.
    bob.press("enter")
    bob.is_("live")
    ada.sees_here("Ada", "Bob")
    assert ada.ways_seen() == [("Bob", "left")]


@in_a_browser
def test_the_crash_button(ada: Visitor, bob: Visitor) -> None:
    bob.press("crash")
    ada.sees_left("Bob", CRASHED)
    ada.sees_joined("Bob", times=2)
    bob.is_("live")
    expect(bob.entries("note")).to_contain_text(["Your handler crashed."])
    ada.sees_here("Ada", "Bob")
    bob.sees_here("Bob", "Ada")
    bob.say("I am back")
    ada.hears("Bob", "I am back")
    assert ada.ways_seen() == [("Bob", CRASHED)]


@in_a_browser
def test_being_thrown_out_and_coming_back(ada: Visitor, bob: Visitor) -> None:
    ada.throw_out("Bob")
    ada.sees_left("Bob", "disconnected by the server")
    ada.sees_here("Ada")
    bob.is_told("The server disconnected you.")
    bob.is_("out")
    bob.press("come-back")
    bob.is_("live")
    ada.sees_here("Ada", "Bob")
    bob.say("Sorry")
    ada.hears("Bob", "Sorry")
    assert ada.ways_seen() == [("Bob", "disconnected by the server")]


# -- servers that come and go


@in_a_browser
def test_a_restarted_server_is_found_again(visit: Visit) -> None:
    with Chat() as chat:
        ada, bob = visit("Ada"), visit("Bob")
        ada.enter(chat.url, "lobby")
        bob.enter(chat.url, "lobby")
        ada.say("Before")
        bob.hears("Ada", "Before")
        chat.end(signal.SIGTERM)
        for visitor in (ada, bob):
            visitor.is_told("Connection lost, trying again")
        port, url = chat.port, chat.url
    with Chat(port) as chat:
        assert chat.url == url
        for visitor in (ada, bob):
            visitor.is_("live")
            expect(visitor.entries("note")).to_contain_text(["You are back."])
        ada.sees_here("Ada", "Bob")
        bob.sees_here("Bob", "Ada")
        ada.say("After")
        bob.say("Indeed")
        for visitor in (ada, bob):
            visitor.hears("Ada", "After")
            visitor.hears("Bob", "Indeed")
            assert visitor.entries("said").count() == 2
        assert chat.end(signal.SIGINT).stderr == ""


@in_a_browser
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 0, "\nGood night.\n"), (signal.SIGTERM, 143, "")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_shuts_everything_down_in_order(
    visit: Visit, number: signal.Signals, status: int, said: str
) -> None:
    with Chat() as chat, ExitStack() as stack:
        visitors = [visit(name) for name in ("Ada", "Bob", "Eve")]
        for visitor in visitors:
            visitor.enter(chat.url, "lobby")
        # Whoever has connected, and says nothing or half of something, does not hold it up.
        for half in (
            b"",
            b"GET / HT",
            b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        ):
            idle = stack.enter_context(closing(socket.create_connection(("127.0.0.1", chat.port))))
            idle.sendall(half)
        ended = chat.end(number)
        # A second for the server, and the one that it gives a page which a busy machine keeps from
        # answering. (With clients that are never too busy it is one in all: test_phoenix_js.)
        assert ended.seconds < 2
        assert ended.status == status
        assert ended.stderr == ""
        assert ended.stdout == f"Chat rooms are open at {chat.url}  (Ctrl-C closes them)\n{said}"
        for visitor in visitors:
            visitor.is_told("Connection lost, trying again")


def test_the_help_is_helpful() -> None:
    with Program("examples.chat", "--help") as program:
        ended = program.wait()
    assert ended.status == 0
    assert ended.stderr == ""
    for option in ("--host", "--port", "--secret", "--verbose"):
        assert option in ended.stdout


def test_a_port_that_is_taken_is_said_so_in_plain_words() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with Program("examples.chat", "--port", str(port)) as program:
            ended = program.wait()
    assert ended.status == 1
    assert ended.stdout == ""
    assert re.search(rf"\b{port}\b.*in use|in use.*\b{port}\b", ended.stderr, re.DOTALL)
    assert "Traceback" not in ended.stderr


# -- tokens


def connect(chat: Chat, token: str | None, **headers: str) -> int:
    """Ask for the WebSocket as a browser does; return the status."""
    params = {"vsn": "2.0.0"} if token is None else {"vsn": "2.0.0", "token": token}
    with closing(http.client.HTTPConnection("127.0.0.1", chat.port, timeout=10)) as connection:
        connection.request(
            "GET",
            f"/socket/websocket?{urlencode(params)}",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                **headers,
            },
        )
        return connection.getresponse().status


def test_a_connection_needs_a_token_of_ours_that_is_not_too_old(chat: Chat) -> None:
    tokens = Tokens(SECRET)
    good = tokens.sign("user", "Ada")
    assert connect(chat, good) == 101
    assert connect(chat, None) == 403
    assert connect(chat, "") == 403
    assert connect(chat, "not a token") == 403
    # Not its last letter, two bits of which mean nothing.
    assert connect(chat, good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]) == 403
    assert connect(chat, Tokens("another secret, long enough").sign("user", "Ada")) == 403
    assert connect(chat, tokens.sign("guest", "Ada")) == 403
    assert connect(chat, tokens.sign("user", "Ada", signed_at=time.time() - 62)) == 403
    assert connect(chat, tokens.sign("user", "Ada", signed_at=time.time() - 50)) == 101
    assert connect(chat, tokens.sign("user", "Ada", signed_at=time.time() + 60)) == 403
    # A good token from the page of another site is not used by ours.
    assert connect(chat, good, Origin="http://elsewhere.example") == 403


@in_a_browser
def test_a_page_with_a_token_that_is_not_accepted_stays_at_the_door(
    visit: Visit, chat: Chat, room: str
) -> None:
    old = Tokens(SECRET).sign("user", "Ada", signed_at=time.time() - 3600)
    ada = visit("Ada")
    ada.page.route("**/token?*", lambda route: route.fulfill(json={"token": old, "name": "Ada"}))
    ada.knock(chat.url, room)
    door = ada.page.get_by_test_id("door-error")
    expect(door).to_have_text(
        "The server does not let you connect. Try again in a moment.", timeout=10_000
    )
    assert any("403" in problem for problem in ada.problems)
    ada.problems.clear()
    ada.page.unroute_all()
    ada.press("enter")
    ada.is_("live")


# -- the end of the silence


@in_a_browser
def test_a_network_that_goes_silent(silence: Silence) -> None:
    ada, bob = silence.ada, silence.bob
    # The page would have sent a heartbeat every 10 seconds; the server waits for 15.
    ada.sees_left("Bob", "connection lost", within=20_000)
    assert 10 < ada.time_of("left") - silence.since < 18
    ada.sees_here("Ada")
    ada.say("He has gone")
    ada.hears("Ada", "He has gone")
    silence.proxy.speak()
    bob.context.set_offline(False)
    bob.hears("Ada", "He has gone", within=20_000)
    bob.is_("live")
    expect(bob.entries("note")).to_contain_text(["You are back."])
    ada.sees_here("Ada", "Bob")
    bob.sees_here("Bob", "Ada")
    assert ada.ways_seen() == [("Bob", "connection lost")]
    assert ada.problems == bob.problems == []

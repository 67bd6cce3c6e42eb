"""The chat, started as its users start it, and its page in a real browser.

Each way to leave is gone once, and the others read on their page which one it was.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, expect

from exeunt.channels import Tokens
from tests.e2e.browser import Visitor, kill, open_browser
from tests.e2e.chat_fixtures import *  # noqa: F403
from tests.e2e.chat_fixtures import SECRET, Chat, Visit
from tests.e2e.programs import Program
from tests.e2e.proxy import SilentProxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
in_a_browser = pytest.mark.needs("chromium")

CRASHED = "crashed: RuntimeError: the crash button was pressed"


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


@pytest.fixture(autouse=True)
def begin_early(request: pytest.FixtureRequest) -> None:
    if "visit" in request.fixturenames:
        request.getfixturevalue("silence")


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
    expect(door).to_have_text("A name has 1 to 32 letters.")
    ada.problems.clear()  # the browser reports the status 400 of the sign-in
    ada.page.get_by_test_id("name").fill("Ada")
    ada.page.get_by_test_id("room").fill("lobby\N{RIGHT-TO-LEFT OVERRIDE}")
    ada.page.get_by_test_id("enter").click()
    expect(door).to_have_text("A room has 1 to 32 letters.")
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
            # The new server knows nothing; what was said stands on the pages that have seen it.
            expect(visitor.entries("note")).to_contain_text(
                ["The room has begun anew", "You are back."]
            )
            visitor.hears("Ada", "Before")
        ada.sees_here("Ada", "Bob")
        bob.sees_here("Bob", "Ada")
        ada.say("After")
        bob.say("Indeed")
        for visitor in (ada, bob):
            visitor.hears("Ada", "After")
            visitor.hears("Bob", "Indeed")
            assert visitor.entries("said").count() == 3
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
            b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
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
    for option in ("--host", "--port", "--secret", "--history", "--verbose"):
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--secret", "short"), "at least 20 characters"),
        (("--history", "somewhere"), "--history needs --secret"),
    ],
)
def test_options_that_make_no_sense_are_explained(options: tuple[str, ...], words: str) -> None:
    with Program("examples.chat", "--port", "0", *options) as program:
        ended = program.wait()
    assert ended.status == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_history_that_cannot_be_read_is_said_so_in_plain_words(tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.write_text("This is a letter and no database." * 10)
    with Program(
        "examples.chat", "--port", "0", "--secret", SECRET, "--history", str(history)
    ) as program:
        ended = program.wait()
    assert ended.status == 1
    assert str(history) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert history.read_text().startswith("This is a letter")


# -- tokens


def connect(chat: Chat, token: str | None, **headers: str) -> int:
    """Ask for the WebSocket as a browser does; return the status."""
    offered = "phoenix"
    if token is not None:
        encoded = base64.b64encode(token.encode()).decode().rstrip("=")
        offered += f", base64url.bearer.phx.{encoded}"
    with closing(http.client.HTTPConnection("127.0.0.1", chat.port, timeout=10)) as connection:
        connection.request(
            "GET",
            "/socket/websocket?vsn=2.0.0",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Protocol": offered,
                **headers,
            },
        )
        return connection.getresponse().status


def sign(name: str, salt: str = "person", secret: str = SECRET, *, ago: float = 0.0) -> str:
    data = {"id": name.lower(), "name": name}
    return Tokens(secret).sign(salt, data, signed_at=time.time() - ago)


def test_a_connection_needs_a_token_of_ours_that_is_not_too_old(chat: Chat) -> None:
    good = sign("Ada")
    day = 24 * 3600
    assert connect(chat, good) == 101
    assert connect(chat, None) == 403
    assert connect(chat, "") == 403
    assert connect(chat, "not a token") == 403
    # Not its last letter, two bits of which mean nothing.
    assert connect(chat, good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]) == 403
    assert connect(chat, sign("Ada", secret="another secret, long enough")) == 403
    assert connect(chat, sign("Ada", salt="guest")) == 403
    assert connect(chat, Tokens(SECRET).sign("person", "Ada")) == 403
    assert connect(chat, sign("Ada", ago=day + 2)) == 403
    assert connect(chat, sign("Ada", ago=day - 60)) == 101
    assert connect(chat, sign("Ada", ago=-60)) == 403
    # A good token from the page of another site is not used by ours.
    assert connect(chat, good, Origin="http://elsewhere.example") == 403


def sign_in(chat: Chat, body: str) -> tuple[int, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", chat.port, timeout=10)) as connection:
        connection.request("POST", "/sign-in", body=body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_signing_in_gives_an_id_that_a_token_keeps(chat: Chat) -> None:
    status, ada = sign_in(chat, json.dumps({"name": " Ada   Lovelace "}))
    assert (status, ada["name"]) == (200, "Ada Lovelace")
    assert connect(chat, ada["token"]) == 101

    def again(**asked: str) -> str:
        status, answer = sign_in(chat, json.dumps(asked))
        assert status == 200
        return answer["id"]

    assert again(name="Ada Lovelace", token=ada["token"]) == ada["id"]
    # Neither the name alone nor the token under another name makes anybody the same person.
    assert again(name="Ada Lovelace") != ada["id"]
    assert again(name="Ada Lovelace", token="forged") != ada["id"]
    assert again(name="Somebody else", token=ada["token"]) != ada["id"]
    # Too old to connect with is not too old to be changed for a new one.
    assert again(name="Ada", token=sign("Ada", ago=48 * 3600)) == "ada"


@pytest.mark.parametrize(
    "body",
    [
        *("", "{", "[]", "null", '"Ada"', "{}", "[" * 100_000, "\x00"),
        *('{"name": null}', '{"name": 7}', '{"name": ["Ada"]}', '{"name": ""}', '{"name": " "}'),
        *('{"name": "' + "x" * 33 + '"}', '{"name": "\\u202eAda"}', '{"name": "\\ud800"}'),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_sign_in_that_is_none_is_explained(chat: Chat, body: str) -> None:
    status, answer = sign_in(chat, body)
    assert status == 400
    assert answer["error"]


@in_a_browser
def test_the_token_stands_in_no_url(visit: Visit, chat: Chat, room: str) -> None:
    ada = visit("Ada")
    urls: list[str] = []
    ada.page.on("websocket", lambda websocket: urls.append(websocket.url))
    ada.page.on("request", lambda request: urls.append(request.url))
    ada.enter(chat.url, room)
    token = ada.page.evaluate("localStorage.getItem('exeunt.token.Ada')")
    assert any(url.startswith("ws://") for url in urls)
    assert not any(token in url or "Ada" in url for url in urls)


@in_a_browser
def test_a_page_with_a_token_that_is_not_accepted_stays_at_the_door(
    visit: Visit, chat: Chat, room: str
) -> None:
    old = {"id": "ada", "name": "Ada", "token": sign("Ada", ago=48 * 3600)}
    ada = visit("Ada")
    ada.page.route("**/sign-in", lambda route: route.fulfill(json=old))
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

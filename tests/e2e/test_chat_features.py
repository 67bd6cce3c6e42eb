"""What the chat can do beyond talking and leaving, in a real browser.

Rooms, tabs, typing, private messages, the bot, the host; and connections that are lost and found
again without a message being lost, or shown twice.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect

from tests.e2e.browser import WITHIN, Visitor, kill, open_browser
from tests.e2e.chat_fixtures import *  # noqa: F403
from tests.e2e.chat_fixtures import Chat, Visit
from tests.e2e.proxy import SilentProxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("chromium")]


@contextmanager
def tab_of(visitor: Visitor, chat: Chat, room: str) -> Iterator[Visitor]:
    """Open another tab of somebody's browser, and close it in the end."""
    tab = visitor.another_tab(chat.url, room)
    with closing(tab.page):
        yield tab
        assert tab.problems == []


def log_of(visitor: Visitor) -> list[str]:
    return visitor.entries("said").locator(".text").all_inner_texts()


# -- rooms


def test_rooms_are_listed_opened_and_switched(
    ada: Visitor, visit: Visit, chat: Chat, room: str
) -> None:
    bob = visit("Bob")
    bob.enter(chat.url, "the green room")
    listed = ada.page.get_by_test_id("rooms").locator("li")
    green = listed.filter(has=ada.page.get_by_text("the green room", exact=True))
    expect(green.locator(".count")).to_have_text("1")
    ada.show("the green room")
    ada.sees_here("Ada", "Bob")
    bob.sees_here("Bob", "Ada")
    expect(green.locator(".count")).to_have_text("2")
    bob.say("Hello in green")
    ada.hears("Bob", "Hello in green")
    # In both rooms at once: what is said in the one that is not shown is counted.
    ada.show(room)
    assert log_of(ada) == []
    bob.say("Are you still here?")
    expect(green.locator(".badge")).to_have_text("1")
    expect(ada.page).to_have_title(f"(1) {room} \N{MIDDLE DOT} exeunt")
    ada.show("the green room")
    ada.has_said("Bob", "Hello in green", "Are you still here?")
    expect(green.locator(".badge")).to_have_count(0)
    # To leave one room leads back to the other.
    ada.press("leave")
    expect(ada.page.get_by_test_id("room-title")).to_have_text(room)
    bob.sees_left("Ada", "left")
    ada.is_("live")
    bob.sees_here("Bob")


def test_a_text_that_is_begun_waits_in_its_room(ada: Visitor, room: str) -> None:
    ada.page.get_by_test_id("text").fill("Half a sen")
    ada.open_room("elsewhere")
    expect(ada.page.get_by_test_id("text")).to_have_value("")
    ada.say("A whole one")
    ada.hears("Ada", "A whole one")
    ada.show(room)
    expect(ada.page.get_by_test_id("text")).to_have_value("Half a sen")
    assert log_of(ada) == []


def test_a_room_with_a_name_that_is_not_accepted_is_explained(ada: Visitor, room: str) -> None:
    ada.page.get_by_test_id("open-room").fill("lobby\N{RIGHT-TO-LEFT OVERRIDE}")
    ada.page.get_by_test_id("open").click()
    expect(ada.page.get_by_test_id("open-error")).to_have_text("A room has 1 to 32 letters.")
    expect(ada.page.get_by_test_id("room-title")).to_have_text(room)
    ada.say("Still here")
    ada.hears("Ada", "Still here")


# -- tabs


def test_several_tabs_are_one_person(ada: Visitor, bob: Visitor, chat: Chat, room: str) -> None:
    with tab_of(bob, chat, room) as second:
        ada.sees_here("Ada", "Bob")
        expect(ada.member("Bob").locator(".tabs")).to_have_text("\N{MULTIPLICATION SIGN}2")
        second.say("From the second tab")
        bob.hears("Bob", "From the second tab")
        expect(bob.entries("said").last).to_have_class(re.compile(r"\bown\b"))
    # One tab is closed: Bob has not gone.
    expect(ada.member("Bob").locator(".tabs")).to_have_count(0)
    bob.say("Still here")
    ada.hears("Bob", "Still here")
    assert ada.ways_seen() == []
    bob.page.close()
    ada.sees_left("Bob", "closed the tab")
    ada.sees_joined("Bob")


def test_two_of_one_name_are_two_people(ada: Visitor, visit: Visit, chat: Chat, room: str) -> None:
    other = visit("Ada", locale="en-GB")
    other.enter(chat.url, room)
    ada.sees_here("Ada", "Ada")
    marks = ada.page.get_by_test_id("members").locator("li:not([data-bot]) .mark")
    assert len({text for text in marks.all_inner_texts() if text.startswith("#")}) == 2
    ada.say("Who are you?")
    other.hears("Ada", "Who are you?")
    assert other.page.locator("#log .said.own").count() == 0


# -- typing


def test_typing_is_seen_and_ends(ada: Visitor, bob: Visitor) -> None:
    bob.page.get_by_test_id("text").press_sequentially("Hel")
    ada.sees_typing("Bob is typing\N{HORIZONTAL ELLIPSIS}")
    bob.sees_typing("")
    bob.page.get_by_test_id("text").press("Enter")
    ada.hears("Bob", "Hel")
    ada.sees_typing("")
    bob.page.get_by_test_id("text").press_sequentially("x")
    ada.sees_typing("Bob is typing\N{HORIZONTAL ELLIPSIS}")
    bob.page.get_by_test_id("text").fill("")
    ada.sees_typing("")


def test_somebody_who_dies_while_typing_types_no_longer(
    ada: Visitor, playwright: Playwright, chromium: Path, chat: Chat, room: str
) -> None:
    with open_browser(playwright, chromium) as doomed:
        bob = Visitor(doomed, "Bob")
        bob.enter(chat.url, room)
        bob.page.get_by_test_id("text").press_sequentially("Help")
        ada.sees_typing("Bob is typing\N{HORIZONTAL ELLIPSIS}")
        kill(doomed)
        ada.sees_typing("")
        ada.sees_left("Bob", "connection lost")
        ada.sees_here("Ada")


# -- private messages


def test_private_messages_reach_all_tabs_of_two_people_and_nobody_else(
    ada: Visitor, bob: Visitor, visit: Visit, chat: Chat, room: str
) -> None:
    eve = visit("Eve")
    frames: list[str] = []
    eve.page.on(
        "websocket",
        lambda websocket: websocket.on("framereceived", lambda data: frames.append(str(data))),
    )
    eve.enter(chat.url, room)
    with tab_of(bob, chat, room) as second:
        ada.whisper("Bob", "psst: only for you")
        ada.hears("Ada", "psst: only for you")
        for tab in (bob, second):
            tab.show("Ada")
            tab.hears("Ada", "psst: only for you")
        second.say("I hear you")
        for visitor in (ada, bob):
            visitor.has_said("Bob", "I hear you")
    # Eve hears what is said in the room, so she would have heard the rest before.
    ada.show(room)
    ada.say("And now aloud")
    eve.hears("Ada", "And now aloud")
    assert log_of(eve) == ["And now aloud"]
    assert eve.page.get_by_test_id("conversations").locator("li").count() == 0
    assert any("And now aloud" in frame for frame in frames)
    assert not any("only for you" in frame or "I hear you" in frame for frame in frames)


def test_the_command_msg_whispers_too(ada: Visitor, bob: Visitor, room: str) -> None:
    ada.say("/msg bob psst")
    bob.show("Ada")
    bob.hears("Ada", "psst")
    ada.say("/msg nobody psst")
    expect(ada.page.get_by_test_id("hint")).to_have_text("There is nobody of that name here.")
    assert log_of(ada) == []


def test_markup_in_private_and_in_the_names_of_rooms_is_text(
    visit: Visit, chat: Chat, room: str
) -> None:
    text = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    name = "<img src=x onerror=alert(3)>"
    mallory, bob = visit(name), visit("Bob")
    mallory.enter(chat.url, room)
    bob.enter(chat.url, room)
    mallory.page.get_by_test_id("text").press_sequentially("x")
    bob.sees_typing(f"{name} is typing\N{HORIZONTAL ELLIPSIS}")
    mallory.whisper("Bob", text)
    bob.show(name)
    bob.hears(name, text)
    mallory.open_room("<b>bold</b>")
    bob.show("<b>bold</b>")
    for visitor in (mallory, bob):
        assert visitor.page.locator("#stage :is(b, img, script)").count() == 0


# -- the bot


def test_the_bot_answers(ada: Visitor, bob: Visitor) -> None:
    expect(ada.member("Prompter").locator(".mark")).to_have_text("bot")
    bob.say("/roll 2d1000")
    said = ada.entries("said", "Prompter").locator(".text")
    expect(said).to_have_count(1)
    shown = said.inner_text().removeprefix("2d1000: ")
    each, total = shown.split(" = ")
    assert sum(map(int, each.split(" + "))) == int(total)
    bob.say("/time")
    expect(said).to_have_count(2)
    expect(said.last).to_contain_text("where the server is")


def test_a_bot_that_crashes_comes_back_and_says_so(visit: Visit) -> None:
    with Chat() as chat:
        ada = visit("Ada")
        ada.enter(chat.url, "lobby")
        ada.sees_joined("Prompter")
        ada.say("/crash bot")
        ada.sees_left("Prompter", "crashed: RuntimeError: somebody said /crash bot")
        expect(ada.member("Prompter")).to_have_count(0)
        ada.has_said("Prompter", "I am back: my supervisor has started me again.")
        ada.sees_joined("Prompter", times=2)
        ada.say("/roll 1d2")
        expect(ada.entries("said", "Prompter")).to_have_count(2)
        ada.is_("live")
        assert chat.stderr().count("Traceback") == 1


# -- the host


def test_the_host_throws_somebody_out_of_a_room(
    ada: Visitor, bob: Visitor, chat: Chat, room: str
) -> None:
    expect(ada.member("Ada").locator(".mark")).to_have_text("host")
    bob.open_room("bob's corner")
    bob.show(room)
    assert bob.member("Ada").get_by_role("button", name="Throw out").count() == 0
    with tab_of(bob, chat, room) as second:
        ada.throw_out("Bob")
        ada.sees_left("Bob", "thrown out by Ada")
        ada.sees_here("Ada")
        for tab in (bob, second):
            tab.is_("out")
            tab.is_told("Ada has thrown you out.")
            expect(tab.page.get_by_test_id("come-back")).to_be_disabled()
    # Out of this room, not out of the chat.
    bob.show("bob's corner")
    bob.is_("live")
    bob.say("All alone")
    bob.hears("Bob", "All alone")
    # Neither a reload nor another tab leads back in before the minute is over.
    bob.knock(chat.url, room)
    expect(bob.page.get_by_test_id("door-error")).to_contain_text("You can come back in")
    ada.sees_here("Ada")
    assert ada.ways_seen() == [("Bob", "thrown out by Ada")]


def test_only_the_host_can_kick_and_the_next_one_follows(
    ada: Visitor, bob: Visitor, chat: Chat, room: str
) -> None:
    bob.say("/kick Ada")
    expect(bob.page.get_by_test_id("hint")).to_contain_text("Only the host")
    bob.say("/kick Nobody")
    expect(bob.page.get_by_test_id("hint")).to_have_text("There is nobody of that name here.")
    ada.say("/kick Prompter")
    expect(ada.page.get_by_test_id("hint")).to_have_text("Prompter cannot be thrown out.")
    ada.press("leave")
    expect(bob.member("Bob").locator(".mark")).to_have_text("host")
    # She is back within the minute, and host again.
    ada.press("enter")
    ada.is_("live")
    expect(bob.member("Ada").locator(".mark")).to_have_text("host")
    ada.say("/kick bob")
    bob.is_("out")
    assert log_of(ada) == []


# -- connections that are lost and found again


def test_a_connection_that_is_cut_loses_no_message_and_shows_none_twice(
    ada: Visitor, visit: Visit, chat: Chat, room: str
) -> None:
    with SilentProxy(chat.port) as proxy:
        bob = visit("Bob")
        bob.enter(f"http://127.0.0.1:{proxy.port}", room)
        bob.say("one")
        ada.hears("Bob", "one")
        proxy.go_silent()
        # Neither the page nor the server knows yet that nothing passes any more.
        ada.say("two")
        ada.hears("Ada", "two")
        bob.say("three")
        bob.say("four")
        bob.is_waiting_with("three", "four")
        proxy.speak()
        for visitor in (ada, bob):
            visitor.hears("Bob", "four")
            visitor.is_waiting_with()
            expect(visitor.entries("said").locator(".text")).to_have_text(
                ["one", "two", "three", "four"]
            )
        ada.sees_here("Ada", "Bob")
        ada.sees_left("Bob", "connection lost")
        # Again, while one is away that others come and go.
        proxy.go_silent()
        ada.press("crash")
        ada.sees_joined("Ada", times=2)
        ada.say("five")
        ada.hears("Ada", "five")
        proxy.speak()
        bob.hears("Ada", "five")
        bob.sees_left("Ada", "crashed: RuntimeError: the crash button was pressed")
        assert log_of(bob) == ["one", "two", "three", "four", "five"]
        bob.page.goto("about:blank")


def test_a_private_message_waits_for_a_connection_that_is_cut(
    ada: Visitor, visit: Visit, chat: Chat, room: str
) -> None:
    with SilentProxy(chat.port) as proxy:
        bob = visit("Bob")
        bob.enter(f"http://127.0.0.1:{proxy.port}", room)
        ada.whisper("Bob", "one")
        bob.show("Ada")
        bob.hears("Ada", "one")
        proxy.go_silent()
        ada.say("two")
        ada.hears("Ada", "two")
        bob.say("three")
        bob.is_waiting_with("three")
        proxy.speak()
        for visitor in (ada, bob):
            visitor.hears("Bob", "three")
            visitor.hears("Ada", "two")
            assert log_of(visitor) == ["one", "two", "three"]
        bob.page.goto("about:blank")


def test_a_server_that_is_killed_loses_nothing_that_it_has_confirmed(
    visit: Visit, tmp_path: Path
) -> None:
    history = ("--history", str(tmp_path / "history"))
    with Chat(0, *history) as chat:
        ada, bob, eve = visit("Ada"), visit("Bob"), visit("Eve")
        for visitor in (ada, bob, eve):
            visitor.enter(chat.url, "lobby")
        ada.say("one")
        for visitor in (ada, bob, eve):
            visitor.hears("Ada", "one")
        ada.whisper("Bob", "secret one")
        ada.hears("Ada", "secret one")
        ada.show("lobby")
        eve.page.goto("about:blank")
        ada.sees_left("Eve", "closed the tab")
        chat.end(signal.SIGKILL)
        for visitor in (ada, bob):
            visitor.is_told("Connection lost, trying again")
        ada.say("two")
        ada.say("three")
        bob.say("four")
        ada.is_waiting_with("two", "three")
        bob.is_waiting_with("four")
        port = chat.port
    with Chat(port, *history) as chat:
        for visitor in (ada, bob):
            visitor.is_("live")
            visitor.has_said("Ada", "one", "two", "three")
            visitor.has_said("Bob", "four")
            visitor.is_waiting_with()
            # Even this was a way to leave.
            visitor.sees_left("Ada", "the server was killed")
            visitor.sees_left("Bob", "the server was killed")
        assert log_of(ada) == log_of(bob)
        ada.sees_here("Ada", "Bob")
        # Whoever comes later reads all of it, and two people their secret.
        eve.enter(chat.url, "lobby")
        expect(eve.entries("said").locator(".text")).to_have_text(log_of(ada), timeout=WITHIN)
        assert ("Eve", "the server was killed") not in eve.ways_seen()
        bob.show("Ada")
        bob.has_said("Ada", "secret one")


def test_a_server_with_another_secret_is_met_as_somebody_new(visit: Visit) -> None:
    with Chat() as chat:
        ada, bob = visit("Ada"), visit("Bob")
        for visitor in (ada, bob):
            visitor.enter(chat.url, "lobby")
        ada.say("one")
        bob.hears("Ada", "one")
        chat.end(signal.SIGTERM)
        ada.say("two")
        port = chat.port
    with Chat(port, "--secret", "another secret, and long enough"):
        for visitor in (ada, bob):
            visitor.is_("live")
            visitor.has_said("Ada", "one", "two")
        assert ada.entries("said").count() == ada.page.locator("#log .said.own").count() == 2
        bob.whisper("Ada", "Is it you?")
        ada.show("Bob")
        ada.hears("Bob", "Is it you?")
    for visitor in (ada, bob):
        # The browser tells of the refusals that led to the new tokens.
        visitor.problems[:] = [one for one in visitor.problems if "403" not in one]


def test_a_room_that_crashes_is_opened_anew_with_all_that_was_said(visit: Visit) -> None:
    with Chat() as chat:
        ada, bob = visit("Ada"), visit("Bob")
        ada.enter(chat.url, "lobby")
        bob.enter(chat.url, "lobby")
        ada.say("one")
        bob.hears("Ada", "one")
        ada.say("/crash room")
        for visitor in (ada, bob):
            expect(visitor.entries("note")).to_contain_text(["The room crashed."])
            visitor.is_("live")
        bob.say("two")
        ada.hears("Bob", "two")
        eve = visit("Eve")
        eve.enter(chat.url, "lobby")
        for visitor in (ada, bob, eve):
            expect(visitor.entries("said").locator(".text")).to_have_text(["one", "two"])
        expect(eve.page.get_by_test_id("members").locator("li:not([data-bot])")).to_have_count(3)
        assert chat.stderr().count("Traceback") == 1


def test_too_many_messages_at_once_are_sent_one_after_the_other(ada: Visitor, bob: Visitor) -> None:
    texts = [f"number {number}" for number in range(14)]
    for text in texts:
        ada.say(text)
    bob.has_said("Ada", *texts)
    ada.is_waiting_with()

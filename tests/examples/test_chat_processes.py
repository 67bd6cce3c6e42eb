"""The processes of the chat, with clients that send plain frames, also such as no page sends."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

import examples.chat.channels
import examples.chat.rooms
from examples.chat.archive import Archive, NotKept
from examples.chat.inboxes import INBOXES
from examples.chat.lobby import Lobby
from examples.chat.log import Log
from examples.chat.people import sign_in
from examples.chat.rooms import ROOMS, Member, Room
from exeunt import exit, self_pid, send, stop, unlink, wait_exit, whereis
from exeunt.channels import Endpoint, Presence
from tests.examples.chat_world import TOKENS, open_chat, open_tab

ROOM = "room:lobby"


def texts(welcome: dict[str, Any]) -> list[str]:
    return [entry["text"] for entry in welcome["entries"] if entry["kind"] == "said"]


def moves(welcome: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (entry["kind"], entry["name"], entry["text"])
        for entry in welcome["entries"]
        if entry["kind"] != "said" and entry["name"] != "Prompter"
    ]


# -- talking, and being cut off


async def test_what_is_said_has_numbers_and_is_remembered() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann, open_tab(url, "Bob") as bob:
        await ann.join(ROOM)
        status, answer = await ann.say(ROOM, "one", "1")
        assert status == "ok"
        welcome = await bob.join(ROOM)
        assert texts(welcome) == ["one"]
        assert welcome["entries"][-1]["number"] == welcome["last"] > answer["number"]
        await ann.say(ROOM, "two", "2")
        said = await bob.next(ROOM, "said")
        assert (said["text"], said["name"], said["who"]) == ("two", "Ann", ann.person.id)
        assert said["number"] == welcome["last"] + 1


async def test_who_comes_back_gets_what_was_missed_and_a_repeated_message_is_said_once() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        _, token = sign_in(TOKENS, "Bob")
        async with open_tab(url, "Bob", token) as bob:
            seen = await bob.join(ROOM)
            await bob.say(ROOM, "mine", "7")
            said = await bob.next(ROOM, "said")
        await ann.say(ROOM, "meanwhile", "8")
        async with open_tab(url, "Bob", token) as bob:
            since = {"epoch": seen["epoch"], "seen": seen["last"]}
            welcome = await bob.join(ROOM, since)
            assert texts(welcome) == ["mine", "meanwhile"]
            assert moves(welcome) == [("left", "Bob", "closed the tab"), ("joined", "Bob", "")]
            assert await bob.say(ROOM, "mine", "7") == ("ok", {"number": said["number"]})
            # The id is Bob's: anybody else's message of the same id is another one.
            await ann.say(ROOM, "not his", "7")
            assert texts(await ann.join(ROOM)) == ["mine", "meanwhile", "not his"]


async def test_a_room_that_crashes_keeps_its_log_and_its_epoch() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        before = await ann.join(ROOM)
        await ann.say(ROOM, "one", "1")
        await ann.send(ROOM, "crash", {"what": "room"})
        await ann.next(ROOM, "room_ended")
        await ann.next(ROOM, "phx_error")
        after = await ann.join(ROOM, {"epoch": before["epoch"], "seen": before["last"]})
        assert after["epoch"] == before["epoch"]
        assert texts(after) == ["one"]
        assert moves(after) == [("left", "Ann", "the room crashed"), ("joined", "Ann", "")]
        assert await ann.say(ROOM, "one", "1") == ("ok", {"number": before["last"] + 1})
        assert (await ann.say(ROOM, "two", "2"))[0] == "ok"


async def test_a_killed_room_is_another_way_out_for_it_too() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        await ann.join("lobby")
        room = ROOMS.via("lobby").whereis()
        assert room is not None
        exit(room, "kill")
        await ann.next(ROOM, "phx_error")
        told = await ann.next("lobby", "rooms")
        assert told == {"rooms": [{"name": "lobby", "people": None}]}
        await ann.join(ROOM)
        assert await ann.next("lobby", "rooms") == {"rooms": [{"name": "lobby", "people": 1}]}
        assert await Lobby.rooms("lobby") == [{"name": "lobby", "people": 1}]


async def test_the_log_of_a_file_outlives_the_server(tmp_path: Path) -> None:
    history = str(tmp_path / "history")
    _, token = sign_in(TOKENS, "Ann")
    async with open_chat(history) as url, open_tab(url, "Ann", token) as ann:
        before = await ann.join(ROOM)
        await ann.say(ROOM, "one", "1")
        # In order, with Ann still there.
        chat = whereis("chat")
        assert chat is not None
        unlink(chat)
        await stop(chat, "shutdown")
    async with open_chat(history) as url, open_tab(url, "Ann", token) as ann:
        after = await ann.join(ROOM, {"epoch": before["epoch"], "seen": before["last"]})
        assert after["epoch"] == before["epoch"]
        assert texts(after) == ["one"]
        assert moves(after)[0] == ("left", "Ann", "the server restarts")


async def test_a_message_that_cannot_be_kept_is_not_said(tmp_path: Path) -> None:
    history = tmp_path / "history"
    async with open_chat(str(history)) as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        other = sqlite3.connect(history)
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON entries "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        other.commit()
        status, answer = await ann.say(ROOM, "one", "1")
        assert (status, answer["why"]) == ("error", "later")
        other.execute("DROP TRIGGER full")
        other.commit()
        other.close()
        assert (await ann.say(ROOM, "one", "1"))[0] == "ok"
        assert texts(await ann.join(ROOM)) == ["one"]


async def test_an_empty_room_ends_and_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples.chat.rooms, "EMPTY_FOR", 0.05)
    async with open_chat() as url:
        async with open_tab(url, "Ann") as ann:
            await ann.join(ROOM)
            await ann.say(ROOM, "one", "1")
            room = ROOMS.via("lobby").whereis()
            assert room is not None
            # It does not end while somebody is in it.
            await trio.sleep(0.1)
            assert texts(await ann.join(ROOM)) == ["one"]
        with trio.fail_after(5):
            assert await wait_exit(room) == "normal"
        async with open_tab(url, "Ann") as ann:
            assert texts(await ann.join(ROOM)) == []


async def test_who_enters_a_room_that_is_about_to_end_enters_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join("room:other")
        await ann.send("room:other", "phx_leave", {})
        await ann.next("room:other", "phx_close")
        room = ROOMS.via("other").whereis()
        assert room is not None
        send(room, "close if empty")
        assert moves(await ann.join("room:other"))[-1] == ("joined", "Ann", "")


# -- who is here


async def test_several_tabs_are_one_person_with_several_metas() -> None:
    _, token = sign_in(TOKENS, "Bob")
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        async with open_tab(url, "Bob", token) as one:
            await one.join(ROOM)
            assert (await ann.next(ROOM, "joined"))["name"] in ("Bob", "Ann", "Prompter")
            async with open_tab(url, "Bob", token) as two:
                await two.join(ROOM)
                await two.next(ROOM, "presence_state")
                with trio.fail_after(5):
                    while True:
                        here = await Presence.list("presence", ROOM)
                        if len(here[one.person.id]["metas"]) == 2:
                            break
                        await trio.sleep(0.01)
        assert (await ann.next(ROOM, "left"))["text"] == "closed the tab"
        async with open_tab(url, "Eve") as eve:
            # He came once and left once, however many tabs he had.
            assert moves(await eve.join(ROOM)) == [
                ("joined", "Ann", ""),
                ("joined", "Bob", ""),
                ("left", "Bob", "closed the tab"),
                ("joined", "Eve", ""),
            ]


async def test_who_types_is_shown_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples.chat.channels, "TYPING_FOR", 0.1)
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        await ann.next(ROOM, "presence_state")

        async def typing(wanted: bool) -> None:
            with trio.fail_after(5):
                while True:
                    diff = await ann.next(ROOM, "presence_diff")
                    joins = diff["joins"].get(ann.person.id, {"metas": [{"typing": None}]})
                    if joins["metas"][0]["typing"] is wanted:
                        return

        assert await ann.ask(ROOM, "typing", {"on": True}) == ("ok", {})
        await typing(True)
        await typing(False)


# -- private messages


async def test_private_messages_are_for_the_one_who_has_the_token() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann, open_tab(url, "Eve") as eve:
        status, answer = await eve.ask(f"user:{ann.person.id}", "phx_join", {})
        assert (status, answer["reason"]) == ("error", "These messages are not for you.")
        for topic in ("user:", "user:*", f"user:{eve.person.id} "):
            assert (await eve.ask(topic, "phx_join", {}))[0] == "error"
        await ann.join(f"user:{ann.person.id}")
        assert len(INBOXES.select()) == 1


async def test_a_private_message_is_in_the_inboxes_of_both_once_each() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann, open_tab(url, "Bob") as bob:
        mine, his = f"user:{ann.person.id}", f"user:{bob.person.id}"
        before = await ann.join(mine)
        await bob.join(his)
        message = {"to": bob.person.id, "text": "psst", "id": "1"}
        for _ in range(2):
            assert await ann.ask(mine, "tell", message) == ("ok", {})
        told = await bob.next(his, "told")
        assert (told["name"], told["text"], told["to_name"]) == ("Ann", "psst", "Bob")
        again = await ann.join(mine, {"epoch": before["epoch"], "seen": before["last"]})
        assert texts(again) == ["psst"]
        assert texts(await bob.join(his)) == ["psst"]


async def test_a_private_message_to_nobody_is_declined() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        mine = f"user:{ann.person.id}"
        await ann.join(mine)
        for to in ("nobody", "bot:prompter", ann.person.id):
            message = {"to": to, "text": "psst", "id": "1"}
            status, answer = await ann.ask(mine, "tell", message)
            assert (status, answer["why"]) == ("error", "never")


# -- the host


async def test_whoever_is_thrown_out_is_told_and_stays_outside_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examples.chat.rooms, "OUTSIDE_FOR", 0.3)
    async with open_chat() as url, open_tab(url, "Ann") as ann, open_tab(url, "Bob") as bob:
        await ann.join(ROOM)
        await bob.join(ROOM)
        out = {"user": bob.person.id}
        status, answer = await bob.ask(ROOM, "throw_out", {"user": ann.person.id})
        assert (status, answer["reason"][:13]) == ("error", "Only the host")
        assert await ann.ask(ROOM, "throw_out", out) == ("ok", {})
        assert (await bob.next(ROOM, "thrown_out"))["by"] == "Ann"
        await bob.next(ROOM, "phx_close")
        status, answer = await bob.ask(ROOM, "phx_join", {})
        assert (status, answer["why"]) == ("error", "outside")
        assert 0 < answer["wait"] <= 1000
        # Another room is another matter.
        await bob.join("room:other")
        await trio.sleep(0.35)
        welcome = await bob.join(ROOM)
        assert ("left", "Bob", "thrown out by Ann") in moves(welcome)
        assert welcome["host"] == ann.person.id


@pytest.mark.parametrize("user", ["bot:prompter", "nobody", "oneself"])
async def test_the_bot_the_host_and_nobody_cannot_be_thrown_out(user: str) -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        wanted = ann.person.id if user == "oneself" else user
        status, answer = await ann.ask(ROOM, "throw_out", {"user": wanted})
        assert (status, answer["why"]) == ("error", "never")


async def test_the_host_is_who_is_here_longest() -> None:
    async with open_chat() as url, open_tab(url, "Bob") as bob:
        _, token = sign_in(TOKENS, "Ann")
        async with open_tab(url, "Ann", token) as ann:
            assert (await ann.join(ROOM))["host"] == ann.person.id
            assert (await bob.join(ROOM))["host"] == ann.person.id
        assert await bob.next(ROOM, "host") == {"user": bob.person.id}
        async with open_tab(url, "Ann", token) as ann:
            # Back within the minute.
            assert (await ann.join(ROOM))["host"] == ann.person.id
            assert await bob.next(ROOM, "host") == {"user": ann.person.id}


# -- the bot


async def test_the_bot_is_in_every_room_and_ends_like_everybody() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        for topic in (ROOM, "room:other"):
            await ann.join(topic)
            await ann.say(topic, "/roll 1d1000", f"{topic} 1")
            while (said := await ann.next(topic, "said"))["name"] != "Prompter":
                pass
            assert said["text"].startswith("1d1000: ")
        bot = whereis("bot")
        assert bot is not None
        exit(bot, "kill")
        for topic in (ROOM, "room:other"):
            left = await ann.next(topic, "left")
            assert (left["name"], left["text"]) == ("Prompter", "killed")
            said = await ann.next(topic, "said")
            assert said["text"].startswith("I am back")


# -- what strangers send

BAD_PAYLOADS: list[tuple[str, object]] = [
    ("say", None),
    ("say", []),
    ("say", {}),
    ("say", {"text": "x"}),
    ("say", {"text": None, "id": "1"}),
    ("say", {"text": "", "id": "1"}),
    ("say", {"text": "x" * 2001, "id": "1"}),
    ("say", {"text": ["x"], "id": "1"}),
    ("say", {"text": "x", "id": 1}),
    ("say", {"text": "x", "id": ""}),
    ("say", {"text": "x", "id": "x" * 65}),
    ("typing", {}),
    ("typing", {"on": 1}),
    ("throw_out", {"user": None}),
    ("throw_out", {"user": {"a": 1}}),
    ("throw_out", "everybody"),
    ("no such event", {}),
    ("x" * 1000, {}),
    ("tell", {"to": "x", "text": "x", "id": "1"}),
    ("presence_diff", {"joins": {}, "leaves": {}}),
    ("room_ended", {}),
]


async def test_what_makes_no_sense_gets_an_error_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        for event, payload in BAD_PAYLOADS:
            status, answer = await ann.ask(ROOM, event, payload)
            assert status == "error", (event, payload)
            assert isinstance(answer["reason"], str)
            assert len(answer["reason"]) < 200
        for params in (None, [], "x", 7, {"epoch": {}, "seen": []}, {"seen": 10**30}):
            assert (await ann.ask(ROOM, "phx_join", params))[0] == "ok"
        assert (await ann.say(ROOM, "Still here", "1"))[0] == "ok"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "name", ["", " ", " x", "x ", "x  y", "x" * 33, "a\u202eb", "\x00", "a\nb"], ids=repr
)
async def test_rooms_of_bad_names_are_not_opened(name: str) -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        status, answer = await ann.ask(f"room:{name}", "phx_join", {})
        assert (status, answer["why"]) == ("error", "never")
        assert ROOMS.select() == []


async def test_who_sends_too_fast_is_told_when_to_go_on() -> None:
    _, token = sign_in(TOKENS, "Ann")
    async with (
        open_chat() as url,
        open_tab(url, "Ann", token) as one,
        open_tab(url, "Ann", token) as two,
        open_tab(url, "Bob") as bob,
    ):
        for tab in (one, two, bob):
            await tab.join(ROOM)
        answers = [
            await tab.say(ROOM, "x", f"{number}") for number, tab in enumerate([one, two] * 10)
        ]
        refused = [answer for status, answer in answers if status == "error"]
        assert 5 <= len(refused) <= 10
        assert all(0 < answer["wait"] <= 1000 and answer["why"] == "later" for answer in refused)
        assert (await bob.say(ROOM, "I am another", "1"))[0] == "ok"


async def test_there_is_an_end_to_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.chat.tree.MOST_ROOMS", 2)
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join("room:one")
        await ann.join("room:two")
        status, answer = await ann.ask("room:three", "phx_join", {})
        assert (status, answer["reason"]) == ("error", "There are too many rooms already.")
        await ann.join("room:two")


async def test_a_room_has_an_end_of_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples.chat.rooms, "MOST_CHANNELS_IN_A_ROOM", 2)
    async with open_chat() as url, open_tab(url, "Ann") as ann, open_tab(url, "Bob") as bob:
        await ann.join(ROOM)
        # The other place is the bot's: where it answers, it has one.
        await ann.say(ROOM, "/time", "1")
        while (await ann.next(ROOM, "said"))["name"] != "Prompter":
            pass
        status, answer = await bob.ask(ROOM, "phx_join", {})
        assert (status, answer["reason"]) == ("error", "This room is full.")


# -- crashes of the house


@pytest.mark.parametrize("name", ["watcher", "archive", "presence", "lobby", "bot"])
async def test_whatever_is_killed_the_chat_goes_on(name: str) -> None:
    async with open_chat() as url:
        async with open_tab(url, "Ann") as ann:
            await ann.join(ROOM)
            victim = whereis(name)
            assert victim is not None
            exit(victim, "kill")
            await wait_exit(victim)
        with trio.fail_after(10):
            while True:
                await trio.sleep(0.02)
                try:
                    url = await Endpoint.url("endpoint")
                    async with open_tab(url, "Bob") as bob:
                        await bob.join(ROOM)
                        assert (await bob.say(ROOM, "hello", "1"))[0] == "ok"
                        break
                except Exception:
                    continue


async def test_nobody_notices_that_the_watcher_is_killed() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        async with open_tab(url, "Bob") as bob:
            await bob.join(ROOM)
            watcher = whereis("watcher")
            assert watcher is not None
            exit(watcher, "kill")
            await wait_exit(watcher)
        # Bob left while there was no watcher, or hardly any; Ann hears of it all the same.
        left = await ann.next(ROOM, "left")
        assert (left["name"], left["text"]) == ("Bob", "closed the tab")


async def test_leaving_a_room_that_one_is_not_in_is_nothing() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        watcher = whereis("watcher")
        assert watcher is not None
        await Room.leave(ROOMS.via("lobby"), watcher, "left")
        async with open_tab(url, "Eve") as eve:
            assert moves(await eve.join(ROOM)) == [("joined", "Ann", ""), ("joined", "Eve", "")]


async def test_the_archive_refuses_an_entry_that_it_has() -> None:
    async with open_chat():
        log = Log()
        entry = log.draft("said", "ann", "Ann", "x")
        await Archive.keep("archive", "room:x", log.epoch, entry, [])
        with pytest.raises(NotKept):
            await Archive.keep("archive", "room:x", log.epoch, entry, [])
        again = await Archive.recall("archive", "room:x")
        assert (again.epoch, again.last) == (log.epoch, 1)


async def test_those_who_were_in_a_room_that_has_ended_are_written_down_once() -> None:
    async with open_chat():
        log = await Archive.recall("archive", "room:x")
        for number, who in enumerate(["ann", "bob"]):
            entry = log.draft("joined", who, who.title())
            assert entry.number == number + 1
            await Archive.keep("archive", "room:x", log.epoch, entry, [])
            log.add(entry)
        for who in ("ann", "ann", "bob", "eve"):
            await Archive.add_left("archive", "room:x", who, who.title(), "the server was killed")
        # Nobody but the room writes its log while it lives.
        left = (await Archive.recall("archive", "room:x", self_pid())).since()["entries"][2:]
        await Archive.add_left("archive", "room:x", "eve", "Eve", "the server was killed")
        assert [(one["kind"], one["who"], one["number"]) for one in left] == [
            ("left", "ann", 3),
            ("left", "bob", 4),
        ]


async def test_a_member_that_has_not_entered_cannot_speak() -> None:
    async with open_chat() as url, open_tab(url, "Ann") as ann:
        await ann.join(ROOM)
        bot = whereis("bot")
        assert bot is not None
        watcher = whereis("watcher")
        assert watcher is not None
        with pytest.raises(Exception, match="You are not in this room"):
            await Room.say(ROOMS.via("lobby"), watcher, "x", "1")
        assert Member(bot, "x", "X").is_bot is False

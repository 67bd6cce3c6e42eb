"""The chat's rules without processes: its log, its limits, who is who, and how people left."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.chat.bot import roll
from examples.chat.farewell import how_it_ended
from examples.chat.limits import Declined, Rate, name_from, text_from
from examples.chat.log import MOST_IDS, MOST_LETTERS, MOST_MOVES, MOST_SAID, Log
from examples.chat.people import RENEWAL_AGE, TOKEN_AGE, Person, person_from, sign_in
from examples.chat.rooms import ThrownOut
from exeunt import Crash, Shutdown
from exeunt.channels import Tokens

TOKENS = Tokens("a secret for nothing but tests")


def say(log: Log, text: str = "x", id: str = "", who: str = "ann") -> int:
    entry = log.draft("said", who, who.title(), text, id=id)
    log.add(entry)
    return entry.number


def move(log: Log, who: str = "ann", kind: Any = "joined") -> int:
    entry = log.draft(kind, who, who.title())
    log.add(entry)
    return entry.number


def numbers(told: dict[str, Any]) -> list[int]:
    return [entry["number"] for entry in told["entries"]]


# -- the log


def test_entries_are_numbered_from_one() -> None:
    log = Log()
    assert [say(log), move(log), say(log)] == [1, 2, 3]
    assert log.last == 3


def test_whoever_comes_back_gets_what_came_since() -> None:
    log = Log()
    for _ in range(5):
        say(log)
    assert numbers(log.since(log.epoch, 3)) == [4, 5]
    assert numbers(log.since(log.epoch, 5)) == []
    assert numbers(log.since(log.epoch, 0)) == [1, 2, 3, 4, 5]
    assert numbers(log.since()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("seen", [None, "3", 3.0, [], {}, -1])
def test_what_is_no_number_counts_as_nothing_seen(seen: object) -> None:
    log = Log()
    for _ in range(3):
        say(log)
    assert numbers(log.since(log.epoch, seen)) == [1, 2, 3]
    assert not log.since(log.epoch, seen)["lost"]


@pytest.mark.parametrize("epoch", [None, "", "another", 7, ["x"], {"a": 1}])
def test_of_another_epoch_nothing_was_seen(epoch: object) -> None:
    log = Log()
    say(log)
    assert numbers(log.since(epoch, 1)) == [1]


def test_a_log_forgets_the_oldest_messages_and_says_what_was_lost() -> None:
    log = Log()
    for _ in range(MOST_SAID + 10):
        say(log)
    assert numbers(log.since())[0] == 11
    assert log.dropped == list(range(1, 11))
    assert log.since(log.epoch, 9)["lost"]
    assert not log.since(log.epoch, 10)["lost"]
    # Whoever has seen nothing yet misses nothing.
    assert not log.since()["lost"]


def test_a_log_is_bounded_in_letters() -> None:
    log = Log()
    for _ in range(120):
        say(log, "x" * 2000)
    assert len(log.since()["entries"]) == MOST_LETTERS // 2000


def test_comings_and_goings_do_not_drive_out_what_was_said() -> None:
    log = Log()
    say(log, "first")
    for number in range(1000):
        move(log, f"user {number}")
    told = log.since()
    assert told["entries"][0]["text"] == "first"
    assert len(told["entries"]) == 1 + MOST_MOVES
    assert not log.since(log.epoch, 1)["lost"]


def test_a_message_is_known_by_its_id_for_a_while() -> None:
    log = Log()
    first = say(log, id="a")
    assert log.find("ann", "a") == first
    assert log.find("bob", "a") is None
    for number in range(MOST_IDS):
        say(log, id=f"later {number}")
    assert log.find("ann", "a") is None


def test_a_log_made_of_the_entries_of_another_goes_on_as_that_one() -> None:
    log = Log()
    for number in range(MOST_SAID + 10):
        say(log, id=str(number))
        move(log)
    entries = sorted((*log._said, *log._moves), key=lambda entry: entry.number)
    again = Log(log.epoch, entries)
    assert again.last == log.last
    assert again.since(log.epoch, 30) == log.since(log.epoch, 30)
    assert again.find("ann", str(MOST_SAID)) == log.find("ann", str(MOST_SAID))
    assert say(again) == say(log)


def test_a_log_knows_who_is_in() -> None:
    log = Log()
    assert not log.is_in("ann")
    move(log, "ann")
    assert log.is_in("ann") and not log.is_in("bob")
    move(log, "ann", "left")
    assert not log.is_in("ann")


@given(st.lists(st.sampled_from(["said", "joined", "away", "back"]), max_size=80))
def test_somebody_who_comes_and_goes_sees_each_entry_once_and_in_order(steps: list[str]) -> None:
    log, seen, is_there = Log(), [], True
    for step in steps:
        if step == "away":
            is_there = False
        elif step == "back":
            is_there = True
            seen += numbers(log.since(log.epoch, seen[-1] if seen else 0))
        else:
            number = say(log) if step == "said" else move(log)
            if is_there:
                seen.append(number)
    seen += numbers(log.since(log.epoch, seen[-1] if seen else 0))
    # Only of the moves may some be forgotten, if there were too many.
    moves = sum(step == "joined" for step in steps)
    assert seen == sorted(set(seen))
    if moves <= MOST_MOVES:
        assert seen == list(range(1, log.last + 1))


# -- limits


def test_names_are_tidied() -> None:
    assert name_from("  Ada \t Lovelace\n") == "Ada Lovelace"
    assert name_from("x" * 32) == "x" * 32


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 33, "a\u202eb", "a\u200bb", "\x00", "\ud800", None, 7, [], {}, b"a"]
)
def test_what_is_no_name_is_declined(name: object) -> None:
    with pytest.raises(Declined, match="1 to 32 letters"):
        name_from(name)


def test_texts_lose_the_spaces_around_them_and_nothing_else() -> None:
    assert text_from(" a\n b ") == "a\n b"
    for text in ("", " \n", "x" * 2001, None, 7, ["x"]):
        with pytest.raises(Declined):
            text_from(text)


def test_a_rate_allows_so_many_at_once_and_then_so_many_a_second() -> None:
    rate = Rate(3, 2.0)
    assert [rate.take("ann", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rate.take("bob", 0.0) == 0.0
    assert rate.take("ann", 0.25) == 0.25
    assert rate.take("ann", 0.5) == 0.0
    assert [rate.take("ann", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    with pytest.raises(Declined) as declined:
        rate.check("ann", 100.0)
    assert (declined.value.why, declined.value.wait) == ("later", 0.5)


def test_a_rate_forgets_those_who_have_not_asked_for_longest() -> None:
    rate = Rate(1, 0.001, most=2)
    assert rate.take("ann", 0.0) == 0.0
    assert rate.take("ann", 0.0) > 0
    rate.take("bob", 0.0)
    rate.take("eve", 0.0)
    assert rate.take("ann", 0.0) == 0.0


# -- who is who


def test_a_token_keeps_who_one_is() -> None:
    ada, token = sign_in(TOKENS, "Ada")
    assert person_from(TOKENS, token) == ada
    assert sign_in(TOKENS, "Ada", token)[0] == ada
    assert sign_in(TOKENS, "Bob", token)[0].id != ada.id
    assert sign_in(TOKENS, "Ada")[0].id != ada.id


@pytest.mark.parametrize("data", ["Ada", None, 7, [], {}, {"id": 1, "name": "Ada"}, {"id": "x"}])
def test_a_token_for_something_else_is_declined(data: object) -> None:
    with pytest.raises(Declined):
        person_from(TOKENS, TOKENS.sign("person", data))


def test_a_token_that_is_too_old_to_connect_can_be_renewed_for_a_while() -> None:
    data = {"id": "ada", "name": "Ada"}

    def token(age: float) -> str:
        return TOKENS.sign("person", data, signed_at=time.time() - age)

    with pytest.raises(Declined, match="expired"):
        person_from(TOKENS, token(TOKEN_AGE + 10))
    assert sign_in(TOKENS, "Ada", token(TOKEN_AGE + 10))[0] == Person("ada", "Ada")
    assert sign_in(TOKENS, "Ada", token(RENEWAL_AGE + 10))[0].id != "ada"


# -- how people left


@pytest.mark.parametrize(
    ("reason", "how"),
    [
        (Shutdown("left"), "left"),
        (Shutdown("local_closed"), "closed the tab"),
        (Shutdown("peer_closed"), "connection lost"),
        (Shutdown("read_timeout"), "connection lost"),
        (Shutdown("slow_consumer"), "connection lost: too slow"),
        (Shutdown(ThrownOut("Ann", 60)), "thrown out by Ann"),
        (Shutdown("disconnected"), "disconnected by the server"),
        (Shutdown("duplicate_join"), "joined anew"),
        (Shutdown("draining"), "the server restarts"),
        ("shutdown", "the server restarts"),
        (Shutdown(("deserializing", "max_frame_size_exceeded")), "sent what nobody can read"),
        ("killed", "killed"),
        ("the room has ended", "the room crashed"),
        ("node_lost", "the server was killed"),
        (Crash(ValueError("oh")), "crashed: ValueError: oh"),
        (Shutdown("something new"), "ended: shutdown: something new"),
        (("no", "idea"), "ended: ('no', 'idea')"),
    ],
    ids=str,
)
def test_every_reason_has_words(reason: object, how: str) -> None:
    assert how_it_ended(reason) == how


def test_words_for_a_reason_are_not_endless() -> None:
    assert len(how_it_ended(Crash(ValueError("x" * 10_000)))) == 200
    assert len(how_it_ended("x" * 10_000)) == 200


# -- dice


@given(st.integers(1, 20), st.integers(2, 9999), st.integers())
def test_dice_fall_within_their_sides(number: int, sides: int, seed: int) -> None:
    answer = roll(f"{number}d{sides}", random.Random(seed))
    each, _, total = answer.partition(": ")[2].partition(" = ")
    rolled = list(map(int, each.split(" + ")))
    assert len(rolled) == number
    assert all(1 <= one <= sides for one in rolled)
    assert number == 1 or sum(rolled) == int(total)


@pytest.mark.parametrize(
    "what", ["", "d", "0d6", "21d6", "1d1", "1d99999", "-1d6", "x", "1d6x", "²d6"]
)
def test_what_are_no_dice_is_explained(what: str) -> None:
    assert roll(what, random.Random()).startswith("I have up to 20 dice")

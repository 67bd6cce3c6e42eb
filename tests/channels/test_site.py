"""Mounts: which make sense, and which are refused when they are made."""

from __future__ import annotations

import math
from typing import Any

import pytest

from exeunt.channels import LongPoll, Mount, PubSub, Socket, TokenError
from exeunt.channels.site import Site


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"check_origin": "https://a.com"}, "check_origin"),
        ({"check_origin": ["a.com"]}, "a.com"),
        ({"check_origin": ["https://a.com", "//"]}, "//"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"max_frame_size": 0}, "max_frame_size"),
        ({"max_queued": 0}, "max_queued"),
        ({"close_within": -1}, "close_within"),
        ({"close_within": math.nan}, "close_within"),
        ({"longpoll": True}, "LongPoll"),
        ({"longpoll": LongPoll}, "LongPoll"),
        ({"websocket": False}, "give longpoll"),
    ],
    ids=repr,
)
def test_a_mount_that_makes_no_sense_is_refused_when_it_is_made(
    options: dict[str, Any], names: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=names):
        Mount(Socket, **options)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_window_is_a_time_that_passes(seconds: float) -> None:
    with pytest.raises(ValueError, match="window"):
        LongPoll(window=seconds)


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_token_is_good_for_a_while_perhaps_for_ever(seconds: float) -> None:
    with pytest.raises(ValueError, match="max_age"):
        LongPoll(max_age=seconds)
    assert LongPoll(max_age=math.inf).max_age == math.inf


def test_long_polling_is_off_unless_it_is_asked_for_and_then_as_in_phoenix() -> None:
    assert Mount(Socket).longpoll is None
    assert LongPoll() == LongPoll(window=10.0, max_age=14 * 86_400)
    Mount(Socket, websocket=False, longpoll=LongPoll())


def test_each_endpoint_signs_with_a_secret_of_its_own() -> None:
    one, other = (
        Site(mounts={}, hub=PubSub(), channels="channels", connections="connections", pages=None)
        for _ in range(2)
    )
    token = one.tokens.sign("salt", "name")
    assert one.tokens.verify("salt", token) == "name"
    with pytest.raises(TokenError):
        other.tokens.verify("salt", token)

"""Sockets: what may be declared, and which channel a topic leads to."""

from __future__ import annotations

from typing import Any

import pytest

from exeunt.channels import Channel, Refused, Route, Socket


class Room(Channel):
    pass


class Lobby(Channel):
    pass


def socket_with(channels: dict[str, Any]) -> Socket:
    return type("Declared", (Socket,), {"channels": channels})()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("lobby", Lobby),
        ("room:1", Room),
        ("room:", Room),
        ("room:vip", Lobby),
        ("room:vip2", Room),
        ("room:*", Room),
        ("room", None),
        ("lobby:1", None),
        ("Lobby", None),
        ("", None),
        ("*", None),
        (None, None),
        (7, None),
        (["lobby"], None),
        ({"lobby": 1}, None),
    ],
    ids=repr,
)
def test_the_first_route_that_fits(topic: object, expected: object) -> None:
    socket = socket_with({"room:vip": Lobby, "lobby": Lobby, "room:*": Room})
    route = socket.route(topic)
    assert (None if route is None else route.channel) is expected


def test_a_star_alone_fits_every_topic_that_is_a_string() -> None:
    socket = socket_with({"*": Room})
    for topic in ("", "a", "room:1", "phoenix", "*"):
        route = socket.route(topic)
        assert route is not None
        assert route.channel is Room
    assert socket.route(None) is None


def test_an_earlier_open_pattern_hides_a_later_one() -> None:
    socket = socket_with({"room:*": Room, "room:vip": Lobby})
    route = socket.route("room:vip")
    assert route is not None
    assert route.channel is Room


@pytest.mark.parametrize("pattern", ["*:room", "room:*:x", "**", "a*b*"])
def test_a_star_stands_at_the_end_or_nowhere(pattern: str) -> None:
    with pytest.raises(ValueError, match="a pattern is a topic, or a beginning of one and a star"):
        socket_with({pattern: Room})


@pytest.mark.parametrize("given", [None, "Room", Room(), object, Socket, 7, Route("Room")])  # type: ignore[arg-type]
def test_a_pattern_leads_to_a_class_of_channels(given: object) -> None:
    with pytest.raises(TypeError, match="which is no class of channels"):
        socket_with({"room:*": given})


@pytest.mark.parametrize("pattern", [7, None, b"room:*"])
def test_a_pattern_is_a_string(pattern: object) -> None:
    with pytest.raises((TypeError, ValueError), match="channels"):
        socket_with({pattern: Room})  # type: ignore[dict-item]


def test_a_route_brings_assigns_of_its_own() -> None:
    socket = socket_with({"room:*": Route(Room, {"role": "guest"}), "lobby": Route(Lobby)})
    room, lobby = socket.route("room:1"), socket.route("lobby")
    assert room is not None and lobby is not None
    assert (room.assigns, lobby.assigns) == ({"role": "guest"}, {})


def test_a_misspelt_callback_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="did you mean 'connect'"):

        class Misspelt(Socket):
            async def conect(self, params: Any, info: Any) -> bool:
                return True


def test_channels_are_inherited_and_may_be_replaced() -> None:
    class Base(Socket):
        channels = {"room:*": Room}

    class Same(Base):
        pass

    class Changed(Base):
        channels = {"lobby": Lobby}

    assert Same().route("room:1") is not None
    assert Changed().route("room:1") is None
    assert Changed().route("lobby") is not None


def test_sockets_do_not_share_assigns() -> None:
    one, other = Socket(), Socket()
    one.assigns["a"] = 1
    assert other.assigns == {}


async def test_a_socket_without_a_word_lets_everybody_in_and_has_no_name() -> None:
    socket = Socket()
    assert await socket.connect({}, None) is True  # type: ignore[arg-type]
    assert socket.id() is None
    assert socket.route("any") is None


@pytest.mark.parametrize("status", [200, 101, 399, 600, 0, -1])
def test_a_refusal_has_a_status_of_refusals(status: int) -> None:
    with pytest.raises(ValueError, match="a refusal has a status from 400 to 599"):
        Refused(status)


def test_a_refusal_is_403_unless_it_says_otherwise() -> None:
    assert (Refused().status, Refused().body) == (403, b"")
    assert Refused(503, b"later").status == 503

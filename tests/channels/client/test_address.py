"""Where to connect and with what: the server's side reads what is written here."""

from __future__ import annotations

import base64
import doctest
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exeunt.channels.client import address
from exeunt.channels.client.address import Address, header_list, token_protocols
from exeunt.channels.http_messages import parse_query, parse_target


def test_the_examples_of_the_module_hold() -> None:
    assert doctest.testmod(address) == doctest.TestResults(failed=0, attempted=3)


@pytest.mark.parametrize(
    ("url", "secure", "host_header", "path"),
    [
        ("ws://localhost:4000/socket", False, "localhost:4000", "/socket/websocket"),
        ("http://localhost:4000/socket/", False, "localhost:4000", "/socket/websocket"),
        ("wss://example.org/socket", True, "example.org", "/socket/websocket"),
        ("https://example.org:443/a/b", True, "example.org", "/a/b/websocket"),
        ("ws://example.org:80/socket/websocket", False, "example.org", "/socket/websocket"),
        ("ws://[::1]:4000/socket", False, "[::1]:4000", "/socket/websocket"),
        ("ws://localhost:4000", False, "localhost:4000", "/websocket"),
        ("ws://localhost/caf\u00e9 1", False, "localhost", "/caf%C3%A9%201/websocket"),
    ],
)
def test_a_url_is_taken_apart(url: str, secure: bool, host_header: str, path: str) -> None:
    found = Address.parse(url)
    assert (found.secure, found.host_header, found.path) == (secure, host_header, path)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:4000/socket", "ftp://x/y", "ws://", "ws://u@x/y", "ws://x/y#z", "ws://x:p"],
)
def test_what_is_no_url_of_a_socket_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Address.parse(url)


leaves = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), min_size=1)


@given(
    st.dictionaries(
        keys, leaves | st.lists(leaves, min_size=1) | st.dictionaries(keys, leaves, min_size=1)
    )
)
def test_the_server_reads_the_parameters_that_the_client_writes(params: dict[str, Any]) -> None:
    params.pop("vsn", None)
    target = Address.parse("ws://localhost/socket").target(params, "2.0.0")
    assert target.isascii()
    path, query = parse_target(target)
    assert path == "/socket/websocket"
    assert parse_query(query) == {**params, "vsn": "2.0.0"}


def test_numbers_and_booleans_become_strings_and_others_are_refused() -> None:
    where = Address.parse("ws://localhost/socket?a=b")
    target = where.target({"n": 1, "f": 0.5, "t": True, "no": False, "l": (1, 2)}, "2.0.0")
    assert target.endswith("?a=b&n=1&f=0.5&t=true&no=false&l%5B%5D=1&l%5B%5D=2&vsn=2.0.0")
    with pytest.raises(TypeError, match=r"user\[id\]"):
        where.target({"user": {"id": None}}, "2.0.0")
    with pytest.raises(TypeError, match="mapping"):
        where.target([("a", "b")], "2.0.0")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="strings"):
        where.target({7: "b"}, "2.0.0")  # type: ignore[dict-item]
    assert math.isfinite(len(target))


def test_headers_are_checked_before_they_are_sent() -> None:
    assert header_list({"X-Who": " me "}) == [(b"X-Who", b"me")]
    assert header_list([("a", "1"), ("a", "\u00e9")]) == [(b"a", b"1"), (b"a", b"\xe9")]
    for name, value in (
        ("a b", "1"),
        ("", "1"),
        ("a", "x\r\nb: 1"),
        ("a", "\u20ac"),
        ("Upgrade", "tea"),
        ("SEC-WEBSOCKET-KEY", "x"),
    ):
        with pytest.raises(ValueError, match="header"):
            header_list({name: value})


@given(st.text(st.characters(max_codepoint=255)))
def test_a_token_travels_as_the_official_client_sends_it(token: str) -> None:
    first, second = token_protocols(token)
    assert first == "phoenix"
    encoded = second.removeprefix("base64url.bearer.phx.")
    assert "=" not in encoded
    assert base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode("latin-1") == token


def test_no_token_and_one_that_cannot_be_sent() -> None:
    assert token_protocols(None) == []
    with pytest.raises(ValueError, match="Latin-1"):
        token_protocols("\u20ac")
    with pytest.raises(TypeError, match="bytes"):
        token_protocols(b"x")  # type: ignore[arg-type]

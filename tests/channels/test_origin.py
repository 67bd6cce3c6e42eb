"""Which pages may open a socket: every form that a check can have."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from exeunt.channels import Request
from exeunt.channels.origin import is_origin_allowed


def request(origin: str | None, host: str | None = "chat.example.org") -> Request:
    headers = [("user-agent", "test")]
    if host is not None:
        headers.append(("host", host))
    if origin is not None:
        headers.append(("origin", origin))
    return Request(
        method="GET",
        target="/socket/websocket",
        path="/socket/websocket",
        raw_query="",
        query={},
        headers=tuple(headers),
    )


def nobody(origin: str) -> bool:
    """Let no page in."""
    return False


CHECKS: list[Any] = [
    True,
    False,
    "conn",
    [],
    ["https://example.org"],
    ["//other.org"],
    nobody,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: getattr(check, "__name__", str(check)))
def test_without_an_origin_it_is_no_browser_and_passes(check: Any) -> None:
    assert is_origin_allowed(check, request(None))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "garbage", "//"])
def test_false_lets_every_page_in(origin: str) -> None:
    assert is_origin_allowed(False, request(origin))


@pytest.mark.parametrize("check", ["conn", True])
@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://chat.example.org", "chat.example.org", True),
        ("http://chat.example.org", "chat.example.org", True),
        ("https://CHAT.example.ORG", "chat.example.org", True),
        ("https://chat.example.org:443", "chat.example.org", True),
        ("http://chat.example.org:80", "chat.example.org", True),
        ("http://chat.example.org:4000", "chat.example.org:4000", True),
        ("http://localhost:4000", "localhost:4000", True),
        ("http://[::1]:4000", "[::1]:4000", True),
        ("http://127.0.0.1", "127.0.0.1", True),
        ("http://localhost:4000", "127.0.0.1:4000", False),
        ("http://chat.example.org:4000", "chat.example.org:4001", False),
        ("http://chat.example.org:4000", "chat.example.org", False),
        ("http://chat.example.org", "chat.example.org:4000", False),
        ("https://example.org", "chat.example.org", False),
        ("https://evilchat.example.org", "chat.example.org", False),
        ("https://chat.example.org.evil.com", "chat.example.org", False),
        ("https://chat.example.org@evil.com", "chat.example.org", False),
        ("https://evil.com/chat.example.org", "chat.example.org", False),
        ("https://evil.com#chat.example.org", "chat.example.org", False),
        ("null", "chat.example.org", False),
        ("", "chat.example.org", False),
        ("chat.example.org", "chat.example.org", False),
        ("file://", "chat.example.org", False),
        ("https://", "chat.example.org", False),
        ("https://chat.example.org:port", "chat.example.org", False),
        ("https://chat.example.org:99999", "chat.example.org", False),
        ("https://[::1", "[::1]", False),
        ("https://chat.example.org", "", False),
        ("https://chat.example.org", None, False),
        ("https://chat.example.org", "chat.example.org:port", False),
        ("https://chat.example.org, https://evil.com", "chat.example.org", False),
    ],
)
def test_conn_compares_with_the_host_that_was_asked(
    check: Any, origin: str, host: str | None, allowed: bool
) -> None:
    assert is_origin_allowed(check, request(origin, host)) is allowed


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        ("https://a.com", "https://a.com", True),
        ("https://a.com", "https://A.COM", True),
        ("https://a.com", "https://a.com:444", True),
        ("https://a.com", "http://a.com", False),
        ("https://a.com", "https://b.com", False),
        ("https://a.com", "https://sub.a.com", False),
        ("https://a.com:443", "https://a.com", True),
        ("https://a.com:444", "https://a.com", False),
        ("//a.com", "https://a.com", True),
        ("//a.com", "http://a.com:8080", True),
        ("//b.com:888", "http://b.com:888", True),
        ("//b.com:888", "https://b.com:888", True),
        ("//b.com:888", "https://b.com", False),
        ("//b.com:80", "http://b.com", True),
        ("//b.com:80", "https://b.com", False),
        ("//*.c.com", "https://c.com", True),
        ("//*.c.com", "https://a.c.com", True),
        ("//*.c.com", "https://a.b.c.com", True),
        ("//*.c.com", "https://evilc.com", False),
        ("//*.c.com", "https://c.com.evil.com", False),
        ("//*.c.com", "https://.c.com.evil", False),
        ("https://*.c.com:444", "https://a.c.com:444", True),
        ("https://*.c.com:444", "https://a.c.com", False),
        ("//a.com", "null", False),
        ("//a.com", "", False),
        ("//a.com", "a.com", False),
        ("//a.com", "https://b.com@a.com.evil.com", False),
    ],
)
def test_a_list_of_origins_leaves_open_what_it_leaves_out(
    pattern: str, origin: str, allowed: bool
) -> None:
    assert is_origin_allowed([pattern], request(origin)) is allowed
    assert is_origin_allowed(("//never.example", pattern), request(origin)) is allowed


def test_no_page_is_allowed_by_an_empty_list() -> None:
    assert not is_origin_allowed([], request("https://chat.example.org"))


@pytest.mark.parametrize("pattern", ["a.com", "", "https://", "//", "//a.com:port", "//[::1"])
def test_a_pattern_that_is_none_is_the_servers_mistake(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"an allowed origin is like 'https://a\.com'"):
        is_origin_allowed([pattern], request("https://a.com"))


@pytest.mark.parametrize("origin", ["https://a.com", "null", "", "anything"])
def test_a_function_decides_by_itself(origin: str) -> None:
    asked: list[str] = []

    def check(given: str) -> bool:
        asked.append(given)
        return given == "null"

    assert is_origin_allowed(check, request(origin)) is (origin == "null")
    assert asked == [origin]


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60))
@pytest.mark.slow
def test_no_origin_that_can_be_sent_raises_or_passes_for_another(origin: str) -> None:
    assert not is_origin_allowed(["https://only.example"], request(f"x{origin}"))
    is_origin_allowed("conn", request(origin))

"""Where to connect, and with what: URLs, parameters, headers and tokens, as a request needs them.

    >>> where = Address.parse("http://127.0.0.1:4000/socket")
    >>> where.secure, where.host, where.port, where.path
    (False, '127.0.0.1', 4000, '/socket/websocket')
    >>> where.target({"user": {"id": 1}, "tags": ["a", "b"]}, "2.0.0")
    '/socket/websocket?user%5Bid%5D=1&tags%5B%5D=a&tags%5B%5D=b&vsn=2.0.0'

Functions and data only.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast
from urllib.parse import quote, quote_plus, urlsplit

__all__ = ["Address", "ConnectParams", "Headers", "header_list", "token_protocols"]

ConnectParams: TypeAlias = "Mapping[str, object]"
"""Parameters of the URL: strings, numbers, booleans, and lists and mappings of them."""

Headers: TypeAlias = "Mapping[str, str] | Sequence[tuple[str, str]]"

_SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What the handshake itself is made of.
_RESERVED = frozenset(
    {"host", "connection", "upgrade", "sec-websocket-key", "sec-websocket-version"}
    | {"sec-websocket-extensions", "sec-websocket-protocol", "content-length", "transfer-encoding"}
)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart; `query` is what stood behind its question mark, `path` what before."""

    url: str
    secure: bool
    host: str
    port: int
    path: str
    query: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take apart the URL of a mount, such as `ws://127.0.0.1:4000/socket`.

        http and https stand for ws and wss. As in phoenix.js, `/websocket` is appended to the path,
        unless it ends so already. Raises `ValueError` if it is no such URL.
        """
        given: object = url
        if not isinstance(given, str):
            hint = "; the connect that takes a class of sockets is exeunt.testing.connect"
            raise TypeError(
                f"a client needs a URL such as ws://127.0.0.1:4000/socket, got {given!r:.100}"
                + (hint if callable(given) else "")
            )
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(
                f"a client needs a URL such as ws://127.0.0.1:4000/socket or "
                f"wss://example.org/socket, got {url!r}"
            )
        if parts.username is not None or parts.fragment:
            raise ValueError(f"a URL of a socket has neither user nor fragment, got {url!r}")
        secure = _SCHEMES[parts.scheme]
        path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._")
        if not path.endswith("/websocket"):
            path += "/websocket"
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
        port = parts.port if parts.port is not None else 443 if secure else 80
        return cls(url, secure, parts.hostname, port, path, query)

    @property
    def host_header(self) -> str:
        """The host as the request names it: with its port, unless that is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def target(self, params: ConnectParams, version: str) -> str:
        """Return the target of the request: path and query, with the protocol's version."""
        pairs = [f"{quote_plus(name)}={quote_plus(value)}" for name, value in _flat(params)]
        query = "&".join([*([self.query] if self.query else []), *pairs, f"vsn={version}"])
        return f"{self.path}?{query}"


def _flat(params: ConnectParams) -> Iterator[tuple[str, str]]:
    if not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, got {params!r:.100}")
    for name, value in params.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of params must be strings, got {name!r:.100}")
        yield from _pairs(name, value)


def _pairs(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, (str, int, float)):
        yield name, str(value)
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from _pairs(f"{name}[{key}]", item)
    elif isinstance(value, (list, tuple)):
        for item in cast("Sequence[object]", value):
            yield from _pairs(f"{name}[]", item)
    else:
        raise TypeError(
            f"the parameter {name} must be a string, a number, a boolean, or a list or a mapping "
            f"of them, got {value!r:.100}"
        )


def header_list(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return headers as bytes; `ValueError` for what cannot be sent, or is the handshake's own."""
    pairs: Iterable[object] = headers.items() if isinstance(headers, Mapping) else headers
    checked: list[tuple[bytes, bytes]] = []
    for pair in pairs:
        match pair:
            case (str(name), str(value)):
                pass
            case _:
                raise TypeError(f"headers are strings by name, got {headers!r:.100}")
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"this is no HTTP header: {name!r}: {value!r:.100}")
        if name.lower() in _RESERVED:
            raise ValueError(f"the header {name} belongs to the handshake, and cannot be given")
        checked.append((name.encode("ascii"), value.strip(" \t").encode("latin-1")))
    return checked


def token_protocols(token: str | None) -> list[str]:
    """Return the subprotocols that carry an auth token, in Latin-1 as phoenix.js sends it."""
    if token is None:
        return []
    if not isinstance(token, str):
        raise TypeError(f"auth_token must be a string, got {type(token).__name__}")
    try:
        data = token.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("auth_token has characters that are not in Latin-1") from None
    encoded = base64.b64encode(data).decode("ascii").rstrip("=")
    return ["phoenix", f"base64url.bearer.phx.{encoded}"]

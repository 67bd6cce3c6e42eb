"""HTTP requests and responses as plain data, and the functions that take them apart; no I/O.

What comes from outside is judged here: a request's head before h11 sees it (h11 is lenient where
two parties could read one request differently), its target, its query, and whether it may become
a WebSocket.

    >>> parse_query("user[name]=ann&tags[]=a&tags[]=b")
    {'user': {'name': 'ann'}, 'tags': ['a', 'b']}
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from exeunt.channels.errors import RequestError

__all__ = [
    "Limits",
    "QueryValue",
    "Request",
    "Response",
    "SwitchToWebSocket",
    "Upgrade",
    "check_head",
    "check_trailer",
    "parse_query",
    "parse_target",
    "websocket_problem",
]

QueryValue: TypeAlias = "str | list[QueryValue] | dict[str, QueryValue]"
Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may take before it speaks WebSocket; sizes in bytes, times in seconds.

    `head_seconds` runs from the moment the connection is there, or from the first byte of a later
    request; before that, `idle_seconds` bounds the wait for a later request. `body_seconds` and
    `write_seconds` bound the whole of a body and of an answer. The answer itself, `respond`, is
    not bounded here: it may be a long poll.
    """

    head_bytes: int = 16 * 1024
    headers: int = 100
    body_bytes: int = 1024 * 1024
    requests: int = 1000
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    idle_seconds: float = 60.0
    linger_seconds: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request, its body included.

    `target` is as it came; `path` is its path with the percent signs decoded (so `%2F` cannot be
    told from `/` in it), beginning with `/`, and is `*` for `OPTIONS *`. `query` is decoded as
    `parse_query` does. Header names are in lower case, values as Latin-1 text.

    Its `repr` leaves out what may hold passwords and tokens.
    """

    method: str
    target: str = field(repr=False)
    path: str
    raw_query: str = field(repr=False)
    query: dict[str, QueryValue] = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    peer: tuple[str, int] | None = None
    http_version: str = "1.1"

    def header(self, name: str) -> str | None:
        """Return the value of a header, several of one name joined by `", "`, or None."""
        values = self.all_of(name)
        return ", ".join(values) if values else None

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return the values of all headers of a name, in the order in which they came."""
        name = name.lower()
        return tuple(value for key, value in self.headers if key == name)

    def tokens(self, name: str) -> tuple[str, ...]:
        """Return the elements of a header that is a list separated by commas."""
        value = self.header(name) or ""
        return tuple(token for part in value.split(",") if (token := part.strip(" \t")))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `Content-Length`, `Date` and `X-Content-Type-Options` are added to its headers."""

    status: int = 200
    body: bytes = b""
    headers: Headers = ()

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"the status of a response is from 200 to 599, got {self.status}")
        for name, _ in self.headers:
            if name.lower() in ("content-length", "transfer-encoding", "date"):
                raise ValueError(f"the header {name!r} is set by the server: leave it out")

    @classmethod
    def text(cls, status: int, text: str, headers: Headers = ()) -> Response:
        """Make a response of plain text in UTF-8."""
        return cls(status, text.encode(), (("Content-Type", "text/plain; charset=utf-8"), *headers))


@dataclass(frozen=True, slots=True)
class SwitchToWebSocket:
    """The answer to a request that may become a WebSocket, if its headers are in order.

    `context` is the caller's own, and comes back in the `Upgrade`. `on_refusal` is called if they
    are not, before the client is told.
    """

    context: object = None
    on_refusal: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """A request that is to become a WebSocket, its headers found in order.

    `key` is its `Sec-WebSocket-Key`, `subprotocols` what it offers, `context` what the caller put
    into its `SwitchToWebSocket`. Its `repr` leaves out the subprotocols: one may be a token.
    """

    request: Request
    key: str
    subprotocols: tuple[str, ...] = field(repr=False)
    context: object = None


def check_head(head: bytes, limits: Limits) -> None:
    """Refuse a request head that two readers could read differently; h11 parses it afterwards.

    `head` goes from the first byte of the request line to the empty line, included. Refused are a
    bare CR or LF, NUL, folded lines, more than one Content-Length or a list in it, Content-Length
    beside Transfer-Encoding (RFC 9112, section 6.1), and Transfer-Encoding before HTTP/1.1.

    Raises `RequestError` with 400, 431 or 505.
    """
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise RequestError(400, "lines end with CR LF: a bare CR or LF was found")
    if b"\0" in head:
        raise RequestError(400, "a request head holds no NUL")
    if len(lines) - 1 > limits.headers:
        raise RequestError(431, f"at most {limits.headers} headers are taken, got {len(lines) - 1}")
    version = lines[0].rpartition(b" ")[2]
    if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version) and version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise RequestError(505, "this server speaks HTTP/1.1")
    lengths = encodings = 0
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            raise RequestError(400, "folded header lines are not taken")
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"content-length":
            lengths += 1
            if not re.fullmatch(rb"[ \t]*[0-9]{1,19}[ \t]*", value):
                raise RequestError(400, "Content-Length must be one decimal number")
        elif name == b"transfer-encoding":
            encodings += 1
    if lengths > 1:
        raise RequestError(400, "there must be one Content-Length at most")
    if encodings and lengths:
        raise RequestError(400, "Content-Length and Transfer-Encoding exclude each other")
    if encodings and version == b"HTTP/1.0":
        raise RequestError(400, "Transfer-Encoding needs HTTP/1.1")


def check_trailer(tail: bytes, fields: int) -> None:
    """Refuse the end of a chunked body that two readers could read differently.

    `tail` is how the body ends, `fields` how many trailer fields h11 has found there; it takes a
    bare LF for the end of a line, and folded lines, as check_head does not.

    Raises `RequestError` with 400.
    """
    lines = tail.rsplit(b"\r\n", fields + 2)[1:]
    whole = len(lines) == fields + 2 and lines[-2:] == [b"", b""]
    if not whole or any(b"\n" in line for line in lines):
        raise RequestError(400, "lines end with CR LF: a bare LF was found in the trailer")
    if any(line[:1] in (b" ", b"\t") for line in lines):
        raise RequestError(400, "folded trailer lines are not taken")


def parse_target(target: str) -> tuple[str, str]:
    """Return the path (decoded) and the query (as it came) of a request's target.

    Takes `/path?query` and, as RFC 9112 demands, `http://host/path?query`; also `*`. Raises
    `RequestError` for other forms, a bad percent sign, bytes that are not UTF-8, and control
    characters.
    """
    if target == "*":
        return "*", ""
    if target[:7].lower() == "http://" or target[:8].lower() == "https://":
        target = "/" + target.partition("://")[2].partition("/")[2]
    if not target.startswith("/"):
        raise RequestError(400, "the request target must begin with '/'")
    if "#" in target:
        raise RequestError(400, "the request target has no fragment")
    raw_path, _, query = target.partition("?")
    path = _decode(raw_path, "path")
    if any(character < " " or character == "\x7f" for character in path):
        raise RequestError(400, "the path holds a control character")
    return path, query


def parse_query(raw: str, *, max_pairs: int = 1000, max_depth: int = 32) -> dict[str, QueryValue]:
    """Decode a query, or a form body, the way Phoenix does (Plug.Conn.Query).

    `a=1` is a string, `user[id]=1` a nested dict, `tags[]=a` a list; `tags[0]=a` is a dict too,
    with the key `"0"`. Leaves are strings; a name without `=` has the value `""`. Of values that
    exclude each other the last wins. A name whose brackets do not match is taken as it stands.

    Raises `RequestError` with 400 for a bad percent sign, bytes that are not UTF-8, more than
    `max_pairs` pairs, or brackets deeper than `max_depth`.
    """
    result: dict[str, QueryValue] = {}
    pairs = [pair for pair in raw.split("&") if pair] if raw else []
    if len(pairs) > max_pairs:
        raise RequestError(400, f"a query has at most {max_pairs} pairs, got {len(pairs)}")
    for pair in pairs:
        name, _, value = pair.partition("=")
        keys = _split_name(_decode(name.replace("+", " "), "query"))
        if len(keys) > max_depth:
            raise RequestError(400, f"a query is nested at most {max_depth} deep")
        _assign(result, keys, _decode(value.replace("+", " "), "query"))
    return result


def _split_name(name: str) -> list[str]:
    # "user[address][]" -> ["user", "address", ""]
    first, bracket, rest = name.partition("[")
    if not bracket or not first or not rest.endswith("]"):
        return [name]
    keys = rest[:-1].split("][")
    if any("[" in key or "]" in key for key in keys):
        return [name]
    return [first, *keys]


def _assign(result: dict[str, QueryValue], keys: list[str], value: str) -> None:
    place: QueryValue = result
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        # What stands behind this key: the value, or a list or a dict for the keys that follow.
        inner: QueryValue = value if following is None else {} if following else []
        if isinstance(place, dict):
            if following is not None and type(place.get(key)) is type(inner):
                inner = place[key]
            place[key] = inner
        elif isinstance(place, list):
            place.append(inner)
        place = inner


def _decode(text: str, what: str) -> str:
    if "%" not in text:
        return text
    if re.search("%(?![0-9A-Fa-f]{2})", text):
        raise RequestError(400, f"the {what} holds a percent sign without two hexadecimal digits")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise RequestError(400, f"the {what} is not UTF-8") from None


def websocket_problem(request: Request) -> Response | None:
    """Return the refusal of a request that cannot become a WebSocket, None if it can.

    RFC 6455, section 4.2.1. It is a 400 in every case, and in these words and this order, as
    Phoenix's servers answer, where the RFC would also allow 426; with what is spoken here for
    another version of the protocol.
    """
    if request.http_version != "1.1":
        return Response.text(400, f"HTTP version HTTP/{request.http_version} unsupported")
    if request.method != "GET":
        return Response.text(400, f"HTTP method {request.method} unsupported")
    for name, token in (("connection", "upgrade"), ("upgrade", "websocket")):
        if token not in (one.lower() for one in request.tokens(name)):
            return _refusal(request, name, f"contain '{token}'")
    keys = request.all_of("sec-websocket-key")
    if not keys:
        return Response.text(400, "'sec-websocket-key' header is absent")
    # Phoenix: any key will do there.
    if keys[1:] or not _is_key(keys[0]):
        return _refusal(request, "sec-websocket-key", "be 16 bytes in base64")
    if request.all_of("sec-websocket-version") != ("13",):
        # RFC 6455, section 4.4: a client of another version is told which one is spoken.
        spoken = (("Sec-WebSocket-Version", "13"),)
        return _refusal(request, "sec-websocket-version", "equal '13'", spoken)
    if request.body:
        return Response.text(400, f"the body must be empty, got {len(request.body)} bytes")
    return None


def _is_key(key: str) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _refusal(request: Request, name: str, expected: str, headers: Headers = ()) -> Response:
    got = json.dumps(request.all_of(name), ensure_ascii=False)
    return Response.text(400, f"'{name}' header must {expected}, got {got}", headers)

"""Write the reference page on close codes and HTTP statuses: how a connection ends or is refused.

`python -m scripts.close_codes DIRECTORY` writes `close-codes.md` there. The tables below are data,
so that the tests can hold them against the code: against every code and status that stands in the
source, against what the fault matrix sees on real sockets, and against what both clients do.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import exeunt
from exeunt.channels.client.errors import ConnectFailed, Disconnected

CHANNELS: Final = Path(exeunt.__file__).parent / "channels"

By: TypeAlias = Literal["server", "client", "nobody"]


@dataclass(frozen=True, slots=True)
class Ending:
    """A way in which a WebSocket ends: what the server sends, and why.

    `by` is who begins: where it is the client, the code is that of the answer. `reasons` are the
    exit reasons of the channels, as they are shown.
    """

    code: int
    by: By
    when: str
    reasons: tuple[str, ...]


_DESERIALIZING: Final = '`Shutdown(("deserializing", …))`'

ENDINGS: Final[Sequence[Ending]] = (
    Ending(1000, "client", "the client closes, with any code that it may use, or none",
           ('`Shutdown("local_closed")`',)),
    Ending(1002, "client", "the client closes with a code that must not be sent",
           ('`Shutdown("local_closed")`',)),
    Ending(1001, "server", '`"disconnect"` is broadcast to the id of its socket',
           ('`Shutdown("disconnected")`',)),
    Ending(1002, "server", "nothing came from it for `Mount.timeout` seconds",
           ('`Shutdown("read_timeout")`',)),
    Ending(1002, "server", "it breaks RFC 6455: no mask, a reserved bit, a bad opcode",
           (_DESERIALIZING,)),
    Ending(1007, "server", "it sends text that is not UTF-8",
           ('`"received a text frame that is not UTF-8"`',)),
    Ending(1009, "server", "it sends more than `max_frame_size` or `max_message_size`",
           ('`Shutdown(("deserializing", "max_frame_size_exceeded"))`',)),
    Ending(1011, "server", "it sends what is no message, or a ref that cannot be sent back",
           ("`Crash(ProtocolError)`", "`Crash(PayloadError)`")),
    Ending(1012, "server", 'the endpoint drains or stops; `"shutdown"` where a channel is busy',
           ('`Shutdown("draining")`', '`"shutdown"`')),
    Ending(1013, "server", "more than `max_queued` bytes would wait for it",
           ('`Shutdown("slow_consumer")`',)),
    Ending(1006, "nobody", "TCP ends or is reset, without a close frame",
           ('`Shutdown("peer_closed")`',)),
    Ending(1006, "nobody", "the process of its connection is killed", ('`"killed"`',)),
)  # fmt: skip
"""Every way; 1006 is what a client reports where no close frame came, and is never sent."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status other than that of success, and what stands behind it."""

    status: int
    when: str


WEBSOCKET: Final[Sequence[Refusal]] = (
    Refusal(400, "the method is not GET, or the headers are not those of an upgrade"),
    Refusal(403,
            "the origin is not allowed; or none of the subprotocols is offered; or the `vsn` is "
            "unknown; or `connect` returns `False`; or `id` returns neither text nor `None`"),
    Refusal(500, "`connect` or `id` raises, or the token in `Sec-WebSocket-Protocol` is no base64"),
    Refusal(503, "`connect` takes longer than `connect_within`"),
)  # fmt: skip

ANY_REQUEST: Final[Sequence[Refusal]] = (
    Refusal(400,
            "what comes is no HTTP/1.1, or is ambiguous: a header folded or doubled, a bad path "
            "or query, a body in too many chunks"),
    Refusal(404, "there is no socket at the path, and no page"),
    Refusal(405, "another method than GET or HEAD, for `/health` or a static file"),
    Refusal(408, "the head or the body does not come in time"),
    Refusal(413, "the body is larger than `Limits.body_bytes`"),
    Refusal(431, "the head is larger than `Limits.head_bytes`, or has too many headers"),
    Refusal(500, "a page raises, or returns what is no answer"),
    Refusal(501, "the body comes in another transfer encoding than chunked"),
    Refusal(503, "there are `max_connections` already; with `Retry-After: 5`"),
    Refusal(505, "another version than HTTP/1.0 or 1.1"),
)  # fmt: skip

LONGPOLL: Final[Sequence[tuple[int, str, str]]] = (
    (200, "a poll with `messages`; a POST that was dealt with", "polls again"),
    (204, "a poll for which nothing came within the window", "polls again"),
    (403, "refused: the origin, the `vsn`, `connect`, or `id`",
     "`onError`, `onClose` with 1008; tries again"),
    (408, "a POST that was not dealt with within the window", "`onClose` with 1011; tries again"),
    (410, "there is no such session: a poll gets a new token",
     "the first time it is open; later `onClose` with 3410, and tries again"),
)  # fmt: skip
"""`status` in the body of an answer whose HTTP status is 200, and what phoenix.js does then."""

LONGPOLL_HTTP: Final[Sequence[Refusal]] = (
    Refusal(400, "another method than GET, POST and OPTIONS"),
    Refusal(500,
            "a line of a POST is no base64; a poll would get bytes, which text cannot hold; or "
            "`connect` raises"),
    Refusal(503,
            "there is no place for a new client, or `connect` takes too long; with `Retry-After: "
            "5`"),
)  # fmt: skip

# -- what stands in the source --------------------------------------------------------------------

_NOT_SERVER = ("client",)  # the Python client, whose codes are its own
_NO_CODES = {"serve_requests", "Limits", "parse_query"}


@dataclass(frozen=True, slots=True)
class Place:
    """A number in the source, and the module that it stands in."""

    number: int
    module: str
    line: int


def close_codes_in_source() -> Iterator[Place]:
    """Find what looks like a close code in the server's modules: 1001 to 1015."""
    for path, tree in _modules():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and type(node.value) is int
                and 1001 <= node.value <= 1015
            ):
                yield Place(node.value, path.stem, node.lineno)


def statuses_in_source() -> Iterator[Place]:
    """Find the HTTP statuses that the server's modules answer with."""
    for path, tree in _modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).removesuffix(".text")
            given: list[ast.expr] = []
            if name in ("Response", "RequestError"):
                given = node.args[:1]
            elif name == "_json":
                given = [one.value for one in node.keywords if one.arg == "status"]
            for one in given:
                for part in ast.walk(one):
                    if isinstance(part, ast.Constant) and type(part.value) is int:
                        yield Place(part.value, path.stem, part.lineno)


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(CHANNELS.rglob("*.py")):
        if path.relative_to(CHANNELS).parts[0] not in _NOT_SERVER:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


# -- the page -------------------------------------------------------------------------------------

OPENING: Final = """\
# Close codes and statuses

With what a connection ends or is refused, on the wire. What the application sees of it, moment by
moment, is in [How clients leave](../disconnects.md); the exit reasons are in [Exit
reasons](../exits.md); how long each may take, and how much, in [Limits](../limits.md).

## The end of a WebSocket

| code | begun by | when | exit reason of the channels |
| --- | --- | --- | --- |
"""

CLIENTS: Final = """\

### What a client makes of it

**phoenix.js** (1.8.16) connects anew after *every* one of these, whatever the code, with its
`reconnectAfterMs`; its channels join again. It stays away only when the page itself has called
`disconnect()`. Before 1.8.16 it also stayed away when a server began with 1000, so this one never
does.

**The Python client** connects anew as well, and joins its channels again; meanwhile a push that
waited for its answer raises `Disconnected`, and a new one `NotJoined`. With `reconnect=None` the
block of `connect` raises that `Disconnected`, which has the code:

| code | what it says |
| --- | --- |
"""

REFUSED: Final = """\

## A connection that is refused

The answer to the request for a WebSocket, as an HTTP status. A socket chooses its own with
`Refused(status, body)`.

| status | when |
| --- | --- |
"""

ANY: Final = """\

What may be answered to any request, that for a WebSocket included:

| status | when |
| --- | --- |
"""

REFUSED_CLIENTS: Final = """\

A browser tells the page nothing of the status: **phoenix.js** has `onError`, then `onClose` with
1006, and tries again, whatever it was, until somebody calls `disconnect()`. **The Python client**
raises `ConnectFailed`, which has the `status`. It counts 401 and 403 as a refusal and does not
try again, unless it was told to (`retry_refused`); after any other it does, if it was connected
before or has `wait_for_server`.

| status | `ConnectFailed.is_refusal` |
| --- | --- |
"""

POLLING: Final = """\

## Long-polling

A client that polls gets HTTP status 200, and the real one in the body:

| `status` | when | phoenix.js |
| --- | --- | --- |
"""

POLLING_HTTP: Final = """\

There are no close codes: nobody is there to be told. Where the server ends such a client, the
exit reasons are those above (`disconnected`, `draining`, `slow_consumer`; `Crash(ProtocolError)`
for what is no message, text that is not UTF-8 included). When it has not polled for one and a half
windows, which is also how it closes of its own accord, it is `Shutdown("inactive")`.

HTTP itself has another status than 200 for these:

| status | when |
| --- | --- |
"""


def page() -> str:
    """Return the page."""
    lines = [OPENING.rstrip("\n")]
    for one in ENDINGS:
        lines.append(f"| {one.code} | {one.by} | {one.when} | {' or '.join(one.reasons)} |")
    lines.append(CLIENTS.rstrip("\n"))
    for code in sorted({one.code for one in ENDINGS}):
        lines.append(f"| {code} | {disconnected(code)} |")
    lines.append(REFUSED.rstrip("\n"))
    lines += [f"| {one.status} | {one.when} |" for one in WEBSOCKET]
    lines.append(ANY.rstrip("\n"))
    lines += [f"| {one.status} | {one.when} |" for one in ANY_REQUEST]
    lines.append(REFUSED_CLIENTS.rstrip("\n"))
    for status in sorted({one.status for one in (*WEBSOCKET, *ANY_REQUEST)} | {401}):
        is_refusal = ConnectFailed("", "", status=status).is_refusal
        lines.append(f"| {status} | {'`True`: stays away' if is_refusal else '`False`'} |")
    lines.append(POLLING.rstrip("\n"))
    lines += [f"| {status} | {when} | {then} |" for status, when, then in LONGPOLL]
    lines.append(POLLING_HTTP.rstrip("\n"))
    lines += [f"| {one.status} | {one.when} |" for one in LONGPOLL_HTTP]
    return "\n".join(lines) + "\n"


def disconnected(code: int) -> Disconnected:
    """Return what the Python client raises for a code."""
    return Disconnected(code, by=None if code == 1006 else "server")


def main(directory: Path) -> None:
    """Write the page."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "close-codes.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

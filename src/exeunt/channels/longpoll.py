"""The requests of clients that poll, and what they are answered.

A client without a token is a new one and gets a token. With it, GET waits for messages, and POST
brings some. Every answer in JSON has the HTTP status 200, and says the real one in its body, as
Phoenix's transport does, so that phoenix.js understands it:

| request | `status` in the body |
| --- | --- |
| GET without a token, or with one that is not good (any more) | 410, and a new `token` |
| the same, refused by the socket or for its version | 403 |
| GET with a token | 200, and `messages` in text; 204 if none comes within the window |
| POST of `application/x-ndjson` | 200; a line is text if it begins with `[`, else base64 |
| POST of anything else | 200; the whole is one message of text |
| POST of what is not dealt with within the window | 408 |
| POST without a token that is good | 410 |
| any request of a page whose origin is not allowed | 403 |

What ends its client is not dealt with: of that, a POST learns when its window is over, and so does
a poll that waits, with 204. Where all clients are sent away, so that the server can stop, both are
answered at once.

HTTP itself has the status 500 for a line that is no base64, 503 where there is no place for a new
client, and 400 for other methods than these and OPTIONS.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec
import trio

from exeunt.channels.admission import note_unread_token, passes_origin
from exeunt.channels.http_messages import Headers, Request, Response, parse_query
from exeunt.channels.longpoll_client import enter
from exeunt.channels.paths import Found
from exeunt.channels.site import LongPoll, Mount, Site
from exeunt.channels.socket import ConnectInfo, Params
from exeunt.channels.stream import ByteStream
from exeunt.channels.tokens import TokenError
from exeunt.channels.transports.longpoll import PolledTransport
from exeunt.channels.wire import Encoded

__all__ = ["MOST_MESSAGES", "answer_longpoll"]

logger = logging.getLogger("exeunt.channels")

MOST_MESSAGES: Final = 100
"""How many messages of one POST are dealt with. Phoenix.js sends no more at a time."""

# Any page may read the answers: which page may connect is decided by its origin.
_OPEN_TO_ALL: Final[Headers] = (
    ("Access-Control-Allow-Origin", "*"),
    ("Cache-Control", "no-store"),
)
_JSON: Final[Headers] = (("Content-Type", "application/json; charset=utf-8"), *_OPEN_TO_ALL)
_BUSY: Final[Headers] = (("Retry-After", "5"), *_OPEN_TO_ALL)


async def answer_longpoll(
    site: Site, found: Found, request: Request, stream: ByteStream
) -> Response:
    """Answer a request for a mount that has long-polling.

    `stream` is the connection that it came by, which is watched while the request waits. Raises
    what the socket's `connect` raises.
    """
    path, mount = found.at, site.mounts[found.at]
    assert mount.longpoll is not None
    if not passes_origin(mount, request):
        return _json(status=403)
    if request.method == "OPTIONS":
        return _preflight(request)
    if request.method not in ("GET", "POST"):
        return Response(400, headers=_OPEN_TO_ALL)
    token = _token_of(request)
    client = _find(site, path, mount.longpoll, token)
    if client is not None:
        if request.method == "GET":
            return await _poll(client, mount.longpoll, token, stream)
        return await _post(client, mount.longpoll, request, stream)
    if request.method == "POST":
        return _json(status=410)
    return await _connect(site, found, mount, request)


def _json(**fields: Any) -> Response:
    return Response(200, msgspec.json.encode(fields), _JSON)


def _preflight(request: Request) -> Response:
    """Answer what a browser asks before it sends a request of a foreign page."""
    wanted = request.header("access-control-request-headers") or ""
    return Response(
        200,
        headers=(
            *_OPEN_TO_ALL,
            ("Access-Control-Allow-Headers", wanted if wanted.isascii() else ""),
            ("Access-Control-Allow-Methods", "get, post, options"),
            ("Access-Control-Max-Age", "3600"),
        ),
    )


# -- whose request it is ------------------------------------------------------------------------


def _token_of(request: Request) -> object:
    header = request.header("x-phoenix-longpoll-token")
    return request.query.get("token") if header is None else header


def _salt(path: str) -> str:
    # A token is good at its own mount only: another one may check origins in another way.
    return f"exeunt long-polling at {path}"


def _find(site: Site, path: str, longpoll: LongPoll, token: object) -> PolledTransport | None:
    try:
        name = site.tokens.verify(_salt(path), token, max_age=longpoll.max_age)
    except TokenError:
        return None
    client = site.polled.get(name)
    return None if client is None or client.is_closing else client


async def _connect(site: Site, found: Found, mount: Mount, request: Request) -> Response:
    auth_token = None
    note_unread_token(site, found.at, request)
    if mount.auth_token:
        given = (value for name, value in request.headers if name == "x-phoenix-authtoken")
        auth_token = next(given, None)
    params = {**_params(request), **found.params}
    entered = await enter(site, mount, params, ConnectInfo(request, auth_token))
    if isinstance(entered, str):
        token = site.tokens.sign(_salt(found.at), entered)
        return _json(status=410, token=token, messages=[])
    if entered.status < 500:
        return _json(status=403)
    return replace(entered, headers=_BUSY)


def _params(request: Request) -> Params:
    """Return the parameters for `connect`.

    Phoenix: phoenix.js puts the token of its polls behind the parameters of the user, as `token`,
    and so hides a parameter of that name. Here `connect` gets the user's.
    """
    params = dict(request.query)
    before, _, last = request.raw_query.rpartition("&")
    if last.startswith("token="):
        given = parse_query(before)
        if "token" in given:
            params["token"] = given["token"]
    return params


# -- what it is for -----------------------------------------------------------------------------


async def _poll(
    client: PolledTransport, longpoll: LongPoll, token: object, stream: ByteStream
) -> Response:
    messages: list[Encoded] = []
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await _until_hung_up(stream)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        # Phoenix: there, messages are also taken for a client that has hung up, and so are lost.
        # Here they wait for its next poll, unless it has gone without a word.
        messages = await client.poll(longpoll.window, lambda: stream.has_hung_up)
        nursery.cancel_scope.cancel()
    if any(message.binary for message in messages):
        # As in Phoenix: text cannot hold them, and phoenix.js connects anew when it is told so.
        logger.error("a client that polls was sent a binary message, which it cannot be given")
        return Response(500, headers=_OPEN_TO_ALL)
    texts = [message.data.decode() for message in messages]
    return _json(status=200 if texts else 204, token=token, messages=texts)


async def _until_hung_up(stream: ByteStream) -> None:
    """Wait for the end of a connection from which nobody reads."""
    try:
        if more := await stream.receive_some():
            # The next request has come before this one is answered. It waits.
            stream.unread(more)
            await trio.sleep_forever()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def _post(
    client: PolledTransport, longpoll: LongPoll, request: Request, stream: ByteStream
) -> Response:
    try:
        for message, is_binary in _messages_of(request):
            with trio.move_on_after(longpoll.window):
                if await client.deliver(message, is_binary=is_binary):
                    continue
                # Phoenix: there, requests of a client that has ended wait out their window also
                # where the server sends everybody away; here they are answered at once then, be
                # it a poll or a post.
                if not client.is_sent_away:
                    await _until_hung_up(stream)
            return _json(status=408)
    except binascii.Error:
        # Those before it have been dealt with; the client is none the worse for it.
        return Response(500, headers=_OPEN_TO_ALL)
    return _json(status=200)


def _messages_of(request: Request) -> Iterator[tuple[bytes, bool]]:
    """Yield the messages of a POST, and of each whether it is binary.

    Raises `binascii.Error` when it comes to a line that is no base64.
    """
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/x-ndjson":
        yield request.body, False
        return
    # Phoenix: there, the nothing behind a last newline is a message too, and ends the client.
    body = request.body.removesuffix(b"\n").removesuffix(b"\r")
    for line in body.split(b"\n", MOST_MESSAGES)[:MOST_MESSAGES]:
        line = line.removesuffix(b"\r")
        if line.startswith(b"["):
            yield line, False
        else:
            yield base64.b64decode(line, validate=True), True

"""What a client hands over in confidence is nowhere to be read afterwards.

Each way in which a secret can come has a secret of its own here, and each place where a server
tells something of a client is searched for all of them: every record of every logger at DEBUG, with
its arguments, its event and its traceback; every event; what is printed by a trace; the status of
channels; the reprs of what the application is given.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from exeunt import Pid, open_node, process_info, processes, stop, trap_exit
from exeunt.channels import (
    Channel,
    ConnectInfo,
    Endpoint,
    JoinResult,
    LongPoll,
    Mount,
    Ok,
    Params,
    Refused,
    Request,
    Response,
    Socket,
)
from exeunt.channels.client import ConnectFailed, connect
from exeunt.channels.http import Upgrade
from exeunt.kernel.events import Event
from exeunt.otp.introspection import get_status, log_events, logged_events, trace
from tests.channels.polling import NDJSON, Poller, ask
from tests.faults.client import Client, Refusal

WAYS = (
    "url-token",
    "url-password",
    "url-nested-secret",
    "header-authorization",
    "header-cookie",
    "header-authtoken",
    "subprotocol-token",
    "join-password",
    "push-api_key",
    "reply-token",
    "broadcast-secret",
    "assigned-credential",
)
SECRETS = {way: f"hush-{number:02}-{way}-hush" for number, way in enumerate(WAYS)}
BEARER = "base64url.bearer.phx." + base64.b64encode(
    SECRETS["subprotocol-token"].encode()
).decode().rstrip("=")
HEADERS = (
    ("Authorization", f"Bearer {SECRETS['header-authorization']}"),
    ("Cookie", f"_session={SECRETS['header-cookie']}"),
    ("Sec-WebSocket-Protocol", f"phoenix, {BEARER}"),
)
URL: dict[str, Any] = {
    "token": SECRETS["url-token"],
    "password": SECRETS["url-password"],
    "user[secret]": SECRETS["url-nested-secret"],
    "name": "joe",
}
ENCODED = (BEARER.rpartition(".")[2], *SECRETS.values())


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        self.assigns["joined_with"] = params
        self.assigns["credential"] = SECRETS["assigned-credential"]
        if topic == "room:crash":
            raise RuntimeError("join has failed")
        return Ok({"token": SECRETS["reply-token"]})

    async def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "crash":
                raise RuntimeError("handle_in has failed")
            case "nonsense":
                return {"token": SECRETS["reply-token"], "what": "is no answer"}
            case "shout":
                self.broadcast("shout", {"secret": SECRETS["broadcast-secret"]})
            case _:
                pass
        return Ok({"token": SECRETS["reply-token"]})


class User(Socket):
    channels = {"room:*": Room}
    given: ClassVar[list[object]] = []

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        self.assigns |= {"params": params, "info": info}
        self.given.extend((info, info.request))
        match params.get("do"):
            case "refuse":
                return Refused(401)
            case "crash":
                raise RuntimeError("connect has failed")
            case "nonsense":
                answer: Any = params
                return answer  # type: ignore[no-any-return]
            case _:
                pass
        return True

    def id(self) -> str | None:
        params: Any = self.assigns["params"]
        if params.get("do") == "misname":
            return params  # type: ignore[no-any-return]
        return "user:joe"


class Watch:
    """All that a server has told."""

    def __init__(self, port: int, caplog: pytest.LogCaptureFixture) -> None:
        self.port = port
        self.events: list[Event] = []
        self.seen: list[str] = []
        self._caplog = caplog

    def look(self, what: Iterable[object]) -> None:
        self.seen += [text for one in what for text in (f"{one}", repr(one))]

    def told(self) -> list[str]:
        self.look(self.events)
        formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")
        for record in self._caplog.records:
            self.seen += [formatter.format(record), repr(record.args), repr(vars(record))]
        return self.seen


@asynccontextmanager
async def open_site(caplog: pytest.LogCaptureFixture) -> AsyncGenerator[Watch]:
    caplog.set_level(logging.DEBUG)
    User.given.clear()

    async def pages(request: Request) -> Response:
        User.given.append(request)
        raise RuntimeError("the page has failed")

    async with open_node(signals=False) as node:
        trap_exit()
        watch = Watch(0, caplog)
        node.events.subscribe(watch.events.append, *Event.__subclasses__())
        mount = Mount(User, auth_token=True, longpoll=LongPoll(window=5.0), close_within=0.2)
        endpoint = await Endpoint.start_link({"/socket": mount}, port=0, pages=pages)
        watch.port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        yield watch
        await stop(endpoint, "shutdown")


def check(told: list[str], *must_be_there: str) -> None:
    everything = "\n".join(told)
    leaks = [
        f"{secret}: {next(one for one in told if secret in one)[:500]}"
        for secret in ENCODED
        if secret in everything
    ]
    assert not leaks, "\n".join(leaks)
    # What is no secret is told of the same clients, so something was there to leak.
    for words in must_be_there:
        assert words in everything, words


async def _join(client: Client, topic: str, params: object) -> None:
    """Join a topic, whatever else comes meanwhile."""
    await client.say("1", "1", topic, "phx_join", params)
    while True:
        frame = await client.receive()
        assert isinstance(frame, list), frame
        if frame[:4] == ["1", "1", topic, "phx_reply"]:
            assert frame[4]["status"] == "ok", frame
            return


def _labelled(*kinds: str) -> list[Pid]:
    found = [(pid, process_info(pid)) for pid in processes()]
    return [pid for pid, info in found if info is not None and info.label.startswith(kinds)]


async def _look_at_channels(watch: Watch) -> None:
    """Look at the servers: the channels, what has started them, and the endpoint."""
    watch.look(process_info(pid) for pid in processes())
    for pid in _labelled("Room", "DynamicSupervisor", "Endpoint"):
        watch.look([await get_status(pid)])
    for pid in _labelled("Room"):
        watch.look(await logged_events(pid))


async def _trace_channels() -> None:
    for pid in _labelled("Room"):
        await trace(pid)
        await log_events(pid, 100)


async def test_no_secret_of_a_websocket_is_told(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_site(caplog) as watch:
        for do in ("refuse", "crash", "nonsense", "misname"):
            with pytest.raises(Refusal):
                await Client.connect(watch.port, headers=HEADERS, do=do, **URL)
        async with await Client.connect(watch.port, headers=HEADERS, **URL) as client:
            password = {"password": SECRETS["join-password"], "name": "joe"}
            key = {"deep": [{"api_key": SECRETS["push-api_key"], "name": "joe"}]}
            await client.say("1", "1", "room:crash", "phx_join", password)
            await client.sync()
            await _join(client, "room:a", password)
            await _trace_channels()
            await client.say("1", "80", "room:a", "shout", key)
            await client.say("1", "81", "room:a", "say", key)
            await client.say("1", "82", "nowhere", "phx_join", password)
            await client.say("1", "91", "room:a", {"token": SECRETS["push-api_key"]}, key)
            await client.sync()
            await _join(client, "room:c", password)
            await _trace_channels()
            await client.say("1", "83", "room:c", "say", key)
            await client.sync()
            await _look_at_channels(watch)
            for event in ("nonsense", "crash"):
                await _join(client, "room:b", password)
                await client.say("1", "92", "room:b", event, key)
                await client.sync()
            await client.say("1", "90", {"token": SECRETS["push-api_key"]}, "phx_join", key)
            await client.receive_until_end()
    told = [*watch.told(), *map(repr, User.given), *capsys.readouterr()]
    check(
        told,
        "CONNECTED TO User",
        "connect has failed",
        "join has failed",
        "handle_in has failed",
        "joe",
        "[FILTERED]",
        "SocketConnected(",
        "SocketDisconnected(",
        "CrashReport(",
        "last message: Incoming(event='say'",
        "in: Incoming(event='say'",
        "TraceEvent(",
        "start_child",
    )


async def test_no_secret_of_one_who_polls_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with open_site(caplog) as watch:
        headers = dict(HEADERS[:2]) | {"X-Phoenix-AuthToken": SECRETS["header-authtoken"]}
        for do in ("refuse", "crash", "nonsense", "misname"):
            target = Poller(watch.port, do=do, **URL).target()
            await ask(watch.port, "GET", target, b"", headers)
        poller = Poller(watch.port, name="joe", password=SECRETS["url-password"])
        answer = await ask(watch.port, "GET", poller.target(), b"", headers)
        poller.token = answer.json["token"]
        password = {"password": SECRETS["join-password"], "name": "joe"}
        assert await poller.post(["1", "1", "room:a", "phx_join", password]) == 200
        assert await poller.post(["1", "2", "room:a", "say", {"token": SECRETS["push-api_key"]}])
        await ask(watch.port, "POST", poller.target(), b"%%%", {**NDJSON, **headers})
        await poller.poll()
        await _look_at_channels(watch)
        await poller.post(["1", "3", "room:a", "crash", {"token": SECRETS["push-api_key"]}])
    told = [*watch.told(), *map(repr, User.given)]
    # The token that the server made for the client is one too.
    assert poller.token is not None
    assert not [one for one in told if poller.token in one]
    check(told, "CONNECTED TO User", "connect has failed", "handle_in has failed", "joe")


async def test_no_secret_of_a_page_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with open_site(caplog) as watch:
        target = f"/login?token={SECRETS['url-token']}"
        body = f"password={SECRETS['join-password']}".encode()
        assert (await ask(watch.port, "POST", target, body, dict(HEADERS[:2]))).status == 500
    told = [*watch.told(), *map(repr, User.given)]
    check(told, "the page has failed", "/login")


async def test_no_secret_of_the_client_in_python_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with open_site(caplog) as watch:
        url = f"http://127.0.0.1:{watch.port}/socket"
        options: dict[str, Any] = {
            "auth_token": SECRETS["subprotocol-token"],
            "headers": HEADERS[:2],
        }
        with pytest.raises(ConnectFailed) as failed:
            async with connect(url, params={**URL, "do": "refuse"}, **options):
                raise AssertionError("let in")
        watch.look([failed.value])
        async with connect(url, params=URL, **options) as socket:
            channel = await socket.join("room:a", {"password": SECRETS["join-password"]})
            watch.look([socket, channel])
    told = [*watch.told(), *map(repr, User.given)]
    check(told, "CONNECTED TO User")


def test_no_repr_of_what_holds_a_request_shows_a_secret() -> None:
    request = Request(
        method="POST",
        target=f"/login?token={SECRETS['url-token']}",
        path="/login",
        raw_query=f"token={SECRETS['url-token']}",
        query={"token": SECRETS["url-token"]},
        headers=tuple((name.lower(), value) for name, value in HEADERS),
        body=f"password={SECRETS['join-password']}".encode(),
    )
    upgrade = Upgrade(request=request, key="k", subprotocols=request.tokens(HEADERS[2][0]))
    info = ConnectInfo(request, SECRETS["subprotocol-token"])
    check([repr(request), repr(upgrade), repr(info), f"{info}"], "/login")

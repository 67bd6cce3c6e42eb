"""A connection: what is asked of a request before it becomes a WebSocket, and what is answered."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from exeunt import open_node, processes, send, stop, trap_exit
from exeunt.channels import (
    Channel,
    ConnectInfo,
    Endpoint,
    JoinResult,
    Limits,
    Mount,
    Ok,
    Params,
    Refused,
    Request,
    Response,
    Socket,
)
from tests.faults.client import KEY, PING, TEXT, Client, Closed, Refusal, frame, text


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok({"user": self.assigns.get("user")})

    async def handle_in(self, event: str, payload: Any) -> Any:
        return Ok(payload)


class Seen:
    """What the socket was asked."""

    def __init__(self) -> None:
        self.params: list[dict[str, Any]] = []
        self.info: list[ConnectInfo] = []
        self.answer: Any = True
        self.id: Any = None


class User(Socket):
    channels = {"room:*": Room}

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        self.seen.params.append(params)
        self.seen.info.append(info)
        self.assigns["user"] = params.get("user")
        if isinstance(self.seen.answer, Exception):
            raise self.seen.answer
        answer: bool = self.seen.answer
        return answer

    def id(self) -> str | None:
        if isinstance(self.seen.id, Exception):
            raise self.seen.id
        given: str | None = self.seen.id
        return given


class Site:
    def __init__(self, port: int, seen: Seen, endpoint: Any) -> None:
        self.port = port
        self.seen = seen
        self.endpoint = endpoint

    async def status(self, request: str) -> int:
        """Send a request; return the status of its answer."""
        return (await self.answer(request))[0]

    async def answer(self, request: str) -> tuple[int, str, bytes]:
        async with await Client.dial(self.port) as client:
            await client.send(request.encode())
            return await client.response()


@asynccontextmanager
async def open_site(
    *, path: str = "/socket", pages: Any = None, **options: Any
) -> AsyncGenerator[Site]:
    async with open_node(signals=False):
        trap_exit()
        seen = Seen()
        endpoint = await Endpoint.start_link(
            {path: Mount(partial(User, seen), close_within=0.2, **options)},
            port=0,
            pages=pages,
            limits=Limits(head_seconds=2, linger_seconds=0.1),
        )
        port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        yield Site(port, seen, endpoint)
        await stop(endpoint, "shutdown")


def upgrade(
    target: str = "/socket/websocket?vsn=2.0.0", *, method: str = "GET", **headers: str | None
) -> str:
    """Return the head of an upgrade; a header of None is left out."""
    given: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    for name, value in headers.items():
        given[name.replace("_", "-")] = value
    lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])


# -- what is checked, in this order


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
async def test_another_method_than_get_is_400_and_connects_nobody(method: str) -> None:
    async with open_site() as site:
        assert await site.status(upgrade(method=method)) == 400
        assert site.seen.params == []


async def test_a_foreign_origin_is_403_with_an_empty_body_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_site() as site:
        status, _, body = await site.answer(upgrade(Origin="https://evil.example"))
        assert (status, body) == (403, b"")
        assert site.seen.params == []
        [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert '"https://evil.example"' in record.getMessage()


async def test_the_origin_of_the_server_itself_passes() -> None:
    async with open_site() as site:
        host = f"127.0.0.1:{site.port}"
        assert await site.status(upgrade(Host=host, Origin=f"http://{host}")) == 101


@pytest.mark.parametrize(
    ("check", "origin", "status"),
    [
        (False, "https://evil.example", 101),
        (["//*.example"], "https://good.example", 101),
        (["//*.example"], "https://good.test", 403),
        (lambda origin: origin == "null", "null", 101),
        (lambda origin: origin == "null", "https://a.com", 403),
    ],
)
async def test_a_mount_may_check_origins_in_its_own_way(
    check: Any, origin: str, status: int
) -> None:
    async with open_site(check_origin=check) as site:
        assert await site.status(upgrade(Origin=origin)) == status


@pytest.mark.parametrize(
    "vsn",
    [
        "vsn=2.0",
        "vsn=2",
        "vsn=",
        "vsn",
        "vsn=2.1.0",
        "vsn=3.0.0",
        "vsn=2.0.0-rc.1",
        "vsn[]=2.0.0",
        "vsn[a]=2.0.0",
        "vsn=1.1.0",
        "vsn=0.9.0",
        "vsn=v2.0.0",
        "vsn=02.0.0",
        "vsn=2.0.0%00",
    ],
)
async def test_a_version_that_is_not_spoken_is_403(
    vsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site() as site:
        status, _, body = await site.answer(upgrade(f"/socket/websocket?{vsn}"))
        assert (status, body) == (403, b"")
        assert site.seen.params == []
        assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1


@pytest.mark.parametrize("vsn", ["2.0.0", "2.0.7", "1.0.0", "1.0.9", "2.0.0%2Bbuild"])
async def test_a_version_that_is_spoken_is_101(vsn: str) -> None:
    async with open_site() as site:
        assert await site.status(upgrade(f"/socket/websocket?vsn={vsn}")) == 101


async def test_without_a_version_it_is_the_first() -> None:
    async with open_site() as site, await Client.dial(site.port) as client:
        await client.send(upgrade("/socket/websocket").encode())
        assert (await client.response())[0] == 101
        await client.send(text({"topic": "room:a", "event": "phx_join", "payload": {}, "ref": "1"}))
        answer: Any = await client.receive()
        assert answer == {
            "topic": "room:a",
            "event": "phx_reply",
            "ref": "1",
            "payload": {"status": "ok", "response": {"user": None}},
        }


@pytest.mark.parametrize(
    ("answer", "status"),
    [(True, 101), (False, 403), (Refused(), 403), (Refused(429), 429), (Refused(503, b"x"), 503)],
    ids=repr,
)
async def test_the_socket_decides_who_connects(answer: object, status: int) -> None:
    async with open_site() as site:
        site.seen.answer = answer
        assert await site.status(upgrade()) == status


@pytest.mark.parametrize("answer", [None, 1, 0, "yes", (), object(), RuntimeError("on purpose")])
async def test_a_socket_that_errs_is_500_and_logged(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site() as site:
        site.seen.answer = answer
        status, _, body = await site.answer(upgrade())
        assert (status, body) == (500, b"")
        [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert record.exc_info is not None


async def test_a_socket_that_takes_too_long_is_503_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Slow(Socket):
        async def connect(self, params: Params, info: ConnectInfo) -> bool:
            if params.get("slow"):
                await trio.sleep_forever()
            return True

    async with open_node(signals=False):
        trap_exit()
        mount = Mount(Slow, connect_within=0.1, close_within=0.1)
        endpoint = await Endpoint.start_link({"/socket": mount}, port=0)
        port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        with pytest.raises(Refusal) as refused:
            await Client.connect(port, slow="yes")
        assert refused.value.status == 503
        assert "Slow.connect took longer than 0.1 seconds" in caplog.text
        async with await Client.connect(port) as client:
            assert await client.sync() == []
        await stop(endpoint, "shutdown")


@pytest.mark.parametrize("given", [7, b"user", ["user"], True])
async def test_an_id_that_is_no_string_is_403_and_warned_of(
    given: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site() as site:
        site.seen.id = given
        assert await site.status(upgrade()) == 403
        assert "expected a string or None" in caplog.text


@pytest.mark.parametrize(
    "changed",
    [
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
        {"Connection": None},
        {"Sec_WebSocket_Version": "8"},
        {"Sec_WebSocket_Version": None},
        {"Sec_WebSocket_Key": "short"},
        {"Sec_WebSocket_Key": None},
    ],
)
async def test_what_is_no_upgrade_is_refused_when_the_socket_was_asked_already(
    changed: dict[str, Any],
) -> None:
    async with open_site() as site:
        assert await site.status(upgrade(**changed)) == 400
        assert len(site.seen.params) == 1


# -- what the socket is told


async def test_all_params_are_passed_on_decoded() -> None:
    async with open_site() as site:
        target = (
            "/socket/websocket?vsn=2.0.0&a=1&user[id]=1&user[name]=Ada+L%C3%A9on&tags[]=a&tags[]=b"
            "&list[0]=x&list[1]=y&empty=&bare"
        )
        assert await site.status(upgrade(target)) == 101
        assert site.seen.params == [
            {
                "vsn": "2.0.0",
                "a": "1",
                "user": {"id": "1", "name": "Ada Léon"},
                "tags": ["a", "b"],
                "list": {"0": "x", "1": "y"},
                "empty": "",
                "bare": "",
            }
        ]


async def test_what_is_known_of_the_client() -> None:
    async with open_site() as site:
        head = upgrade(User_Agent="a browser", X_First="1", X_Second="two")
        assert await site.status(head) == 101
        [info] = site.seen.info
        assert info.peer is not None
        assert info.peer[0] == "127.0.0.1"
        assert info.path == "/socket/websocket"
        assert info.user_agent == "a browser"
        assert info.x_headers == (("x-first", "1"), ("x-second", "two"))


async def test_each_client_has_a_socket_of_its_own() -> None:
    async with (
        open_site() as site,
        await Client.connect(site.port, user="ada") as ada,
        await Client.connect(site.port, user="eve") as eve,
    ):
        assert await ada.join("room:a") == {"user": "ada"}
        assert await eve.join("room:a") == {"user": "eve"}


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("/socket/websocket?vsn=2.0.0", "example.org:4000", ("example.org", 4000)),
        ("/socket/websocket?vsn=2.0.0", "[::1]:4000", ("::1", 4000)),
        ("/socket/websocket?vsn=2.0.0", "", (None, None)),
        ("http://example.org/socket/websocket?vsn=2.0.0", "example.org", ("example.org", None)),
    ],
)
async def test_the_url_that_was_asked_for(
    target: str, host: str, expected: tuple[str | None, int | None]
) -> None:
    async with open_site() as site:
        assert await site.status(upgrade(target, Host=host)) == 101
        [info] = site.seen.info
        assert (info.uri.hostname, info.uri.port) == expected
        assert (info.uri.path, info.uri.query) == ("/socket/websocket", "vsn=2.0.0")


@pytest.mark.parametrize("host", ["[::1", "a:b:c", "example.org:99999", "a b", "/", "?", "#"])
async def test_a_host_that_is_none_does_not_make_the_url_raise(host: str) -> None:
    async with open_site() as site:
        assert await site.status(upgrade(Host=host)) == 101
        [info] = site.seen.info
        assert info.uri.path == "/socket/websocket"


async def test_headers_for_tracing_and_of_the_handshake() -> None:
    async with open_site() as site:
        assert await site.status(upgrade(traceparent="00-ab-cd-01", tracestate="x=1")) == 101
        [info] = site.seen.info
        assert info.trace_context_headers == (("traceparent", "00-ab-cd-01"), ("tracestate", "x=1"))
        assert info.sec_websocket_headers == (
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        )


# -- subprotocols, and the token in them

PREFIX = "base64url.bearer.phx."


@pytest.mark.parametrize(
    ("offered", "chosen", "token"),
    [
        (None, None, None),
        ("phoenix", "phoenix", None),
        (f"phoenix, {PREFIX}c2VjcmV0", "phoenix", "secret"),
        (f"{PREFIX}c2VjcmV0, phoenix", "phoenix", "secret"),
        (f"other,phoenix ,{PREFIX}c2VjcmV0", "phoenix", "secret"),
        (f"{PREFIX}c2VjcmV0", None, "secret"),
        (f"phoenix, {PREFIX}YQ", "phoenix", "a"),
        (f"phoenix, {PREFIX}", "phoenix", ""),
        (f"phoenix, {PREFIX}+/+/", "phoenix", "\xfb\xff\xbf"),
        # Of two nobody knows which is the right one, whether they are base64 or not.
        (f"phoenix, {PREFIX}YQ, {PREFIX}Yg", "phoenix", None),
        (f"phoenix, {PREFIX}!, {PREFIX}YQ", "phoenix", None),
    ],
)
async def test_a_mount_with_auth_token_takes_it_out_of_the_subprotocols(
    offered: str | None, chosen: str | None, token: str | None
) -> None:
    async with open_site(auth_token=True) as site:
        status, head, _ = await site.answer(upgrade(Sec_WebSocket_Protocol=offered))
        assert status == 101
        assert ("sec-websocket-protocol" in head.lower()) is (chosen is not None)
        if chosen is not None:
            assert f"sec-websocket-protocol: {chosen}" in head.lower()
        [info] = site.seen.info
        assert info.auth_token == token


@pytest.mark.parametrize(
    ("offered", "status"),
    [
        ("other", 403),
        ("", 403),
        (" , ", 403),
        (f"{PREFIX}YQ, {PREFIX}Yg", 403),
        (f"other, {PREFIX}c2VjcmV0", 403),
        ("Phoenix", 403),
        (f"phoenix, {PREFIX}_-_-", 500),
        (f"phoenix, {PREFIX}a", 500),
        (f"phoenix, {PREFIX}c2Vj!cmV0", 500),
    ],
)
async def test_subprotocols_that_will_not_do_are_refused_before_the_socket_is_asked(
    offered: str, status: int
) -> None:
    async with open_site(auth_token=True) as site:
        assert await site.status(upgrade(Sec_WebSocket_Protocol=offered)) == status
        assert site.seen.params == []


async def test_a_token_that_is_not_base64_is_told_in_one_line_that_does_not_show_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_site(auth_token=True) as site:
        offered = f"phoenix, {PREFIX}!secret!"
        assert await site.status(upgrade(Sec_WebSocket_Protocol=offered)) == 500
    [record] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.getMessage().endswith("handed over a token that is not base64")
    assert record.exc_info is None


async def test_a_mount_without_subprotocols_chooses_none_and_has_no_token() -> None:
    async with open_site() as site:
        offered = f"phoenix, {PREFIX}c2VjcmV0"
        status, head, _ = await site.answer(upgrade(Sec_WebSocket_Protocol=offered))
        assert status == 101
        assert "sec-websocket-protocol" not in head.lower()
        assert site.seen.info[0].auth_token is None


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("b, a", "a"), ("b", "b"), ("c, b", "b"), (None, None)],
)
async def test_the_first_of_the_servers_own_that_is_offered_is_chosen(
    offered: str | None, chosen: str | None
) -> None:
    async with open_site(subprotocols=("a", "b")) as site:
        status, head, _ = await site.answer(upgrade(Sec_WebSocket_Protocol=offered))
        assert status == 101
        lines = [one for one in head.lower().split("\r\n") if one.startswith("sec-websocket-p")]
        assert lines == ([f"sec-websocket-protocol: {chosen}"] if chosen else [])


# -- what else is asked


async def test_without_pages_all_else_is_404_but_for_the_health() -> None:
    async with open_site() as site:
        for path in (
            "/",
            "/socket",
            "/socket/",
            "/socket/websocket/x",
            "/websocket",
            "/other",
            "/socket/longpoll",
            "/health/",
        ):
            assert await site.status(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n") == 404, path
        for path in ("/socket/websocket/", "/socket//websocket", "//socket/websocket"):
            assert await site.status(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n") == 400, path
        status, _, body = await site.answer("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, body) == (200, b"ok\n")
        status, head, _ = await site.answer("POST /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == 405
        assert "allow: get, head" in head.lower()


async def test_pages_answer_all_that_is_for_no_socket() -> None:
    asked: list[str] = []

    async def pages(request: Request) -> Response:
        asked.append(request.path)
        return Response.text(200, f"page {request.path}")

    async with open_site(pages=pages) as site:
        for path in ("/", "/socket", "/a/websocket", "/index.html"):
            _, _, body = await site.answer(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
            assert body == f"page {path}".encode()
        assert await site.status(upgrade()) == 101
        assert asked == ["/", "/socket", "/a/websocket", "/index.html"]


@pytest.mark.parametrize("path", ["/socket", "/live/socket", "/%C3%A9"])
async def test_a_socket_may_be_mounted_anywhere(path: str) -> None:
    mounted = {"/%C3%A9": "/é"}.get(path, path)
    async with open_site(path=mounted) as site:
        assert await site.status(upgrade(f"{path}/websocket?vsn=2.0.0")) == 101


async def test_requests_before_the_upgrade_go_on_one_connection() -> None:
    async with open_site() as site, await Client.dial(site.port) as client:
        for _ in range(3):
            await client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.response())[0] == 200
        site.seen.answer = False
        await client.send(upgrade().encode())
        assert (await client.response())[0] == 403
        site.seen.answer = True
        await client.send(upgrade().encode())
        assert (await client.response())[0] == 101
        assert await client.sync() == []


async def test_frames_in_one_packet_with_the_upgrade_are_not_lost() -> None:
    async with open_site() as site, await Client.dial(site.port) as client:
        joins = b"".join(
            text([f"{number}", f"{number}", f"room:{number}", "phx_join", {}])
            for number in range(20)
        )
        await client.send(upgrade().encode() + joins)
        assert (await client.response())[0] == 101
        answers = [await client.receive() for _ in range(20)]
        assert sorted(int(one[0]) for one in answers if isinstance(one, list)) == list(range(20))


# -- an open WebSocket


async def test_messages_may_come_in_fragments_and_byte_by_byte() -> None:
    async with open_site() as site, await Client.connect(site.port) as client:
        await client.join("room:a")
        data = b'["1","2","room:a","echo",{"x":"\xc3\xa9"}]'
        pieces = [data[at : at + 5] for at in range(0, len(data), 5)]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            await client.send(frame(TEXT if number == 0 else 0, piece, fin=last))
            await client.send(frame(PING, b"between"))
        expected = ["1", "2", "room:a", "phx_reply", {"status": "ok", "response": {"x": "é"}}]
        assert await client.receive() == expected
        for byte in text(["1", "2", "room:a", "echo", {"x": "é"}]):
            await client.send(bytes((byte,)))
        assert await client.receive() == expected


async def test_many_messages_in_one_packet_are_answered_in_order() -> None:
    async with open_site() as site, await Client.connect(site.port) as client:
        await client.join("room:a")
        await client.send(
            b"".join(text(["1", number, "room:a", "echo", {}]) for number in range(300))
        )
        for number in range(300):
            answer = await client.receive()
            assert isinstance(answer, list)
            assert answer[1] == number


async def test_a_message_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    async with (
        open_site(max_frame_size=1000) as site,
        await Client.connect(site.port) as client,
    ):
        await client.join("room:a")
        frame_of = '["1","2","room:a","echo",{"x":"%s"}]'
        # The header counts: two bytes, two for the length, four for the mask.
        room = 1000 - 8 - len(frame_of % "")
        await client.send(text(frame_of % ("y" * room)))
        answer = await client.receive()
        assert isinstance(answer, list)
        assert answer[4]["response"] == {"x": "y" * room}
        await client.send(text(frame_of % ("y" * (room + 1))))
        assert await client.receive_until_end() == [Closed(1009)]


async def test_what_the_client_sent_but_cannot_be_sent_back_ends_it_as_malformed() -> None:
    """A topic or a ref may hold what can be read and not be written, such as deep nesting."""
    nested: Any = []
    for _ in range(400):
        nested = [nested]
    async with open_site() as site, await Client.connect(site.port) as client:
        await client.say(None, nested, "nowhere", "event", {})
        answer = await client.receive()
        # Either it comes back as it is, or the client is closed as for any malformed frame.
        if answer != Closed(1011):
            assert isinstance(answer, list)
            assert answer[:4] == [None, nested, "nowhere", "phx_reply"]


async def test_the_connection_ignores_messages_that_are_for_nobody() -> None:
    async with open_site() as site, await Client.connect(site.port) as client:
        for pid in processes()[-1:]:
            for message in ("hello", None, ("down", 1), object()):
                send(pid, message)
        assert await client.sync() == []
        await client.join("room:a")


@pytest.mark.slow
async def test_idle_connections_of_http_and_of_websockets_are_told_apart() -> None:
    """A WebSocket has the mount's time-out, however short that of a request is."""
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link(
            {"/socket": Mount(partial(User, Seen()), timeout=5)},
            port=0,
            limits=Limits(head_seconds=0.1, idle_seconds=0.1, linger_seconds=0.1),
        )
        port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        async with await Client.connect(port) as client:
            await trio.sleep(0.3)
            assert await client.sync() == []
        with pytest.raises(Refusal):
            await Client.connect(port, path="/nowhere/websocket")
        await stop(endpoint, "shutdown")

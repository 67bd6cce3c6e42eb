"""The requests of long-polling: who is let in, what is answered, and what no request can break."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from exeunt import StartFailed, open_node, processes, self_pid, stop, trap_exit
from exeunt.channels import (
    Binary,
    Channel,
    ConnectInfo,
    Endpoint,
    JoinResult,
    Limits,
    LongPoll,
    Mount,
    Ok,
    Params,
    Refused,
    Socket,
    Tokens,
)
from tests.channels.polling import (
    FOR_EVER,
    NDJSON,
    WINDOW,
    Answer,
    Poller,
    ask,
    join,
    open_polled,
    open_poller,
    request,
)
from tests.faults.client import Client
from tests.faults.world import User, Witness, World, until

FIRST = "/socket/longpoll?vsn=2.0.0"


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return None

    async def handle_in(self, event: str, payload: Any) -> Any:
        if event == "bytes":
            self.push("bytes", Binary(b"\xff\x00"))
        return Ok({"bytes": list(payload.data)} if isinstance(payload, Binary) else payload)


class Seen:
    """What the socket was asked, and what it is to answer."""

    def __init__(self) -> None:
        self.params: list[dict[str, Any]] = []
        self.info: list[ConnectInfo] = []
        self.answer: Any = True
        self.id: Any = None


class Guest(Socket):
    channels = {"room:*": Room}

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        self.seen.params.append(params)
        self.seen.info.append(info)
        if isinstance(self.seen.answer, Exception):
            raise self.seen.answer
        if self.seen.answer == "slow":
            await trio.sleep_forever()
        answer: bool = self.seen.answer
        return answer

    def id(self) -> str | None:
        given: str | None = self.seen.id
        return given


class Site:
    """A server with one mount."""

    def __init__(self, port: int, seen: Seen) -> None:
        self.port = port
        self.seen = seen

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await ask(self.port, method, target, body, named)

    async def poller(self, **params: str) -> Poller:
        return await Poller(self.port, **params).open()


@asynccontextmanager
async def open_site(limits: Limits | None = None, **options: Any) -> AsyncGenerator[Site]:
    async with open_node(signals=False):
        trap_exit()
        seen = Seen()
        options = {"longpoll": FOR_EVER, **options}
        endpoint = await Endpoint.start_link(
            {"/socket": Mount(partial(Guest, seen), **options)}, port=0, limits=limits
        )
        yield Site(int((await Endpoint.url(endpoint)).rpartition(":")[2]), seen)
        await stop(endpoint, "shutdown")


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.levelno >= logging.ERROR]


# -- where it is


async def test_a_mount_has_it_only_if_asked_and_may_have_nothing_else() -> None:
    async with open_site(longpoll=None) as site:
        assert (await site.ask("GET", FIRST)).status == 404
        assert (await site.ask("OPTIONS", FIRST)).status == 404
    async with open_site(websocket=False) as site:
        assert (await site.ask("GET", "/socket/websocket?vsn=2.0.0")).status == 404
        await site.poller()
        for path in ("/socket/longpoll/x", "/longpoll", "/socket/x/longpoll", "/socket"):
            assert (await site.ask("GET", path)).status == 404, path
        # The path of a client that was given "/socket/" for its socket.
        assert (await site.ask("GET", "/socket//longpoll?vsn=2.0.0")).json["status"] == 410


# -- who is let in


async def test_a_new_client_gets_a_token_and_the_status_410() -> None:
    async with open_site() as site:
        answer = await site.ask("GET", FIRST)
        assert answer.status == 200
        assert answer.header("content-type") == "application/json; charset=utf-8"
        assert answer.header("cache-control") == "no-store"
        assert answer.header("access-control-allow-origin") == "*"
        assert answer.json.keys() == {"status", "token", "messages"}
        assert (answer.json["status"], answer.json["messages"]) == (410, [])
        assert len(answer.json["token"]) > 20
        assert (await site.ask("GET", FIRST)).json["token"] != answer.json["token"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH", "TRACE"])
async def test_other_methods_are_400_and_connect_nobody(method: str) -> None:
    async with open_site() as site:
        answer = await site.ask(method, FIRST)
        assert (answer.status, answer.body) == (400, b"")
        assert answer.header("access-control-allow-origin") == "*"
        assert site.seen.params == []


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
async def test_a_foreign_origin_is_403_whatever_it_asks_for(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site(check_origin=["//good.example"]) as site:
        answer = await site.ask(method, FIRST, Origin="https://evil.example")
        assert answer.status == 200
        assert answer.json == {"status": 403}
        assert answer.header("access-control-allow-origin") == "*"
        assert site.seen.params == []
        [record] = errors(caplog)
        assert "evil.example" in record.getMessage()


async def test_the_origin_counts_for_every_request_of_a_client() -> None:
    async with open_site(check_origin=["//good.example"]) as site:
        ada = await site.poller()
        beat = b'[null,"1","phoenix","heartbeat",{}]'
        for origin, status in [("https://evil.example", 403), ("https://good.example", 200)]:
            answer = await site.ask("POST", ada.target(), beat, Origin=origin, **NDJSON_)
            assert answer.json == {"status": status}
        answer = await site.ask("GET", ada.target(), Origin="https://evil.example")
        assert answer.json == {"status": 403}
        assert len(await ada.poll()) == 1


NDJSON_ = {"Content_Type": "application/x-ndjson"}


@pytest.mark.parametrize(
    "vsn", ["vsn=2.0", "vsn=", "vsn=3.0.0", "vsn[]=2.0.0", "vsn=2.1.0", "vsn=0.9.0"]
)
async def test_a_version_that_is_not_spoken_is_403(vsn: str) -> None:
    async with open_site() as site:
        assert (await site.ask("GET", f"/socket/longpoll?{vsn}")).json == {"status": 403}
        assert site.seen.params == []


@pytest.mark.parametrize(
    ("answer", "http", "body"),
    [
        (False, 200, {"status": 403}),
        (Refused(), 200, {"status": 403}),
        (Refused(429, b"slow down"), 200, {"status": 403}),
        (Refused(503, b"later"), 503, b"later"),
    ],
    ids=repr,
)
async def test_the_socket_decides_who_connects(answer: object, http: int, body: object) -> None:
    async with open_site() as site:
        site.seen.answer = answer
        found = await site.ask("GET", FIRST)
        assert found.status == http
        assert (found.json if isinstance(body, dict) else found.body) == body
        assert found.header("access-control-allow-origin") == "*"


@pytest.mark.parametrize(
    "answer", [None, 1, "yes", RuntimeError("on purpose"), StartFailed("it", "boom")], ids=repr
)
async def test_a_socket_that_errs_is_500_and_logged(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site() as site:
        site.seen.answer = answer
        found = await site.ask("GET", FIRST)
        assert (found.status, found.body) == (500, b"")
        [record] = errors(caplog)
        assert record.exc_info is not None
        site.seen.answer = True
        await site.poller()


async def test_a_socket_that_takes_too_long_is_503() -> None:
    async with open_site(connect_within=0.05) as site:
        site.seen.answer = "slow"
        found = await site.ask("GET", FIRST)
        assert found.status == 503
        assert found.header("retry-after") == "5"


async def test_an_id_that_is_no_string_is_403() -> None:
    async with open_site() as site:
        site.seen.id = 7
        assert (await site.ask("GET", FIRST)).json == {"status": 403}


async def test_one_slow_connect_holds_up_nobody_else() -> None:
    async with open_site() as site, await Client.dial(site.port) as slow:
        site.seen.answer = "slow"
        await slow.send(request("GET", FIRST))
        await until(lambda: len(site.seen.params) == 1, "the first to be asked")
        site.seen.answer = True
        with trio.fail_after(1):
            await site.poller()


# -- what the socket is told


async def test_all_params_are_passed_on() -> None:
    async with open_site() as site:
        await site.ask("GET", f"{FIRST}&user[id]=1&a=b+c&token=null")
        assert site.seen.params == [
            {"vsn": "2.0.0", "user": {"id": "1"}, "a": "b c", "token": "null"}
        ]


@pytest.mark.parametrize(
    ("query", "token"),
    [
        ("token=theirs&vsn=2.0.0&token=null", "theirs"),
        ("vsn=2.0.0&token=theirs&token=forged", "theirs"),
        ("token=&vsn=2.0.0&token=null", ""),
        ("token[a]=1&vsn=2.0.0&token=null", {"a": "1"}),
        ("vsn=2.0.0&token=null", "null"),
        ("token=theirs&vsn=2.0.0", "theirs"),
    ],
)
async def test_a_parameter_token_of_the_users_own_is_not_hidden_by_that_of_the_polls(
    query: str, token: object
) -> None:
    async with open_site() as site:
        answer = await site.ask("GET", f"/socket/longpoll?{query}")
        assert answer.json["status"] == 410
        [params] = site.seen.params
        assert params["token"] == token


@pytest.mark.slow
async def test_polls_of_a_client_with_a_token_of_its_own_find_their_client() -> None:
    async with open_site(longpoll=LongPoll(window=WINDOW)) as site:
        first = await site.ask("GET", "/socket/longpoll?token=theirs&vsn=2.0.0&token=null")
        target = f"/socket/longpoll?token=theirs&vsn=2.0.0&token={first.json['token']}"
        assert (await site.ask("GET", target)).json["status"] == 204
        assert len(site.seen.params) == 1


async def test_what_is_known_of_the_client() -> None:
    async with open_site(auth_token=True) as site:
        await site.ask(
            "GET",
            FIRST,
            User_Agent="a browser",
            X_First="1",
            traceparent="00-ab-cd-01",
            X_Phoenix_AuthToken="s3cr3t+/==",
        )
        [info] = site.seen.info
        assert info.auth_token == "s3cr3t+/=="
        assert info.peer is not None
        assert info.peer[0] == "127.0.0.1"
        assert info.path == "/socket/longpoll"
        assert info.uri.query == "vsn=2.0.0"
        assert info.user_agent == "a browser"
        assert info.x_headers == (("x-first", "1"), ("x-phoenix-authtoken", "s3cr3t+/=="))
        assert info.trace_context_headers == (("traceparent", "00-ab-cd-01"),)
        assert info.sec_websocket_headers == ()


async def test_without_auth_token_on_the_mount_there_is_none() -> None:
    async with open_site() as site:
        await site.ask("GET", FIRST, X_Phoenix_AuthToken="s3cr3t")
        assert site.seen.info[0].auth_token is None


# -- other pages


@pytest.mark.parametrize("wanted", ["x-foo, content-type", "", None, "caf\xe9"])
async def test_a_browser_may_ask_before_it_sends_a_foreign_request(wanted: str | None) -> None:
    async with open_site(check_origin=False) as site:
        headers = {} if wanted is None else {"Access_Control_Request_Headers": wanted}
        answer = await site.ask("OPTIONS", FIRST, Origin="https://a.com", **headers)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.header("access-control-allow-origin") == "*"
        assert answer.header("access-control-allow-methods") == "get, post, options"
        assert answer.header("access-control-max-age") == "3600"
        allowed = wanted if wanted and wanted.isascii() else ""
        assert answer.header("access-control-allow-headers") == allowed
        assert site.seen.params == []


# -- tokens


@pytest.mark.parametrize(
    "token",
    ["", "null", "x", "a.b.c", "é", "%00", "x" * 9000, Tokens("y" * 20).sign("user", "name")],
    ids=range(8),
)
async def test_a_token_that_is_none_is_410_for_a_post_and_a_new_client_for_a_get(
    token: str,
) -> None:
    async with open_site() as site:
        ada = Poller(site.port)
        ada.token = token
        assert await ada.post([None, "1", "phoenix", "heartbeat", {}]) == 410
        assert site.seen.params == []
        assert (await ada.poll_raw())["status"] == 410
        assert len(site.seen.params) == 1


@pytest.mark.parametrize("query", ["token[]=x", "token[a]=x", "token", ""])
async def test_a_token_of_another_shape_is_none(query: str) -> None:
    async with open_site() as site:
        assert (await site.ask("POST", f"{FIRST}&{query}", b"[]", **NDJSON_)).json == {
            "status": 410
        }
        assert (await site.ask("GET", f"{FIRST}&{query}")).json["status"] == 410


async def test_a_changed_token_is_none() -> None:
    async with open_site() as site:
        ada = await site.poller()
        good = ada.token
        assert good is not None
        for at in (0, len(good) // 2, len(good) - 3):
            ada.token = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :]
            assert not await ada.is_known()
        ada.token = good
        assert await ada.is_known()


@pytest.mark.slow
async def test_a_token_expires() -> None:
    async with open_site(longpoll=LongPoll(window=5.0, max_age=0.5)) as site:
        ada = await site.poller()
        with trio.fail_after(3):
            while await ada.is_known():  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.1)
        assert (await ada.poll_raw())["status"] == 410


async def test_a_token_is_good_for_its_mount_only() -> None:
    async with open_node(signals=False):
        trap_exit()
        seen = Seen()
        mount = Mount(partial(Guest, seen), longpoll=FOR_EVER)
        endpoint = await Endpoint.start_link({"/socket": mount, "/other": mount}, port=0)
        port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        ada = await Poller(port).open()
        assert await ada.is_known()
        ada.path = "/other/longpoll"
        assert not await ada.is_known()
        await stop(endpoint, "shutdown")


async def test_a_token_in_the_header_goes_before_one_in_the_query() -> None:
    async with open_site() as site:
        ada = await site.poller()
        assert ada.token is not None
        header = {"X_Phoenix_Longpoll_Token": ada.token}
        beat = b'[null,"1","phoenix","heartbeat",{}]'
        for target in (FIRST, f"{FIRST}&token=stale"):
            answer = await site.ask("POST", target, beat, **header, **NDJSON_)
            assert answer.json == {"status": 200}
        answer = await site.ask("GET", f"{FIRST}&token=stale", **header)
        assert len(answer.json["messages"]) == 2
        assert answer.json["token"] == ada.token
        stale = {"X_Phoenix_Longpoll_Token": "stale"}
        assert (await site.ask("POST", ada.target(), beat, **stale, **NDJSON_)).json == {
            "status": 410
        }


# -- polls


@pytest.mark.slow
async def test_messages_come_as_text_in_order_and_once() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        for number in range(5):
            world.hub.broadcast("room:a", "news", {"n": number, "text": 'é " \\ \u2028'})
        raw = await ada.poll_raw()
        assert all(isinstance(one, str) for one in raw["messages"])
        assert [json.loads(one) for one in raw["messages"]] == [
            [None, None, "room:a", "news", {"n": number, "text": 'é " \\ \u2028'}]
            for number in range(5)
        ]
        assert await ada.poll() == []


@pytest.mark.slow
async def test_a_poll_waits_for_a_message_and_for_a_window_at_most() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        started = trio.current_time()
        assert await ada.poll_raw() == {"status": 204, "token": ada.token, "messages": []}
        assert WINDOW <= trio.current_time() - started < 3 * WINDOW
        got: list[Any] = []

        async def poll() -> None:
            got.extend(await ada.poll())

        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            await trio.sleep(0.05)
            world.hub.broadcast("room:a", "news", {})
        assert trio.current_time() - started < WINDOW
        assert got == [[None, None, "room:a", "news", {}]]


@pytest.mark.slow
async def test_of_two_polls_the_later_gets_the_messages() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        answers: dict[str, Any] = {}

        async def poll(which: str) -> None:
            answers[which] = await ada.poll()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll, "earlier")
            await trio.sleep(0.05)
            nursery.start_soon(poll, "later")
            await trio.sleep(0.05)
            world.hub.broadcast("room:a", "news", {})
        assert answers == {"earlier": [], "later": [[None, None, "room:a", "news", {}]]}


@pytest.mark.parametrize("how", ["fin", "close", "reset"])
async def test_what_comes_after_a_poll_was_given_up_waits_for_the_next(how: str) -> None:
    async with open_polled() as world:
        ada = await join(world)
        before = await world.snapshot()
        client = await Client.dial(world.port)
        await client.send(request("GET", ada.target()))
        await trio.sleep(0.05)
        match how:
            case "fin":
                client.fin()
                # It may still read, and so is told that there is nothing.
                status, _, body = await client.response()
                assert (status, json.loads(body)["status"]) == (200, 204)
                client.close()
            case "close":
                client.close()
            case _:
                client.reset()
        world.hub.broadcast("room:a", "news", {"n": 1})
        # The end is noticed at once, and not at the end of the window.
        await world.settle(before, within=2.0)
        world.hub.broadcast("room:a", "news", {"n": 2})
        assert [one[4] for one in await ada.poll()] == [{"n": 1}, {"n": 2}]


async def test_a_client_that_hangs_up_as_a_message_comes_does_not_lose_it() -> None:
    async with open_polled() as world:
        ada = await join(world)
        for number in range(20):
            client = await Client.dial(world.port)
            await client.send(request("GET", ada.target()))
            await trio.sleep(0.01)
            client.reset()
            # Without a checkpoint in between: the server has not noticed anything yet.
            world.hub.broadcast("room:a", "news", {"n": number})
            assert [one[4]["n"] for one in await ada.poll()] == [number]


@pytest.mark.slow
async def test_requests_on_one_connection_are_answered_one_after_the_other() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        beat = b'[null,"1","phoenix","heartbeat",{}]'
        async with await Client.dial(world.port) as client:
            await client.send(
                request("GET", ada.target())
                + request("POST", ada.target(), beat, NDJSON)
                + request("GET", ada.target())
                + request("GET", ada.target())
            )
            answers = [json.loads((await client.response())[2]) for _ in range(4)]
            assert [one["status"] for one in answers] == [204, 200, 200, 204]


async def test_one_connection_serves_a_client_for_as_long_as_it_likes() -> None:
    async with open_polled() as world:
        ada = await join(world)
        beat = b'[null,"1","phoenix","heartbeat",{}]'
        async with await Client.dial(world.port) as client:
            for _ in range(30):
                await client.send(request("POST", ada.target(), beat, NDJSON))
                assert json.loads((await client.response())[2]) == {"status": 200}
            await client.send(request("GET", ada.target()))
            assert len(json.loads((await client.response())[2])["messages"]) == 30


async def test_a_request_behind_a_poll_does_not_end_it_early() -> None:
    async with open_polled() as world:
        ada = await join(world)
        async with await Client.dial(world.port) as client:
            await client.send(request("GET", ada.target()))
            await trio.sleep(0.02)
            await client.send(request("GET", ada.target()))
            await trio.sleep(0.02)
            for number in range(2):
                world.hub.broadcast("room:a", "news", {"n": number})
                found = json.loads((await client.response())[2])
                assert [json.loads(one)[4] for one in found["messages"]] == [{"n": number}]


async def test_a_binary_message_cannot_be_polled_and_is_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_site() as site:
        ada = await site.poller()
        await ada.join("room:a")
        assert await ada.post(["1", "2", "room:a", "bytes", {}]) == 200
        answer = await site.ask("GET", ada.target())
        assert (answer.status, answer.body) == (500, b"")
        assert "binary" in errors(caplog)[-1].getMessage()
        assert await ada.post(["1", "3", "room:a", "echo", {"n": 1}]) == 200
        assert (await ada.receive())[4]["response"] == {"n": 1}


# -- posts


async def test_a_batch_is_dealt_with_in_order() -> None:
    async with open_site() as site:
        ada = await site.poller()
        lines = [json.dumps(["1", "1", "room:a", "phx_join", {}])]
        lines += [
            json.dumps(["1", str(number), "room:a", "echo", {"n": number}])
            for number in range(2, 60)
        ]
        assert await ada.post_raw("\n".join(lines).encode()) == 200
        got: list[Any] = []
        while len(got) < 59:
            got += await ada.poll()
        assert [one[1] for one in got] == [str(number) for number in range(1, 60)]


@pytest.mark.parametrize(
    "body",
    [b"%s", b"%s\n", b"%s\r\n", b"%s\n%s", b"%s\r\n%s", b"%s\r\n%s\r\n"],
)
async def test_lines_end_in_either_way_and_the_last_need_not(body: bytes) -> None:
    beat = b'[null,"1","phoenix","heartbeat",{}]'
    number = body.count(b"%s")
    async with open_site() as site:
        ada = await site.poller()
        assert await ada.post_raw(body % ((beat,) * number)) == 200
        assert len(await ada.poll()) == number


async def test_a_binary_message_is_a_line_of_base64() -> None:
    fields = [b"1", b"2", b"room:a", b"anything"]
    frame = bytes([0, *map(len, fields)]) + b"".join(fields) + b"\x00\xff["
    async with open_site() as site:
        ada = await site.poller()
        await ada.join("room:a")
        lines = [base64.b64encode(frame), b'["1","3","room:a","echo",{"n":3}]']
        assert await ada.post_raw(b"\n".join(lines)) == 200
        got = [await ada.receive(), await ada.receive()]
        assert [one[4]["response"] for one in got] == [{"bytes": [0, 255, 91]}, {"n": 3}]


@pytest.mark.parametrize(
    "line", [b"!!!not base64", b"{}", b" []", b'"text"', b"AAA", b"AA=A", b"AA-_", b"\xff\xfe"]
)
async def test_a_line_that_is_no_base64_is_500_and_those_before_it_have_counted(
    line: bytes,
) -> None:
    beat = b'[null,"1","phoenix","heartbeat",{}]'
    async with open_site() as site:
        ada = await site.poller()
        answer = await site.ask("POST", ada.target(), b"\n".join([beat, line, beat]), **NDJSON_)
        assert (answer.status, answer.body) == (500, b"")
        assert answer.header("access-control-allow-origin") == "*"
        assert len(await ada.poll()) == 1
        assert await ada.is_known()


async def test_of_a_batch_a_hundred_lines_count() -> None:
    lines = [f'[null,"{number}","phoenix","heartbeat",{{}}]' for number in range(150)]
    async with open_site() as site:
        ada = await site.poller()
        assert await ada.post(*lines) == 200
        assert [one[1] for one in await ada.poll()] == [str(number) for number in range(100)]


@pytest.mark.parametrize(
    ("kind", "is_batch"),
    [
        ("application/x-ndjson", True),
        ("Application/X-NDJSON; charset=utf-8", True),
        ("application/json", False),
        ("text/plain", False),
        ("", False),
        (None, False),
    ],
)
async def test_another_kind_of_body_is_one_message_of_text(
    kind: str | None, is_batch: bool
) -> None:
    async with open_site() as site:
        ada = await site.poller()
        headers = {} if kind is None else {"Content-Type": kind}
        message = b'[null,\n"1","phoenix"\n,"heartbeat",{}]'
        if is_batch:
            message = message.replace(b"\n", b"") + b"\n" + message.replace(b"\n", b"")
        assert await ada.post_raw(message, headers) == 200
        assert len(await ada.poll()) == (2 if is_batch else 1)


@pytest.mark.slow
async def test_of_a_batch_with_a_malformed_line_the_lines_before_it_have_counted() -> None:
    async with open_polled(LongPoll(window=WINDOW)) as world:
        ada = await join(world)
        done = trio.Event()

        async def note(channel: Witness) -> None:
            done.set()

        world.deed = note
        good = json.dumps(["1", "2", "room:a", "run", {}])
        started = trio.current_time()
        assert await ada.post(good, "[nope", good) == 408
        # The window is that of the one message: those before and behind it take no time.
        assert WINDOW <= trio.current_time() - started < 2 * WINDOW
        await world.until_left("ada")
        assert world.terminated_of("ada") != []


@pytest.mark.slow
async def test_a_channel_with_too_much_to_do_holds_up_its_client_and_then_408() -> None:
    async with open_polled(LongPoll(window=1.0)) as world:
        world.deed = world.hold
        ada = await join(world)
        stays = trio.CancelScope()

        async def keep_polling() -> None:
            with stays:
                while True:
                    await ada.poll()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_polling)
            assert await ada.post(["1", "2", "room:a", "run", {}]) == 200
            await world.busy.wait()
            echo = ["1", "3", "room:a", "echo", {}]
            statuses = []
            # The channel has room for a thousand messages.
            for _ in range(12):
                statuses.append(await ada.post(*[echo] * 100))
                if statuses[-1] != 200:
                    break
            assert statuses == [200] * 9 + [408]
            assert await ada.post(echo) == 408
            world.gate.set()
            with trio.fail_after(10):
                while await ada.post(echo) != 200:
                    pass
            stays.cancel()


async def test_posts_of_one_client_at_the_same_time_keep_each_ones_order() -> None:
    async with open_site() as site:
        ada = await site.poller()
        await ada.join("room:a")
        async with trio.open_nursery() as nursery:
            for batch in range(8):
                lines = [["1", f"{batch}-{number}", "room:a", "echo", {}] for number in range(20)]
                nursery.start_soon(partial(ada.post, *lines))
        got: list[str] = []
        while len(got) < 160:
            got += [one[1] for one in await ada.poll()]
        for batch in range(8):
            mine = [one for one in got if one.startswith(f"{batch}-")]
            assert mine == [f"{batch}-{number}" for number in range(20)]


async def test_a_body_that_is_too_large_or_too_slow_is_refused_and_the_client_lives() -> None:
    limits = Limits(body_bytes=1000, body_seconds=0.1, linger_seconds=0.1)
    async with open_site(limits) as site:
        ada = await site.poller()
        answer = await site.ask("POST", ada.target(), b"[" + b" " * 1000, **NDJSON_)
        assert answer.status == 413
        async with await Client.dial(site.port) as slow:
            await slow.send(request("POST", ada.target(), b"x" * 900, NDJSON)[:-800])
            assert (await slow.response())[0] == 408
        async with await Client.dial(site.port) as halfway:
            await halfway.send(request("POST", ada.target(), b"x" * 900, NDJSON)[:-800])
        assert await ada.is_known()
        assert len(await ada.poll()) == 1


async def test_a_client_that_does_not_read_its_answer_harms_nobody() -> None:
    limits = Limits(write_seconds=0.1, linger_seconds=0.1)
    bound = 64 * 1024 * 1024
    async with open_polled(limits=limits, max_queued=bound) as world:
        ada, bob = await join(world, "ada"), await join(world, "bob", "room:b")
        # More than the buffers of the kernel take.
        for _ in range(200):
            world.hub.broadcast("room:a", "news", {"text": "x" * 100_000})
        before = await world.snapshot()
        async with await Client.dial(world.port, buffer=2048) as client:
            await client.send(request("GET", ada.target()))
            await client.sock.recv(1)
            assert await bob.is_known()
            await until(lambda: len(processes()) == before.processes, "the connection to be cut")
        await world.settle(before)
        assert await ada.is_known()


# -- connecting is in the client's own process


async def test_the_socket_is_asked_in_the_process_that_serves_the_client() -> None:
    class Noting(User):
        async def connect(self, params: Params, info: ConnectInfo) -> bool:
            world: World = self.assigns["world"]
            world.connections["asked"] = self_pid()
            return await super().connect(params, info)

    worlds: list[World] = []

    def make() -> Socket:
        return Noting(worlds[0])

    async with open_polled(kind=make) as world:
        worlds.append(world)
        await join(world)
        assert world.connections["asked"] is world.connections["ada"]
        assert await (await open_poller(world, "bob")).is_known()

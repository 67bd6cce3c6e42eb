"""Where clients connect: at paths of one's own, with variables that become parameters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exeunt.channels import Channel, ConnectInfo, JoinResult, LongPoll, Mount, Ok, Params, Socket
from exeunt.channels.paths import Found, Paths
from tests.faults.client import Client, upgrade_request

from .sites import open_endpoint


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok(self.assigns["params"])


class User(Socket):
    channels = {"room:*": Room}

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        self.assigns["params"] = {name: value for name, value in params.items() if name != "vsn"}
        return True


async def params_at(port: int, path: str, query: str = "") -> Any:
    """Connect and join; return the parameters that the socket got, None if it is not there."""
    async with await Client.dial(port) as client:
        # Whatever the client appends to its path is the query.
        await client.send(upgrade_request(path).replace(b"?", f"?{query}".encode(), 1))
        status, _, _ = await client.response()
        if status == 404:
            return None
        assert status == 101
        return await client.join("room:a")


async def test_websockets_may_be_at_a_path_of_ones_own() -> None:
    async with open_endpoint({"/ws": Mount(User, path="/custom/some_path")}) as port:
        assert await params_at(port, "/ws/custom/some_path") == {}
        assert await params_at(port, "/ws/websocket") is None
        assert await params_at(port, "/ws/custom") is None


async def test_variables_in_a_path_are_parameters() -> None:
    mount = Mount(User, path="/nested/:path")
    async with open_endpoint({"/custom/:socket_var": mount}) as port:
        found = await params_at(port, "/custom/123/nested/a%20b", "user=ann&")
        assert found == {"socket_var": "123", "path": "a b", "user": "ann"}
        # What the path says is not to be talked over by the query.
        found = await params_at(port, "/custom/123/nested/x", "path=y&socket_var=z&")
        assert found == {"socket_var": "123", "path": "x"}
        for path in ("/custom/123/nested", "/custom//nested/x", "/custom/1/nested/x/y"):
            assert await params_at(port, path) is None


async def test_the_first_path_that_fits_is_taken() -> None:
    sockets = {"/socket/:who": User, "/socket/me": User}
    async with open_endpoint(sockets) as port:
        assert await params_at(port, "/socket/me/websocket") == {"who": "me"}


async def test_a_path_for_polls_may_have_variables_too() -> None:
    mount = Mount(User, longpoll=LongPoll(path="/:way/poll"))
    async with open_endpoint({"/socket/:who": mount}) as port, await Client.dial(port) as client:
        await client.send(b"GET /socket/ann/slow/poll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, body = await client.response()
        assert status == 200
        answer = json.loads(body)
        assert answer["status"] == 410
        sent = json.dumps(["1", "1", "room:a", "phx_join", {}]).encode()
        await client.send(
            b"POST /socket/ann/slow/poll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/x-ndjson\r\n"
            b"X-Phoenix-Longpoll-Token: " + answer["token"].encode() + b"\r\n"
            b"Content-Length: %d\r\n\r\n" % len(sent) + sent
        )
        assert json.loads((await client.response())[2]) == {"status": 200}
        await client.send(
            b"GET /socket/eve/fast/poll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n"
            b"X-Phoenix-Longpoll-Token: " + answer["token"].encode() + b"\r\n\r\n"
        )
        [message] = json.loads((await client.response())[2])["messages"]
        assert json.loads(message)[4]["response"] == {"who": "ann", "way": "slow"}


@pytest.mark.parametrize("path", ["", "/", "x", "/x/", "//x", "/x/:", "/:", None])
async def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ValueError, match="path like '/websocket'"):
        Mount(User, path=path)
    with pytest.raises(ValueError, match="path like '/longpoll'"):
        LongPoll(path=path)


@pytest.mark.parametrize("offered", ["sip", ("sip", 7), (b"sip",)])
def test_subprotocols_that_are_none_are_refused(offered: Any) -> None:
    with pytest.raises(TypeError, match="tuple of strings"):
        Mount(User, subprotocols=offered)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a/websocket", Found("/a", "websocket", {})),
        ("/a/longpoll", Found("/a", "longpoll", {})),
        ("/b/1/c/x/y", Found("/b/:n/c", "websocket", {"n": "1", "last": "y"})),
        ("/b/:n/c/x/:last", Found("/b/:n/c", "websocket", {"n": ":n", "last": ":last"})),
        ("/a", None),
        ("/a/websocket/", Found("/a", "websocket", {})),
        ("/a//websocket", Found("/a", "websocket", {})),
        ("//a/longpoll//", Found("/a", "longpoll", {})),
        ("/b//c/x/y", None),
        ("/b//1/c/x//y", Found("/b/:n/c", "websocket", {"n": "1", "last": "y"})),
        ("/", None),
        ("", None),
        ("*", None),
    ],
)
def test_where_a_path_leads(path: str, found: Found | None) -> None:
    paths = Paths(
        {
            "/a": {"websocket": "/websocket", "longpoll": "/longpoll"},
            "/b/:n/c": {"websocket": "/x/:last"},
        }
    )
    assert paths.find(path) == found

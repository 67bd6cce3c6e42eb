"""Sockets at several paths: each has its own policies, and nothing is shared but the topics."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from exeunt.channels import Channel, ConnectInfo, JoinResult, Mount, Ok, Params, Socket
from tests.faults.client import Client, Refusal

from .sites import open_endpoint


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok({"told": self.assigns.get("told")})


class User(Socket):
    channels = {"room:*": Room}

    def __init__(self, told: object = None) -> None:
        super().__init__()
        self.assigns["told"] = told


async def status(port: int, path: str, *headers: tuple[str, str]) -> int:
    """Try to connect; return the status of the answer."""
    try:
        async with await Client.connect(port, path=path, headers=headers):
            return 101
    except Refusal as refused:
        return refused.status


async def test_one_socket_may_be_mounted_at_several_paths_of_several_segments() -> None:
    paths = ("/socket", "/admin/socket", "/a/b/c/d")
    async with open_endpoint(dict.fromkeys(paths, User)) as port:
        for path in paths:
            async with await Client.connect(port, path=f"{path}/websocket") as client:
                assert await client.join("room:a") == {"told": None}
        assert await status(port, "/a/b/c/websocket") == 404


async def test_what_a_mount_knows_besides_is_given_to_its_sockets() -> None:
    sockets = {path: partial(User, told) for path, told in (("/one", "1"), ("/two", {"n": 2}))}
    async with open_endpoint(sockets) as port:
        for path, told in (("/one", "1"), ("/two", {"n": 2})):
            async with await Client.connect(port, path=f"{path}/websocket") as client:
                assert await client.join("room:a") == {"told": told}


async def test_of_a_hundred_and_one_topics_the_last_is_refused() -> None:
    async with open_endpoint({"/socket": User}) as port, await Client.connect(port) as client:
        for number in range(100):
            await client.join(f"room:{number}", join_ref=f"{number}")
        refused = await client.ask("x", "room:100", "phx_join")
        assert refused == {
            "status": "error",
            "response": {"reason": "too many channels joined"},
        }
        assert (await client.ask("7", "room:7", "phx_leave"))["status"] == "ok"
        assert await client.receive() == ["7", "7", "room:7", "phx_close", {}]
        await client.join("room:100", join_ref="x")
        # Each connection counts for itself.
        async with await Client.connect(port) as other:
            await other.join("room:101")


async def test_the_policies_of_two_mounts_of_one_socket_are_not_shared() -> None:
    sockets = {
        "/open": Mount(User, check_origin=False),
        "/strict": Mount(User, check_origin=["https://good.example"]),
        "/token": Mount(User, auth_token=True),
        "/spoken": Mount(User, subprotocols=("sip",)),
    }
    good, evil = ("Origin", "https://good.example"), ("Origin", "https://evil.example")
    sip, other = ("Sec-WebSocket-Protocol", "sip"), ("Sec-WebSocket-Protocol", "other")
    async with open_endpoint(sockets) as port:
        for _ in range(2):  # what was decided for the one is not remembered for the other
            assert await status(port, "/open/websocket", evil) == 101
            assert await status(port, "/strict/websocket", good) == 101
            assert await status(port, "/strict/websocket", evil) == 403
            assert await status(port, "/open/websocket", other) == 101
            assert await status(port, "/token/websocket", other) == 403
            assert await status(port, "/spoken/websocket", sip) == 101
            assert await status(port, "/spoken/websocket", other) == 403


async def test_a_foreign_page_is_refused_before_its_subprotocols_are_looked_at() -> None:
    mount = Mount(User, check_origin=["https://good.example"], auth_token=True)
    no_base64 = ("Sec-WebSocket-Protocol", "phoenix, base64url.bearer.phx.!!!")
    good, evil = ("Origin", "https://good.example"), ("Origin", "https://evil.example")
    async with open_endpoint({"/socket": mount}) as port:
        assert await status(port, "/socket/websocket", good, no_base64) == 500
        assert await status(port, "/socket/websocket", evil, no_base64) == 403


async def test_a_check_of_origins_may_take_arguments_of_its_own() -> None:
    def is_one_of(allowed: set[str], origin: str) -> bool:
        return origin in allowed

    mount = Mount(User, check_origin=partial(is_one_of, {"null", "https://good.example"}))
    async with open_endpoint({"/socket": mount}) as port:
        for origin, expected in (("null", 101), ("https://good.example", 101), ("https://x", 403)):
            assert await status(port, "/socket/websocket", ("Origin", origin)) == expected


async def test_the_address_of_a_client_is_that_of_its_own_socket() -> None:
    seen: list[Any] = []

    class Told(User):
        async def connect(self, params: Params, info: ConnectInfo) -> bool:
            seen.append(info.peer)
            return True

    async with open_endpoint({"/socket": Told}) as port, await Client.connect(port) as client:
        assert seen == [client.sock.getsockname()]


@pytest.mark.parametrize("path", ["socket", "/socket/", "/", ""])
async def test_a_path_that_is_none_is_refused_with_what_one_is_like(path: str) -> None:
    with pytest.raises(Exception, match="mounted at a path like '/socket'"):
        async with open_endpoint({path: User}):
            pass

"""The endpoint: where it listens, what it is made of, and what becomes of it when a part fails."""

from __future__ import annotations

import math
import socket as stdlib_socket
from typing import Any

import pytest

from exeunt import (
    Pid,
    StartFailed,
    Supervisor,
    is_alive,
    open_node,
    processes,
    stop,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt import exit as exit_signal
from exeunt.channels import Channel, Endpoint, JoinResult, Mount, Ok, PubSub, Socket
from tests.faults.client import Client, Closed, open_files
from tests.faults.world import until


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok({"class": "Room"})


class Second(Room):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok({"class": "Second"})


class User(Socket):
    channels = {"room:*": Room}


class Admin(Socket):
    channels = {"room:*": Second}


async def port_of(endpoint: Any) -> int:
    return int((await Endpoint.url(endpoint)).rpartition(":")[2])


async def test_it_listens_where_it_is_told_and_says_so() -> None:
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": User}, port=0)
        url = await Endpoint.url(endpoint)
        assert url.startswith("http://127.0.0.1:")
        async with await Client.connect(await port_of(endpoint)) as client:
            assert await client.join("room:a") == {"class": "Room"}


@pytest.mark.parametrize(
    ("host", "begins"),
    [
        ("localhost", "http://"),
        ("0.0.0.0", "http://localhost:"),
        (None, "http://localhost:"),
        ("127.0.0.1", "http://127.0.0.1:"),
    ],
)
async def test_the_url_can_be_opened(host: str | None, begins: str) -> None:
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": User}, host=host, port=0)
        assert (await Endpoint.url(endpoint)).startswith(begins)
        async with await Client.connect(await port_of(endpoint)) as client:
            assert await client.sync() == []


async def test_an_address_of_version_6_is_put_in_brackets() -> None:
    if not stdlib_socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": User}, host="::1", port=0)
        assert (await Endpoint.url(endpoint)).startswith("http://[::1]:")


async def test_a_port_that_is_taken_fails_the_start_and_says_how_to_mend_it() -> None:
    files = open_files()
    with stdlib_socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with open_node(signals=False):
            trap_exit()
            before = len(processes())
            with pytest.raises(StartFailed) as failed:
                await Endpoint.start_link({"/socket": User}, port=port)
            assert f"cannot listen on port {port}" in str(failed.value)
            assert "choose another port, or 0" in str(failed.value)
            assert len(processes()) == before
    assert [one for one in open_files() if one not in files] == []


async def test_two_sockets_have_their_own_channels_and_limits() -> None:
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link(
            {"/socket": User, "/admin/socket": Mount(Admin, max_frame_size=100)}, port=0
        )
        port = await port_of(endpoint)
        async with (
            await Client.connect(port) as user,
            await Client.connect(port, path="/admin/socket/websocket") as admin,
        ):
            assert await user.join("room:a") == {"class": "Room"}
            assert await admin.join("room:a") == {"class": "Second"}
            await user.join("room:b", {"x": "y" * 200}, join_ref="2")
            await admin.say("2", "2", "room:b", "phx_join", {"x": "y" * 200})
            assert await admin.receive_until_end() == [Closed(1009)]
            assert await user.sync() == []


async def test_a_hub_can_be_shared_with_other_processes() -> None:
    hub = PubSub()
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": User}, port=0, hub=hub)
        async with await Client.connect(await port_of(endpoint)) as client:
            await client.join("room:a")
            hub.broadcast("room:a", "news", {"n": 1})
            assert await client.receive() == [None, None, "room:a", "news", {"n": 1}]


async def test_it_has_a_name_if_it_is_given_one() -> None:
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.named("web").start_link({"/socket": User}, port=0)
        assert whereis("web") is endpoint
        assert await Endpoint.url("web") == await Endpoint.url(endpoint)


async def test_it_is_a_supervisors_child_like_any_other() -> None:
    async with open_node(signals=False):
        trap_exit()
        supervisor = await Supervisor.start_link(
            [Endpoint.named("web").child({"/socket": User}, port=0)]
        )
        [info] = await Supervisor.which_children(supervisor)
        assert info.type == "supervisor"
        first = info.pid
        assert isinstance(first, Pid)
        exit_signal(first, "kill")
        await wait_exit(first)
        await until(lambda: whereis("web") is not None, "the endpoint to be restarted")
        async with await Client.connect(await port_of("web")) as client:
            assert await client.sync() == []


async def test_a_listener_that_dies_is_restarted_and_open_connections_stay() -> None:
    async with open_node(signals=False):
        trap_exit()
        with stdlib_socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        endpoint = await Endpoint.start_link({"/socket": User}, port=port)
        async with await Client.connect(port) as client:
            await client.join("room:a")
            [listener] = [
                one.pid for one in await Supervisor.which_children(endpoint) if one.id == "listener"
            ]
            assert isinstance(listener, Pid)
            exit_signal(listener, "kill")
            await until(lambda: not is_alive(listener), "the listener to end")
            assert await port_of(endpoint) == port
            assert await client.sync() == []
            async with await Client.connect(port) as other:
                assert await other.join("room:a") == {"class": "Room"}


@pytest.mark.parametrize("path", ["socket", "", "/", "/socket/", "socket/"])
async def test_a_path_that_is_none_fails_the_start(path: str) -> None:
    async with open_node(signals=False):
        trap_exit()
        with pytest.raises(StartFailed, match="mounted at a path like '/socket'"):
            await Endpoint.start_link({path: User}, port=0)


async def test_a_mount_may_do_without_an_idle_timeout() -> None:
    async with open_node(signals=False):
        trap_exit()
        mount = Mount(User, timeout=math.inf, close_within=0.1)
        endpoint = await Endpoint.start_link({"/socket": mount}, port=0)
        async with await Client.connect(await port_of(endpoint)) as client:
            assert await client.join("room:a") == {"class": "Room"}
        await stop(endpoint, "shutdown")


async def test_a_socket_may_be_made_by_any_function() -> None:
    made: list[Socket] = []

    def make() -> Socket:
        made.append(User())
        return made[-1]

    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": make}, port=0)
        port = await port_of(endpoint)
        for number in range(3):
            async with await Client.connect(port) as client:
                assert await client.sync() == []
            assert len(made) == number + 1


async def test_it_stops_and_starts_on_the_same_port() -> None:
    async with open_node(signals=False):
        trap_exit()
        first = await Endpoint.start_link({"/socket": Mount(User, close_within=0.1)}, port=0)
        port = await port_of(first)
        async with await Client.connect(port) as client:
            await stop(first, "shutdown")
            assert await client.receive_until_end() == [Closed(1012)]
            second = await Endpoint.start_link({"/socket": User}, port=port)
            async with await Client.connect(port) as again:
                assert await again.sync() == []
            await stop(second, "shutdown")


async def test_two_endpoints_share_a_node_without_meeting() -> None:
    async with open_node(signals=False):
        trap_exit()
        one = await Endpoint.start_link({"/socket": Mount(User, close_within=0.1)}, port=0)
        other = await Endpoint.start_link({"/socket": Admin}, port=0)
        async with (
            await Client.connect(await port_of(one)) as user,
            await Client.connect(await port_of(other)) as admin,
        ):
            assert await user.join("room:a") == {"class": "Room"}
            assert await admin.join("room:a") == {"class": "Second"}
            await stop(one, "shutdown")
            assert await admin.sync() == []

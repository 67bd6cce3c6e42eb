"""The server stops: clients are told, channels end in order, and only errors are reported."""

from __future__ import annotations

import pytest
import trio

from exeunt import Pid, Shutdown, Supervisor, is_alive, open_node, stop
from exeunt import exit as exit_signal
from exeunt.channels import Endpoint, Socket

from .client import Client, Closed, Gone, close_frame, upgrade_request
from .world import Options, complaints, open_world, until


async def test_every_client_is_told_1012_and_leaves_draining(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends: list[object] = []

    async def read_to_the_end(client: Client) -> None:
        async with client:
            ends.extend(await client.receive_until_end())

    async with open_world() as world, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(read_to_the_end, await world.join(f"user{number}"))
        # One that has joined nothing is told as well.
        nursery.start_soon(read_to_the_end, await world.connect("reader"))
        started = trio.current_time()
        await stop(world.endpoint, "shutdown")
        assert trio.current_time() - started < 2
        await until(lambda: len(world.left) == 20, "all to leave")
        assert all(one.reason == Shutdown("draining") for one in world.left)
        assert sorted(one.who for one in world.left) == sorted(f"user{n}" for n in range(20))
    assert ends == [Closed(1012)] * 21
    assert complaints(caplog.records) == []


async def test_an_endpoint_that_is_drained_goes_on_listening() -> None:
    async with open_world() as world, await world.connect("reader") as reader:
        before = await world.snapshot()
        clients = [await world.join(f"user{number}") for number in range(10)]
        await Endpoint.drain(world.endpoint)
        for client in clients:
            assert await client.receive_until_end() == [Closed(1012)]
            client.close()
        await until(lambda: len(world.left) == 10, "all to leave")
        assert {one.reason for one in world.left} == {Shutdown("draining")}
        await world.settle(before)
        # Who has joined nothing stays, as with Phoenix.
        assert await reader.sync() == []
        await world.check_untouched()


async def test_clients_that_do_not_answer_hold_the_stop_for_close_within_only() -> None:
    async with open_world(Options(close_within=0.1)) as world:
        silent = [await world.join(f"user{number}") for number in range(40)]
        started = trio.current_time()
        await stop(world.endpoint, "shutdown")
        assert trio.current_time() - started < 2
        await until(lambda: len(world.left) == 40, "all to leave")
        for client in silent:
            assert await client.receive() == Closed(1012)
            client.close()


@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_clients_that_leave_as_the_server_stops_are_no_errors(
    leave: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_world() as world:
        clients = [await world.join(f"user{number}") for number in range(30)]
        for client in clients:
            if leave == "close":
                await client.send(close_frame(1001))
            else:
                client.reset()
        await stop(world.endpoint, "shutdown")
        await until(lambda: len(world.left) == 30, "all to leave")
        assert sorted(one.who for one in world.left) == sorted(f"user{n}" for n in range(30))
        expected = ("local_closed" if leave == "close" else "peer_closed", "draining", "closed")
        assert all(isinstance(one.reason, Shutdown) for one in world.left)
        assert {one.reason.detail for one in world.left if isinstance(one.reason, Shutdown)} <= set(
            expected
        )
        for client in clients:
            client.close()
    assert complaints(caplog.records) == []


async def test_connections_in_the_making_leave_no_socket_behind() -> None:
    async with open_world() as world, trio.open_nursery() as nursery:
        clients: list[Client] = []

        async def dial() -> None:
            try:
                client = await Client.dial(world.port)
                clients.append(client)
                await client.send(upgrade_request(who="late"))
            except OSError:
                pass  # the server has gone

        for _ in range(50):
            nursery.start_soon(dial)
        # In the middle of accepting and upgrading.
        await until(lambda: len(world.served()) > 8, "some connections")
        await stop(world.endpoint, "shutdown")
        for client in clients:
            await read_to_nothing(client)


async def read_to_nothing(client: Client) -> None:
    """Read until the server has ended the connection, whatever it says before."""
    with trio.fail_after(2):
        try:
            while await client.sock.recv(65536):
                pass
        except OSError:
            pass
    client.close()


async def test_plain_requests_are_cut_when_the_server_stops() -> None:
    async with open_world() as world, await Client.dial(world.port) as idle:
        await until(lambda: len(world.served()) == 1, "the connection to be served")
        started = trio.current_time()
        await stop(world.endpoint, "shutdown")
        assert trio.current_time() - started < 2
        assert await idle.receive() in (Gone("eof"), Gone("reset"))


async def test_an_endpoint_without_a_link_ends_with_its_node() -> None:
    with trio.fail_after(10):
        async with open_node(signals=False):
            endpoint = await Endpoint.start({"/socket": Socket}, port=0)
            port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
            client = await Client.connect(port)
            left_at = trio.current_time()
            assert await client.sync() == []
        assert trio.current_time() - left_at < 4
    assert await client.receive() == Closed(1012)
    client.close()


async def test_the_endpoint_killed_takes_everything_with_it() -> None:
    async with open_world() as world, await world.join() as client:
        exit_signal(world.endpoint, "kill")
        await until(lambda: not is_alive(world.endpoint), "the endpoint to end")
        await world.until_left("ada")
        frames = await client.receive_until_end()
        assert frames[-1] in (Closed(1012), Gone("eof"))
        assert len(world.reasons_of("ada")) == 1


async def test_a_crash_of_the_channels_supervisor_tells_every_client_and_is_mended() -> None:
    async with open_world() as world, await world.join() as client:
        children = await Supervisor.which_children(world.endpoint)
        [channels] = [one.pid for one in children if one.id == "channels"]
        assert isinstance(channels, Pid)
        exit_signal(channels, "kill")
        await world.until_left("ada")
        assert len(world.reasons_of("ada")) == 1
        await client.receive_until_end()
        # The listener came after the supervisor of the channels, so it was started anew as well.
        world.port = await world.find_port()
        await world.check_untouched()

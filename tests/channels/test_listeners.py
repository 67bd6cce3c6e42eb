"""Listening sockets: errors that help, and accepting that neither spins nor stops."""

from __future__ import annotations

import os
import resource
import socket
import struct

import pytest
import trio
import trio.testing

from exeunt.channels.listeners import accept, open_listeners

from .sockets import connect


def close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


async def test_port_zero_gets_a_free_port_and_clients_are_accepted() -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    async with await connect(port) as peer:
        stream = await accept(listeners[0])
        assert stream.peer == peer.sock.getsockname()
        await peer.send(b"hello")
        assert await stream.receive_some() == b"hello"
        stream.abort()
    close(listeners)


async def test_all_addresses_of_a_name_get_the_same_port() -> None:
    listeners = await open_listeners("localhost", 0)
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    close(listeners)
    listeners = await open_listeners(None, 0)
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    async with await connect(listeners[0].getsockname()[1]):
        pass
    close(listeners)


async def test_a_port_in_use_is_named_with_its_host_and_the_way_out() -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    with pytest.raises(OSError, match="choose another port") as caught:
        await open_listeners("127.0.0.1", port)
    assert f"port {port} of 127.0.0.1" in str(caught.value)
    close(listeners)


async def test_an_address_that_cannot_be_listened_on_is_named() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1.*address of this machine"):
        await open_listeners("192.0.2.1", 0)
    with pytest.raises(OSError, match="cannot listen on not a host"):
        await open_listeners("not a host", 0)
    for port in (-1, 65536):
        with pytest.raises(ValueError, match="65535"):
            await open_listeners("127.0.0.1", port)


async def test_a_port_can_be_listened_on_again_right_after_its_server_has_ended() -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    async with await connect(port):
        (await accept(listeners[0])).abort()  # leaves the port in TIME_WAIT
    close(listeners)
    close(await open_listeners("127.0.0.1", port))


async def test_out_of_file_descriptors_the_listener_waits_reports_and_recovers() -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    reports: list[OSError] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with await connect(listeners[0].getsockname()[1]) as peer:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with trio.move_on_after(0.25) as scope:
                await accept(listeners[0], on_trouble=reports.append)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert scope.cancelled_caught
        assert 1 <= len(reports) <= 4
        assert "Too many open files" in str(reports[0])
        with trio.fail_after(1):
            stream = await accept(listeners[0])
        await peer.send(b"x")
        assert await stream.receive_some() == b"x"
        stream.abort()
    close(listeners)


async def test_a_client_that_is_gone_before_it_is_accepted_harms_nobody() -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    gone = socket.create_connection(("127.0.0.1", port))
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    stream = await accept(listeners[0])
    assert stream.peer is None
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    stream.abort()
    async with await connect(port):
        (await accept(listeners[0])).abort()
    close(listeners)


async def test_accept_ends_when_the_listener_is_closed() -> None:
    listeners = await open_listeners("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await accept(listeners[0])

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.notify_closing(listeners[0])
        close(listeners)
    with pytest.raises(trio.ClosedResourceError):
        await accept(listeners[0])

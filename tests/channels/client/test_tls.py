"""The client over TLS: the same as without, and clear words when the handshake fails."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from exeunt.channels.client import (
    Binary,
    ConnectFailed,
    Delays,
    Disconnected,
    SendQueueFull,
    connect,
)
from tests.contract_server.app import open_server

from .certificate import CERTIFICATE, KEY


@pytest.fixture
def server_context(tmp_path: Path) -> ssl.SSLContext:
    path = tmp_path / "both.pem"
    path.write_text(CERTIFICATE + KEY)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CERTIFICATE)


class Front:
    """A proxy that speaks TLS, in front of a server that does not."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.port = 0
        self.passing = trio.Event()
        self.passing.set()
        self._scopes: list[trio.CancelScope] = []

    @property
    def url(self) -> str:
        return f"wss://localhost:{self.port}/socket"

    def cut(self) -> None:
        """Cut all connections, without a word of TLS."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                return
            async with (
                await trio.open_tcp_stream("127.0.0.1", self._to_port) as server,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._pass_on, stream, server)
                await self._pass_on(server, stream)
                nursery.cancel_scope.cancel()
        stream.transport_stream.socket.close()

    async def _pass_on(self, source: trio.abc.ReceiveStream, target: trio.abc.SendStream) -> None:
        try:
            while data := await source.receive_some():
                await self.passing.wait()
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


@asynccontextmanager
async def open_front(context: ssl.SSLContext) -> AsyncGenerator[Front]:
    async with open_server() as url, trio.open_nursery() as nursery:
        front = Front(int(url.rpartition(":")[2]))
        [listener] = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
        assert isinstance(listener.transport_listener, trio.SocketListener)
        front.port = int(listener.transport_listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, front.serve, [listener])
        yield front
        nursery.cancel_scope.cancel()


async def test_everything_goes_over_tls_too(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with (
        open_front(server_context) as front,
        connect(
            front.url, ssl_context=client_context, reconnect=Delays(0.01), rejoin=Delays(0.01)
        ) as socket,
    ):
        room = await socket.join("echo:1")
        assert await room.push("echo", {"text": "x" * 50_000}) == {"text": "x" * 50_000}
        raw = await socket.join("binary:1")
        assert await raw.push("echo", Binary(b"\xff" * 60_000)) == Binary(b"\xff" * 60_000)
        for number in range(500):
            room.cast("set", {"key": "n", "value": number})
        assert await room.push("get", {"key": "n"}) == {"value": 499}
        for number in range(50):
            with trio.move_on_after(0.0001 * (number % 5)):
                await room.push("echo", {"n": number})
        front.cut()
        with trio.fail_after(10), pytest.raises(Disconnected):
            await room.push("noreply", within=30)
        assert await room.push("ok", wait=True) == {}
        assert socket.connections == 2


async def test_a_queue_has_its_bound_over_tls_too(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async with (
        open_front(server_context) as front,
        connect(
            front.url, ssl_context=client_context, max_queued=200_000, close_within=0.1
        ) as socket,
    ):
        room = await socket.join("echo:1")
        front.passing = trio.Event()
        with pytest.raises(SendQueueFull):
            for _ in range(1000):
                room.cast("echo", {"pad": "p" * 20_000})
                await trio.lowlevel.checkpoint()
        assert socket.is_connected
        front.passing.set()
        with trio.fail_after(10):
            while True:
                try:
                    assert await room.push("ok") == {}
                    break
                except SendQueueFull:
                    await trio.sleep(0.01)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    server_context: ssl.SSLContext,
) -> None:
    async with open_front(server_context) as front:
        with pytest.raises(ConnectFailed, match=r"certificate is not accepted: self.signed"):
            async with connect(front.url):
                pytest.fail("it connected")


async def test_tls_to_a_server_that_does_not_speak_it(client_context: ssl.SSLContext) -> None:
    async with open_server() as url:
        address = url.replace("http", "wss") + "/socket"
        with pytest.raises(ConnectFailed, match="speak TLS on this port"):
            async with connect(address, ssl_context=client_context):
                pytest.fail("it connected")
        with pytest.raises(ValueError, match="wss"):
            async with connect(f"{url}/socket", ssl_context=client_context):
                pytest.fail("it connected")


async def test_no_tls_to_a_server_that_wants_it(server_context: ssl.SSLContext) -> None:
    async with open_front(server_context) as front:
        with pytest.raises(ConnectFailed):
            async with connect(f"ws://127.0.0.1:{front.port}/socket"):
                pytest.fail("it connected")

"""A TCP proxy that goes silent: the connection stays open on both sides, and nothing comes through.

That is what a client sees, and a server, when the network between them is gone: no FIN, no RST.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio


class Proxy:
    """Forwards every connection to a port, until it goes silent."""

    def __init__(self, to_port: int, port: int) -> None:
        self.port = port
        self._to_port = to_port
        self._is_silent = False
        self._is_deaf = False
        # Bytes that were swallowed on their way to the server, and to the client.
        self.swallowed = {"up": 0, "down": 0}

    def go_silent(self, *, deaf: bool = False) -> None:
        """Drop everything from now on, in both directions, and the ends of connections too.

        If deaf, do not even take it: what was full stays full.
        """
        self._is_silent = True
        self._is_deaf = deaf

    def speak_again(self) -> None:
        """Forward again what comes from now on."""
        self._is_silent = False

    async def serve(self, stream: trio.SocketStream) -> None:
        """Forward one connection."""
        async with (
            stream,
            await trio.open_tcp_stream("127.0.0.1", self._to_port) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._forward, stream, server, "up")
            nursery.start_soon(self._forward, server, stream, "down")

    async def _forward(
        self, source: trio.SocketStream, target: trio.SocketStream, direction: str
    ) -> None:
        try:
            while data := await source.receive_some(65536):
                if self._is_deaf:
                    await trio.sleep_forever()
                if self._is_silent:
                    self.swallowed[direction] += len(data)
                else:
                    await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        if not self._is_silent:
            await target.aclose()


@asynccontextmanager
async def open_proxy(to_port: int) -> AsyncGenerator[Proxy]:
    """Run a proxy in front of a port of this machine."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy = Proxy(to_port, int(listener.socket.getsockname()[1]))
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()

"""A server that closes every WebSocket with one code, to see what a client makes of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from exeunt.channels.http import Request, Response, SwitchToWebSocket, serve_requests
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.trio_websocket import open_websocket


@asynccontextmanager
async def closing_with(code: int) -> AsyncGenerator[str]:
    """Close every WebSocket with this code as soon as it is open; at 1006 without a close frame.

    Yields the URL of its mount.
    """

    async def respond(request: Request) -> Response | SwitchToWebSocket:
        return SwitchToWebSocket()

    async def serve(theirs: trio.SocketStream) -> None:
        stream = ByteStream(socket.socket(fileno=theirs.socket.detach()))
        upgrade = await serve_requests(stream, respond)
        if upgrade is None:
            return
        async with open_websocket(stream, upgrade) as ws:
            if code == 1006:
                await stream.drain()
                ws.abort()
            else:
                await ws.close(code)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/socket"
        nursery.cancel_scope.cancel()

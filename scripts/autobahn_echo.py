"""The echo that Autobahn's WebSocket test suite is let loose on.

It is made of what serves every client of an endpoint: `accept`, `serve_requests` in front, then
`open_websocket`. Channels and their JSON are left out, as the suite wants its own bytes back. Only
the two limits differ from an endpoint's, because the suite's largest message has 16 MiB.
"""

from __future__ import annotations

import socket
import sys
import traceback
from typing import Final

import trio

from exeunt.channels.errors import ConnectionEnded
from exeunt.channels.http import serve_requests
from exeunt.channels.http_messages import Request, SwitchToWebSocket
from exeunt.channels.listeners import accept, open_listeners
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.trio_websocket import WebSocket, open_websocket
from exeunt.channels.wire import binary_frame, text_frame

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a message; an endpoint takes 8,000,000 unless told otherwise."""

MOST_QUEUED: Final = 64 * 1024 * 1024
"""Bytes that may wait for the suite while it does not read."""


class Echo:
    """A listener whose clients are sent back whatever they send."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.connections = 0
        # What no client should ever be able to bring about: the run has failed if there is one.
        self.errors: list[Exception] = []

    @classmethod
    async def open(cls) -> Echo:
        """Listen on a free port of loopback."""
        [listener] = await open_listeners("127.0.0.1", 0)
        return cls(listener)

    async def serve(self) -> None:
        """Serve clients until cancelled."""
        with self._listener:
            async with trio.open_nursery() as nursery:
                while True:
                    stream = await accept(self._listener, max_queued=MOST_QUEUED)
                    self.connections += 1
                    nursery.start_soon(self._serve_client, stream)

    async def _serve_client(self, stream: ByteStream) -> None:
        try:
            upgrade = await serve_requests(stream, _switch, on_error=self._note)
            if upgrade is not None:
                async with open_websocket(
                    stream, upgrade, max_frame_size=LARGEST, max_message_size=LARGEST
                ) as websocket:
                    await _send_back(websocket)
        except Exception as error:
            self._note(error)
        finally:
            stream.abort()

    def _note(self, error: Exception) -> None:
        self.errors.append(error)
        traceback.print_exception(error, file=sys.stderr)


async def _switch(request: Request) -> SwitchToWebSocket:
    return SwitchToWebSocket()


async def _send_back(websocket: WebSocket) -> None:
    try:
        while True:
            message = await websocket.receive()
            if isinstance(message, str):
                websocket.send_frame(text_frame(message.encode()))
            else:
                websocket.send_frame(binary_frame(message))
    except ConnectionEnded:
        pass  # whatever was to be said to the peer has been said

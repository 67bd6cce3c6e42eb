"""Nothing that a client sends is unpacked, so there is no little thing that becomes a large one."""

from __future__ import annotations

import gzip
import json
import zlib

from exeunt import open_node, stop, trap_exit
from exeunt.channels import Endpoint, Request, Response, Socket
from tests.faults.client import TEXT, Client, Closed, frame

BOMB = b"0" * 5_000_000


async def test_a_websocket_is_never_compressed_whatever_is_offered() -> None:
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": Socket}, port=0)
        port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        offers = ("permessage-deflate", "x-webkit-deflate-frame, permessage-deflate; a=1")
        for offered in offers:
            async with await Client.dial(port) as client:
                head = (
                    "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==\r\n"
                    f"Sec-WebSocket-Extensions: {offered}\r\n\r\n"
                )
                await client.send(head.encode())
                status, answer, _ = await client.response()
                assert status == 101
                assert "sec-websocket-extensions" not in answer.lower()
                packer = zlib.compressobj(9, wbits=-15)
                packed = packer.compress(BOMB) + packer.flush(zlib.Z_SYNC_FLUSH)
                # The bit that says that a message is compressed breaks the protocol.
                await client.send(frame(TEXT, packed[:-4], rsv=4))
                assert (await client.receive_until_end())[0] == Closed(1002)
        await stop(endpoint, "shutdown")


async def test_a_packed_body_is_given_to_the_page_as_it_came() -> None:
    bodies: list[tuple[str | None, bytes]] = []

    async def pages(request: Request) -> Response:
        bodies.append((request.header("content-encoding"), request.body))
        return Response(204)

    packed = gzip.compress(json.dumps({"a": BOMB.decode()}).encode())
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({}, port=0, pages=pages)
        port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
        async with await Client.dial(port) as client:
            head = (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
                f"Content-Length: {len(packed)}\r\n\r\n"
            )
            await client.send(head.encode() + packed)
            assert (await client.response())[0] == 204
        await stop(endpoint, "shutdown")
    assert bodies == [("gzip", packed)]

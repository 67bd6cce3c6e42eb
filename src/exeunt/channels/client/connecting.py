"""A client of channels on trio: a connection that lasts as long as a block.

    async with connect("ws://127.0.0.1:4000/socket", params={"token": token}) as socket:
        room = await socket.join("room:lobby", {"name": "ann"})
        reply = await room.push("say", {"text": "hi"})
        async for event in room:
            print(event.event, event.payload)

A connection that is lost is made anew, and what was joined is joined again, with the delays of
phoenix.js and some jitter. Nothing of it outlives the block, and no node is needed: it works in any
trio program, and so in any process of exeunt.

What cannot be mended ends the block: the body is cancelled, and the error comes out, alone and not
in a group. That is so when the server refuses to be connected to again (401 or 403), when
`reconnect` is None and the connection is lost, or when a function given by the user raises.

Phoenix: The official client cannot see that its connection is refused, and tries again for ever.
The client in Python takes 401 and 403 for final, unless it has `retry_refused`.

Phoenix: The official client begins with its shortest delay after every connection that came about.
With the client in Python, one that was lost within a second counts as a failed try, so that a
server that throws its clients out at once is not called 100 times a second.

Phoenix: The official client takes a server for dead that has not answered a heartbeat when the next
one is due. For the client in Python any byte counts as an answer, since the answer may have to wait
behind a large message.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from exeunt.channels.client.address import Address, Headers, header_list
from exeunt.channels.client.frames import Version, client_serializer
from exeunt.channels.client.options import Options, ParamsSource, TokenSource
from exeunt.channels.client.retry import RECONNECT, REJOIN, Schedule
from exeunt.channels.client.socket import ClientSocket

__all__ = ["connect"]


@asynccontextmanager
async def connect(
    url: str,
    *,
    params: ParamsSource | None = None,
    auth_token: TokenSource = None,
    headers: Headers = (),
    vsn: Version = "2.0.0",
    ssl_context: ssl.SSLContext | None = None,
    answer_within: float = 10.0,
    connect_within: float = 10.0,
    heartbeat: float = 30.0,
    heartbeat_within: float = 30.0,
    reconnect: Schedule | None = RECONNECT,
    rejoin: Schedule = REJOIN,
    retry_refused: bool = False,
    wait_for_server: bool = False,
    max_message_size: int = 8_000_000,
    max_queued: int = 8_000_000,
    close_within: float = 2.0,
) -> AsyncGenerator[ClientSocket]:
    """Connect to the mount at `url`, and stay connected for as long as the block runs.

    | option | meaning |
    |---|---|
    | `url` | the mount's, as in `ws://127.0.0.1:4000/socket`; http stands for ws, https for wss |
    | `params` | parameters of the URL, or a function, async or not, called for each connection |
    | `auth_token` | the token that goes in a header, for a mount with `auth_token`; or a function |
    | `headers` | more headers of the request |
    | `vsn` | the version of the protocol, "2.0.0" or "1.0.0" |
    | `ssl_context` | for wss; the system's default if None |
    | `answer_within` | seconds for the answer to a push or a join |
    | `connect_within` | seconds for TCP, TLS and WebSocket together |
    | `heartbeat` | seconds from one heartbeat to the next |
    | `heartbeat_within` | seconds after one in which something has to come from the server |
    | `reconnect` | the delays before a new connection; None: a connection that is lost is the end |
    | `rejoin` | the delays before a new join, when a channel has crashed |
    | `retry_refused` | try again also what the server has refused: connections and joins |
    | `wait_for_server` | try again also if the very first connection does not come about |
    | `max_message_size` | bytes of a message; a larger one ends the connection with 1009 |
    | `max_queued` | bytes that may wait for a server that does not read: see `SendQueueFull` |
    | `close_within` | seconds for the server to answer the close frame at the end of the block |

    Raises `ConnectFailed` if the first connection does not come about; it says why, and has the
    HTTP status if there was one. At the end of the block the connection is closed with 1000, which
    takes its channels with it; if the block is cancelled, that is not waited for.
    """
    options = Options(
        address=Address.parse(url),
        serializer=client_serializer(vsn),
        params={} if params is None else params,
        auth_token=auth_token,
        headers=header_list(headers),
        ssl_context=ssl_context,
        answer_within=answer_within,
        connect_within=connect_within,
        heartbeat=heartbeat,
        heartbeat_within=heartbeat_within,
        reconnect=reconnect,
        rejoin=rejoin,
        retry_refused=retry_refused,
        wait_for_server=wait_for_server,
        max_message_size=max_message_size,
        max_queued=max_queued,
        close_within=close_within,
    )
    body = trio.CancelScope()
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        socket = ClientSocket(options, nursery, body)
        try:
            await socket._connect_first()
            socket._start(socket._run)
            with body:
                yield socket
        except Exception as error:
            raised = error
        except BaseException as error:
            raised = error  # raised again below, where the nursery does not put it into a group
            nursery.cancel_scope.cancel()
        finally:
            socket._stop(None)
    if raised is not None:
        raise raised
    if socket.failure is not None and body.cancelled_caught:
        raise socket.failure

"""A client of channels in Python, on trio: for bots, for tests, for load.

    from exeunt.channels.client import connect

    async with connect("ws://127.0.0.1:4000/socket") as socket:
        async with await socket.join("room:lobby", {"name": "ann"}) as room:
            await room.push("say", {"text": "hi"})

It speaks to exeunt and to Phoenix alike, and needs no node.
"""

from exeunt.channels.client.channel import ClientChannel
from exeunt.channels.client.connecting import connect
from exeunt.channels.client.errors import (
    ChannelClosed,
    ChannelCrashed,
    ClientError,
    ConnectFailed,
    Disconnected,
    EventsLost,
    JoinRefused,
    JoinTimeout,
    NotJoined,
    PushTimeout,
    ReplyError,
    SendQueueFull,
)
from exeunt.channels.client.events import EventOverflow
from exeunt.channels.client.frames import Event
from exeunt.channels.client.membership import ChannelState, JoinParams
from exeunt.channels.client.options import ParamsSource, TokenSource
from exeunt.channels.client.presence import PresenceView
from exeunt.channels.client.retry import RECONNECT, REJOIN, Delays, Schedule
from exeunt.channels.client.socket import ClientSocket, SocketState
from exeunt.channels.wire import Binary

__all__ = [
    "RECONNECT",
    "REJOIN",
    "Binary",
    "ChannelClosed",
    "ChannelCrashed",
    "ChannelState",
    "ClientChannel",
    "ClientError",
    "ClientSocket",
    "ConnectFailed",
    "Delays",
    "Disconnected",
    "Event",
    "EventOverflow",
    "EventsLost",
    "JoinParams",
    "JoinRefused",
    "JoinTimeout",
    "NotJoined",
    "ParamsSource",
    "PresenceView",
    "PushTimeout",
    "ReplyError",
    "Schedule",
    "SendQueueFull",
    "SocketState",
    "TokenSource",
    "connect",
]

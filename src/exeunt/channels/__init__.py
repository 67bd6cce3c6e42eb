"""What Phoenix gives: sockets, channels, topics and tokens, on supervised processes.

A connection is a process and a join is a process, so that every way in which a client can leave is
the end of a process, which has a reason and is told to whoever is linked to it.
"""

from exeunt.channels.channel import Channel, Error, JoinResult, Ok, Reply, SocketRef, reply
from exeunt.channels.channel import InResult as InResult
from exeunt.channels.channel import NotJoined as NotJoined
from exeunt.channels.channel import OutResult as OutResult
from exeunt.channels.draining import Draining
from exeunt.channels.endpoint import Endpoint
from exeunt.channels.errors import PayloadError, ProtocolError
from exeunt.channels.http_messages import Limits, Request, Response
from exeunt.channels.presence import AlreadyTracked, NotTracked, Presence, Presences
from exeunt.channels.presence_diffs import PresenceDiff
from exeunt.channels.pubsub import Broadcast, PubSub
from exeunt.channels.site import LongPoll, Mount, Pages
from exeunt.channels.socket import ConnectInfo, Params, Refused, Route, Socket
from exeunt.channels.static import StaticFiles
from exeunt.channels.tokens import TokenError, Tokens
from exeunt.channels.wire import Binary
from exeunt.otp.results import CallResult, CastResult, UnexpectedRequest

__all__ = [
    "AlreadyTracked",
    "Binary",
    "Broadcast",
    "CallResult",
    "CastResult",
    "Channel",
    "ConnectInfo",
    "Draining",
    "Endpoint",
    "Error",
    "InResult",
    "JoinResult",
    "Limits",
    "LongPoll",
    "Mount",
    "NotJoined",
    "NotTracked",
    "Ok",
    "OutResult",
    "Pages",
    "Params",
    "PayloadError",
    "Presence",
    "PresenceDiff",
    "Presences",
    "ProtocolError",
    "PubSub",
    "Refused",
    "Reply",
    "Request",
    "Response",
    "Route",
    "Socket",
    "SocketRef",
    "StaticFiles",
    "TokenError",
    "Tokens",
    "UnexpectedRequest",
    "reply",
]

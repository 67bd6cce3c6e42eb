"""What an endpoint serves: sockets at paths, how clients reach each, and pages for the rest.

    Endpoint.child({"/socket": Mount(UserSocket, longpoll=LongPoll())}, port=4000)

All here is plain data, checked when it is made.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from exeunt.channels.checks import check_number
from exeunt.channels.http_messages import Limits, Request, Response
from exeunt.channels.mounting import check_socket
from exeunt.channels.origin import OriginCheck, check_origins
from exeunt.channels.paths import Paths, check_path
from exeunt.channels.pubsub import PubSub
from exeunt.channels.socket import Socket
from exeunt.channels.tokens import Tokens
from exeunt.channels.transports.longpoll import PolledTransport
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination

if TYPE_CHECKING:
    from exeunt.channels.session import Session

__all__ = ["LongPoll", "Mount", "Pages", "Site"]

Pages: TypeAlias = Callable[[Request], Awaitable[Response]]
"""What answers the requests that are for no socket: pages, files, whatever the application has."""


@dataclass(frozen=True, slots=True)
class LongPoll:
    """Have clients reach a socket by long-polling too: at `/socket`, it is `/socket/longpoll`.

    `window`: seconds that a poll waits for a message before it is answered without one, and that
    a message of the client may take to be dealt with. A client that has not polled for one and a
    half of it is gone. `max_age`: seconds that the token of a client is good for. `path`: what
    follows the path of the mount, in which variables may stand.
    """

    window: float = 10.0
    max_age: float = 1_209_600.0
    path: str = "/longpoll"

    def __post_init__(self) -> None:
        check_path(self.path, "clients poll", "/longpoll")
        check_number(self.window, "the window of a long poll, in seconds,")
        if not math.isfinite(self.window):
            raise ValueError(f"the window of a long poll is above 0 seconds, not {self.window!r}")
        check_number(self.max_age, "max_age of long-polling, in seconds,")


@dataclass(frozen=True, slots=True)
class Mount:
    """A socket at a path, with the limits of its connections.

    `socket` makes the socket of a new client: a class of sockets, or `partial(UserSocket, …)` for
    one that takes arguments.

    `auth_token`: take the `authToken` of phoenix.js 1.8 out of the header that it comes in
    (Sec-WebSocket-Protocol, or X-Phoenix-AuthToken when it polls), and give it to `connect`.
    `subprotocols`: those to agree on, best first.

    `connect_within`: seconds that the socket's `connect` may take. `max_queued`: bytes that may
    wait for a client that does not read, or does not poll.

    WebSockets, unless `websocket` is False: `path`: what follows the path of the mount, in which
    variables may stand. `timeout`: seconds without a byte from the client, after which it is gone.
    `max_frame_size`: bytes of a frame, header included; `max_message_size`: bytes of a message in
    fragments. `close_within`: seconds that a client has to answer a close frame.

    Long-polling, if `longpoll` is given: what one request may hold is bounded by the endpoint's
    `Limits.body_bytes`.
    """

    socket: Callable[[], Socket]
    timeout: float = 60.0
    max_frame_size: int = 8_000_000
    max_message_size: int = 8_000_000
    check_origin: OriginCheck = "conn"
    close_within: float = 1.0
    max_queued: int = 4 * 1024 * 1024
    connect_within: float = 10.0
    auth_token: bool = False
    subprotocols: tuple[str, ...] = ()
    websocket: bool = True
    longpoll: LongPoll | None = None
    path: str = "/websocket"

    def __post_init__(self) -> None:
        check_socket(self.socket)
        sizes = ("max_frame_size", "max_message_size", "max_queued")
        for name in ("timeout", "connect_within", *sizes):
            check_number(getattr(self, name), f"{name} of a mount")
        check_number(self.close_within, "close_within of a mount", least=0)
        for name in ("auth_token", "websocket"):
            is_on: object = getattr(self, name)
            if not isinstance(is_on, bool):
                raise TypeError(f"{name} of a mount is True or False, not {is_on!r}")
        check_origins(self.check_origin)
        check_path(self.path, "WebSockets are", "/websocket")
        offered: object = self.subprotocols
        if (
            isinstance(offered, str)
            or not isinstance(offered, Collection)
            or not all(isinstance(one, str) for one in offered)
        ):
            raise TypeError(f"subprotocols of a mount is a tuple of strings, not {offered!r}")
        longpoll: object = self.longpoll
        if longpoll is not None and not isinstance(longpoll, LongPoll):
            raise TypeError(f"longpoll of a mount is LongPoll(…) or None, not {longpoll!r}")
        if longpoll is None and not self.websocket:
            raise ValueError("a mount without WebSockets is reached by long-polling: give longpoll")

    def paths(self) -> dict[str, str]:
        """Return the path of each transport, behind that of the mount."""
        found = {"websocket": self.path} if self.websocket else {}
        return found if self.longpoll is None else {**found, "longpoll": self.longpoll.path}


def _random_tokens() -> Tokens:
    return Tokens(secrets.token_urlsafe(48))


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all connections of an endpoint share.

    `served` holds the clients that are connected, and `polled` those of them that poll, each under
    a name that nobody can guess. Their tokens are signed with `tokens`, whose secret is made when
    the endpoint starts: neither outlives it.
    """

    mounts: Mapping[str, Mount]
    hub: PubSub
    channels: Destination
    connections: Destination
    pages: Pages | None
    limits: Limits = field(default_factory=Limits)
    served: dict[Pid, Session] = field(default_factory=dict["Pid", "Session"])
    polled: dict[str, PolledTransport] = field(default_factory=dict[str, PolledTransport])
    tokens: Tokens = field(default_factory=_random_tokens)
    paths: Paths = field(init=False)
    unread_tokens: set[str] = field(default_factory=set[str])
    """The mounts of which it was logged that clients send tokens there which nobody reads."""

    def __post_init__(self) -> None:
        paths = Paths({path: mount.paths() for path, mount in self.mounts.items()})
        object.__setattr__(self, "paths", paths)

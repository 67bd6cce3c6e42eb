"""Socket: who may connect, and what they can join.

    class UserSocket(Socket):
        channels = {"room:*": RoomChannel, "lobby": Route(LobbyChannel, {"role": "guest"})}

        async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
            try:
                self.assigns["user"] = tokens.verify("user", params.get("token"), max_age=3600)
            except TokenError:
                return False
            return True

        def id(self) -> str | None:
            return f"user:{self.assigns['user']}"

After Phoenix.Socket, whose names it keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeAlias, cast
from urllib.parse import SplitResult, urlsplit

from exeunt.channels.assigns import OWN_ASSIGNS, check_assigns, refuse_shared_assigns
from exeunt.channels.channel import Channel
from exeunt.channels.checks import check_number, refuse_async
from exeunt.channels.filtering import SECRETS, Filter, Parameters
from exeunt.channels.http_messages import QueryValue, Request
from exeunt.channels.log import LogLevel, check_level
from exeunt.otp.callbacks import refuse_misspelt

Params: TypeAlias = "dict[str, QueryValue]"
"""The parameters of the URL, decoded: strings, lists and objects of strings."""


@dataclass(frozen=True, slots=True)
class ConnectInfo:
    """What is known of a client when it connects, from the request by which it does.

    Phoenix: a mount lists which of these `connect` gets. Here it gets all of them.
    """

    request: Request
    auth_token: str | None = field(default=None, repr=False)
    """The token that came in the header Sec-WebSocket-Protocol, or in X-Phoenix-AuthToken from a
    client that polls, on a mount with `auth_token`."""

    @property
    def peer(self) -> tuple[str, int] | None:
        """The client's address and port, as the listener saw them."""
        return self.request.peer

    @property
    def path(self) -> str:
        """The path of the URL."""
        return self.request.path

    @property
    def uri(self) -> SplitResult:
        """The URL that was asked for; its host is the header's, empty if that is none."""
        request = self.request
        path, _, query = request.target.partition("?")
        host = request.header("host") or ""
        if "://" in path:
            host, path = urlsplit(path).netloc, urlsplit(path).path
        try:
            parts = urlsplit(f"//{host}")
            is_host = parts.netloc == host and parts.port != 0
        except ValueError:
            is_host = False
        return SplitResult("", host if is_host else "", path, query, "")

    @property
    def user_agent(self) -> str | None:
        """The header User-Agent."""
        return self.request.header("user-agent")

    @property
    def x_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that begin with `x-`, names in lower case."""
        return tuple(pair for pair in self.request.headers if pair[0].startswith("x-"))

    @property
    def trace_context_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers `traceparent` and `tracestate`."""
        names = ("traceparent", "tracestate")
        return tuple(pair for pair in self.request.headers if pair[0] in names)

    @property
    def sec_websocket_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that begin with `sec-websocket-`."""
        return tuple(pair for pair in self.request.headers if pair[0].startswith("sec-websocket-"))


@dataclass(frozen=True, slots=True)
class Refused:
    """From `connect`: refuse the connection, with this HTTP status and body."""

    status: int = 403
    body: bytes = b""

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError(f"a refusal has a status from 400 to 599, not {self.status}")


@dataclass(frozen=True, slots=True)
class Route:
    """A channel for a pattern, with assigns that each of its joins begins with."""

    channel: type[Channel]
    assigns: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check_assigns(self.assigns, "a route")


_SHOWN_PATTERNS: Final = 10
"""How many patterns the log names when a topic fits none of them."""


class Socket:
    """The base of all sockets: override `connect`, and set `channels`."""

    channels: ClassVar[Mapping[str, type[Channel] | Route]] = {}
    """Patterns of topics, tried in order: a whole topic, or a beginning that ends in a star."""

    max_channels: ClassVar[int] = 100
    """How many topics one connection may have joined at a time."""

    log: ClassVar[LogLevel] = "info"
    """The level at which it is logged that a client was let in or refused, or False."""

    filter_parameters: ClassVar[Parameters] = SECRETS
    """What is covered of the parameters of this socket and its channels, wherever they are shown.

    Words, each of which covers the keys that contain it, or `("keep", keys)`: all but these.
    """

    _filter: ClassVar[Filter] = Filter(SECRETS)

    _routes: ClassVar[tuple[tuple[str, bool, Route], ...]] = ()

    assigns: dict[str, Any] = cast(Any, OWN_ASSIGNS)
    """Yours to use; every channel of the socket begins with a copy."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_level(cls.log, f"{cls.__qualname__}.log")
        cls._filter = Filter(cls.filter_parameters)
        attributes = ("channels", "max_channels", "filter_parameters")
        refuse_misspelt(cls, ("connect", "id"), attributes)
        refuse_async(cls.id, f"{cls.__qualname__}.id")
        refuse_shared_assigns(cls)
        check_number(cls.max_channels, f"{cls.__qualname__}.max_channels")
        given: object = cls.channels
        if not isinstance(given, Mapping):
            raise TypeError(
                f"{cls.__qualname__}.channels says which channel is at which topics, "
                f"{{'room:*': RoomChannel}}, not {given!r}"
            )
        cls._routes = tuple(_route(cls, pattern, to) for pattern, to in cls.channels.items())

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        """Decide whether a client may connect: True, False (403), or `Refused(status, body)`."""
        return True

    def id(self) -> str | None:
        """Name the socket, such as `"user:7"`, or return None.

        To broadcast the event `"disconnect"` on this topic closes all sockets of that name.
        """
        return None

    def route(self, topic: object) -> Route | None:
        """Return the first route whose pattern fits a topic."""
        if not isinstance(topic, str):
            return None
        for prefix, is_open, route in self._routes:
            if topic == prefix or (is_open and topic.startswith(prefix)):
                return route
        return None

    def _why_unmatched(self, topic: object) -> str:
        """Return what the log says besides of a topic to which nothing can be sent."""
        if not isinstance(topic, str) or not self._routes:
            return "" if self._routes else ", which has no `channels`"
        if self.route(topic) is not None:
            return ", which this client has not joined"
        patterns = [f"{prefix}*" if is_open else prefix for prefix, is_open, _ in self._routes]
        shown = ", ".join(map(repr, patterns[:_SHOWN_PATTERNS]))
        more = len(patterns) - _SHOWN_PATTERNS
        said = f", which has {shown}" + (f" and {more} more" if more > 0 else "")
        for prefix, is_open, _ in self._routes:
            begins = prefix if prefix.endswith(":") else f"{prefix}:"
            if not is_open and topic.startswith(begins):
                return f"{said}; {prefix!r} is this one topic, '{begins}*' all that begin so"
        return said


def _route(cls: type, pattern: str, to: type[Channel] | Route) -> tuple[str, bool, Route]:
    where = f"{cls.__qualname__}.channels"
    given_pattern: object = pattern
    if not isinstance(given_pattern, str) or "*" in pattern[:-1]:
        raise ValueError(
            f"{where}: a pattern is a topic, or a beginning of one and a star at its end, "
            f"not {pattern!r}"
        )
    route = to if isinstance(to, Route) else Route(to)
    given: object = route.channel
    if not (isinstance(given, type) and issubclass(given, Channel)):
        raise TypeError(f"{where}: {pattern!r} leads to {given!r}, which is no class of channels")
    return (pattern[:-1], True, route) if pattern.endswith("*") else (pattern, False, route)

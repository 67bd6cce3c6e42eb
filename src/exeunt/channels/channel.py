"""Channel: what you write for a topic, such as a chat room.

Every join of a client is a process of its own, which runs one instance of your class:

    class RoomChannel(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            if topic == "room:secret":
                return Error({"reason": "unauthorized"})
            return Ok({"welcome": self.assigns["name"]})

        async def handle_in(self, event: str, payload: Any) -> InResult:
            match event:
                case "shout":
                    self.broadcast("shout", payload)
                    return Ok()
            return await super().handle_in(event, payload)

What a callback raises ends this channel only: its client is told, and joins again. Whatever way the
client leaves, the process ends with a reason that says which, and whoever is linked to it hears so.

After Phoenix.Channel, whose names it keeps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast

from exeunt.channels.assigns import OWN_ASSIGNS, refuse_shared_assigns
from exeunt.channels.filtering import plain
from exeunt.channels.log import LogLevel, check_level, logger
from exeunt.channels.returns import meant, without_join
from exeunt.channels.transports.contract import Transport
from exeunt.channels.wire import Serializer
from exeunt.kernel.calls import Call
from exeunt.kernel.exits import Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import Bound
from exeunt.otp.callbacks import refuse_misspelt
from exeunt.otp.requests import on_call, on_cast
from exeunt.otp.results import CallResult, CastResult, Stop, TimeoutAfter, UnexpectedRequest

if TYPE_CHECKING:
    from exeunt.channels.channel_server import ChannelServer
    from exeunt.channels.pubsub import PubSub

CALLBACKS = (
    "join",
    "handle_in",
    "handle_out",
    "handle_info",
    "handle_call",
    "handle_cast",
    "handle_continue",
    "terminate",
)

_ATTRIBUTES = ("intercepts", "shutdown", "mailbox", "log_join", "log_handle_in")

_EMPTY: Final[dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a client's message: a status and any JSON value, or `Binary`."""

    status: str
    response: Any = field(default_factory=dict[str, Any])


def Ok(response: Any = _EMPTY) -> Reply:
    """Answer with the status `"ok"`; without a response, with an empty object."""
    return Reply("ok", response)


def Error(response: Any = _EMPTY) -> Reply:
    """Answer with the status `"error"`; from `join`: refuse it."""
    return Reply("error", response)


JoinResult: TypeAlias = "Reply | None"
"""`Ok(…)` or None to let the client in, `Error(…)` to refuse it."""

InResult: TypeAlias = "Reply | Stop | TimeoutAfter | None"
"""None for no answer, a `Reply`, or `Stop(reason, reply=Ok(…))`."""

OutResult: TypeAlias = "Stop | TimeoutAfter | None"
"""None to go on; what the client is to get of a broadcast is pushed, not returned."""


@dataclass(frozen=True, slots=True)
class SocketRef:
    """What it takes to answer a client's message later, from any process."""

    transport: Transport
    serializer: Serializer
    topic: str
    ref: object
    join_ref: object


def reply(to: SocketRef, answer: Reply) -> None:
    """Answer a client's message.

    The answer goes straight to the client, also when the channel has ended meanwhile; it vanishes
    if the connection has. Raises `TypeError` for another answer than `Ok(…)`, `Error(…)` or
    `Reply(status, …)`.
    """
    if not isinstance(to, SocketRef):
        raise TypeError(
            f"reply answers a client by the socket_ref() of its message, not by {to!r}; "
            "a call is answered by exeunt.reply"
        )
    if not isinstance(answer, Reply):
        raise TypeError(
            "a client is answered with Ok(…), Error(…) or Reply(status, …), not with "
            f"{type(answer).__qualname__}{meant(answer)}"
        )
    to.transport.send(
        to.serializer.encode_reply(to.join_ref, to.ref, to.topic, answer.status, answer.response)
    )


class NotJoined(RuntimeError):
    """The channel has not been joined yet, so it can neither push nor broadcast."""


class _NoProcess:
    """What a channel has instead of its server until there is one."""

    def __get__(self, channel: Channel | None, owner: type) -> object:
        if channel is None:
            return self
        raise RuntimeError(
            f"this {owner.__qualname__} has no process yet: `__init__` is too early, do it in "
            "`join`; and for a test there is exeunt.testing.connect"
        )


class Channel:
    """The base of all channels: override `join`, and what else you need.

    Phoenix: a channel may be any process that follows the protocol of joins. Here it is a
    `Channel`, which has all callbacks of a server.
    """

    intercepts: ClassVar[Collection[str]] = ()
    """Events whose broadcasts go through `handle_out` instead of straight to the client."""

    shutdown: ClassVar[float] = 5.0
    """Seconds that the process has to end when the server stops."""

    mailbox: ClassVar[Bound | None] = None
    """A bound for what waits for the process. One too many ends it, with the reason `"overflow"`,
    since none of the protocol's own messages may be lost. What its client sends has one anyhow."""

    log_join: ClassVar[LogLevel] = "info"
    """The level at which joins are logged, or False."""

    log_handle_in: ClassVar[LogLevel] = "debug"
    """The level at which each message of a client is logged, or False."""

    assigns: dict[str, Any] = cast(Any, OWN_ASSIGNS)
    """Yours to use; it begins as a copy of the socket's, and of the route's."""

    _server: ChannelServer = cast(Any, _NoProcess())

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if isinstance(cls.intercepts, str):
            raise TypeError(f"{cls.__qualname__}.intercepts is a tuple of events, not a string")
        events: object = cls.intercepts
        if not isinstance(events, Collection) or not all(isinstance(one, str) for one in events):
            raise TypeError(f"{cls.__qualname__}.intercepts is a tuple of events, not {events!r}")
        refuse_shared_assigns(cls)
        for name, value in vars(cls).items():
            if isinstance(value, (on_call, on_cast)):
                raise TypeError(
                    f"{cls.__qualname__}.{name}: @{type(value).__name__} is for servers; what is "
                    "sent to a channel by `call` or `cast_to` comes to handle_call or handle_cast"
                )
        given: object = cls.shutdown
        if not (isinstance(given, (int, float)) and given >= 0):
            raise ValueError(
                f"{cls.__qualname__}.shutdown is a number of seconds, not {cls.shutdown!r}"
            )
        bound: object = cls.mailbox
        if bound is not None and not (isinstance(bound, Bound) and bound.overflow == "exit"):
            raise ValueError(
                f"{cls.__qualname__}.mailbox is a Bound(limit), whose overflow is 'exit', not "
                f"{bound!r}"
            )
        check_level(cls.log_join, f"{cls.__qualname__}.log_join")
        check_level(cls.log_handle_in, f"{cls.__qualname__}.log_handle_in")
        refuse_misspelt(cls, CALLBACKS, _ATTRIBUTES)

    # -- callbacks --------------------------------------------------------------------------------

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let a client in, or refuse it.

        `params` are any JSON value. If it raises, the client is told "join crashed". It cannot push
        or broadcast yet: for that, `send` something to `self.pid` and use `handle_info`.
        """
        raise NotImplementedError(without_join(type(self)))

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Take a message of the client."""
        raise UnexpectedRequest(
            f"{type(self).__qualname__} got the event '{plain(event)}', but does not handle it"
        )

    async def handle_out(self, event: str, payload: Any) -> OutResult:
        """Take a broadcast of an event in `intercepts`; `push` what the client is to get."""
        self.push(event, payload)
        return None

    async def handle_info(self, message: Any) -> CastResult:
        """Take any other message that was sent to the process."""
        logger.warning(
            "%s %s got a message that it has no handle_info for: %s",
            type(self).__qualname__,
            f"'{plain(self.topic)}'",
            self._shown(message),
        )
        return None

    async def handle_call(self, request: Any, caller: Call) -> CallResult:
        """Answer a request of `exeunt.call`."""
        raise UnexpectedRequest(
            f"{type(self).__qualname__} has no handle_call for {self._shown(request)}"
        )

    async def handle_cast(self, request: Any) -> CastResult:
        """Take a request of `exeunt.cast_to`."""
        raise UnexpectedRequest(
            f"{type(self).__qualname__} has no handle_cast for {self._shown(request)}"
        )

    async def handle_continue(self, argument: Any) -> CastResult:
        """Go on after a callback that returned `Continue(argument)`."""
        raise UnexpectedRequest(f"{type(self).__qualname__} has no handle_continue")

    async def terminate(self, reason: Reason) -> object:
        """Clean up. Called as a GenServer's; not when `join` has raised."""
        return None

    def _shown(self, value: object) -> str:
        return self._server.session.filter.show(value, 500)

    # -- what it knows ----------------------------------------------------------------------------

    @property
    def pid(self) -> Pid:
        """The channel's process."""
        return self._server.pid

    @property
    def topic(self) -> str:
        """The topic that was joined."""
        return self._server.topic

    @property
    def join_ref(self) -> object:
        """The client's reference of this join."""
        return self._server.join_ref

    @property
    def ref(self) -> object:
        """The client's reference of the message being handled; None at other times."""
        return self._server.ref

    @property
    def is_joined(self) -> bool:
        """Whether the join has succeeded."""
        return self._server.is_joined

    @property
    def socket_id(self) -> str | None:
        """What the socket's `id` returned."""
        return self._server.session.socket_id

    @property
    def transport(self) -> str:
        """How the client is connected: `"websocket"` or `"longpoll"`."""
        return self._server.session.transport_name

    @property
    def hub(self) -> PubSub:
        """The endpoint's hub, for broadcasts on other topics."""
        return self._server.session.hub

    @property
    def transport_pid(self) -> Pid:
        """The process of the client's connection."""
        return self._server.session.pid

    # -- what it can do ---------------------------------------------------------------------------

    def push(self, event: str, payload: Any) -> None:
        """Send an event to this client; the payload is an object, or `Binary`."""
        server = self._server
        server.require_joined("push")
        session = server.session
        session.transport.send(
            session.serializer.encode_push(server.join_ref, server.topic, event, payload)
        )

    def broadcast(self, event: str, payload: Any) -> None:
        """Send an event to everybody on this topic, this client included."""
        self._server.require_joined("broadcast")
        self._server.session.hub.broadcast(self.topic, event, payload)

    def broadcast_from(self, event: str, payload: Any) -> None:
        """Send an event to everybody else on this topic."""
        self._server.require_joined("broadcast_from")
        self._server.session.hub.broadcast_from(self.pid, self.topic, event, payload)

    def socket_ref(self) -> SocketRef:
        """Return what it takes to `reply` to the message being handled, later and from anywhere."""
        server = self._server
        if server.ref is None:
            raise RuntimeError(
                "socket_ref is for a message that has a ref, while it is being handled"
            )
        session = server.session
        return SocketRef(
            session.transport, session.serializer, server.topic, server.ref, server.join_ref
        )

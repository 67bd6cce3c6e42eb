"""The socket of a client: one connection at a time, and the channels on it.

It is read by one task, which hands each message on in the moment in which it comes and never waits
for anybody, so that heartbeats and replies are not held up by a channel whose events nobody takes.
The same task notices that the server is silent, and connects anew.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio
from trio.lowlevel import ParkingLot

from exeunt.channels.client.address import token_protocols
from exeunt.channels.client.channel import ClientChannel
from exeunt.channels.client.errors import (
    ChannelClosed,
    ChannelCrashed,
    ClientError,
    ConnectFailed,
    Disconnected,
    JoinRefused,
    NotJoined,
    PushTimeout,
    SendQueueFull,
    afresh,
)
from exeunt.channels.client.events import EventOverflow, EventQueue
from exeunt.channels.client.frames import reply_of
from exeunt.channels.client.membership import JoinParams, Membership
from exeunt.channels.client.options import Options, resolved
from exeunt.channels.client.presence import PresenceView
from exeunt.channels.client.replies import Replies
from exeunt.channels.client.websocket import ClientWebSocket, open_client_websocket
from exeunt.channels.errors import ProtocolError, in_seconds

__all__ = ["ClientSocket", "SocketState"]

SocketState: TypeAlias = Literal["connecting", "open", "closed"]
"""How a socket stands. `connecting` lasts from the loss of a connection to the next one."""

STABLE_SECONDS: Final = 1.0
"""How long a connection lasts for the delays before the next one to begin anew."""

_LAST_CHANCE_SECONDS: Final = 0.1
"""How long a silent server is listened to once more, since it may be this program that was busy."""

_FAREWELL_SECONDS: Final = 1.0  # for the answer to a server that closes


class ClientSocket:
    """A client's connection to a mount of a server, and its channels; made by `connect`."""

    __slots__ = (
        "_body",
        "_changed",
        "_channels",
        "_close_with",
        "_error",
        "_finished",
        "_nursery",
        "_options",
        "_ref",
        "_replies",
        "_runner",
        "_state",
        "_tries",
        "_ws",
        "connections",
        "failure",
    )

    def __init__(self, options: Options, nursery: trio.Nursery, body: trio.CancelScope) -> None:
        self._options = options
        self._nursery = nursery
        self._body = body
        self._runner = trio.CancelScope()
        self._finished = trio.Event()
        self._state: SocketState = "connecting"
        # Invariant: set while the state is "open", and only then.
        self._ws: ClientWebSocket | None = None
        self._channels: dict[str, ClientChannel] = {}
        self._replies = Replies()
        self._ref = 0
        self._tries = 0
        self._error: ClientError | None = None
        self._changed: ParkingLot | None = None
        self._close_with = (1000, "")
        self.connections = 0
        # What ends the block, if it is not the block itself.
        self.failure: BaseException | None = None

    def __repr__(self) -> str:
        return f"<ClientSocket {self.url} {self._state}, {len(self._channels)} channels>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if not name.startswith("_") and hasattr(ClientChannel, name):
                raise AttributeError(
                    f"a socket has no {name!r}: join first, `room = await socket.join(topic)`, "
                    f"and use `room.{name}`"
                )
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            )

    @property
    def url(self) -> str:
        """The URL that it connects to."""
        return self._options.address.url

    @property
    def state(self) -> SocketState:
        """How the socket stands."""
        return self._state

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at the moment, as far as is known."""
        return self._ws is not None

    @property
    def error(self) -> ClientError | None:
        """Why the latest connection was lost, or did not come about; None if none was.

        A `Disconnected` has the close code and its reason.
        """
        return self._error

    @property
    def trouble(self) -> ClientError | None:
        """Why there is no connection at the moment; None if there is one."""
        return self._error if self._ws is None else None

    @property
    def answer_within(self) -> float:
        """How many seconds an answer is waited for, unless a call says otherwise."""
        return self._options.answer_within

    @property
    def reconnects(self) -> bool:
        """Whether a connection that is lost is made anew."""
        return self._options.reconnect is not None and self._state != "closed"

    @property
    def channels(self) -> MappingProxyType[str, ClientChannel]:
        """The channels by topic, those that are away or being joined included."""
        return MappingProxyType(self._channels)

    async def join(
        self,
        topic: str,
        params: JoinParams | None = None,
        *,
        within: float | None = None,
        presence: PresenceView | None = None,
        max_events: int = 1_000,
        on_overflow: EventOverflow = "raise",
        tell_rejoins: bool = False,
    ) -> ClientChannel:
        """Join a topic, and return its channel once the server has let this client in.

        `params` may be a function, async or not, which is called for this join and each later one.
        `within` is in seconds, the socket's `answer_within` if None. `max_events` is how many
        events may wait to be received, and `on_overflow` what happens to more. A `presence` is kept
        up to date, and its events are not received. `tell_rejoins` has an event say when the topic
        was joined again.

        Raises `JoinRefused` or `JoinTimeout`, or `ChannelCrashed`; `Disconnected` only if the
        socket does not reconnect. With `retry_refused` a refusal is tried again until the time is
        up.
        `ValueError` for a topic that is joined on this socket already. A join that is cancelled or
        takes too long is taken back: should the server still let it in, it is told to leave.
        """
        if not isinstance(topic, str):
            raise TypeError(f"topic must be a string, got {topic!r:.100}")
        if topic in self._channels:
            raise ValueError(
                f"{topic!r} is joined on this socket already: use its channel, leave it first, or "
                "join on another socket"
            )
        view: object = presence
        if view is not None and not isinstance(view, PresenceView):
            raise TypeError(f"presence must be a PresenceView(), got {view!r:.100}")
        queue = EventQueue(max_events, on_overflow)
        given: JoinParams = {} if params is None else params
        refused = self._options.retry_refused
        channel = ClientChannel(
            self,
            topic,
            given,
            queue,
            presence,
            retry_refused=refused,
            tell_rejoins=tell_rejoins,
        )
        self._channels[topic] = channel
        try:
            await channel._join_first(self.answer_within if within is None else within)
        except BaseException as error:
            if not isinstance(error, (JoinRefused, ChannelCrashed)):
                channel._take_back()
            channel._close(ChannelClosed(topic, "client"))
            raise
        return channel

    async def ping(self, *, within: float | None = None) -> float:
        """Send a heartbeat, and return after how many seconds it was answered.

        Raises `NotJoined` if there is no connection, `Disconnected` if it ends, or `PushTimeout`.
        """
        seconds = self.answer_within if within is None else within
        began = trio.current_time()
        with trio.move_on_after(seconds):
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._replies.wait(self._push(None, "phoenix", "heartbeat", {}, urgent=True))
            return trio.current_time() - began
        raise PushTimeout("phoenix", "heartbeat", seconds)

    async def wait_connected(self) -> None:
        """Wait until there is a connection; raise what has ended the socket if it is closed."""
        await trio.lowlevel.checkpoint()
        while self._ws is None:
            if self._state == "closed":
                raise afresh(self._error or Disconnected(1000, by="client"))
            if self._changed is None:
                self._changed = ParkingLot()
            await self._changed.park()

    async def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection for good, before the end of the block: with 1000, or 3000 to 4999.

        Waits for the server's answer for `close_within` seconds. All channels are closed.
        """
        if code != 1000 and not 3000 <= code <= 4999:
            raise ValueError(f"the close code of a client is 1000, or 3000 to 4999, got {code}")
        self._stop(None, code, reason)
        await self._finished.wait()

    # -- from here on: for the channels, and for connect

    def _make_ref(self) -> str:
        self._ref += 1
        return str(self._ref)

    def _push(
        self,
        join_ref: str | None,
        topic: str,
        event: str,
        payload: object,
        *,
        ref: str | None = None,
        urgent: bool = False,
    ) -> str:
        # Sends a message, or raises; what is urgent is sent even if the server does not read.
        ref = ref or self._make_ref()
        message = self._options.serializer.encode(join_ref, ref, topic, event, payload)
        ws = self._ws
        if ws is None:
            raise NotJoined(topic, str(self._error or "there is no connection"))
        if not urgent:
            queued, limit = ws.queued_bytes, self._options.max_queued
            if queued + len(message.data) > limit:
                raise SendQueueFull(queued, len(message.data), limit)
        ws.send(message)
        return ref

    def _forget(self, channel: Membership) -> None:
        if self._channels.get(channel.topic) is channel:
            del self._channels[channel.topic]

    def _rejoin_delay(self, tries: int) -> float:
        return self._options.rejoin.delay(tries, random)

    def _start(self, job: Callable[..., Awaitable[None]], *args: Any) -> None:
        # What a job raises ends the block, as it is and in no group.
        self._nursery.start_soon(self._guard, job, *args)

    async def _guard(self, job: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await job(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self.failure is None and self._state != "closed":
            self.failure = error
            self._stop(error if isinstance(error, ClientError) else None)
            self._body.cancel()

    def _stop(self, error: ClientError | None, code: int = 1000, reason: str = "") -> None:
        # From here on there is no new connection; the task of the socket closes this one. Without
        # an error it is the client's own wish, and so an orderly end of every channel.
        if self._state == "closed":
            return
        self._state = "closed"
        self._close_with = code, reason
        self._error = error or Disconnected(code, reason, by="client")
        for channel in [*self._channels.values()]:
            channel._close(error or ChannelClosed(channel.topic, "client"))
        self._replies.fail(self._error)
        self._runner.cancel()
        if self._changed is not None:
            self._changed.unpark_all()

    async def _connect_first(self) -> None:
        try:
            await self._open()
        except ConnectFailed as error:
            if not self._options.wait_for_server or self._is_final(error):
                raise
            self._error = error
            await self._open_again()

    async def _run(self) -> None:
        ws = self._ws
        try:
            with self._runner:
                while (ws := self._ws) is not None:
                    began = trio.current_time()
                    error = await self._read(ws)
                    if trio.current_time() - began >= STABLE_SECONDS:
                        self._tries = 0
                    self._ws = None
                    self._lost(error)
                    await ws.close(1002, within=_FAREWELL_SECONDS)
                    if self._options.reconnect is not None:
                        await self._open_again()
            ws = self._ws
            if ws is not None:
                self._ws = None
                code, reason = self._close_with
                await ws.close(code, reason, within=self._options.close_within)
        finally:
            # Cancelled, or failed: there is no waiting for anybody.
            for one in (ws, self._ws):
                if one is not None:
                    one.say_goodbye(1000)
                    one.abort()
            self._ws = None
            self._finished.set()

    async def _open(self) -> None:
        options = self._options
        params = await resolved(options.params)
        token = await resolved(options.auth_token)
        self._ws = await open_client_websocket(
            options.address,
            options.address.target(params, options.serializer.version),
            self._nursery,
            subprotocols=token_protocols(token),
            headers=options.headers,
            ssl_context=options.ssl_context,
            max_message_size=options.max_message_size,
            max_queued=options.max_queued,
            within=options.connect_within,
        )
        if self._state == "connecting":
            self._state = "open"
        self.connections += 1
        if self._changed is not None:
            self._changed.unpark_all()

    async def _open_again(self) -> None:
        assert self._options.reconnect is not None
        while True:
            await trio.sleep(self._options.reconnect.delay(self._tries, random))
            self._tries += 1
            try:
                return await self._open()
            except ConnectFailed as error:
                if self._is_final(error):
                    raise
                self._error = error

    def _is_final(self, error: ConnectFailed) -> bool:
        return error.is_refusal and not self._options.retry_refused

    def _lost(self, error: Disconnected) -> None:
        self._error = error
        if self._options.reconnect is None:
            raise error
        self._state = "connecting"
        self._replies.fail(error)
        for channel in [*self._channels.values()]:
            channel._lost(error)

    async def _read(self, ws: ClientWebSocket) -> Disconnected:
        # Returns how the connection has ended.
        options = self._options
        asked: float | None = None  # when the heartbeat was sent that is not answered yet
        deadline = next_beat = trio.current_time() + options.heartbeat
        is_last_chance = False
        try:
            while True:
                with trio.CancelScope(deadline=deadline):
                    while True:
                        self._take(await ws.receive())
                now = trio.current_time()
                if asked is None:
                    self._push(None, "phoenix", "heartbeat", {}, urgent=True)
                    asked, next_beat = now, now + options.heartbeat
                    deadline = now + options.heartbeat_within
                elif ws.last_received > asked:
                    asked, deadline, is_last_chance = None, next_beat, False
                elif not is_last_chance:
                    deadline, is_last_chance = now + _LAST_CHANCE_SECONDS, True
                else:
                    ws.abort()
                    for_ = in_seconds(float(f"{now - ws.last_received:.3g}"))
                    silent = f"nothing came from the server for {for_}"
                    return Disconnected(1006, by=None, detail=silent)
        except Disconnected as error:
            return error
        except ProtocolError as error:
            detail = f"the server has sent what is no message: {error}"
            return Disconnected(1002, by="client", detail=detail)

    def _take(self, data: str | bytes) -> None:
        message = self._options.serializer.decode(data)
        channel = self._channels.get(message.topic)
        if channel is not None:
            channel._take(message)
        elif message.event == "phx_reply":
            self._replies.answer(message.ref, reply_of(message))

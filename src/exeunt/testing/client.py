"""The client of a test: it connects, joins topics, and asserts what reaches it.

    async with open_node():
        async with connect(UserSocket, {"token": token}) as ann:
            room = await ann.subscribe_and_join("room:lobby", {"name": "ann"})
            ref = room.push("say", {"text": "hi"})
            await room.assert_reply(ref, "ok")
            await room.assert_push("said", {"text": "hi"})
            await room.assert_broadcast("said", {"text": "hi"})
            await room.leave()

The session and the channels are the real ones, and payloads are encoded and decoded as on the wire;
only the network is left out. An assertion waits for what it asserts, at most `within` seconds of
trio's clock; with `trio.testing.MockClock(autojump_threshold=0)` nobody waits in earnest.

A channel that crashes makes the next await of the kit raise `ChannelCrashed`, with what the channel
raised as its cause, unless that await is the `assert_exit` which expects it; so does the end of the
`connect` block. That holds for all clients of a node together: it is one test that has failed.

Phoenix: the process of a test is linked to its channels, and dies of the end of one, an orderly one
too, unless it traps exits. In the kit of this library only a crash fails the test.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from exeunt.channels.assigns import check_assigns
from exeunt.channels.client.frames import CLIENT_V2, Incoming
from exeunt.channels.pubsub import PubSub
from exeunt.channels.site import Mount, Site
from exeunt.channels.socket import Socket
from exeunt.channels.wire import Encoded
from exeunt.kernel.errors import CallFailed
from exeunt.kernel.events import Exited, Spawned
from exeunt.kernel.exits import KILL, SHUTDOWN, Reason, Shutdown, is_orderly
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node, stack_of
from exeunt.kernel.primitives import call, current_node, spawn, spawn_process, wait_exit
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.genserver import stop
from exeunt.testing.asserting import Witness
from exeunt.testing.connection import (
    Connection,
    Opening,
    ParamValue,
    Subscribe,
    listen,
    make_request,
)
from exeunt.testing.joined import JoinedChannel
from exeunt.testing.log import Ended, Log, Received
from exeunt.testing.matching import ANYTHING
from exeunt.testing.stage import ASSERT_WITHIN, REFUTE_WITHIN, ChannelCrashed, Stage, stage_of
from exeunt.testing.transport import MemoryTransport

CLOSE_WITHIN: Final = 5.0
"""Seconds that channels have to end when their client closes, by default; then they are killed."""

_CLOSED: Final = Shutdown("closed")


class JoinRefused(Exception):
    """A channel did not let the client in; `response` is what it answered."""

    def __init__(self, topic: str, response: Any) -> None:
        super().__init__(topic, response)
        self.topic = topic
        self.response = response

    def __str__(self) -> str:
        return f"the join of {self.topic!r} was refused: {self.response!r}"


class Client:
    """A connected client; made by `connect`."""

    def __init__(
        self, stage: Stage, node: Node, hub: PubSub, supervisor: Pid, opening: Opening
    ) -> None:
        self._stage = stage
        self._log = Log()
        self._witness = Witness(stage, self._log)
        site = Site(mounts={}, hub=hub, channels=supervisor, connections=supervisor, pages=None)
        self._connection = Connection(MemoryTransport(self._arrived), site, stage.tell)
        self._supervisor = supervisor
        self._subscribed: set[str] = set()
        self._numbers = count(1)
        # By ref: the events that were pushed, and the processes of joins that were answered.
        self._asked: dict[object, str] = {}
        self._joined: dict[object, Pid] = {}
        # By ref: what was pushed to a topic that had been left, unless the test asks for its reply.
        self._late: dict[str, str] = {}
        # The channels that run; and where those hang that are being killed.
        self._alive: dict[Pid, None] = {}
        self._hung: dict[Pid, str] = {}
        name = getattr(opening.mount.socket, "__qualname__", "a socket")
        label = f"connection of {name}"
        self.pid = spawn_process(self._connection.run, (opening,), label=label).pid
        """The process of the connection: the `transport_pid` of its channels."""
        self._listener = spawn(listen, hub, self._heard)
        self._subscriptions = (
            node.events.subscribe(self._on_spawned, Spawned),
            node.events.subscribe(self._on_exited, Exited),
        )

    def __repr__(self) -> str:
        return f"<client of {type(self._connection.socket).__qualname__} {self.pid}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if not name.startswith("_") and hasattr(JoinedChannel, name):
                raise AttributeError(
                    f"a client has no {name!r}: join first, `room = await client.join(topic)`, "
                    f"and use `room.{name}`"
                )
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            )

    @property
    def socket(self) -> Socket:
        """The socket, with what its `connect` has assigned."""
        assert self._connection.socket is not None
        return self._connection.socket

    @property
    def hub(self) -> PubSub:
        """The hub on which the channels broadcast."""
        return self._connection.site.hub

    # -- what a client does -----------------------------------------------------------------------

    async def join(
        self, topic: str, params: Any = None, *, within: float = ASSERT_WITHIN
    ) -> JoinedChannel:
        """Join a topic; `params` are any JSON value, by default an empty object.

        Raises `JoinRefused` with the response if the channel refuses, and `ChannelCrashed` if its
        `join` raises.
        """
        __tracebackhide__ = True
        ref = self._push(topic, "phx_join", {} if params is None else params)
        answer = await self._stage.watch(lambda: self._log.find_reply(ref), within)
        if answer is None:
            raise self._witness.failure(f"the join of {topic!r} was not answered", within)
        answer.is_taken = True
        pid = self._joined.pop(ref, None)
        if answer.status == "ok":
            assert pid is not None
            return JoinedChannel(self, topic, ref, pid, answer.payload)
        crash = None if pid is None else self._stage.take_crash(pid)
        if crash is not None:
            raise crash
        raise JoinRefused(topic, answer.payload)

    async def subscribe_and_join(
        self, topic: str, params: Any = None, *, within: float = ASSERT_WITHIN
    ) -> JoinedChannel:
        """Subscribe to a topic, so that its broadcasts can be asserted, and join it as `join` does.

        A broadcast then comes twice: as a broadcast, and as the push to this client that it
        becomes, unless the channel's `handle_out` makes something else of it.
        """
        __tracebackhide__ = True
        await self.subscribe(topic)
        return await self.join(topic, params, within=within)

    async def subscribe(self, topic: str) -> None:
        """Hear the broadcasts on a topic, for `assert_broadcast`, without joining it."""
        self._check_open()
        await call(self._listener, Subscribe(topic))
        self._subscribed.add(topic)

    async def close(self, reason: Reason = _CLOSED, *, within: float = CLOSE_WITHIN) -> None:
        """End the connection for this reason; wait until it and all its channels have ended.

        What was pushed before is handled before. `Shutdown("peer_closed")` is the end of a client
        whose network has failed; the tables in `exeunt.channels.serving` and
        `exeunt.channels.connection` have the others. A channel that has not ended after `within`
        seconds is killed, which is a crash. To close twice does nothing.
        """
        __tracebackhide__ = True
        await trio.lowlevel.checkpoint()
        self._connection.close(reason)
        with trio.move_on_after(within) as patience:
            await self._wait_for_all()
        if patience.cancelled_caught:
            # It may be that it was not read any more, as a channel has more to do than it can.
            self._connection.finish(reason)
            for pid in self._alive:
                process = pid._process
                if process is not None:
                    where = f"{within:g} s after its client closed it was killed, and stood at"
                    self._hung[pid] = f"{where}\n{stack_of(process)}"
                    exit_signal(pid, KILL)
            await self._wait_for_all()
        self._stage.raise_crash()

    # -- what a test asserts ----------------------------------------------------------------------

    async def assert_broadcast(
        self, topic: str, event: str, payload: Any = ANYTHING, *, within: float = ASSERT_WITHIN
    ) -> Any:
        """Wait for a broadcast on a topic that was subscribed to; return its payload."""
        __tracebackhide__ = True
        self._check_subscribed(topic)
        return await self._witness.assert_message(
            "broadcast", event, payload, within, _is_on(topic), repr(topic)
        )

    async def refute_broadcast(
        self,
        topic: str,
        event: str | None = None,
        payload: Any = ANYTHING,
        *,
        within: float = REFUTE_WITHIN,
    ) -> None:
        """Wait `within` seconds, and fail if there is such a broadcast; without an event, any."""
        __tracebackhide__ = True
        self._check_subscribed(topic)
        await self._witness.refute_message(
            "broadcast", event, payload, within, _is_on(topic), repr(topic)
        )

    async def assert_exit(
        self, reason: Reason | type[BaseException] = ANYTHING, *, within: float = ASSERT_WITHIN
    ) -> Reason:
        """Wait for the end of the connection; return its reason.

        As `JoinedChannel.assert_exit` does for a channel. A broadcast of `"disconnect"` on the
        socket's id ends it with `Shutdown("disconnected")`.
        """
        __tracebackhide__ = True
        return await self._witness.assert_exit(self.pid, "the connection", reason, within)

    # -- what reaches it --------------------------------------------------------------------------

    def _arrived(self, encoded: Encoded) -> None:
        message = _decode(encoded)
        if message.event != "phx_reply":
            self._log.add(Received("push", message))
        else:
            event = self._asked.get(message.ref, "")
            serving = self._connection.serving
            if event == "phx_join" and serving is not None:
                # While a join is answered, it is the one that has the topic.
                pid = serving.process_of(message.topic)
                if pid is not None:
                    self._joined[message.ref] = pid
            self._log.add(Received("reply", message, event))
        self._stage.tell()

    def _heard(self, encoded: Encoded) -> None:
        self._log.add(Received("broadcast", _decode(encoded)))
        self._stage.tell()

    def _on_spawned(self, event: Spawned) -> None:
        if event.parent is self._supervisor:
            self._alive[event.pid] = None

    def _on_exited(self, event: Exited) -> None:
        pid = event.pid
        if pid is not self.pid and pid not in self._alive:
            return
        self._alive.pop(pid, None)
        self._log.add(Ended(pid, event.label, event.reason))
        if not is_orderly(event.reason):
            crash = ChannelCrashed(pid, event.label, event.reason)
            if pid in self._hung:
                crash.add_note(self._hung[pid])
            self._stage.note_crash(crash)
        self._stage.tell()

    # -- for its parts ----------------------------------------------------------------------------

    def _push(self, topic: str, event: str, payload: Any, join_ref: str | None = None) -> str:
        self._check_open()
        ref = str(next(self._numbers))
        join_ref = ref if join_ref is None else join_ref
        encoded = CLIENT_V2.encode(join_ref, ref, topic, event, payload)
        self._asked[ref] = event
        self._connection.transport.put(encoded)
        return ref

    def _event_of(self, ref: str) -> str:
        if ref not in self._asked:
            raise ValueError(f"{ref!r} is no ref of this client: take what push has returned")
        self._late.pop(ref, None)
        return self._asked[ref]

    def _check_late(self) -> None:
        __tracebackhide__ = True
        if self._late:
            raise AssertionError(
                f"{' and '.join(self._late.values())}, so no channel has taken it: push before "
                "`leave`, join again, or assert what it is answered, with assert_reply or "
                "refute_reply"
            )

    def _check_open(self) -> None:
        if self._connection.transport.has_hung_up or self._log.end_of(self.pid) is not None:
            raise RuntimeError(f"the connection has ended; {self._log.describe()}")

    def _check_subscribed(self, topic: str) -> None:
        if topic not in self._subscribed:
            raise RuntimeError(
                f"the broadcasts on {topic!r} are not heard: use subscribe_and_join, or subscribe"
            )

    # -- its life ---------------------------------------------------------------------------------

    async def _open(self) -> None:
        connection = self._connection
        await self._stage.watch(self._is_decided, math.inf)
        if connection.refusal is not None:
            raise connection.refusal
        if connection.serving is None:
            # Ended by a signal, or by an exit of its own, before the socket had decided.
            self._stage.raise_crash()
            raise RuntimeError(f"nobody is connected; {self._log.describe()}")

    def _is_decided(self) -> bool | None:
        connection = self._connection
        is_over = connection.refusal is not None or self._log.end_of(self.pid) is not None
        return True if is_over or connection.serving is not None else None

    async def _end(self) -> None:
        """See to it that nothing of the client is left: what does not end in order is ended."""
        try:
            self._connection.close(_CLOSED)
            if self._connection.serving is None:
                exit_signal(self.pid, SHUTDOWN)
            with trio.move_on_after(ASSERT_WITHIN):
                await self._wait_for_all()
            # What is still busy is told to shut down, the channels with a budget for that.
            self._connection.finish(_CLOSED)
            if self._connection.serving is None:
                exit_signal(self.pid, KILL)
            exit_signal(self._listener, SHUTDOWN)
            try:
                await stop(self._supervisor)
            except CallFailed:
                pass  # somebody has ended it
            await self._wait_for_all()
            await wait_exit(self._listener)
        finally:
            self._connection.transport.abort()
            for unsubscribe in self._subscriptions:
                unsubscribe()

    async def _wait_for_all(self) -> None:
        await wait_exit(self.pid)
        while self._alive:
            await wait_exit(next(iter(self._alive)))


def _decode(encoded: Encoded) -> Incoming:
    return CLIENT_V2.decode(encoded.data if encoded.binary else encoded.data.decode())


def _is_on(topic: str) -> Callable[[Incoming], bool]:
    return lambda message: message.topic == topic


@asynccontextmanager
async def connect(
    socket: Callable[[], Socket],
    params: Mapping[str, ParamValue] | None = None,
    *,
    assigns: Mapping[str, Any] | None = None,
    hub: PubSub | None = None,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    auth_token: str | None = None,
    peer: tuple[str, int] | None = ("127.0.0.1", 50_000),
    path: str = "/socket/websocket",
    transport: str = "websocket",
    connect_within: float = 10.0,
) -> AsyncGenerator[Client, None]:
    """Connect a client to a socket; when the block is left, nothing of it is left either.

    `socket` is what a `Mount` takes: a class of sockets, or a function that makes one. `params` are
    those of the URL, so strings, and lists and objects of strings; `headers`, `auth_token`, `peer`
    and `path` make up the `ConnectInfo`. With `assigns` the socket's `connect` is not asked, as if
    it had let the client in and assigned these. `hub` is by default one that all clients of the
    node share. `transport` is what the channels know the connection as.

    Raises `ConnectRefused`, and whatever the socket's `connect` raises. On leaving the block, the
    client closes with `Shutdown("closed")`, and a channel that is still busy after a second is shut
    down; `ChannelCrashed` is raised for a crash that no await of the test has met, unless the block
    itself raises: then that has a note of it.
    """
    __tracebackhide__ = True
    if isinstance(socket, str):
        raise TypeError(
            f"a client of the test kit is given a class of sockets, not {socket!r}: the connect "
            "that takes a URL is exeunt.channels.client.connect"
        )
    mount = Mount(socket, connect_within=connect_within)
    given: object = hub
    if given is not None and not isinstance(given, PubSub):
        raise TypeError(f"hub is a PubSub(), not {given!r}")
    if assigns is not None:
        check_assigns(assigns, "a client")
    if assigns is not None and params is not None:
        raise TypeError("with assigns, the socket's connect is not asked, so params are not taken")
    by_name = cast("Mapping[str, str]", headers) if isinstance(headers, Mapping) else None
    pairs = cast("Iterable[tuple[str, str]]", headers) if by_name is None else by_name.items()
    request = make_request(params or {}, tuple(pairs), peer, path)
    opening = Opening(
        mount=mount,
        request=request,
        assigns=assigns,
        auth_token=auth_token,
        transport=transport,
    )
    node = current_node()
    stage = stage_of(node)
    supervisor = await DynamicSupervisor.start(quiet=True)
    client = Client(stage, node, stage.hub if hub is None else hub, supervisor, opening)
    try:
        await client._open()
        yield client
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await client._end()
        for crash in stage.take_crashes():
            if crash is not error:
                error.add_note(f"besides, {crash}")
        raise
    with trio.CancelScope(shield=True):
        await client._end()
    stage.raise_crash()
    client._check_late()


__all__ = ["CLOSE_WITHIN", "Client", "JoinRefused", "connect"]

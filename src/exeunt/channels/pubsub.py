"""PubSub: topics, who has subscribed to them, and how a broadcast reaches a thousand sockets.

    hub = PubSub()
    hub.subscribe("news")                        # this process gets each Broadcast as a message
    hub.broadcast("news", "headline", {"text": "exeunt"})

A broadcast runs in the process that makes it, and is over on this node when the call returns. A
subscription may carry *metadata*, which decides how a broadcast reaches it. Metadata that is a
`Fastlane` stands for a client which is to get the broadcast as it is: it is encoded once for each
version of the protocol, and the same bytes are put on the out-queue of every client, without waking
a channel process. A subscription ends with its process, in the same step.

A hub serves the subscribers of one node. Its *adapter* carries what is broadcast to the hubs of
other nodes, which tell their subscribers with `local_broadcast`; the one that comes with the hub,
`Local`, knows of no others.

After Phoenix.PubSub, whose names it keeps. Phoenix: what is broadcast there may be any term, and
who broadcasts names the module that dispatches it; here it is always an event with a payload, as
with Phoenix.Endpoint, and the fastlane is known without being named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from exeunt.channels.wire import Encoded, Serializer
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import send
from exeunt.kernel.process import Process, current_process


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What a subscriber without a fastlane gets as a message."""

    topic: str
    event: str
    payload: Any


class Sink(Protocol):
    """What takes encoded messages for one client: its transport."""

    def send(self, message: Encoded) -> None:
        """Take a message; never wait and never raise."""
        ...


@dataclass(frozen=True, slots=True)
class Fastlane:
    """Metadata that sends broadcasts of a channel's topic straight to its client.

    But for the events in `intercepts`: the channel gets those as a `Broadcast` and decides.
    """

    transport: Sink
    serializer: Serializer
    intercepts: Collection[str] = ()


class Subscription:
    """One process's subscription to a topic, with metadata that may be changed at any time."""

    __slots__ = ("metadata", "pid", "topic")

    def __init__(self, topic: str, pid: Pid, metadata: object) -> None:
        self.topic = topic
        self.pid = pid
        self.metadata = metadata


Dispatch: TypeAlias = "Callable[[Sequence[Subscription], Pid | None, Broadcast], None]"
"""Delivers a broadcast in one's own way: to these subscriptions, but to none of that process.

It is called once on each node that has subscribers of the topic, in the order in which those came,
by the process that broadcasts there. It waits for nothing; what it raises is raised to whoever
broadcasts. An adapter may have to name it to another node, so it is best a function at the top of a
module.
"""


class Adapter(Protocol):
    """What carries broadcasts to other nodes: the seam for engines that connect them.

    A hub calls `attach` once, when it is made. What has been broadcast on another node the adapter
    gives to its own hub's `local_broadcast`, in any process that it likes. If it needs processes,
    they are supervised as any others are, ahead of those that broadcast; what is broadcast while
    they are not there is the adapter's to keep or to drop.

    Neither `broadcast` nor `direct_broadcast` waits, and neither delivers to the hub that calls it.
    What they raise is raised to whoever broadcasts, and then nobody on this node has got anything.
    """

    @property
    def node_name(self) -> str:
        """What this node is called among those that are connected."""
        ...

    def attach(self, hub: PubSub) -> None:
        """Note whose adapter this is."""
        ...

    def broadcast(self, message: Broadcast, dispatch: Dispatch | None) -> None:
        """Have all other nodes broadcast this to their own subscribers."""
        ...

    def direct_broadcast(
        self, node_name: str, message: Broadcast, dispatch: Dispatch | None
    ) -> None:
        """Have one other node broadcast this to its own subscribers; a stranger is ignored."""
        ...


class Local:
    """The adapter of a node that is alone."""

    node_name = "local"

    def attach(self, hub: PubSub) -> None:
        """Serve this hub, and any other: there is nothing to remember."""

    def broadcast(self, message: Broadcast, dispatch: Dispatch | None) -> None:
        """Tell nobody, since there is nobody else."""

    def direct_broadcast(
        self, node_name: str, message: Broadcast, dispatch: Dispatch | None
    ) -> None:
        """Tell nobody, since there is nobody of that name."""


class PubSub:
    """The topics of one node, and their subscribers in the order in which they came.

    Everything that broadcasts takes a `dispatch`, to deliver in another way than by the fastlane
    and as messages.
    """

    def __init__(self, adapter: Adapter | None = None) -> None:
        # Invariant: a topic without subscribers has no entry; a dead process has no subscription.
        self._topics: dict[str, dict[Subscription, None]] = {}
        self._of_process: dict[Pid, list[Subscription]] = {}
        self._adapter: Adapter = Local() if adapter is None else adapter
        self._adapter.attach(self)

    @property
    def node_name(self) -> str:
        """What the adapter calls this node."""
        return self._adapter.node_name

    # -- subscribing ------------------------------------------------------------------------------

    def subscribe(self, topic: str, *, metadata: object = None) -> Subscription:
        """Subscribe this process to a topic; twice means that it gets everything twice.

        `metadata` is a `Fastlane`, or anything that a `dispatch` of one's own understands. Unless
        it is a fastlane, broadcasts come as messages.
        """
        process = current_process()
        subscription = Subscription(topic, process.pid, metadata)
        self._topics.setdefault(topic, {})[subscription] = None
        mine = self._of_process.get(process.pid)
        if mine is None:
            mine = self._of_process[process.pid] = []
            self._forget_at_exit(process)
        mine.append(subscription)
        return subscription

    def unsubscribe(self, topic: str) -> None:
        """Take all subscriptions of this process to a topic away."""
        pid = current_process().pid
        mine = self._of_process.get(pid)
        if mine is None:
            return
        for subscription in mine:
            if subscription.topic == topic:
                self._remove(subscription)
        mine[:] = [one for one in mine if one.topic != topic]

    def subscribers(self, topic: str) -> list[Pid]:
        """Return the subscribers of a topic, in the order in which they subscribed."""
        return [one.pid for one in self._topics.get(topic, ())]

    def topics(self) -> list[str]:
        """Return the topics that have subscribers."""
        return list(self._topics)

    # -- broadcasting -----------------------------------------------------------------------------

    def broadcast(
        self, topic: str, event: str, payload: Any, *, dispatch: Dispatch | None = None
    ) -> None:
        """Send an event to all subscribers of a topic, on every node.

        Raises `PayloadError` if the payload cannot be encoded for one of the clients of this node,
        which may speak an older version of the protocol: then it has gone to nobody.

        Phoenix: a broadcast that cannot be encoded for one client has gone to those ahead of it.
        """
        self._dispatch(Broadcast(topic, event, payload), None, dispatch, to_others=True)

    def broadcast_from(
        self, pid: Pid, topic: str, event: str, payload: Any, *, dispatch: Dispatch | None = None
    ) -> None:
        """Send an event to all subscribers of a topic but the process `pid`."""
        self._dispatch(Broadcast(topic, event, payload), pid, dispatch, to_others=True)

    def local_broadcast(
        self, topic: str, event: str, payload: Any, *, dispatch: Dispatch | None = None
    ) -> None:
        """Send an event to the subscribers of a topic on this node only."""
        self._dispatch(Broadcast(topic, event, payload), None, dispatch, to_others=False)

    def local_broadcast_from(
        self, pid: Pid, topic: str, event: str, payload: Any, *, dispatch: Dispatch | None = None
    ) -> None:
        """Send an event to the subscribers of a topic on this node only, but the process `pid`."""
        self._dispatch(Broadcast(topic, event, payload), pid, dispatch, to_others=False)

    def direct_broadcast(
        self,
        node_name: str,
        topic: str,
        event: str,
        payload: Any,
        *,
        dispatch: Dispatch | None = None,
    ) -> None:
        """Send an event to the subscribers of a topic on one node; to a stranger it vanishes."""
        message = Broadcast(topic, event, payload)
        if node_name == self.node_name:
            self._dispatch(message, None, dispatch, to_others=False)
        else:
            self._adapter.direct_broadcast(node_name, message, dispatch)

    # ---------------------------------------------------------------------------------------------

    def _dispatch(
        self, message: Broadcast, but: Pid | None, dispatch: Dispatch | None, *, to_others: bool
    ) -> None:
        subscriptions = self._topics.get(message.topic, {})
        if dispatch is not None:
            if to_others:
                self._adapter.broadcast(message, dispatch)
            if subscriptions:
                dispatch(tuple(subscriptions), but, message)
            return
        encoded: dict[Serializer, Encoded] = {}
        lanes: list[tuple[Sink, Encoded]] = []
        others: list[Pid] = []
        event = message.event
        # First everything that can fail, then what cannot: so it goes to all, or to nobody.
        for subscription in subscriptions:
            if subscription.pid is but:
                continue
            lane = subscription.metadata
            if not isinstance(lane, Fastlane) or event in lane.intercepts:
                others.append(subscription.pid)
                continue
            frame = encoded.get(lane.serializer)
            if frame is None:
                frame = lane.serializer.encode_broadcast(message.topic, event, message.payload)
                encoded[lane.serializer] = frame
            lanes.append((lane.transport, frame))
        if to_others:
            self._adapter.broadcast(message, None)
        for transport, frame in lanes:
            transport.send(frame)
        for pid in others:
            send(pid, message)

    def _forget_at_exit(self, process: Process) -> None:
        if process.at_exit is None:
            process.at_exit = {}
        process.at_exit[self] = self._forget

    def _forget(self, pid: Pid) -> None:
        for subscription in self._of_process.pop(pid, ()):
            self._remove(subscription)

    def _remove(self, subscription: Subscription) -> None:
        subscriptions = self._topics.get(subscription.topic)
        if subscriptions is not None:
            subscriptions.pop(subscription, None)
            if not subscriptions:
                del self._topics[subscription.topic]

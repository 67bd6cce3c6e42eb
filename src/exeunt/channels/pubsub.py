"""PubSub: topics, who has subscribed to them, and how a broadcast reaches a thousand sockets.

    hub = PubSub()
    hub.subscribe("news")                        # this process gets each Broadcast as a message
    hub.broadcast("news", "headline", {"text": "exeunt"})

A broadcast runs in the process that makes it, and is over when the call returns. A subscriber with
a *fastlane* is a channel whose client is to get the broadcast as it is: it is encoded once for each
version of the protocol, and the same bytes are put on the out-queue of every client, without waking
a channel process. A subscription ends with its process, in the same step.

A hub serves one node.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

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
    """Where broadcasts of a channel's topic go: straight to its client.

    But for the events in `intercepts`: the channel gets those as a `Broadcast` and decides.
    """

    transport: Sink
    serializer: Serializer
    intercepts: Collection[str] = ()


class Subscription:
    """One process's subscription to a topic, perhaps with a fastlane that can be changed."""

    __slots__ = ("fastlane", "pid", "topic")

    def __init__(self, topic: str, pid: Pid, fastlane: Fastlane | None) -> None:
        self.topic = topic
        self.pid = pid
        self.fastlane = fastlane


class PubSub:
    """The topics of one node, and their subscribers in the order in which they came."""

    def __init__(self) -> None:
        # Invariant: a topic without subscribers has no entry; a dead process has no subscription.
        self._topics: dict[str, dict[Subscription, None]] = {}
        self._of_process: dict[Pid, list[Subscription]] = {}

    def subscribe(self, topic: str, *, fastlane: Fastlane | None = None) -> Subscription:
        """Subscribe this process to a topic; twice means that it gets everything twice."""
        process = current_process()
        subscription = Subscription(topic, process.pid, fastlane)
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

    def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send an event to all subscribers of a topic.

        Raises `PayloadError` if the payload cannot be encoded for one of the clients, which may
        speak an older version of the protocol: then it has gone to nobody.
        """
        self._dispatch(topic, event, payload, None)

    def broadcast_from(self, pid: Pid, topic: str, event: str, payload: Any) -> None:
        """Send an event to all subscribers of a topic but the process `pid`."""
        self._dispatch(topic, event, payload, pid)

    def subscribers(self, topic: str) -> list[Pid]:
        """Return the subscribers of a topic, in the order in which they subscribed."""
        return [one.pid for one in self._topics.get(topic, ())]

    def topics(self) -> list[str]:
        """Return the topics that have subscribers."""
        return list(self._topics)

    def _dispatch(self, topic: str, event: str, payload: Any, but: Pid | None) -> None:
        subscriptions = self._topics.get(topic)
        if subscriptions is None:
            return
        encoded: dict[Serializer, Encoded] = {}
        lanes: list[tuple[Sink, Encoded]] = []
        others: list[Pid] = []
        # First everything that can fail, then what cannot: so it goes to all, or to nobody.
        for subscription in subscriptions:
            if subscription.pid is but:
                continue
            lane = subscription.fastlane
            if lane is None or event in lane.intercepts:
                others.append(subscription.pid)
                continue
            frame = encoded.get(lane.serializer)
            if frame is None:
                frame = lane.serializer.encode_broadcast(topic, event, payload)
                encoded[lane.serializer] = frame
            lanes.append((lane.transport, frame))
        for transport, frame in lanes:
            transport.send(frame)
        if others:
            message = Broadcast(topic, event, payload)
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

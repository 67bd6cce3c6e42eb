"""PubSub: who gets a broadcast, in which order, and that the dead get none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from exeunt import (
    GenServer,
    NotAProcess,
    Pid,
    Supervisor,
    exit,
    open_node,
    receive,
    receive_nowait,
    self_pid,
    send,
    spawn,
    spawn_monitor,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt.channels import Binary, Broadcast, PayloadError, PubSub
from exeunt.channels.pubsub import Dispatch, Fastlane, Local, Subscription
from exeunt.channels.wire import JSON_V1, JSON_V2

from .memory import Recorder


@asynccontextmanager
async def open_hub() -> AsyncGenerator[PubSub]:
    async with open_node(signals=False):
        yield PubSub()


def mine() -> list[Any]:
    """Take all messages of this process."""
    found: list[Any] = []
    try:
        while True:
            found.append(receive_nowait())
    except trio.WouldBlock:
        return found


async def subscriber(hub: PubSub, topic: str, heard: list[Any], lane: Fastlane | None) -> None:
    hub.subscribe(topic, metadata=lane)
    while True:
        heard.append(await receive())


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_a_subscriber_gets_what_is_broadcast_on_its_topic() -> None:
    async with open_hub() as hub:
        hub.subscribe("news")
        hub.broadcast("news", "headline", {"text": "exeunt"})
        hub.broadcast("other", "headline", {})
        assert mine() == [Broadcast("news", "headline", {"text": "exeunt"})]


async def test_a_broadcast_is_over_when_the_call_returns() -> None:
    async with open_hub() as hub:
        hub.subscribe("news")
        hub.broadcast("news", "one", 1)
        hub.broadcast("news", "two", 2)
        assert [one.event for one in mine()] == ["one", "two"]


async def test_nobody_on_a_topic_is_no_error() -> None:
    async with open_hub() as hub:
        hub.broadcast("news", "headline", object())
        assert hub.topics() == []


async def test_to_subscribe_twice_is_to_get_it_twice_and_unsubscribe_takes_both_away() -> None:
    async with open_hub() as hub:
        hub.subscribe("news")
        hub.subscribe("news")
        assert hub.subscribers("news") == [self_pid(), self_pid()]
        hub.broadcast("news", "headline", {})
        assert len(mine()) == 2
        hub.unsubscribe("news")
        hub.unsubscribe("news")
        hub.broadcast("news", "headline", {})
        assert mine() == []
        assert hub.topics() == []
        hub.subscribe("news")
        hub.broadcast("news", "headline", {})
        assert len(mine()) == 1


async def test_unsubscribe_leaves_other_topics_and_others_alone() -> None:
    async with open_hub() as hub:
        heard: list[Any] = []
        other = spawn(subscriber, hub, "news", heard, None)
        await settle()
        hub.subscribe("news")
        hub.subscribe("sports")
        hub.unsubscribe("news")
        hub.unsubscribe("nothing")
        assert hub.subscribers("news") == [other]
        assert hub.subscribers("sports") == [self_pid()]


async def test_broadcast_from_skips_every_subscription_of_that_process() -> None:
    async with open_hub() as hub:
        heard: list[Any] = []
        spawn(subscriber, hub, "news", heard, None)
        await settle()
        hub.subscribe("news")
        hub.subscribe("news")
        hub.broadcast_from(self_pid(), "news", "headline", {})
        await settle()
        assert mine() == []
        assert heard == [Broadcast("news", "headline", {})]


async def test_subscribers_come_in_the_order_in_which_they_came() -> None:
    async with open_hub() as hub:
        pids: list[Pid] = []
        for _ in range(10):
            pids.append(spawn(subscriber, hub, "news", [], None))
            await settle()
        assert hub.subscribers("news") == pids


@pytest.mark.parametrize("reason", ["normal", "shutdown", "kill", "boom"])
async def test_a_subscription_ends_with_its_process_in_the_same_step(reason: str) -> None:
    async with open_hub() as hub:
        seen: list[list[str]] = []

        async def body() -> None:
            hub.subscribe("news")
            hub.subscribe("news")
            hub.subscribe("sports")
            if reason == "normal":
                await receive()
            else:
                await trio.sleep_forever()

        pid, _ = spawn_monitor(body)
        await settle()
        assert hub.topics() == ["news", "sports"]
        if reason == "normal":
            send(pid, "end")
        else:
            exit(pid, reason)
        await receive()  # the Down: whoever hears of the end finds the subscriptions gone
        seen.append(hub.topics())
        assert seen == [[]]
        await wait_exit(pid)


async def test_only_a_process_can_subscribe() -> None:
    hub = PubSub()
    with pytest.raises(NotAProcess):
        hub.subscribe("news")
    with pytest.raises(NotAProcess):
        hub.unsubscribe("news")
    assert hub.topics() == []


async def test_topics_events_and_payloads_may_be_anything_for_processes() -> None:
    async with open_hub() as hub:
        payload = object()
        hub.subscribe("")
        hub.broadcast("", "", payload)
        assert mine() == [Broadcast("", "", payload)]


# -- the fastlane


async def test_a_fastlane_gets_frames_and_its_process_sleeps_on() -> None:
    async with open_hub() as hub:
        transport = Recorder()
        heard: list[Any] = []
        spawn(subscriber, hub, "room", heard, Fastlane(transport, JSON_V2))
        await settle()
        hub.broadcast("room", "shout", {"n": 1})
        assert transport.sent == [[None, None, "room", "shout", {"n": 1}]]
        await settle()
        assert heard == []


async def test_a_broadcast_is_encoded_once_for_each_version() -> None:
    class Counting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.version = inner.version
            self.calls = 0

        def encode_broadcast(self, *args: Any) -> Any:
            self.calls += 1
            return self.inner.encode_broadcast(*args)

    class Same(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.frames: list[bytes] = []

        def send(self, message: Any) -> None:
            self.frames.append(message.frame)

    async with open_hub() as hub:
        v1: Any = Counting(JSON_V1)
        v2: Any = Counting(JSON_V2)
        transports = [Same() for _ in range(20)]
        for number, transport in enumerate(transports):
            spawn(subscriber, hub, "room", [], Fastlane(transport, v1 if number % 4 == 0 else v2))
        await settle()
        hub.broadcast("room", "shout", {"n": 1})
        assert (v1.calls, v2.calls) == (1, 1)
        # The very same bytes.
        assert len({id(one.frames[0]) for one in transports}) == 2


async def test_intercepted_events_go_to_the_process_instead() -> None:
    async with open_hub() as hub:
        transport = Recorder()
        heard: list[Any] = []
        spawn(subscriber, hub, "room", heard, Fastlane(transport, JSON_V2, ("secret",)))
        await settle()
        hub.broadcast("room", "secret", {"n": 1})
        hub.broadcast("room", "shout", {"n": 2})
        await settle()
        assert heard == [Broadcast("room", "secret", {"n": 1})]
        assert transport.sent == [[None, None, "room", "shout", {"n": 2}]]


@pytest.mark.parametrize("payload", [[1], None, "text", {"x": {1}}, {"x": float("nan")}, {1: 2}])
async def test_what_cannot_be_encoded_is_the_senders_fault_and_reaches_nobody(
    payload: object,
) -> None:
    async with open_hub() as hub:
        transports = [Recorder() for _ in range(3)]
        for transport in transports:
            spawn(subscriber, hub, "room", [], Fastlane(transport, JSON_V2))
        await settle()
        with pytest.raises(PayloadError):
            hub.broadcast("room", "shout", payload)
        assert [one.sent for one in transports] == [[], [], []]
        hub.broadcast("room", "shout", {})
        assert all(len(one.sent) == 1 for one in transports)


@pytest.mark.parametrize("order", [(JSON_V2, JSON_V1), (JSON_V1, JSON_V2)])
async def test_bytes_for_a_client_of_version_1_reach_nobody_with_a_fastlane(order: Any) -> None:
    """That version has none; the broadcaster hears of it before anybody was served."""
    async with open_hub() as hub:
        transports = [Recorder() for _ in order]
        for transport, serializer in zip(transports, order, strict=True):
            spawn(subscriber, hub, "room", [], Fastlane(transport, serializer))
            await settle()
        with pytest.raises(PayloadError):
            hub.broadcast("room", "shout", Binary(b"\x00"))
        assert [one.sent for one in transports] == [[], []]


async def test_a_transport_that_ends_subscriptions_while_it_is_sent_to_hurts_nobody() -> None:
    """A full out-queue ends its connection, and so maybe processes, during a broadcast."""
    async with open_hub() as hub:
        others = [Recorder() for _ in range(3)]
        victims: list[Pid] = []

        class Bomb(Recorder):
            def send(self, message: Any) -> None:
                for victim in victims:
                    exit(victim, "kill")

        async def first() -> None:
            hub.subscribe("room", metadata=Fastlane(Bomb(), JSON_V2))
            await trio.sleep_forever()

        spawn(first)
        await settle()
        for transport in others:
            victims.append(spawn(subscriber, hub, "room", [], Fastlane(transport, JSON_V2)))
        await settle()
        hub.broadcast("room", "shout", {})
        await settle()
        assert len(hub.subscribers("room")) == 1


@pytest.mark.slow
async def test_ten_thousand_subscriptions_come_and_go_without_a_trace() -> None:
    async with open_hub() as hub:

        async def body(number: int) -> None:
            for topic in range(10):
                hub.subscribe(f"topic {topic}")
            await trio.sleep_forever()

        pids = [spawn(body, number) for number in range(1000)]
        await settle()
        assert all(len(hub.subscribers(f"topic {topic}")) == 1000 for topic in range(10))
        for pid in pids:
            exit(pid, "kill")
        for pid in pids:
            await wait_exit(pid)
        assert hub.topics() == []
        assert hub._of_process == {}


# -- metadata, and dispatching by it


async def test_metadata_of_ones_own_does_not_change_what_is_delivered() -> None:
    async with open_hub() as hub:
        subscription = hub.subscribe("news", metadata={"level": 3})
        assert (subscription.topic, subscription.pid) == ("news", self_pid())
        assert subscription.metadata == {"level": 3}
        hub.broadcast("news", "headline", {})
        assert mine() == [Broadcast("news", "headline", {})]


async def test_metadata_can_be_changed_while_subscribed() -> None:
    async with open_hub() as hub:
        early, late = Recorder(), Recorder()
        subscription = hub.subscribe("room", metadata=Fastlane(early, JSON_V2))
        hub.broadcast("room", "shout", {"n": 1})
        subscription.metadata = Fastlane(late, JSON_V2)
        hub.broadcast("room", "shout", {"n": 2})
        subscription.metadata = None
        hub.broadcast("room", "shout", {"n": 3})
        assert [one[4] for one in early.sent] == [{"n": 1}]
        assert [one[4] for one in late.sent] == [{"n": 2}]
        assert mine() == [Broadcast("room", "shout", {"n": 3})]


def to_the_loud(subscriptions: Sequence[Subscription], but: Pid | None, message: Broadcast) -> None:
    """Deliver to those whose metadata is high enough for this message."""
    for one in subscriptions:
        loud = isinstance(one.metadata, int) and one.metadata >= message.payload["level"]
        if loud and one.pid is not but:
            send(one.pid, (one.metadata, message.event))


async def test_who_broadcasts_may_dispatch_by_the_metadata_of_the_subscribers() -> None:
    async with open_hub() as hub:
        heard: list[Any] = []

        async def other() -> None:
            hub.subscribe("news", metadata=9)
            while True:
                heard.append(await receive())

        spawn(other)
        await settle()
        lane = Recorder()
        hub.subscribe("news", metadata=Fastlane(lane, JSON_V2))
        for level in (1, 5, None):
            hub.subscribe("news", metadata=level)
        hub.broadcast("news", "one", {"level": 5}, dispatch=to_the_loud)
        assert mine() == [(5, "one")]
        hub.broadcast_from(self_pid(), "news", "two", {"level": 1}, dispatch=to_the_loud)
        hub.local_broadcast_from(self_pid(), "news", "three", {"level": 1}, dispatch=to_the_loud)
        hub.local_broadcast("news", "four", {"level": 9}, dispatch=to_the_loud)
        hub.direct_broadcast(hub.node_name, "news", "five", {"level": 9}, dispatch=to_the_loud)
        assert mine() == []
        await settle()
        assert heard == [(9, name) for name in ("one", "two", "three", "four", "five")]
        assert lane.sent == []


async def test_a_dispatch_sees_the_subscriptions_in_order_and_its_errors_are_the_broadcasters() -> (
    None
):
    async with open_hub() as hub:
        seen: list[Any] = []

        def fails(subscriptions: Sequence[Subscription], *_: object) -> None:
            seen.append([one.metadata for one in subscriptions])
            raise RuntimeError("on purpose")

        for number in range(3):
            hub.subscribe("news", metadata=number)
        with pytest.raises(RuntimeError, match="on purpose"):
            hub.broadcast("news", "headline", {}, dispatch=fails)
        assert seen == [[0, 1, 2]]
        hub.broadcast("empty", "headline", {}, dispatch=fails)
        assert len(seen) == 1
        assert mine() == []


async def test_a_dispatch_may_subscribe_and_unsubscribe() -> None:
    async with open_hub() as hub:

        def moves(subscriptions: Sequence[Subscription], *_: object) -> None:
            hub.unsubscribe("news")
            hub.subscribe("news", metadata=len(subscriptions))

        hub.subscribe("news")
        hub.subscribe("news")
        hub.broadcast("news", "headline", {}, dispatch=moves)
        assert hub.subscribers("news") == [self_pid()]


# -- other nodes


async def test_a_hub_alone_is_local_and_what_is_for_strangers_vanishes() -> None:
    async with open_hub() as hub:
        assert hub.node_name == Local().node_name == "local"
        hub.subscribe("news")
        hub.direct_broadcast("elsewhere", "news", "lost", {})
        hub.direct_broadcast("local", "news", "here", {})
        hub.local_broadcast("news", "here too", {})
        hub.local_broadcast_from(self_pid(), "news", "not to me", {})
        assert [one.event for one in mine()] == ["here", "here too"]


class Wire:
    """An adapter that connects the hubs of one test as if each were on a node of its own.

    What comes from the others passes through a process, as it would behind a network.
    """

    def __init__(self, node_name: str, cluster: dict[str, Wire]) -> None:
        self.node_name = node_name
        self.hub: PubSub | None = None
        self.is_cut = False
        self._cluster = cluster
        cluster[node_name] = self

    def attach(self, hub: PubSub) -> None:
        self.hub = hub

    def broadcast(self, message: Broadcast, dispatch: Dispatch | None) -> None:
        for name in self._cluster:
            if name != self.node_name:
                self.direct_broadcast(name, message, dispatch)

    def direct_broadcast(
        self, node_name: str, message: Broadcast, dispatch: Dispatch | None
    ) -> None:
        if self.is_cut:
            raise OSError("the network is down")
        receiver = whereis(f"receiver of {node_name}")
        if receiver is not None:
            send(receiver, (message, dispatch))


class Receiver(GenServer):
    """Takes in what other nodes have broadcast."""

    async def init(self, wire: Wire) -> None:
        assert wire.hub is not None
        self.hub = wire.hub

    async def handle_info(self, message: Any) -> None:
        broadcast: Broadcast = message[0]
        self.hub.local_broadcast(
            broadcast.topic, broadcast.event, broadcast.payload, dispatch=message[1]
        )


class Member:
    """A hub of a cluster, with a client that hears of everything on the topic "room"."""

    def __init__(self, hub: PubSub) -> None:
        self.hub = hub
        self.client = Recorder()
        self.heard: list[Any] = []
        self.channel = spawn(self._run)

    async def _run(self) -> None:
        self.hub.subscribe("room", metadata=Fastlane(self.client, JSON_V2, ("secret",)))
        while True:
            self.heard.append(await receive())

    def events(self) -> list[str]:
        return [one[3] for one in self.client.sent]


@asynccontextmanager
async def open_cluster(*names: str) -> AsyncGenerator[list[Member]]:
    async with open_node(signals=False):
        trap_exit()
        cluster: dict[str, Wire] = {}
        hubs = [PubSub(Wire(name, cluster)) for name in names]
        await Supervisor.start_link(
            [
                Receiver.named(f"receiver of {name}").child(wire).replace(id=name)
                for name, wire in cluster.items()
            ]
        )
        members = [Member(hub) for hub in hubs]
        await settle()
        yield members


async def test_a_broadcast_reaches_the_clients_of_all_nodes_as_frames() -> None:
    async with open_cluster("a", "b", "c") as members:
        a, b, c = members
        assert [one.hub.node_name for one in members] == ["a", "b", "c"]
        a.hub.broadcast("room", "shout", {"n": 1})
        assert a.client.sent == [[None, None, "room", "shout", {"n": 1}]]
        await settle()
        assert a.client.sent == b.client.sent == c.client.sent
        assert a.heard == b.heard == c.heard == []


async def test_an_intercepted_event_reaches_the_channels_of_all_nodes() -> None:
    async with open_cluster("a", "b") as (a, b):
        b.hub.broadcast("room", "secret", {"n": 1})
        await settle()
        assert a.heard == b.heard == [Broadcast("room", "secret", {"n": 1})]
        assert a.client.sent == b.client.sent == []


async def test_a_broadcast_from_a_process_reaches_all_others_wherever_they_are() -> None:
    async with open_cluster("a", "b") as (a, b):
        neighbour = Member(a.hub)
        await settle()
        a.hub.broadcast_from(a.channel, "room", "shout", {})
        await settle()
        assert a.events() == []
        assert neighbour.events() == b.events() == ["shout"]


async def test_a_local_broadcast_stays_on_its_node() -> None:
    async with open_cluster("a", "b") as (a, b):
        neighbour = Member(a.hub)
        await settle()
        a.hub.local_broadcast("room", "here", {})
        a.hub.local_broadcast_from(a.channel, "room", "from", {})
        await settle()
        assert a.events() == ["here"]
        assert neighbour.events() == ["here", "from"]
        assert b.events() == []


async def test_a_direct_broadcast_reaches_one_node_which_may_be_its_own() -> None:
    async with open_cluster("a", "b", "c") as (a, b, c):
        a.hub.direct_broadcast("b", "room", "to b", {})
        a.hub.direct_broadcast("a", "room", "to a", {})
        a.hub.direct_broadcast("z", "room", "to z", {})
        await settle()
        assert (a.events(), b.events(), c.events()) == (["to a"], ["to b"], [])


async def test_a_dispatch_goes_along_to_other_nodes() -> None:
    async with open_cluster("a", "b") as (a, b):
        b.hub.subscribe("news", metadata=7)
        a.hub.broadcast("news", "headline", {"level": 7}, dispatch=to_the_loud)
        a.hub.broadcast("news", "whisper", {"level": 8}, dispatch=to_the_loud)
        await settle()
        assert mine() == [(7, "headline")]
        assert b.events() == []


async def test_what_is_broadcast_on_one_node_keeps_its_order_on_the_others() -> None:
    async with open_cluster("a", "b") as (a, b):
        for number in range(100):
            a.hub.broadcast("room", f"{number}", {})
        await settle()
        assert a.events() == b.events() == [f"{number}" for number in range(100)]


async def test_when_the_adapter_raises_nobody_here_has_got_anything() -> None:
    async with open_node(signals=False):
        wire = Wire("a", {})
        a, _ = PubSub(wire), PubSub(Wire("b", wire._cluster))
        wire.is_cut = True
        lane = Recorder()
        a.subscribe("room", metadata=Fastlane(lane, JSON_V2))
        a.subscribe("room")
        with pytest.raises(OSError, match="down"):
            a.broadcast("room", "shout", {})
        with pytest.raises(OSError, match="down"):
            a.broadcast("room", "shout", {}, dispatch=to_the_loud)
        assert lane.sent == mine() == []
        a.local_broadcast("room", "shout", {})
        assert len(lane.sent) == len(mine()) == 1


async def test_what_cannot_be_encoded_here_does_not_leave_the_node() -> None:
    async with open_cluster("a", "b") as (a, b):
        with pytest.raises(PayloadError):
            a.hub.broadcast("room", "shout", {"x": {1}})
        await settle()
        assert a.events() == b.events() == []


async def test_a_subscriber_that_is_only_elsewhere_is_reached_too() -> None:
    async with open_cluster("a", "b") as (a, b):
        b.hub.subscribe("news")
        a.hub.broadcast("news", "headline", {"n": 1})
        await settle()
        assert mine() == [Broadcast("news", "headline", {"n": 1})]

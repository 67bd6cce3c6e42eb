"""PubSub: who gets a broadcast, in which order, and that the dead get none."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from exeunt import (
    NotAProcess,
    Pid,
    exit,
    open_node,
    receive,
    receive_nowait,
    self_pid,
    send,
    spawn,
    spawn_monitor,
    wait_exit,
)
from exeunt.channels import Binary, Broadcast, PayloadError, PubSub
from exeunt.channels.pubsub import Fastlane
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
    hub.subscribe(topic, fastlane=lane)
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
            hub.subscribe("room", fastlane=Fastlane(Bomb(), JSON_V2))
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

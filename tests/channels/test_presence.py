"""Presence: who is tracked, what the others are told, and that nobody stays who has left."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from exeunt import (
    CallFailed,
    Down,
    Pid,
    Shutdown,
    Supervisor,
    exit,
    monitor,
    open_node,
    process_info,
    receive,
    receive_nowait,
    self_pid,
    send,
    spawn,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt.channels import Broadcast, Channel, JoinResult, Ok, PayloadError, PubSub, Socket
from exeunt.channels.presence import (
    AlreadyTracked,
    Here,
    NotTracked,
    Presence,
    PresenceDiff,
    Presences,
)
from exeunt.channels.pubsub import Dispatch, Fastlane, Local, Subscription
from exeunt.channels.wire import JSON_V2
from exeunt.otp.results import CastResult

from .memory import Recorder, open_bench

TOPIC = "room:1"


@asynccontextmanager
async def open_presence(kind: type[Presence] = Presence) -> AsyncGenerator[PubSub]:
    """Run a tracker named `"presence"`; this process gets the diffs of TOPIC."""
    async with open_node(signals=False):
        hub = PubSub()
        trap_exit()
        await Supervisor.start_link([kind.named("presence").child(hub)])
        hub.subscribe(TOPIC)
        yield hub


async def diffs() -> list[Any]:
    """Take the diffs that this process has got once everything is at rest."""
    await trio.testing.wait_all_tasks_blocked()
    found: list[Any] = []
    try:
        while True:
            message = receive_nowait()
            if isinstance(message, Broadcast):
                assert message.event == "presence_diff"
                assert sorted(message.payload) == ["joins", "leaves"]
                found.append(message.payload)
    except trio.WouldBlock:
        return found


def somebody() -> Pid:
    return spawn(trio.sleep_forever)


def metas(*values: dict[str, Any]) -> dict[str, Any]:
    return {"metas": list(values)}


async def test_track_returns_the_ref_and_tells_that_somebody_has_joined() -> None:
    async with open_presence():
        ref = await Presence.track("presence", TOPIC, "ann", {"name": "Ann"})
        assert re.fullmatch(r"[A-Za-z0-9_-]{16}", ref)
        meta = {"name": "Ann", "phx_ref": ref}
        assert await diffs() == [{"joins": {"ann": metas(meta)}, "leaves": {}}]
        assert await Presence.list("presence", TOPIC) == {"ann": metas(meta)}
        assert await Presence.get_by_key("presence", TOPIC, "ann") == metas(meta)
        assert await Presence.get_by_key("presence", TOPIC, "bob") is None
        assert await Presence.list("presence", "room:2") == {}


async def test_refs_differ_and_those_of_the_user_are_overwritten() -> None:
    async with open_presence():
        mine = {"phx_ref": "mine", "phx_ref_prev": "mine"}
        refs = {await Presence.track("presence", TOPIC, number, mine) for number in range(50)}
        assert len(refs) == 50
        listed = await Presence.list("presence", TOPIC)
        assert list(listed) == [str(number) for number in range(50)]
        assert all(
            one["metas"][0] == {"phx_ref": one["metas"][0]["phx_ref"]} for one in listed.values()
        )
        assert {one["metas"][0]["phx_ref"] for one in listed.values()} == refs


async def test_a_process_has_one_presence_for_a_topic_and_a_key() -> None:
    async with open_presence():
        await Presence.track("presence", TOPIC, "ann")
        with pytest.raises(AlreadyTracked, match="already") as caught:
            await Presence.track("presence", TOPIC, "ann")
        assert (caught.value.pid, caught.value.topic, caught.value.key) == (
            self_pid(),
            TOPIC,
            "ann",
        )
        await Presence.track("presence", TOPIC, "ann", pid=somebody())
        await Presence.track("presence", TOPIC, "bob")
        await Presence.track("presence", "room:2", "ann")
        listed = await Presence.list("presence", TOPIC)
        assert {key: len(one["metas"]) for key, one in listed.items()} == {"ann": 2, "bob": 1}
        assert len(await diffs()) == 3


async def test_an_update_is_one_diff_with_the_new_meta_and_the_whole_old_one() -> None:
    async with open_presence():
        first = await Presence.track("presence", TOPIC, "ann", {"n": 1})
        second = await Presence.update("presence", TOPIC, "ann", {"n": 2})
        third = await Presence.update(
            "presence", TOPIC, "ann", lambda old: {**old, "n": old["n"] + 1, "more": True}
        )
        one = {"n": 1, "phx_ref": first}
        two = {"n": 2, "phx_ref": second, "phx_ref_prev": first}
        three = {"n": 3, "more": True, "phx_ref": third, "phx_ref_prev": second}
        assert await diffs() == [
            {"joins": {"ann": metas(one)}, "leaves": {}},
            {"joins": {"ann": metas(two)}, "leaves": {"ann": metas(one)}},
            {"joins": {"ann": metas(three)}, "leaves": {"ann": metas(two)}},
        ]
        assert await Presence.list("presence", TOPIC) == {"ann": metas(three)}


async def test_an_update_that_fails_changes_nothing_and_the_tracker_lives() -> None:
    async with open_presence():
        with pytest.raises(NotTracked, match="not tracked"):
            await Presence.update("presence", TOPIC, "ann", {})
        await Presence.track("presence", TOPIC, "ann", {"n": 1})
        before = await Presence.list("presence", TOPIC)
        await diffs()

        async def no_function(old: dict[str, Any]) -> dict[str, Any]:
            return old

        bad: list[Any] = [lambda old: old["x"], lambda old: None, lambda old: {1: 2}, no_function]
        for change in bad:
            with pytest.raises((KeyError, PayloadError)):
                await Presence.update("presence", TOPIC, "ann", change)
        assert await Presence.list("presence", TOPIC) == before
        assert await diffs() == []


@pytest.mark.parametrize(
    ("key", "meta", "error"),
    [
        ("ann", {"x": object()}, PayloadError),
        ("ann", {"x": float("nan")}, PayloadError),
        ("ann", {"x": "\ud800"}, PayloadError),
        ("ann", {1: 2}, PayloadError),
        ("ann", [1], PayloadError),
        ("\ud800", {}, PayloadError),
        ([], {}, TypeError),
        (b"ann", {}, TypeError),
    ],
)
async def test_what_cannot_be_sent_is_refused_to_who_asks(
    key: Any, meta: Any, error: type[Exception]
) -> None:
    async with open_presence():
        with pytest.raises(error):
            await Presence.track("presence", TOPIC, key, meta)
        assert await Presence.list("presence", TOPIC) == {}
        assert await diffs() == []


async def test_untrack_tells_that_somebody_has_left_and_is_quiet_otherwise() -> None:
    async with open_presence():
        ref = await Presence.track("presence", TOPIC, "ann")
        await Presence.untrack("presence", TOPIC, "bob")
        await Presence.untrack("presence", TOPIC, "ann")
        await Presence.untrack("presence", TOPIC, "ann")
        gone = {"joins": {}, "leaves": {"ann": metas({"phx_ref": ref})}}
        assert (await diffs())[1:] == [gone]
        assert await Presence.list("presence", TOPIC) == {}


async def test_the_link_is_there_as_long_as_a_process_has_a_presence() -> None:
    async with open_presence():
        pid = somebody()
        tracker = whereis("presence")

        def is_linked() -> bool:
            info = process_info(pid)
            assert info is not None
            return tracker in info.links

        await Presence.track("presence", TOPIC, "ann", pid=pid)
        await Presence.track("presence", TOPIC, "bob", pid=pid)
        await Presence.untrack("presence", TOPIC, "ann", pid=pid)
        assert is_linked()
        await Presence.untrack("presence", TOPIC, "bob", pid=pid)
        assert not is_linked()
        await Presence.track("presence", TOPIC, "ann", pid=pid)
        exit(pid, "boom")
        assert len(await diffs()) == 6


@pytest.mark.parametrize("reason", ["normal", "shutdown", "kill", "boom", Shutdown("left")])
async def test_a_death_is_one_diff_for_each_topic_whatever_the_reason(reason: Any) -> None:
    async with open_presence() as hub:
        hub.subscribe("room:2")
        told = trio.Event()
        pid = spawn(told.wait)
        for topic, key in ((TOPIC, "ann"), (TOPIC, "bob"), ("room:2", "ann")):
            await Presence.track("presence", topic, key, {"at": topic}, pid=pid)
        await Presence.track("presence", TOPIC, "ann", {"at": "here"})
        assert len(await diffs()) == 4
        if reason == "normal":
            told.set()
        else:
            exit(pid, reason)
        await wait_exit(pid)
        left = await diffs()
        assert [sorted(one["leaves"]) for one in left] == [["ann", "bob"], ["ann"]]
        assert [one["joins"] for one in left] == [{}, {}]
        assert [one["at"] for one in left[0]["leaves"]["ann"]["metas"]] == [TOPIC]
        listed = await Presence.list("presence", TOPIC)
        assert [one["at"] for one in listed["ann"]["metas"]] == ["here"]


async def test_one_who_is_dead_already_joins_and_leaves() -> None:
    async with open_presence():
        pid = spawn(trio.lowlevel.checkpoint)
        await wait_exit(pid)
        await Presence.track("presence", TOPIC, "ann", pid=pid)
        assert [sorted(one["joins"]) for one in await diffs()] == [["ann"], []]
        assert await Presence.list("presence", TOPIC) == {}


async def test_metas_come_oldest_first_and_an_update_keeps_its_place() -> None:
    async with open_presence():
        pids = [somebody() for _ in range(5)]
        for number, pid in enumerate(pids):
            await Presence.track("presence", TOPIC, "ann", {"n": number}, pid=pid)
        await Presence.update("presence", TOPIC, "ann", {"n": 10}, pid=pids[1])
        found = await Presence.get_by_key("presence", TOPIC, "ann")
        assert found is not None
        assert [one["n"] for one in found["metas"]] == [0, 10, 2, 3, 4]


async def test_what_is_handed_out_or_in_is_a_copy() -> None:
    async with open_presence():
        meta = {"n": 1}
        await Presence.track("presence", TOPIC, "ann", meta)
        meta["n"] = 2
        listed = await Presence.list("presence", TOPIC)
        assert listed["ann"]["metas"][0]["n"] == 1
        listed["ann"]["metas"][0]["n"] = 3
        assert (await Presence.list("presence", TOPIC))["ann"]["metas"][0]["n"] == 1


async def test_diffs_come_in_the_order_of_the_changes() -> None:
    async with open_presence():
        pids = [somebody() for _ in range(30)]
        for number, pid in enumerate(pids):
            await Presence.track("presence", TOPIC, "ann", {"n": number}, pid=pid)
            if number % 3 == 0:
                exit(pid, "kill")
        shown: list[int] = []
        for diff in await diffs():
            # Everybody who leaves has joined before: what a client applies ends right.
            for meta in diff["joins"].get("ann", metas())["metas"]:
                shown.append(meta["n"])
            for meta in diff["leaves"].get("ann", metas())["metas"]:
                shown.remove(meta["n"])
        listed = await Presence.list("presence", TOPIC)
        assert shown == [one["n"] for one in listed["ann"]["metas"]]


async def test_what_is_tracked_ends_with_the_tracker_which_begins_anew_without_it() -> None:
    async with open_presence():
        pid = somebody()
        await Presence.track("presence", TOPIC, "ann", pid=pid)
        tracker = whereis("presence")
        assert tracker is not None
        exit(tracker, "kill")
        assert await wait_exit(pid) == "killed"
        await trio.testing.wait_all_tasks_blocked()
        assert whereis("presence") not in (None, tracker)
        assert await Presence.list("presence", TOPIC) == {}


async def test_a_tracker_does_not_track_itself_and_one_that_is_not_there_is_an_error() -> None:
    async with open_presence():
        tracker = whereis("presence")
        with pytest.raises(ValueError, match="itself"):
            await Presence.track("presence", TOPIC, "ann", pid=tracker)
        with pytest.raises(CallFailed):
            await Presence.track("nobody", TOPIC, "ann")
        with pytest.raises(TypeError):
            await Presence.track("presence", TOPIC, "ann", pid="ann")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await Presence.list("presence", 7)  # type: ignore[arg-type]


# -- fetch


class Enriched(Presence):
    """Adds something to each key, and for some of them does what it must not."""

    async def fetch(self, topic: str, presences: Presences) -> Presences:
        for key, presence in presences.items():
            if key == "crash":
                presence["metas"].clear()
                raise RuntimeError("no such user")
            if key == "odd":
                return "nothing"  # type: ignore[return-value]
            presence["user"] = object() if key == "unsendable" else {"id": key, "topic": topic}
        return presences


async def test_fetch_is_applied_to_lists_and_to_both_sides_of_diffs() -> None:
    async with open_presence(Enriched):
        ref = await Presence.track("presence", TOPIC, "ann")
        user = {"id": "ann", "topic": TOPIC}
        entry = {"metas": [{"phx_ref": ref}], "user": user}
        assert await Presence.list("presence", TOPIC) == {"ann": entry}
        assert await Enriched.get_by_key("presence", TOPIC, "ann") == entry
        assert await Presence.get_by_key("presence", TOPIC, "bob") is None
        await Presence.untrack("presence", TOPIC, "ann")
        assert await diffs() == [
            {"joins": {"ann": entry}, "leaves": {}},
            {"joins": {}, "leaves": {"ann": entry}},
        ]


async def test_a_slow_fetch_delays_diffs_and_nothing_else_and_keeps_their_order() -> None:
    known = trio.Event()

    class Slow(Presence):
        async def fetch(self, topic: str, presences: Presences) -> Presences:
            if "a" in presences and self_pid() is not asking:
                await known.wait()
            return presences

    async with open_presence(Slow):
        asking = self_pid()
        for key in ("a", "b", "c"):
            await Presence.track("presence", TOPIC, key)
        assert list(await Presence.list("presence", TOPIC)) == ["a", "b", "c"]
        assert await diffs() == []
        known.set()
        assert [list(one["joins"]) for one in await diffs()] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("key", ["crash", "odd"])
async def test_a_fetch_that_fails_leaves_the_diff_as_it_is(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_presence(Enriched):
        with caplog.at_level(logging.ERROR):
            ref = await Presence.track("presence", TOPIC, key)
            await Presence.track("presence", TOPIC, "ann")
            first, second = await diffs()
        assert first == {"joins": {key: metas({"phx_ref": ref})}, "leaves": {}}
        assert second["joins"]["ann"]["user"] == {"id": "ann", "topic": TOPIC}
        [record] = caplog.records
        assert "fetch failed" in record.getMessage()


async def test_what_fetch_adds_and_nobody_can_send_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_presence(Enriched) as hub:
        client = Recorder()
        hub.subscribe(TOPIC, metadata=Fastlane(client, JSON_V2))
        with caplog.at_level(logging.ERROR):
            ref = await Presence.track("presence", TOPIC, "unsendable")
            plain = {"joins": {"unsendable": metas({"phx_ref": ref})}, "leaves": {}}
            assert await diffs() == [plain]
        assert client.sent == [[None, None, TOPIC, "presence_diff", plain]]
        assert len(caplog.records) == 1


async def test_a_fetch_that_fails_for_a_list_is_raised_to_who_asks() -> None:
    async with open_presence(Enriched):
        await Presence.track("presence", TOPIC, "crash")
        with pytest.raises(RuntimeError, match="no such user"):
            await Presence.list("presence", TOPIC)


async def test_the_process_that_tells_the_diffs_does_not_end_alone() -> None:
    async with open_presence(Enriched):
        tracker = whereis("presence")
        assert tracker is not None
        info = process_info(tracker)
        assert info is not None
        [teller] = [pid for pid in info.links if pid is not info.parent]
        exit(teller, "kill")
        assert await wait_exit(tracker) == "killed"


# -- diffs in one's own hands


class Listening(Presence):
    """Keeps what `handle_metas` is given, and tells the process that it was started with."""

    async def init(self, hub: PubSub, listener: Pid) -> None:  # type: ignore[override]
        await super().init(hub)
        self.listener = listener
        self.count = 0

    async def handle_metas(self, topic: str, diff: PresenceDiff, presences: Here) -> None:
        self.count += 1
        here = {key: [dict(meta) for meta in metas] for key, metas in presences.items()}
        send(self.listener, (self.count, topic, diff, here))
        if "crash" in diff.joins:
            raise RuntimeError("on purpose")


class ListeningToFetched(Listening):
    async def fetch(self, topic: str, presences: Presences) -> Presences:
        for key, presence in presences.items():
            presence["user"] = key.upper()
            presence["metas"] = [{"hidden": True} for _ in presence["metas"]]
        return presences


@asynccontextmanager
async def open_listening(kind: type[Listening] = Listening) -> AsyncGenerator[Pid]:
    async with open_node(signals=False):
        trap_exit()
        yield await kind.named("presence").start_link(PubSub(), self_pid())


async def heard() -> list[Any]:
    """Take what `handle_metas` has told this process."""
    await trio.testing.wait_all_tasks_blocked()
    found: list[Any] = []
    try:
        while True:
            message = receive_nowait()
            if isinstance(message, tuple):
                found.append(message)
    except trio.WouldBlock:
        return found


async def test_who_is_there_after_each_diff_is_told_one_after_the_other() -> None:
    async with open_listening():
        ann, again, bob = somebody(), somebody(), somebody()
        one = await Presence.track("presence", TOPIC, "ann", {"n": 1}, pid=ann)
        two = await Presence.track("presence", TOPIC, "ann", {"n": 2}, pid=again)
        three = await Presence.track("presence", TOPIC, "bob", {"n": 3}, pid=bob)
        other = await Presence.track("presence", "room:2", "bob", {"n": 4}, pid=bob)
        four = await Presence.update("presence", TOPIC, "ann", {"n": 5}, pid=ann)
        exit(again, "kill")
        await wait_exit(again)
        exit(bob, "kill")
        await wait_exit(bob)
        await Presence.untrack("presence", TOPIC, "ann", pid=ann)
        first, second, third = (
            {"n": n, "phx_ref": ref} for n, ref in ((1, one), (2, two), (3, three))
        )
        elsewhere = {"n": 4, "phx_ref": other}
        fourth = {"n": 5, "phx_ref": four, "phx_ref_prev": one}
        told = await heard()
        assert [(number, topic, here) for number, topic, _, here in told] == [
            (1, TOPIC, {"ann": [first]}),  # a new topic
            (2, TOPIC, {"ann": [first, second]}),  # a new meta of one who is there
            (3, TOPIC, {"ann": [first, second], "bob": [third]}),  # a new key
            (4, "room:2", {"bob": [elsewhere]}),
            (5, TOPIC, {"ann": [fourth, second], "bob": [third]}),  # an update, in its place
            (6, TOPIC, {"ann": [fourth], "bob": [third]}),  # one of several metas
            (7, TOPIC, {"ann": [fourth]}),  # the only one of a key
            (8, "room:2", {}),
            (9, TOPIC, {}),  # the only one of a topic
        ]
        assert told[4][2] == PresenceDiff(TOPIC, {"ann": metas(fourth)}, {"ann": metas(first)})


async def test_what_is_told_is_broadcast_before_and_agrees_with_the_list_in_the_end() -> None:
    async with open_node(signals=False):
        trap_exit()
        hub = PubSub()
        await Listening.named("presence").start_link(hub, self_pid())
        hub.subscribe(TOPIC)
        pids = [somebody() for _ in range(20)]
        for number, pid in enumerate(pids):
            await Presence.track("presence", TOPIC, f"user{number % 4}", {"n": number}, pid=pid)
        for pid in pids[::3]:
            exit(pid, "kill")
        for number, pid in enumerate(pids[1::3]):
            await Presence.update("presence", TOPIC, f"user{(3 * number + 1) % 4}", {}, pid=pid)
        await trio.testing.wait_all_tasks_blocked()
        told: list[Any] = []
        messages: list[Any] = []
        try:
            while True:
                messages.append(receive_nowait())
        except trio.WouldBlock:
            pass
        for before, message in pairwise(messages):
            if isinstance(message, tuple):
                assert isinstance(before, Broadcast)
                diff = message[2]
                assert before.payload == {"joins": diff.joins, "leaves": diff.leaves}
                told.append(message[3])
        listed = await Presence.list("presence", TOPIC)
        assert told[-1] == {key: one["metas"] for key, one in listed.items()}


async def test_a_diff_is_handed_over_as_it_was_broadcast_and_the_metas_as_they_were_tracked() -> (
    None
):
    async with open_listening(ListeningToFetched):
        ref = await Presence.track("presence", TOPIC, "ann", {"n": 1})
        await Presence.untrack("presence", TOPIC, "ann")
        joined, left = await heard()
        shown = {"ann": {"metas": [{"hidden": True}], "user": "ANN"}}
        assert joined[2:] == (
            PresenceDiff(TOPIC, shown, {}),
            {"ann": [{"n": 1, "phx_ref": ref}]},
        )
        assert left[2:] == (PresenceDiff(TOPIC, {}, shown), {})


async def test_the_presences_that_are_handed_over_cannot_be_changed() -> None:
    class Meddling(Listening):
        async def handle_metas(self, topic: str, diff: PresenceDiff, presences: Here) -> None:
            presences["eve"] = ()  # type: ignore[index]

    async with open_listening(Meddling) as tracker:
        monitor(tracker)
        await Presence.track("presence", TOPIC, "ann", pid=somebody())
        down = await receive(Down)
        assert "does not support item assignment" in str(down.reason)


async def test_a_handle_metas_that_raises_ends_the_tracker_and_what_it_tracks() -> None:
    async with open_listening() as tracker:
        pid = somebody()
        monitor(tracker)
        monitor(pid)
        await Presence.track("presence", TOPIC, "crash", pid=pid)
        downs = [await receive(Down), await receive(Down)]
        assert {down.process for down in downs} == {tracker, pid}
        assert all("on purpose" in str(down.reason) for down in downs)


async def test_the_processes_that_fetch_are_known_and_end_with_the_tracker() -> None:
    async with open_presence():
        assert await Presence.fetchers_pids("presence") == []
    async with open_listening() as tracker:
        [fetcher] = await Listening.fetchers_pids("presence")
        exit(tracker, "kill")
        assert await wait_exit(fetcher) == "killed"


@pytest.mark.parametrize("name", ["handle_meta", "handle_metaz", "handle_infos"])
def test_a_misspelt_callback_is_refused_when_the_class_is_made(name: str) -> None:
    async def callback(self: Presence) -> None: ...

    with pytest.raises(TypeError, match="misspelt"):
        type("Typo", (Presence,), {name: callback})


async def test_a_dispatch_of_ones_own_delivers_the_diffs() -> None:
    def only_those_who_care(
        subscriptions: Sequence[Subscription], but: Pid | None, message: Broadcast
    ) -> None:
        assert but is None
        for one in subscriptions:
            if one.metadata == "cares":
                send(one.pid, ("dispatched", message))

    for kind in (Presence, Enriched):
        async with open_node(signals=False):
            trap_exit()
            hub = PubSub()
            await kind.named("presence").start_link(hub, dispatch=only_those_who_care)
            hub.subscribe(TOPIC)
            hub.subscribe(TOPIC, metadata="cares")
            await Presence.track("presence", TOPIC, "ann")
            [(word, message)] = await heard()
            assert (word, message.topic, message.event) == ("dispatched", TOPIC, "presence_diff")
            assert list(message.payload["joins"]) == ["ann"]
            with pytest.raises(trio.WouldBlock):
                receive_nowait()


async def test_diffs_go_to_the_clients_of_this_node_only() -> None:
    carried: list[Broadcast] = []

    class Elsewhere(Local):
        def broadcast(self, message: Broadcast, dispatch: Dispatch | None) -> None:
            carried.append(message)

    for kind in (Presence, Enriched):
        async with open_node(signals=False):
            trap_exit()
            hub = PubSub(Elsewhere())
            await kind.named("presence").start_link(hub)
            hub.subscribe(TOPIC)
            await Presence.track("presence", TOPIC, "ann")
            await Presence.untrack("presence", TOPIC, "ann")
            assert len(await diffs()) == 2
            assert carried == []


# -- in channels


class RoomChannel(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        self.name = params["name"]
        send(self.pid, "after_join")
        return Ok()

    async def handle_info(self, message: Any) -> CastResult:
        self.push("presence_state", await Presence.list("presence", self))
        await Presence.track("presence", self, self.name, {"device": "phone"})
        return None


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}


async def test_a_channel_tracks_itself_and_its_end_is_told_to_the_others() -> None:
    async with open_bench(UserSocket()) as bench:
        await Presence.named("presence").start_link(bench.hub)
        await bench.say("1", "1", TOPIC, "phx_join", {"name": "ann"})
        joined, state, diff = await bench.take(3)
        assert joined == ["1", "1", TOPIC, "phx_reply", {"status": "ok", "response": {}}]
        assert state == ["1", None, TOPIC, "presence_state", {}]
        [meta] = diff[4]["joins"]["ann"]["metas"]
        assert diff == [
            None,
            None,
            TOPIC,
            "presence_diff",
            {"joins": {"ann": metas(meta)}, "leaves": {}},
        ]
        assert meta == {"device": "phone", "phx_ref": meta["phx_ref"]}
        bench.hub.subscribe(TOPIC)
        exit(bench.pid_of(TOPIC), "kill")
        [crashed] = await bench.take()
        assert crashed[3] == "phx_error"
        assert await Presence.list("presence", TOPIC) == {}
        assert bench.session.topics() == []


async def many_clients(act: Callable[[int], Awaitable[None]], number: int) -> None:
    async with trio.open_nursery() as nursery:
        for one in range(number):
            nursery.start_soon(act, one)


async def test_who_applies_all_diffs_sees_in_the_end_what_the_list_says() -> None:
    async with open_presence():

        async def come_and_go(number: int) -> None:
            pid = somebody()
            key = f"user{number % 7}"
            await Presence.track("presence", TOPIC, key, {"n": 0}, pid=pid)
            for turn in range(number % 4):
                await Presence.update("presence", TOPIC, key, {"n": turn}, pid=pid)
            if number % 3 == 0:
                await Presence.untrack("presence", TOPIC, key, pid=pid)
            elif number % 3 == 1:
                exit(pid, "kill")

        await many_clients(come_and_go, 60)
        seen: dict[str, dict[str, Any]] = {}
        for diff in await diffs():
            for key, presence in diff["joins"].items():
                for meta in presence["metas"]:
                    seen.setdefault(key, {})[meta["phx_ref"]] = meta
            for key, presence in diff["leaves"].items():
                for meta in presence["metas"]:
                    del seen[key][meta["phx_ref"]]
        listed = await Presence.list("presence", TOPIC)
        assert {key: one for key, one in seen.items() if one} == {
            key: {meta["phx_ref"]: meta for meta in presence["metas"]}
            for key, presence in listed.items()
        }

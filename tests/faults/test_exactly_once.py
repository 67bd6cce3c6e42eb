"""Two ways at once, many topics, failing leave functions: still each leave runs exactly once."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from exeunt import (
    Departure,
    Pid,
    Reason,
    Shutdown,
    Watcher,
    is_alive,
    open_node,
    self_pid,
    wait_exit,
    whereis,
)
from exeunt import exit as exit_signal
from exeunt.channels import Endpoint, Mount

from .client import Client, Closed, close_frame, frame, text
from .world import ROOM, WATCHER, Options, User, World, complaints, open_world, until

Way = Callable[[World, Client], Awaitable[None]]


async def leaves(world: World, client: Client) -> None:
    await client.send(text(["1", "2", ROOM, "phx_leave", {}]))


async def closes(world: World, client: Client) -> None:
    await client.send(close_frame(1001))


async def resets(world: World, client: Client) -> None:
    client.reset()


async def ends_tcp(world: World, client: Client) -> None:
    client.fin()


async def sends_junk(world: World, client: Client) -> None:
    await client.send(text("junk"))


async def sends_bad_utf8(world: World, client: Client) -> None:
    await client.send(frame(0x1, b"\xff"))


async def joins_anew(world: World, client: Client) -> None:
    await client.send(text(["9", "9", ROOM, "phx_join", {"who": "ada again"}]))


async def crashes(world: World, client: Client) -> None:
    await client.send(text(["1", "2", ROOM, "what", {}]))


async def is_killed(world: World, client: Client) -> None:
    exit_signal(world.channels["ada"], "kill")


async def is_told_to_end(world: World, client: Client) -> None:
    exit_signal(world.channels["ada"], "shutdown")


async def loses_its_connection(world: World, client: Client) -> None:
    exit_signal(world.connections["ada"], "kill")


async def is_disconnected(world: World, client: Client) -> None:
    world.hub.broadcast("user:ada", "disconnect", {})


WAYS: dict[Way, Callable[[Reason], bool]] = {
    leaves: lambda reason: reason == Shutdown("left"),
    closes: lambda reason: reason == Shutdown("local_closed"),
    resets: lambda reason: reason == Shutdown("peer_closed"),
    ends_tcp: lambda reason: reason == Shutdown("peer_closed"),
    sends_junk: lambda reason: "ProtocolError" in str(reason),
    sends_bad_utf8: lambda reason: reason == "received a text frame that is not UTF-8",
    joins_anew: lambda reason: reason == Shutdown("duplicate_join"),
    crashes: lambda reason: "UnexpectedRequest" in str(reason),
    is_killed: lambda reason: reason == "killed",
    is_told_to_end: lambda reason: reason == "shutdown",
    loses_its_connection: lambda reason: reason == "killed",
    is_disconnected: lambda reason: reason == Shutdown("disconnected"),
}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(one, other, id=f"{one.__name__}, {other.__name__}")
        for one, other in itertools.permutations(WAYS, 2)
        # A socket that is closed sends nothing more.
        if not (
            (
                one in (resets, ends_tcp)
                and other
                in (leaves, closes, resets, ends_tcp, sends_junk, sends_bad_utf8, joins_anew)
            )
            or (one in (resets, ends_tcp) and other is crashes)
        )
    ],
)
async def test_two_ways_at_once_are_one_leave(first: Way, second: Way) -> None:
    async with open_world() as world:
        before = await world.snapshot()
        async with await world.join() as client:
            await first(world, client)
            await second(world, client)
            await world.until_left("ada")
            [reason] = world.reasons_of("ada")
            assert WAYS[first](reason) or WAYS[second](reason), reason
        await world.settle(before)
        assert len(world.reasons_of("ada")) == 1
        assert len(world.terminated_of("ada")) <= 1


@pytest.mark.slow
async def test_any_ways_at_any_time_are_one_leave_for_each_join() -> None:
    """A crowd that comes and goes at random: who joins leaves, once for each time."""
    dice = random.Random(20)
    joined = Counter[str]()

    async def visit(world: World, who: str, ways: list[Way], pause: float) -> None:
        async with await world.join(who) as client:
            joined[who] += 1
            world.channels["ada"] = world.channels[who]
            for way in ways:
                world.channels["ada"] = world.channels[who]
                world.connections["ada"] = world.connections[who]
                try:
                    await way(world, client)
                except OSError:
                    break  # the way before was thorough
                await trio.sleep(pause)

    chosen = [one for one in WAYS if one not in (joins_anew, is_disconnected)]
    async with open_world() as world:
        before = await world.snapshot()
        for _ in range(4):
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    ways = dice.sample(chosen, dice.randint(0, 3))
                    if resets in ways:
                        ways = ways[: ways.index(resets) + 1]
                    pause = dice.choice((0, 0, 0.001, 0.01))
                    nursery.start_soon(visit, world, f"user{number}", ways, pause)
        await world.settle(before)
        assert Counter(one.who for one in world.left) == joined
        assert max(Counter(one.who for one in world.terminated).values()) <= 4


@pytest.mark.parametrize("way", [closes, resets, sends_junk, loses_its_connection, is_disconnected])
async def test_all_topics_of_a_connection_leave_with_it_each_once(way: Way) -> None:
    topics = [f"room:{number}" for number in range(20)]
    async with open_world() as world:
        before = await world.snapshot()
        async with await world.connect() as client:
            for number, topic in enumerate(topics):
                await client.join(topic, {"who": topic}, join_ref=str(number))
                world.connections["ada"] = world.connections[topic]
            assert len(world.hub.topics()) == 21
            await way(world, client)
            await until(lambda: len(world.left) == 20, "all to leave")
        await world.settle(before)
        assert sorted(one.who for one in world.left) == sorted(topics)
        assert all(WAYS[way](one.reason) for one in world.left)
        assert sorted(one.who for one in world.terminated) == sorted(topics)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["close", "reset", "fin"])
async def test_a_join_and_the_end_in_one_packet_are_one_leave_or_none(end: str) -> None:
    """The connection may end while the channel is still being started."""
    async with open_world() as world:
        before = await world.snapshot()
        for number in range(40):
            async with await world.connect() as client:
                join = text([f"{number}", f"{number}", ROOM, "phx_join", {}])
                await client.send(join + close_frame(1000) if end == "close" else join)
                if number % 2:
                    await trio.lowlevel.checkpoint()
                if end == "reset":
                    client.reset()
                elif end == "fin":
                    client.fin()
                    await client.receive_until_end()
        await world.settle(before)
        assert len(world.left) <= 40
        assert len({one.pid for one in world.left}) == len(world.left)
        expected = "local_closed" if end == "close" else "peer_closed"
        assert {one.reason for one in world.left} <= {Shutdown(expected)}
        # Who was let in has been told of the end too.
        assert len(world.terminated) == len(world.left)


@pytest.mark.parametrize("way", [sends_junk, sends_bad_utf8])
async def test_a_malformed_frame_is_told_of_once_however_many_topics_were_joined(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger must not be able to fill the log with one frame."""
    async with open_world() as world, await world.connect() as client:
        for number in range(20):
            topic = f"room:{number}"
            await client.join(topic, {"who": topic}, join_ref=str(number))
        await way(world, client)
        await client.receive_until_end()
        await until(lambda: len(world.left) == 20, "all to leave")
        assert len(complaints(caplog.records)) <= 1


async def test_all_leaves_are_run_when_the_node_closes() -> None:
    """The block of `open_node` ends, and the endpoint is only then told to stop."""
    left: list[tuple[Reason, str]] = []
    slow: list[str] = []
    clients: list[Client] = []

    async def has_left(departure: Departure, who: str) -> None:
        left.append((departure.reason, who))
        await trio.sleep(0.05)
        slow.append(who)

    async with open_node(signals=False) as node:
        world = World(node)
        world.has_left = has_left  # type: ignore[method-assign]
        world.watcher = await Watcher.start_link()
        world.endpoint = await Endpoint.start_link(
            {"/socket": Mount(partial(User, world), close_within=0.1)}, port=0, hub=world.hub
        )
        world.port = await world.find_port()
        clients += [await world.join(f"user{number}") for number in range(10)]
    for client in clients:
        assert await client.receive() == Closed(1012)
        client.close()
    everybody = sorted(f"user{number}" for number in range(10))
    assert sorted(who for _, who in left) == everybody
    assert {reason for reason, _ in left} == {Shutdown("draining")}
    # And to their ends: the watcher waits for them.
    assert sorted(slow) == everybody


async def test_a_leave_function_that_crashes_or_hangs_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_world() as world:
        before = await world.snapshot()
        hanging: list[Pid] = []
        good = world.has_left

        async def crash(departure: Departure, who: str) -> None:
            raise LookupError(f"{who} is nowhere to be found")

        async def hang(departure: Departure, who: str) -> None:
            hanging.append(self_pid())
            await trio.sleep_forever()

        clients: list[Client] = []
        for who, leave in (("crasher", crash), ("hanger", hang), ("ada", good)):
            world.has_left = leave  # type: ignore[method-assign]
            clients.append(await world.join(who))
        for client in clients:
            client.reset()
        await world.until_left("ada")
        await until(lambda: bool(hanging), "the leave function that hangs")
        [pid] = hanging
        # The report of the crash, and whom it was for.
        await until(lambda: len(complaints(caplog.records)) == 2, "the watcher to tell of it")
        said = complaints(caplog.records)
        assert "crasher is nowhere to be found" in said[0]
        assert f"{world.channels['crasher']} had ended" in said[1]
        exit_signal(pid, "kill")
        await wait_exit(pid)
        await world.settle(before)


async def test_when_a_watcher_without_a_name_dies_so_do_its_watched_and_clients_join_again() -> (
    None
):
    async with open_world() as world:
        watcher = world.watcher = await Watcher.start_link()
        await _rejoin_after_the_end_of(watcher, world)


async def _rejoin_after_the_end_of(watcher: Pid, world: World) -> None:
    async with await world.join() as client:
        assert await Watcher.watched(watcher) == [world.channels["ada"]]
        exit_signal(watcher, "kill")
        assert await client.receive() == ["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]
        await until(lambda: not is_alive(world.channels["ada"]), "the channel to end")
        # Until there is a watcher again nobody gets in unwatched.
        await client.say("2", "2", ROOM, "phx_join", {})
        assert await client.receive() == [
            "2",
            "2",
            ROOM,
            "phx_reply",
            {"status": "error", "response": {"reason": "join crashed"}},
        ]
        world.watcher = await Watcher.start_link()
        await client.join(ROOM, join_ref="3")
        assert world.left == []
        client.reset()
        await world.until_left("ada")
        assert world.reasons_of("ada") == [Shutdown("peer_closed")]


@pytest.mark.slow
async def test_a_named_watcher_that_is_killed_again_and_again_forgets_nobody() -> None:
    """A crowd comes and goes in every way while the watcher is killed at random."""
    dice = random.Random(5)
    chosen = [one for one in WAYS if one not in (joins_anew, is_disconnected)]
    kills = 0

    async def visit(world: World, who: str) -> None:
        way = dice.choice(chosen)
        async with await world.connect(who) as client:
            # A join that finds no watcher, in between two, crashes: then the client tries again.
            for join_ref in map(str, range(100)):
                await client.say(join_ref, join_ref, ROOM, "phx_join", {})
                answer = await client.receive()
                assert isinstance(answer, list)
                if answer[4]["status"] == "ok":
                    break
                await trio.sleep(0.001)
            world.channels["ada"] = world.channels[who]
            world.connections["ada"] = world.connections[who]
            await way(world, client)
            await trio.sleep(dice.choice((0, 0, 0.002, 0.01)))

    async def kill_watchers(world: World) -> None:
        nonlocal kills
        while True:
            await trio.sleep(dice.uniform(0.001, 0.02))
            watcher = whereis(WATCHER)
            if watcher is not None:
                exit_signal(watcher, "kill")
                kills += 1

    async with open_world(Options(watcher_restarts=10_000)) as world:
        before = await world.snapshot()
        async with trio.open_nursery() as killing:
            killing.start_soon(kill_watchers, world)
            for _ in range(4):
                async with trio.open_nursery() as nursery:
                    for number in range(40):
                        nursery.start_soon(visit, world, f"user{number}")
            await until(lambda: world.served() == [], "all to have left", 10)
            killing.cancel_scope.cancel()
        await world.settle(before)
        assert kills > 5
        assert len(world.watches) == 160
        assert Counter(pid for pid, _ in world.watches) == Counter(one.pid for one in world.left)


async def test_a_client_that_rejoins_again_and_again_leaves_as_often() -> None:
    async with open_world() as world:
        before = await world.snapshot()
        async with await world.connect() as client:
            for number in range(100):
                await client.say(f"{number}", f"{number}", ROOM, "phx_join", {})
            frames = [await client.receive() for _ in range(199)]
        replies = [one for one in frames if isinstance(one, list) and one[3] == "phx_reply"]
        assert [one[0] for one in replies] == [f"{number}" for number in range(100)]
        closed = [one for one in frames if isinstance(one, list) and one[3] == "phx_close"]
        assert [one[0] for one in closed] == [f"{number}" for number in range(99)]
        await world.settle(before)
        assert len(world.left) == 100
        assert len({one.pid for one in world.left}) == 100
        expected = Counter({Shutdown("duplicate_join"): 99, Shutdown("peer_closed"): 1})
        assert Counter(one.reason for one in world.left) == expected


async def test_a_socket_id_disconnects_all_connections_of_that_user() -> None:
    async with open_world() as world, await world.join("eve") as other:
        before = await world.snapshot()
        clients = [await world.join("ada", f"room:{number}") for number in range(5)]
        world.hub.broadcast("user:ada", "disconnect", {})
        for client in clients:
            assert await client.receive_until_end() == [Closed(1001)]
            client.close()
        await world.until_left("ada", 5)
        await world.settle(before)
        assert world.reasons_of("ada") == [Shutdown("disconnected")] * 5
        assert await other.sync() == []


async def test_a_disconnect_before_anything_was_joined_closes_as_well() -> None:
    async with open_world() as world, await world.connect() as client:
        assert await client.sync() == []
        world.hub.broadcast("user:ada", "disconnect", {})
        assert await client.receive_until_end() == [Closed(1001)]
        assert world.left == []


async def test_an_unwatched_channel_leaves_unseen() -> None:
    async with open_world() as world, await world.join() as client:
        assert await Watcher.unwatch(world.watcher, world.channels["ada"])
        client.reset()
        await until(lambda: not is_alive(world.channels["ada"]), "the channel to end")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert world.left == []

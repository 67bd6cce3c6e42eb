"""Handlers that misbehave: each harms itself, is named, and nobody else notices.

What happens below the channels is tested in tests/kernel (test_zombies.py, test_exits.py,
test_watchdog.py, test_mailbox.py), and a leave function that hangs in tests/otp/test_watcher.py.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from exeunt import (
    Bound,
    Crash,
    GenServer,
    NotAProcess,
    Pid,
    Shutdown,
    is_alive,
    process_info,
    send,
    spawn,
    wait_exit,
)
from exeunt import exit as exit_signal
from exeunt.channels import Ok
from exeunt.kernel.mailbox import Overflow
from tests.e2e.programs import Program
from tests.faults.client import Client, Closed
from tests.faults.world import ROOM, Witness, World, open_world, until

GRACE = 0.3
"""Seconds that a killed process has here, before it is declared dead."""


@asynccontextmanager
async def world_with_bystander() -> AsyncGenerator[tuple[World, Client]]:
    """Run a server with somebody in the room who must not notice anything."""
    async with open_world() as world:
        world.node._kill_grace = GRACE
        async with await world.join("bystander", ROOM) as bystander:
            yield world, bystander
            assert await bystander.sync() == []
            assert (await bystander.ask("1", ROOM, "echo", 1))["response"] == 1
            assert world.reasons_of("bystander") == []
            await world.check_untouched()


async def run_deed(world: World, deed: Callable[[Witness], Awaitable[Any]], client: Client) -> Pid:
    """Have ada's channel begin to do something in `handle_in`; return its process."""
    begun = trio.Event()

    async def begin(channel: Witness) -> Any:
        begun.set()
        return await deed(channel)

    world.deed = begin
    await client.say("1", "2", ROOM, "run", {})
    with trio.fail_after(5):
        await begun.wait()
    return world.channels["ada"]


# -- those that do not stop


async def swallow(channel: Witness) -> None:
    """Take no notice of being cancelled, ten times."""
    for _ in range(10):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            pass


@pytest.mark.parametrize("way", ["reset", "kill"])
async def test_one_that_swallows_cancellation_leaves_all_the_same(way: str) -> None:
    async with world_with_bystander() as (world, _), await world.join() as client:
        channel = await run_deed(world, swallow, client)
        if way == "reset":
            # It is in `handle_in`, which nobody interrupts; at the next cancellation it is.
            client.reset()
            exit_signal(channel, Shutdown("enough"))
        else:
            exit_signal(channel, "kill")
        await world.until_left("ada")
        expected = Shutdown("enough") if way == "reset" else "killed"
        assert world.reasons_of("ada") == [expected]
        assert not is_alive(channel)


async def test_one_that_shields_itself_for_ever_is_declared_dead_and_has_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = trio.Event()

    async def shield(channel: Witness) -> None:
        with trio.CancelScope(shield=True):
            await gate.wait()

    async with world_with_bystander() as (world, bystander), await world.join() as client:
        channel = await run_deed(world, shield, client)
        exit_signal(channel, "kill")
        await world.until_left("ada", within=GRACE + 5)
        assert world.reasons_of("ada") == ["killed"]
        # The client is told, and may join anew beside what is left of it.
        assert await client.receive() == ["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]
        await client.join(ROOM, {"who": "ada again"}, join_ref="3")
        assert list(world.node.zombies) == [channel]
        [said] = [one.getMessage() for one in caplog.records if "declared dead" in one.message]
        assert "Witness 'room:a'" in said and "await gate.wait()" in said
        # It belongs to nothing any more: what is broadcast does not concern it.
        assert channel not in world.hub.subscribers(ROOM)
        gate.set()
        await until(lambda: not world.node.zombies, "it to stop")
        assert world.reasons_of("ada") == ["killed"]
        assert await bystander.sync() == []


async def test_a_shielded_channel_holds_up_neither_its_client_nor_the_other_topics() -> None:
    gate = trio.Event()

    async def shield(channel: Witness) -> None:
        with trio.CancelScope(shield=True):
            await gate.wait()

    async with world_with_bystander() as (world, _), await world.join() as client:
        await client.join("room:other", {"who": "ada there"}, join_ref="9")
        await run_deed(world, shield, client)
        assert await client.sync() == []
        assert (await client.ask("9", "room:other", "echo", 2))["response"] == 2
        await client.say(None, "x", "room:a", "phx_leave", {})
        client.reset()
        await world.until_left("ada there")
        assert world.reasons_of("ada") == []
        gate.set()
        await world.until_left("ada")
        assert len(world.reasons_of("ada")) == 1


# -- those that leave something behind


@pytest.mark.parametrize(
    ("where", "says"),
    [("of trio's own", "no process is running here"), ("of somebody else", "has ended")],
)
async def test_a_task_that_outlives_its_channel_can_do_nothing_in_its_name(
    where: str, says: str
) -> None:
    refusals: list[str] = []

    async with (
        world_with_bystander() as (world, _),
        await world.join() as client,
        trio.open_nursery() as nursery,
    ):

        async def leak(channel: Witness) -> Any:
            async def linger(pid: Pid) -> None:
                while is_alive(pid):  # noqa: ASYNC110 - it is no process, to be told of the end
                    await trio.sleep(0.005)
                try:
                    world.hub.subscribe("room:stolen")
                except NotAProcess as error:
                    refusals.append(str(error))

            if where == "of somebody else":
                nursery.start_soon(linger, channel.pid)
            else:
                trio.lowlevel.spawn_system_task(linger, channel.pid)
            return Ok()

        channel = await run_deed(world, leak, client)
        client.reset()
        await world.until_left("ada")
        assert not is_alive(channel)
        await until(lambda: bool(refusals), "the task to go on")
        assert says in refusals[0]
        assert world.hub.subscribers("room:stolen") == []


async def test_a_nursery_that_is_left_open_ends_with_its_channel() -> None:
    """Left to itself, trio would have the whole node end with it."""

    async def leave_open(channel: Witness) -> Any:
        # Entered by hand, and never left.
        nursery = await trio.open_nursery().__aenter__()
        nursery.start_soon(trio.sleep_forever)
        return Ok()

    async with world_with_bystander() as (world, _), await world.join() as client:
        before = await world.snapshot()
        channel = await run_deed(world, leave_open, client)
        assert (await client.receive())[4]["status"] == "ok"  # type: ignore[index]
        exit_signal(channel, Shutdown("enough"))
        await world.until_left("ada")
        assert world.reasons_of("ada") == [Shutdown("enough")]
        client.reset()
        await until(
            lambda: trio.lowlevel.current_statistics().tasks_living < before.tasks, "all to end"
        )


async def test_processes_that_a_channel_spawns_and_forgets_live_on_as_with_erlang() -> None:
    spawned: list[Pid] = []

    async def breed(channel: Witness) -> Any:
        spawned.append(spawn(trio.sleep_forever))
        return Ok()

    async with world_with_bystander() as (world, _), await world.join() as client:
        await run_deed(world, breed, client)
        assert (await client.receive())[4]["status"] == "ok"  # type: ignore[index]
        client.reset()
        await world.until_left("ada")
        [orphan] = spawned
        assert is_alive(orphan)
        # It is seen, and ends with the node at the latest.
        assert process_info(orphan) is not None


# -- those that raise what nobody catches


class Unheard(BaseException):
    """Of the kind that `except Exception` does not catch."""


def raised(name: str) -> BaseException:
    """Return an error that escapes most nets."""
    match name:
        case "a BaseException":
            return Unheard("on purpose")
        case "GeneratorExit":
            return GeneratorExit()
        case "a group":
            return BaseExceptionGroup("two", [Unheard("one"), ValueError("another")])
        case _:
            return trio.Cancelled._create(source="explicit")


ESCAPING = ["a BaseException", "GeneratorExit", "a group", "a cancellation of nobody"]


def is_reason_of(name: str, reason: object) -> bool:
    """Tell whether it is what that error makes of a process."""
    if name == "a cancellation of nobody":
        return reason == "killed"
    return isinstance(reason, Crash) and type(reason.exception) is type(raised(name))


@pytest.mark.parametrize("name", ESCAPING)
async def test_what_escapes_handle_in_ends_that_channel_alone(name: str) -> None:
    async def fail(channel: Witness) -> None:
        raise raised(name)

    async with world_with_bystander() as (world, _), await world.join() as client:
        await client.join("room:other", {"who": "ada there"}, join_ref="9")
        await run_deed(world, fail, client)
        assert await client.receive() == ["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]
        await world.until_left("ada")
        [reason] = world.reasons_of("ada")
        assert is_reason_of(name, reason), reason
        assert (await client.ask("9", "room:other", "echo", 2))["response"] == 2
        await client.join(ROOM, {"who": "ada again"}, join_ref="3")


@pytest.mark.parametrize("name", ESCAPING)
async def test_what_escapes_join_is_a_join_that_crashed(name: str) -> None:
    async def fail(channel: Witness) -> None:
        raise raised(name)

    async with world_with_bystander() as (world, _), await world.connect() as client:
        world.join_deed = fail
        await client.say("1", "1", ROOM, "phx_join", {"run": True})
        answer = await client.receive()
        assert answer == [
            "1",
            "1",
            ROOM,
            "phx_reply",
            {"status": "error", "response": {"reason": "join crashed"}},
        ]
        await world.until_left("ada")
        [reason] = world.reasons_of("ada")
        assert is_reason_of(name, reason), reason
        assert await client.sync() == []


@pytest.mark.parametrize("name", ["an exception", *ESCAPING])
@pytest.mark.parametrize("way", ["leave", "close", "reset"])
async def test_what_escapes_terminate_is_told_and_everything_else_is_as_ever(
    name: str, way: str
) -> None:
    error = LookupError("on purpose") if name == "an exception" else raised(name)

    async def deed(channel: Witness) -> Any:
        async def fail(reason: object) -> None:
            raise error

        channel.terminate = fail  # type: ignore[method-assign]
        return Ok()

    async with world_with_bystander() as (world, bystander), await world.join() as client:
        before_ada = world.hub.subscribers(ROOM)
        channel = await run_deed(world, deed, client)
        assert (await client.receive())[4]["status"] == "ok"  # type: ignore[index]
        match way:
            case "leave":
                await client.say("1", "3", ROOM, "phx_leave", {})
                assert (await client.receive())[4]["status"] == "ok"  # type: ignore[index]
                assert await client.receive() == ["1", "1", ROOM, "phx_close", {}]
                assert await client.sync() == []
            case "close":
                await client.send(b"\x88\x82" + bytes(4) + b"\x03\xe8")
                assert await client.receive_until_end() == [Closed(1000)]
            case _:
                client.reset()
        await world.until_left("ada")
        assert len(world.reasons_of("ada")) == 1
        assert world.hub.subscribers(ROOM) == [one for one in before_ada if one is not channel]
        assert await bystander.sync() == []


@pytest.mark.parametrize(
    ("params", "event", "status"),
    [
        ({}, {"what": "SystemExit"}, 7),
        ({}, {"what": "KeyboardInterrupt"}, -signal.SIGINT),
        ({"join": "SystemExit"}, None, 7),
        ({"terminate": "SystemExit"}, "leave", 7),
    ],
    ids=["SystemExit", "KeyboardInterrupt", "SystemExit in join", "SystemExit in terminate"],
)
def test_an_exit_of_the_program_by_a_handler_is_an_orderly_one(
    params: dict[str, str], event: object, status: int
) -> None:
    """It means the whole program, as everywhere in Python: every leave runs before it ends."""
    with Program("tests.overload.server", json.dumps({})) as program:
        port = int(program.line(r"ready at .*:(\d+)")[1])

        async def main() -> None:
            others = [await Client.connect(port) for _ in range(20)]
            for number, other in enumerate(others):
                await other.join(f"room:{number}", {"who": f"user{number}", "is_watched": True})
            client = await Client.connect(port)
            joined = {"who": "ada", "is_watched": True, **params}
            await client.say("1", "1", ROOM, "phx_join", joined)
            if event == "leave":
                await client.say("1", "2", ROOM, "phx_leave", {})
            elif event is not None:
                await client.say("1", "2", ROOM, "do", event)
            for other in others:
                assert await other.receive_until_end(15) == [Closed(1012)]
                other.close()
            client.close()

        trio.run(main)
        ended = program.wait()
    lines = ended.stdout.splitlines()
    left = sorted(line.split()[1] for line in lines if line.startswith("left "))
    assert left == sorted(["ada", *(f"user{number}" for number in range(20))])
    assert ended.status == status
    assert ended.seconds < 10


# -- those that keep the processor, or the memory


@pytest.mark.slow
def test_one_that_blocks_the_loop_is_named_with_its_line() -> None:
    with Program("tests.overload.server", json.dumps({"watchdog": 0.2})) as program:
        port = int(program.line(r"ready at .*:(\d+)")[1])

        async def main() -> None:
            async with await Client.connect(port) as client, await Client.connect(port) as other:
                await client.join(ROOM, {"who": "ada"})
                await client.say("1", "2", ROOM, "do", {"what": "block"})
                await trio.sleep(0.1)
                started = trio.current_time()
                assert await other.sync() == []
                # It was held up, as it must be: all share one thread. That is what is told.
                assert trio.current_time() - started > 0.3
                assert (await client.receive())[4]["status"] == "ok"  # type: ignore[index]

        trio.run(main)
        said = program.stderr()
    assert "(Room 'room:a')" in said or "Room 'room:a'" in said
    assert "has not let anything else run for" in said
    assert "time.sleep(1)" in said and "server.py" in said
    assert said.count("has blocked the loop for 1.") == 1


class Glutton(GenServer):
    """Sends itself more than it takes."""

    async def init(self) -> None:
        self.taken = 0

    async def handle_info(self, message: Any) -> None:
        self.taken += 1
        # Two for one, up to what the test can bear.
        if self.taken < 20_000:
            send(self.pid, "more")
            send(self.pid, "more")


@pytest.mark.slow
async def test_one_that_fills_its_own_mailbox_is_seen_and_lets_the_others_run() -> None:
    async with world_with_bystander() as (_, bystander):
        glutton = await Glutton.start()
        send(glutton, "more")
        most = 0
        latencies: list[float] = []
        with trio.fail_after(30):
            while not latencies or most < 10_000:
                started = trio.current_time()
                assert await bystander.sync() == []
                latencies.append(trio.current_time() - started)
                info = process_info(glutton)
                assert info is not None
                most = max(most, info.message_queue_len)
        assert max(latencies) < 2
        exit_signal(glutton, "kill")
        await wait_exit(glutton)


@pytest.mark.parametrize("overflow", ["exit", "drop_newest", "drop_oldest"])
async def test_a_bounded_mailbox_holds_what_it_may_whoever_fills_it(overflow: Overflow) -> None:
    begun, gate = trio.Event(), trio.Event()

    async def fill(own: list[Pid]) -> None:
        begun.set()
        for number in range(10_000):
            send(own[0], number)
        await gate.wait()

    async with world_with_bystander():
        own: list[Pid] = []
        own.append(spawn(fill, own, mailbox=Bound(50, overflow)))
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        info = process_info(own[0])
        if overflow == "exit":
            assert info is None
        else:
            assert info is not None and info.message_queue_len == 50
            assert info.messages[0] == (0 if overflow == "drop_newest" else 9_950)
            exit_signal(own[0], "kill")
        await wait_exit(own[0])


async def test_a_channel_that_sends_itself_a_flood_delays_itself_alone() -> None:
    number = 20_000
    taken = 0
    done = trio.Event()

    async def deed(channel: Witness) -> Any:
        nonlocal taken
        if taken == 0:
            for _ in range(number):
                send(channel.pid, "run")
        taken += 1
        if taken == number:
            done.set()
        return None

    async with world_with_bystander() as (world, bystander), await world.join() as client:
        channel = await run_deed(world, deed, client)
        info = process_info(channel)
        assert info is not None and info.message_queue_len > 1000
        assert await bystander.sync() == []
        assert taken < number, "the others had to wait until it had finished"
        with trio.fail_after(20):
            await done.wait()
        assert (await client.ask("1", ROOM, "echo", 3))["response"] == 3

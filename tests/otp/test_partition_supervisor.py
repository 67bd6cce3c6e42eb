"""PartitionSupervisor: a key leads to the same partition, in every run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any
from zlib import crc32

import pytest
import trio

from exeunt import (
    CallFailed,
    GenServer,
    NotRegistered,
    Pid,
    StartFailed,
    Supervisor,
    call,
    cast_to,
    exit,
    is_alive,
    on_call,
    send,
    spawn,
    stop,
    trap_exit,
)
from exeunt.otp import partition_supervisor
from exeunt.otp.partition_supervisor import PartitionKey, PartitionSupervisor, number_of
from tests.kernel.nodes import idle, node, settle
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Store(GenServer):
    async def init(self, number: int = -1, slow: float = 0) -> None:
        self.number = number
        self.slow = slow
        self.got: list[Any] = []

    @on_call
    async def which(self) -> int:
        await trio.sleep(self.slow)
        return self.number

    @on_call
    async def taken(self) -> list[Any]:
        return self.got

    async def handle_cast(self, request: Any) -> None:
        self.got.append(request)

    async def handle_info(self, message: Any) -> None:
        self.got.append(message)


via = PartitionSupervisor.via


async def start(partitions: int = 4, **options: Any) -> Pid:
    return await PartitionSupervisor.named("stores").start_link(
        Store.child, partitions=partitions, **options
    )


async def test_the_example_of_the_module_runs() -> None:
    async with node():
        await run_listings(partition_supervisor)


async def test_each_partition_is_a_child_with_its_number() -> None:
    async with node():
        pid = await start(3)
        children = await Supervisor.which_children(pid)
        assert [one.id for one in children] == [0, 1, 2]
        assert [await Store.which(via("stores", number)) for number in range(3)] == [0, 1, 2]
        assert PartitionSupervisor.partitions("stores") == PartitionSupervisor.partitions(pid) == 3
        assert (await PartitionSupervisor.count_children("stores")).active == 3


async def test_a_number_leads_to_the_remainder_of_its_absolute_value() -> None:
    async with node():
        await start(4)
        numbers = (0, 5, -5, 7, 8, 10**30 + 3)
        assert [await Store.which(via("stores", key)) for key in numbers] == [0, 1, 1, 3, 0, 3]


async def test_equal_keys_lead_to_the_same_partition_and_keys_are_spread() -> None:
    async with node():
        pid = await start(4)
        keys: list[Any] = ["ada", b"ada", ("room", 3), ("room", ("x", None)), pid, None, ""]
        for key in keys:
            assert await Store.which(via("stores", key)) == await Store.which(via(pid, key))
        spread = [number_of(f"user {number}") % 4 for number in range(1000)]
        assert min(spread.count(one) for one in range(4)) > 200
        # What would be the same bytes without lengths and types.
        alike: list[PartitionKey] = [("a", "b"), ("ab", ""), ("a", b"b"), ("as1:b",)]
        assert len({number_of(one) for one in alike}) == 4


@pytest.mark.slow
def test_a_key_leads_to_the_same_partition_in_every_run() -> None:
    program = (
        "from exeunt.otp.partition_supervisor import number_of\n"
        "print([number_of(key) for key in ('ada', b'x', ('room', 3), None, -7)])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "7")
    }
    assert len(seen) == 1
    # And in every version, or what is kept under a key would be looked for elsewhere.
    numbers = [crc32(b"sada"), crc32(b"bx"), crc32(b"t5:sroom2:i3"), crc32(b"n"), 7]
    assert seen.pop() == f"{numbers}\n"


async def test_a_key_whose_number_would_differ_between_runs_is_refused() -> None:
    async with node():
        await start()
        for wrong in (1.5, object(), ["list"], frozenset("a"), ("room", 1.5)):
            key: Any = wrong
            with pytest.raises(TypeError, match="the key of a partition is"):
                via("stores", key)


async def test_partitions_wait_side_by_side() -> None:
    async with node():
        await PartitionSupervisor.named("stores").start_link(
            lambda number: Store.child(number, 1), partitions=4
        )
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for key in (0, 1, 2, 3, 0):
                nursery.start_soon(Store.which, via("stores", key))
        assert trio.current_time() == started + 2


async def test_a_partition_is_sent_to_and_cast_to_by_its_key() -> None:
    async with node():
        await start()
        send(via("stores", 1), "info")
        cast_to(via("stores", 1), "cast")
        assert await Store.taken(via("stores", 1)) == ["info", "cast"]
        assert await Store.taken(via("stores", 2)) == []


async def test_a_specification_serves_all_partitions() -> None:
    async with node():
        spec = Store.child(7).replace(id="anything")
        pid = await PartitionSupervisor.start_link(spec, partitions=2)
        assert [await Store.which(via(pid, key)) for key in (0, 1)] == [7, 7]


async def test_a_partition_that_dies_is_restarted_alone_and_found_again() -> None:
    async with node() as stage:
        await start(2)
        zero, one = (via("stores", key).whereis() for key in (0, 1))
        assert zero is not None and one is not None
        exit(zero, "kill")
        await settle()
        assert via("stores", 0).whereis() not in (None, zero)
        assert via("stores", 1).whereis() is one
        assert await Store.which(via("stores", 0)) == 0
        stage.logged("ended: killed")


async def test_a_partition_that_does_not_run_is_nobody() -> None:
    async with node():
        await start(2)
        await PartitionSupervisor.terminate_child("stores", 1)
        assert via("stores", 1).whereis() is None
        with pytest.raises(CallFailed):
            await Store.which(via("stores", 1))
        with pytest.raises(NotRegistered):
            send(via("stores", 1), "hello")


async def test_a_supervisor_that_is_not_there_has_no_partitions() -> None:
    async with node():
        with pytest.raises(CallFailed):
            await call(via("nobody", 1), "hello")
        with pytest.raises(NotRegistered):
            PartitionSupervisor.partitions("nobody")
        spawn(idle, name="stranger")
        assert via("stranger", 1).whereis() is None
        pid = await start()
        await stop(pid)
        assert via("stores", 0).whereis() is None


async def test_nothing_can_be_started_under_a_key() -> None:
    async with node():
        await start()
        with pytest.raises(ValueError, match="no process can be started under"):
            await Store.named(via("stores", 1)).start()


async def test_partitions_are_shut_down_with_their_supervisor() -> None:
    async with node():
        pid = await start(2)
        children = [via(pid, key).whereis() for key in (0, 1)]
        await stop(pid)
        assert not any(is_alive(one) for one in children if one is not None)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "4"])
async def test_the_number_of_partitions_is_a_whole_number_from_one_up(wrong: Any) -> None:
    async with node() as stage:
        trap_exit()
        with pytest.raises(StartFailed, match="whole number from 1 up"):
            await start(wrong)
        stage.crash(ValueError)


async def test_what_is_no_specification_is_refused() -> None:
    async with node() as stage:
        trap_exit()

        def wrong(number: int) -> Any:
            return number

        with pytest.raises(StartFailed, match="partition 0 is 0: no ChildSpec"):
            await PartitionSupervisor.start_link(wrong, partitions=1)
        stage.crash()


async def test_a_sibling_may_be_asked_while_the_others_start() -> None:
    found: list[Pid | None] = []

    class Curious(GenServer):
        async def init(self, number: int) -> None:
            found.append(via("curious", number - 1).whereis())

    async with node():
        await PartitionSupervisor.named("curious").start_link(Curious.child, partitions=2)
        assert found[1] is via("curious", 0).whereis()

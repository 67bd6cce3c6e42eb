"""Whoever comes gets into a room, also in the moment in which it closes."""

import rooms
import trio
from rooms import ROOMS, enter_room

from exeunt import DynamicSupervisor, Pid, Supervisor, run, self_pid, spawn, wait_exit

rooms.EMPTY_FOR = 0.001
entered: list[int] = []
tried_again: list[Pid] = []


async def note_and_wait(pid: Pid) -> None:
    tried_again.append(pid)
    await wait_exit(pid)


rooms.wait_exit = note_and_wait  # which is called only to try again


async def visit(number: int) -> None:
    await trio.sleep(number * 0.0005)
    _, here = await enter_room("hall", self_pid(), f"visitor {number}")
    assert f"visitor {number}" in here
    entered.append(number)


async def main() -> None:
    await Supervisor.start_link(
        [ROOMS.child(keys="unique"), DynamicSupervisor.named("room supervisor").child()]
    )
    for rounds in range(1, 21):
        for visitor in [spawn(visit, number) for number in range(20)]:
            await wait_exit(visitor)
        assert len(entered) == rounds * 20
    with trio.fail_after(20):
        while not tried_again:
            await wait_exit(spawn(visit, 0))
            await trio.sleep(0.001)
        for room in ROOMS.select():
            await wait_exit(room.pid)
    assert ROOMS.count() == 0


run(main)

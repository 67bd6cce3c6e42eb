"""The whole house: a tree of supervisors, and the order in which it goes dark."""

import trio
from chapter08 import Room

from exeunt import (
    ChildSpec,
    Departure,
    DynamicSupervisor,
    Supervisor,
    Watcher,
    receive,
    run,
    self_pid,
    spawn,
    trap_exit,
    tree,
)


class TidyRoom(Room):
    """A room that says when it closes."""

    async def terminate(self, reason: object) -> None:
        """Close: called because the room traps exits, so that it is told before it ends."""
        print(f"the {self.name} closes ({reason}); still inside: {sorted(self.members)}")

    async def init(self, name: str) -> None:
        """Open."""
        trap_exit()
        await super().init(name)


async def open_house(*others: ChildSpec) -> None:
    """Start the rooms first: whoever comes later in the list may use what stands before."""
    await Supervisor.named("house").start_link(
        [
            DynamicSupervisor.named("rooms").child(max_children=100),
            Watcher.named("watcher").child(),
            *others,
        ],
        strategy="rest_for_one",
    )


async def open_room(name: str) -> None:
    """Open a room, which is restarted if it crashes."""
    await DynamicSupervisor.start_child("rooms", TidyRoom.named(name).child(name))


async def visit(who: str, room: str) -> None:
    await Watcher.watch("watcher", self_pid(), say_goodbye, who)
    await Room.enter(room, who, self_pid())
    await receive(int)


async def say_goodbye(departure: Departure, who: str) -> None:
    print(f"goodbye, {who}: {departure.reason}")


async def main() -> None:
    await open_house()
    for name in ("lobby", "garden"):
        await open_room(name)
    for who, where in (("ann", "lobby"), ("bob", "garden")):
        spawn(visit, who, where)
        await trio.sleep(0.1)
    print(tree())
    print("-- and now the program ends")


if __name__ == "__main__":
    run(main, seed=1)

"""Members who notice that the room is another one, and come in again."""

import trio
from chapter08 import Room

from exeunt import (
    CallFailed,
    Down,
    Supervisor,
    exit,
    monitor,
    receive,
    run,
    self_pid,
    spawn,
    whereis,
)


async def faithful(who: str, room: str) -> None:
    while True:
        try:
            here = await Room.enter(room, who, self_pid())
        except CallFailed:
            # It is being restarted.
            await trio.sleep(0.05)
            continue
        print(f"{who} is in; here now: {', '.join(here)}")
        monitor(room)
        print(f"{who} hears that the room has ended: {(await receive(Down)).reason}")


async def main() -> None:
    await Supervisor.start_link([Room.named("lobby").child("lobby")])
    spawn(faithful, "ann", "lobby")
    await trio.sleep(0.1)
    room = whereis("lobby")
    assert room is not None
    exit(room, "struck by lightning")
    await trio.sleep(0.2)
    print(f"here: {await Room.here('lobby')}")


if __name__ == "__main__":
    run(main, seed=1)

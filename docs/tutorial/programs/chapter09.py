"""A room that ends, and is there again: it has a supervisor."""

import trio
from chapter08 import Room, member

from exeunt import CallFailed, Supervisor, exit, run, spawn, whereis


async def main() -> None:
    await Supervisor.start_link([Room.named("lobby").child("lobby")])
    spawn(member, "ann", "lobby")
    await trio.sleep(0.1)
    first = whereis("lobby")
    assert first is not None
    exit(first, "struck by lightning")
    await trio.sleep(0.1)
    print(f"the room was {first} and is now {whereis('lobby')}")
    print(f"here: {await Room.here('lobby')}")
    try:
        await Room.here(first)
    except CallFailed as failed:
        print(f"asked by its old pid: {failed.reason}")


if __name__ == "__main__":
    run(main, seed=1)

"""The watcher that comes with exeunt: a killed one forgets nobody."""

import trio
from chapter06 import guest

from exeunt import Departure, Supervisor, Watcher, exit, run, spawn, whereis


async def say_goodbye(departure: Departure, name: str) -> None:
    print(f"goodbye, {name}: {departure.reason}")


async def main() -> None:
    await Supervisor.start_link([Watcher.named("watcher").child()])
    ann, bob = spawn(guest), spawn(guest)
    await Watcher.watch("watcher", ann, say_goodbye, "ann")
    await Watcher.watch("watcher", bob, say_goodbye, "bob")
    first = whereis("watcher")
    assert first is not None
    exit(first, "kill")
    exit(ann, "left while nobody watched")
    await trio.sleep(0.1)
    print(f"there is a new watcher: {whereis('watcher') not in (None, first)}")
    exit(bob, "closed the tab")
    await trio.sleep(0.1)


if __name__ == "__main__":
    run(main, seed=1)

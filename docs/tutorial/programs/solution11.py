"""A room that takes too long to close, and the patience of its supervisor."""

import time

import trio
from chapter08 import Room
from chapter11 import open_house

from exeunt import DynamicSupervisor, run, trap_exit


class SlowRoom(Room):
    """A room that needs ten seconds to close."""

    async def init(self, name: str) -> None:
        """Open."""
        trap_exit()
        await super().init(name)

    async def terminate(self, reason: object) -> None:
        """Close, slowly."""
        await trio.sleep(10)
        print("this is not printed")


async def main() -> None:
    await open_house()
    spec = SlowRoom.named("lobby").child("lobby").replace(shutdown=0.5)
    await DynamicSupervisor.start_child("rooms", spec)


if __name__ == "__main__":
    started = time.monotonic()
    run(main, seed=1)
    print(f"closed within two seconds: {time.monotonic() - started < 2}")

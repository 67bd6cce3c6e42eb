"""Who is restarted with whom, and when a supervisor has had enough."""

from typing import Literal

import trio

from exeunt import (
    Exit,
    GenServer,
    Supervisor,
    exit,
    receive,
    run,
    spawn,
    trap_exit,
    wait_exit,
    whereis,
)


class Part(GenServer):
    """Something that has to run."""

    async def init(self, name: str) -> None:
        print(f"  {name} starts")


async def keep(strategy: Literal["one_for_one", "rest_for_one", "one_for_all"]) -> None:
    print(strategy)
    await Supervisor.start_link(
        [Part.named(name).child(name) for name in ("rooms", "watcher", "door")],
        strategy=strategy,
    )
    strike("watcher")
    await trio.sleep(0.1)


def strike(name: str) -> None:
    pid = whereis(name)
    assert pid is not None
    print(f"  -- {name} is struck by lightning")
    exit(pid, "lightning")


async def main() -> None:
    await wait_exit(spawn(keep, "one_for_one"))
    await trio.sleep(0.1)
    await wait_exit(spawn(keep, "rest_for_one"))
    await trio.sleep(0.1)
    await wait_exit(spawn(keep, "one_for_all"))
    await trio.sleep(0.1)
    trap_exit()
    print("three times within five seconds, and no more")
    supervisor = await Supervisor.start_link([Part.named("rooms").child("rooms")])
    for _ in range(4):
        strike("rooms")
        await trio.sleep(0.1)
    ended = await receive(Exit, lambda message: message.pid is supervisor)
    print(f"the supervisor has ended: {ended.reason}")


if __name__ == "__main__":
    run(main, seed=1)

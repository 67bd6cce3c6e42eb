"""A room that lives on its own."""

import trio

from exeunt import run, self_pid, spawn, wait_exit


async def room(name: str) -> None:
    print(f"{self_pid()} is the room {name!r}")
    await trio.sleep(0.1)
    print(f"the room {name!r} closes")


async def main() -> None:
    lobby = spawn(room, "lobby")
    print(f"{self_pid()} has opened {lobby}")
    reason = await wait_exit(lobby)
    print(f"{lobby} has ended: {reason}")


if __name__ == "__main__":
    run(main, seed=1)

"""A member crashes; nobody else hears of it."""

import trio
from chapter02 import Enter, Say, room

from exeunt import Pid, receive, run, self_pid, send, spawn, wait_exit


async def member(who: str, lobby: Pid) -> None:
    send(lobby, Enter(who, self_pid()))
    while True:
        line = await receive(str)
        if line.endswith("!"):
            raise ValueError(f"{who} cannot cope with {line!r}")
        print(f"{who} reads: {line}")


async def main() -> None:
    lobby = spawn(room)
    ann = spawn(member, "ann", lobby)
    await trio.sleep(0.1)
    send(lobby, Say("bob", "hello!"))
    print(f"ann has ended: {await wait_exit(ann)}")
    spawn(member, "eve", lobby)
    await trio.sleep(0.1)


if __name__ == "__main__":
    run(main, seed=1)

"""A member is two processes, and neither is of use without the other: they are linked."""

import trio
from chapter02 import Enter, Say, room

from exeunt import Pid, is_alive, receive, run, self_pid, send, spawn, spawn_link, wait_exit


async def ear(who: str, lobby: Pid) -> None:
    send(lobby, Enter(who, self_pid()))
    while True:
        line = await receive(str)
        if line.endswith("!"):
            raise ValueError(f"{who} cannot cope with {line!r}")
        print(f"{who} reads: {line}")


async def mouth(who: str, lobby: Pid) -> None:
    spawn_link(ear, who, lobby)
    while True:
        send(lobby, Say(who, await receive(str)))


async def main() -> None:
    lobby = spawn(room)
    ann = spawn(mouth, "ann", lobby)
    await trio.sleep(0.1)
    send(ann, "hello")
    await trio.sleep(0.1)
    send(ann, "hello!")
    print(f"the mouth has ended: {await wait_exit(ann)}")
    print(f"the room lives: {is_alive(lobby)}")


if __name__ == "__main__":
    run(main, seed=1)

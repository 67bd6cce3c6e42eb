"""A member that reads only what is said by one other."""

import trio
from chapter02 import Enter, Say, room

from exeunt import Pid, receive, run, self_pid, send, spawn


async def admirer(whom: str, lobby: Pid) -> None:
    send(lobby, Enter("eve", self_pid()))
    while True:
        line = await receive(str, lambda line: line.startswith(f"{whom}: "))
        print(f"eve reads: {line}")


async def main() -> None:
    lobby = spawn(room)
    spawn(admirer, "ann", lobby)
    await trio.sleep(0.1)
    for who, text in (("bob", "hello"), ("ann", "good morning"), ("bob", "is ann here?")):
        send(lobby, Say(who, text))
    await trio.sleep(0.1)


if __name__ == "__main__":
    run(main, seed=1)

"""An ordinary end goes along no link: the other has to be told."""

import trio

from exeunt import Pid, ProcessExit, is_alive, link, receive, run, send, spawn, wait_exit


async def one(other: Pid, ends: str) -> None:
    link(other)
    await receive()
    if ends == "with a reason":
        raise ProcessExit("I have to go")


async def other() -> None:
    await receive()


async def main() -> None:
    for ends in ("by returning", "with a reason"):
        left = spawn(other)
        right = spawn(one, left, ends)
        await trio.sleep(0.1)
        send(right, "end now")
        reason = await wait_exit(right)
        await trio.sleep(0.1)
        print(f"{ends}: {reason}; the other lives: {is_alive(left)}")


if __name__ == "__main__":
    run(main, seed=1)

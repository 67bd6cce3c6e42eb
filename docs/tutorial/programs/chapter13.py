"""Breaking it on purpose: every way to leave, and what the chat makes of it."""

import subprocess
import sys

import trio
from chapter12 import serve

from exeunt import exit, process_info, processes, run, whereis
from exeunt.channels import Tokens
from exeunt.channels.client import ClientError, connect

tokens = Tokens("a secret of twenty letters or more")


async def visit(url: str, who: str, how: str) -> None:
    """Join, and leave in this way."""
    async with connect(
        url, params={"token": tokens.sign("user", who)}, reconnect=None
    ) as socket, await socket.join("room:lobby") as room:
        await trio.sleep(0.1)
        match how:
            case "leaves the room":
                await room.leave()
            case "makes its channel crash":
                room.cast("sing")
            case "hangs up":
                pass
        await trio.sleep(0.2)


async def main() -> None:
    url = await serve(tokens)
    for who, how in (
        ("ann", "leaves the room"),
        ("bob", "hangs up"),
        ("eve", "makes its channel crash"),
    ):
        print(f"{who} {how}")
        await visit(url, who, how)
        await trio.sleep(0.2)
    print("dan is another program, and is killed")
    with subprocess.Popen(
        [sys.executable, __file__, url, "dan"], stdout=subprocess.PIPE, text=True
    ) as dan:
        await trio.to_thread.run_sync(dan.stdout.readline)
        dan.kill()
        await trio.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print("in", flush=True)
    else:
        run(main, seed=1)

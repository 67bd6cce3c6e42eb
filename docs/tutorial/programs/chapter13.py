"""Breaking it on purpose: every way to leave, and what the chat makes of it."""

import subprocess
import sys
from contextlib import suppress

import trio
from chapter11 import open_room
from chapter12 import serve

from exeunt import Pid, Supervisor, exit, process_info, processes, run
from exeunt.channels import Tokens
from exeunt.channels.client import ClientError, connect

TOKENS = Tokens("a secret of twenty letters or more")


async def visit(url: str, who: str, how: str) -> None:
    """Join the lobby, and leave it in this way."""
    token = TOKENS.sign("user", who)
    # A client that is lost comes back by itself; this one is to stay away.
    with suppress(ClientError):
        async with connect(url, params={"token": token}, reconnect=None) as socket:
            room = await socket.join("room:lobby")
            match how:
                case "leaves the room":
                    await room.leave()
                case "has its channel crash":
                    await room.push("sing")
                case "is struck by lightning":
                    exit(channel(), "kill")
                    await trio.sleep(0.2)
                case "is there when the server stops":
                    await Supervisor.terminate_child("house", "endpoint")
                    await trio.sleep(0.2)
                case "is a program of its own, and is killed":
                    print("in", flush=True)
                    await trio.sleep_forever()


def channel() -> Pid:
    """Find the process of the one who is in the room, among all that there are, by its class."""
    found = [info for info in map(process_info, processes()) if info is not None]
    [pid] = [info.pid for info in found if info.label.startswith("RoomChannel")]
    return pid


async def main() -> None:
    url = await serve(TOKENS)
    await open_room("lobby")
    for who, how in (
        ("ann", "leaves the room"),
        ("bob", "hangs up"),
        ("eve", "has its channel crash"),
        ("dan", "is struck by lightning"),
        ("joe", "is a program of its own, and is killed"),
        ("kim", "is there when the server stops"),
    ):
        print(who, how)
        if who == "joe":
            await trio.to_thread.run_sync(start_and_kill, url, who, how)
        else:
            await visit(url, who, how)
        await trio.sleep(0.2)


def start_and_kill(*words: str) -> None:
    """Start this program once more, as a client, and kill it when it has joined."""
    with subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        client.stdout.readline()
        client.kill()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        url, who, how = sys.argv[1:]
        trio.run(visit, url, who, how)
    else:
        run(main, seed=1)

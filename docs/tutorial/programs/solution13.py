"""The server itself is killed, and still nobody is forgotten."""

import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio
from chapter11 import open_room
from chapter12 import UserSocket
from chapter13 import TOKENS

from exeunt import DynamicSupervisor, Supervisor, Watcher, run
from exeunt.channels import Endpoint, Presence, PubSub
from exeunt.channels.client import ClientError, connect


async def serve(roll: str) -> None:
    """Open the house of chapters 11 and 12, with a file for its watcher; say where."""
    hub = PubSub()
    sockets = {"/socket": partial(UserSocket, TOKENS)}
    await Supervisor.named("house").start_link(
        [
            DynamicSupervisor.named("rooms").child(),
            Watcher.named("watcher").child(file=roll),
            Presence.named("presence").child(hub),
            Endpoint.named("endpoint").child(sockets, port=0, hub=hub),
        ],
        strategy="rest_for_one",
    )
    await open_room("lobby")
    print((await Endpoint.url("endpoint")) + "/socket", flush=True)
    await trio.sleep_forever()


def start(roll: str) -> subprocess.Popen[str]:
    """Start this program once more, as a server."""
    return subprocess.Popen([sys.executable, __file__, roll], stdout=subprocess.PIPE, text=True)


def address_of(server: subprocess.Popen[str]) -> str:
    """Return what a server says of where it is; print what it says before."""
    assert server.stdout is not None
    for line in server.stdout:
        if "://" in line:
            return line.strip()
        print(line, end="")
    raise RuntimeError("the server did not start")


async def visit_and_kill(url: str, server: subprocess.Popen[str]) -> None:
    ann, bob = (
        connect(url, params={"token": TOKENS.sign("user", who)}, reconnect=None)
        for who in ("ann", "bob")
    )
    with suppress(ClientError):
        async with ann as first, bob as second:
            await first.join("room:lobby")
            await second.join("room:lobby")
            server.kill()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        roll = str(Path(directory) / "chat.roll")
        with start(roll) as server:
            trio.run(visit_and_kill, address_of(server), server)
        print("the server was killed, and is started again")
        with start(roll) as server:
            address_of(server)
            server.terminate()
            assert server.stdout is not None
            print(server.stdout.read(), end="")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(serve, sys.argv[1], seed=1)
    else:
        main()

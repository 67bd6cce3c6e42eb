"""The server itself is killed, and still nobody is forgotten."""

import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from exeunt import Departure, Watcher, receive, run, spawn


async def say_goodbye(departure: Departure, who: str) -> None:
    print(f"{who} has left: {departure.reason}", flush=True)


async def visit() -> None:
    await receive()


async def serve(roll: str, *people: str) -> None:
    await Watcher.named("watcher").start_link(file=roll)
    for who in people:
        await Watcher.watch("watcher", spawn(visit), say_goodbye, who)
    print("all are in", flush=True)
    if people:
        await trio.sleep_forever()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        roll = str(Path(directory) / "chat.roll")
        words = [sys.executable, __file__, roll, "ann", "bob"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()
            server.kill()
        print("the server was killed, and is started again")
        subprocess.run([sys.executable, __file__, roll], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(serve, *sys.argv[1:], seed=1)
    else:
        main()

"""The server of the soak, in a process of its own: `python -m tests.soak.server --help`.

It says on its standard output that it is ready, and then answers each line of its standard input,
a JSON object, with another one: it kills a part of itself, looks at itself, or measures itself. It
ends on SIGTERM, and when its standard input does.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import logging
import os
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from exeunt import (
    CallFailed,
    Pid,
    Supervisor,
    Watcher,
    current_node,
    is_alive,
    registered,
    run,
    whereis,
)
from exeunt import exit as exit_signal
from exeunt.channels import Endpoint, LongPoll, Mount, Presence, PubSub
from exeunt.channels.connection import run_connection
from exeunt.channels.longpoll_client import run_polled_client
from exeunt.kernel.events import Event, ZombieFound
from exeunt.otp.leaving import LeaveFailed, LeavesNotRun
from exeunt.otp.roll import roll_of
from exeunt.otp.roll_file import RollFile

from .killer import Part
from .ledger import Ledger
from .rooms import FILE, MEMORY, PRESENCE, Book, Room, UserSocket, channel_label, room_name

logger = logging.getLogger("soak")

ENDPOINT: Final = "endpoint"
ROOMS: Final = "rooms"

# More than this script ever kills: what is tested is that each restart is right, not their limit.
MAX_RESTARTS: Final = 1000

_SERVING: Final = (run_connection.__qualname__, run_polled_client.__qualname__)


class Server:
    """The tree, and what is asked of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.hub = PubSub()
        self.topics = [f"room:{number}" for number in range(options.rooms)]
        # What must not happen at all, whatever is killed.
        self.faults: list[str] = []

    async def start(self) -> None:
        """Start the tree; it ends with the node."""
        options = self._options
        current_node().events.subscribe(self._note, LeaveFailed, LeavesNotRun, ZombieFound)
        mount = Mount(
            UserSocket,
            timeout=options.timeout,
            max_frame_size=64 * 1024,
            max_queued=128 * 1024,
            longpoll=LongPoll(window=options.timeout / 3),
        )
        members = [Room.named(room_name(topic)).child() for topic in self.topics]
        await Supervisor.start_link(
            [
                Watcher.named(MEMORY).child(),
                Watcher.named(FILE).child(file=options.folder / "roll.db"),
                Presence.named(PRESENCE).child(self.hub),
                Supervisor.named(ROOMS).child(members, max_restarts=MAX_RESTARTS, max_seconds=1.0),
                Endpoint.named(ENDPOINT).child(
                    {"/socket": mount}, port=options.port, hub=self.hub, max_connections=15_000
                ),
            ],
            max_restarts=MAX_RESTARTS,
            max_seconds=1.0,
        )

    def _note(self, event: Event) -> None:
        self.fault(str(event))

    def fault(self, text: str) -> None:
        """Note what must not happen."""
        logger.error("%s", text)
        if len(self.faults) < 100:
            self.faults.append(text)

    # -- what is asked ---------------------------------------------------------------------------

    async def answer(self, asked: Any) -> dict[str, Any]:
        """Do what is asked, and return what came of it."""
        match asked["do"]:
            case "kill":
                victim = await self._find(asked["part"], asked["pick"])
                if victim is not None:
                    exit_signal(victim, "kill")
                return {"killed": str(victim) if victim is not None else None}
            case "look":
                return self.look()
            case "measure":
                return {**self.look(), **await self.inspect(), **measure()}
        raise ValueError(f"nothing is known of {asked['do']!r}")

    def look(self) -> dict[str, Any]:
        """Return what changes from second to second."""
        ledger = Book.ledger
        return {
            "joins": ledger.joined,
            "leaves": ledger.left,
            "present": len(ledger.present),
            "serving": self._number_of_clients(),
            "memory": resident(),
            "faults": self.faults,
        }

    async def inspect(self) -> dict[str, Any]:
        """Return what the server holds, beyond what is there at any time."""
        watched = leaving = -1
        try:
            watched = leaving = 0
            for watcher in (MEMORY, FILE):
                watched += len(await Watcher.watched(watcher))
                leaving += len(await Watcher.leaving(watcher))
            present = [key for topic in self.topics for key in await Presence.list(PRESENCE, topic)]
        except CallFailed as failed:
            # Asked while one of them was being restarted: ask again.
            return {"failed": str(failed)}
        node = current_node()
        labels = Counter(one.label.split(" ")[0] for one in node.processes.values())
        return {
            "watched": watched,
            "leaving": leaving,
            "presences": present[:20],
            "topics": self.hub.topics()[:20],
            "names": sorted(registered()),
            "processes": dict(sorted(labels.items())),
            "zombies": len(node.zombies),
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "unwritten": self._unwritten(),
        }

    def _number_of_clients(self) -> int:
        labels = (one.label for one in current_node().processes.values())
        return sum(label in _SERVING for label in labels)

    def _unwritten(self) -> int:
        """Count the rows that are still on the roll's file."""
        # The server has the file for itself, so there is no other connection to ask.
        file: RollFile = roll_of(current_node(), FILE, "").file
        connection = file._connection
        assert connection is not None
        [number] = connection.execute("SELECT count(*) FROM entries").fetchone()
        return int(number)

    # -- who is to be killed ---------------------------------------------------------------------

    async def _find(self, part: Part, pick: float) -> Pid | None:
        candidates = await self._candidates(part)
        return candidates[int(pick * len(candidates))] if candidates else None

    async def _candidates(self, part: Part) -> Sequence[Pid]:
        processes = current_node().processes.values()
        match part:
            case "channel":
                return [one.pid for one in processes if channel_label(one.label)]
            case "connection":
                return [one.pid for one in processes if one.label in _SERVING]
            case "writer of the roll":
                return [one.pid for one in processes if one.label.startswith(part)]
            case "room":
                found = [whereis(room_name(topic)) for topic in self.topics]
            case "channels supervisor" | "connections supervisor" | "listener":
                found = await self._of_endpoint(part.partition(" ")[0])
            case _:
                found = [whereis(part)]
        return [pid for pid in found if pid is not None and is_alive(pid)]

    async def _of_endpoint(self, id: str) -> list[Pid | None]:
        try:
            children = await Supervisor.which_children(ENDPOINT)
        except CallFailed:
            return []  # it is being restarted itself
        return [one.pid for one in children if one.id == id and isinstance(one.pid, Pid)]


# -- measuring -----------------------------------------------------------------------------------


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure() -> dict[str, Any]:
    """Return what the process takes when everything that can be let go has been."""
    for _ in range(3):
        gc.collect()
    trim_memory()
    return {
        "memory": resident(),
        "allocated": allocated(),
        "objects": len(gc.get_objects()),
        "files": len(os.listdir("/proc/self/fd")),
    }


class _MallocInfo(ctypes.Structure):
    """The struct mallinfo2 of the GNU C library."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def allocated() -> int:
    """Return how many bytes are in use of what the C library has given out; 0 if it cannot tell."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    ask.restype = _MallocInfo
    found = ask()
    return int(found.uordblks + found.hblkhd)


def trim_memory() -> None:
    """Give what the C library keeps of freed memory back to the system, where it can."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return
    trim(0)


# -- running -------------------------------------------------------------------------------------


async def serve(options: argparse.Namespace) -> None:
    """Serve, and do what the standard input says, until it ends."""
    server = Server(options)
    sys.unraisablehook = lambda one: server.fault(
        f"unraisable: {one.exc_value!r} in {one.object!r}"
    )
    await server.start()
    say({"ready": options.port})
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as orders:
        unread = b""
        async for data in orders:
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                say(await server.answer(json.loads(line)))


def say(answer: dict[str, Any]) -> None:
    """Answer on the standard output."""
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds of silence (10)")
    parser.add_argument("--folder", type=Path, required=True, help="for ledger, roll and log")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.basicConfig(
        level=logging.WARNING,
        filename=options.folder / "server.log",
        format="%(asctime)s %(levelname)-7s %(name)s %(message)s",
    )
    Book.ledger = Ledger(options.folder / "ledger")
    run(serve, options)


if __name__ == "__main__":
    main()

"""The life of a join, recorded: one client joins a topic and leaves it, in every way there is.

The states are those of `EntryStatus`, and one more: the process of the channel has ended, and
whoever had to be told of it has been.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, get_args

import trio
from trio.testing import wait_all_tasks_blocked

from docs.diagrams.recorder import Data, Recorder, eventually, shown_reason, watched_slot
from exeunt import Pid, ProcessExit, Reason, Stop, exit, link, open_node, spawn
from exeunt.channels import Channel, Endpoint, Error, InResult, JoinResult, Ok, Socket
from exeunt.channels.session import Entry, EntryStatus
from exeunt.kernel.events import Exited
from tests.faults.client import Client

GONE: Final = "gone"
ROOM: Final = "room:a"


def record() -> Data:
    """Have a client join and leave; return the states of its joins and the steps between them."""
    recorder = Recorder()
    joins = _Joins(recorder)
    with (
        watched_slot(Entry, "status", joins.note_status),
        watched_slot(Entry, "pid", joins.note_pid),
    ):
        trio.run(_join_and_leave, joins)
    return recorder.data([*get_args(EntryStatus), GONE])


class _Joins:
    """Notes what becomes of every join."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.port = 0
        # The latest join, and how many there were.
        self.newest: Entry
        self.asked = 0
        self._entries: dict[Pid, Entry] = {}
        self._ends: dict[Entry, Reason] = {}

    def note_status(self, entry: Entry, status: EntryStatus) -> None:
        """Note that a join is in another state."""
        if status == "joining":
            self.newest = entry
            self.asked += 1
        self.recorder.enter(entry, status)

    def note_pid(self, entry: Entry, pid: Pid | None) -> None:
        """Note which process is that of a join."""
        if pid is not None:
            self._entries[pid] = entry

    def note_exit(self, event: Exited) -> None:
        """Note that the process of a join has ended, and why."""
        entry = self._entries.pop(event.pid, None)
        if entry is not None:
            self._ends[entry] = event.reason

    @asynccontextmanager
    async def joining(self, want: str = "") -> AsyncGenerator[Client]:
        """Connect a client that asks to join, and see to the end of its join."""
        before = self.asked
        async with await Client.connect(self.port) as client:
            await client.say("1", "1", ROOM, "phx_join", {"want": want})
            await eventually(lambda: self.asked > before)
            yield client
            if self.recorder.state_of(self.newest) == "joined":
                self.recorder.begin("its connection ends", at="joined")
        if self.recorder.state_of(self.newest) != GONE:
            await self._see_end(self.newest)

    async def fail(self, way: str, want: str, act: Callable[[Pid], None] | None = None) -> None:
        """Ask for a join that fails, be it because something is done to it while it waits."""
        self.recorder.begin(way, at="joining")
        async with self.joining(want) as client:
            if act is not None:
                await eventually(lambda: self.newest.pid is not None)
                assert self.newest.pid is not None
                act(self.newest.pid)
            await self._see_end(self.newest, client)

    async def leave(
        self, way: str, act: Act, *, while_leaving: bool = False, is_cut: bool = False
    ) -> None:
        """Join, then be made to leave; `while_leaving`, when it is about to leave already."""
        self.recorder.begin("join lets it in", at="joining")
        async with self.joining() as client:
            answer = await client.receive()
            entry = self.newest
            self.recorder.add(entry, hears=_heard([answer]))
            if while_leaving:
                self.recorder.begin("it asks to leave", at="joined")
                await client.say("1", "2", ROOM, "wait", {})
                await client.say("1", "3", ROOM, "phx_leave", {})
                await self.recorder.until(entry, "leaving")
            self.recorder.begin(way, at="leaving" if while_leaving else "joined")
            await act(self, client)
            await self._see_end(entry, None if is_cut else client)

    async def _see_end(self, entry: Entry, client: Client | None = None) -> None:
        """Wait until a join is over and done with; note why it was, and what its client heard."""
        await eventually(lambda: entry in self._ends)
        # Nobody has anything left to do, so whoever had to be told has been.
        await wait_all_tasks_blocked(0.01)
        self.recorder.enter(entry, GONE)
        self.recorder.add(entry, reason=shown_reason(self._ends.pop(entry)))
        self.recorder.add(entry, hears="" if client is None else _heard(await client.sync()))


Act = Callable[[_Joins, Client], Awaitable[None]]


def _heard(frames: list[Any]) -> str:
    """Write what a client was sent of its topic."""
    heard: list[str] = []
    for _, _, _, event, payload in frames:
        heard.append(payload["status"] if event == "phx_reply" else event)
    return ", ".join(heard)


class Room(Channel):
    """A channel that does what its client asks for."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let the client in, or not."""
        match params["want"]:
            case "no":
                return Error({"reason": "no"})
            case "crash":
                raise RuntimeError("on purpose")
            case "wait":
                await trio.sleep_forever()
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Do what the client says."""
        match event:
            case "stop":
                return Stop("normal")
            case "give up":
                return Stop("reason")
            case "crash":
                raise RuntimeError("on purpose")
            case "link":
                link(spawn(_end_soon))
            case "wait":
                await trio.sleep_forever()
        return None


class User(Socket):
    """A socket with rooms."""

    channels = {"room:*": Room}


async def _end_soon() -> None:
    raise ProcessExit("reason")


def _says(event: str) -> Act:
    async def act(joins: _Joins, client: Client) -> None:
        await client.say("1", "5", ROOM, event, {})

    return act


async def _kill(joins: _Joins, client: Client) -> None:
    assert joins.newest.pid is not None
    exit(joins.newest.pid, "kill")


async def _join_anew(joins: _Joins, client: Client) -> None:
    joins.recorder.begin("join lets it in", at="joining")
    await client.say("9", "9", ROOM, "phx_join", {"want": ""})


async def _hang_up(joins: _Joins, client: Client) -> None:
    client.close()


async def _join_and_leave(joins: _Joins) -> None:
    async with open_node(signals=False) as node:
        node.events.subscribe(joins.note_exit, Exited)
        endpoint = await Endpoint.start_link({"/socket": User}, port=0)
        joins.port = int((await Endpoint.url(endpoint)).rpartition(":")[2])

        await joins.fail("join says no", "no")
        await joins.fail("join raises", "crash")
        await joins.fail("its process is killed", "wait", lambda pid: exit(pid, "kill"))

        await joins.leave("its handler says Stop, in order", _says("stop"))
        await joins.leave("its handler says Stop, not in order", _says("give up"))
        await joins.leave("its handler raises", _says("crash"))
        await joins.leave("one that it is linked to ends", _says("link"))
        await joins.leave("its process is killed", _kill)
        await joins.leave("its client joins anew", _join_anew)
        await joins.leave("its connection ends", _hang_up, is_cut=True)
        await joins.leave("it asks to leave", _says("phx_leave"))
        await joins.leave("its process is killed", _kill, while_leaving=True)
        await joins.leave("its client joins anew", _join_anew, while_leaving=True)

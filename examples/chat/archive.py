"""The archive: keeps what the rooms remember, so that the crash of a room loses nothing.

A room's log is in the room's process, and goes with it. So the room gives every entry to this
process before anybody hears of it, and the room that is started in its place asks for all of them.
Why a process of its own? It runs no code that strangers can reach: what crashes a room is not here.

It is an SQLite database. In memory it lives as long as the server; in a file (`--history FILE`) a
message that was confirmed to its sender is there again after `kill -9`, too.
"""

from __future__ import annotations

import json
import sqlite3
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from examples.chat.log import Entry, Log
from exeunt import GenServer, Pid, Refuse, Stop, is_alive, on_call

MOST_LOGS: Final = 10_000
"""How many logs a file may begin with; the oldest are forgotten."""

_TABLES = """
CREATE TABLE IF NOT EXISTS logs (topic TEXT PRIMARY KEY, epoch TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    topic TEXT NOT NULL, number INTEGER NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (topic, number)
) WITHOUT ROWID;
"""

_FORGET_OLDEST = """
DELETE FROM logs WHERE topic NOT IN (SELECT topic FROM logs ORDER BY at DESC LIMIT ?);
"""


class NotKept(Exception):
    """The archive could not be written: the disk is full, perhaps."""


class Archive(GenServer):
    """Keeps the logs of all topics. What takes its time, it does in a thread."""

    async def init(self, file: str | None = None) -> Stop | None:
        """Open the file, or begin in memory."""
        self._keepers: dict[str, Pid] = {}
        try:
            self._database = await trio.to_thread.run_sync(_open, file or ":memory:")
        except sqlite3.Error as error:
            return Stop(f"the history in {file} cannot be used: {error}")
        # And not in `terminate`, which is not called when the process is killed.
        weakref.finalize(self, self._database.close)
        return None

    @on_call
    async def recall(self, topic: str, keeper: Pid | None = None) -> Log:
        """Return the log of a topic: a new one, if there is none.

        While the process `keeper` lives, it alone numbers the entries.
        """
        if keeper is not None:
            self._keepers[topic] = keeper
        return await trio.to_thread.run_sync(_recall, self._database, topic)

    @on_call
    async def keep(self, topic: str, epoch: str, entry: Entry, dropped: list[int]) -> Refuse | None:
        """Keep an entry, and let go of those that are dropped for it; raises `NotKept`.

        When this returns, the entry survives this process, if there is a file.
        """
        return await self._try(partial(_keep, self._database, topic, epoch, entry, dropped))

    @on_call
    async def add_left(self, topic: str, who: str, name: str, how: str) -> Refuse | None:
        """Add to the log of a room that has ended that somebody who was in it has left.

        Once for all tabs of a person, and once if it is asked again: whoever has left already is
        passed over. In one request, since the number of an entry follows from the ones before.
        """
        keeper = self._keepers.get(topic)
        if keeper is not None and is_alive(keeper):
            return None  # the next room is open already, and knows nothing of those before
        log = await self.recall(topic)
        if not log.is_in(who):
            return None
        entry = log.draft("left", who, name, how)
        return await self._try(partial(_keep, self._database, topic, log.epoch, entry, log.dropped))

    @on_call
    async def forget(self, topic: str) -> Refuse | None:
        """Forget all of a topic."""
        self._keepers.pop(topic, None)
        return await self._try(partial(_forget, self._database, topic))

    async def _try(self, write: Callable[[], None]) -> Refuse | None:
        try:
            await trio.to_thread.run_sync(write)
        except sqlite3.Error as error:
            return Refuse(NotKept(str(error)))
        return None


async def record(topic: str, log: Log, entry: Entry) -> None:
    """Have an entry kept, then add it to the log; raises `NotKept`, and then nothing is changed.

    In this order, and before anybody hears of the entry: nobody sees what a crash could undo.
    """
    await Archive.keep("archive", topic, log.epoch, entry, list(log.dropped))
    log.dropped.clear()
    log.add(entry)


def _open(file: str) -> sqlite3.Connection:
    # The threads of one process take turns: the archive deals with one request at a time.
    database = sqlite3.connect(file, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # Safe when the process is killed; the last moments may be lost when the power is cut.
        database.execute("PRAGMA synchronous = NORMAL")
        with database:
            database.executescript(_TABLES)
            database.execute(_FORGET_OLDEST, (MOST_LOGS,))
            database.execute("DELETE FROM entries WHERE topic NOT IN (SELECT topic FROM logs)")
    except BaseException:
        database.close()
        raise
    return database


def _recall(database: sqlite3.Connection, topic: str) -> Log:
    found = database.execute("SELECT epoch FROM logs WHERE topic = ?", (topic,)).fetchone()
    if found is None:
        return Log()
    rows = database.execute("SELECT entry FROM entries WHERE topic = ? ORDER BY number", (topic,))
    return Log(found[0], [Entry(**json.loads(entry)) for (entry,) in rows])


def _keep(
    database: sqlite3.Connection, topic: str, epoch: str, entry: Entry, dropped: list[int]
) -> None:
    with database:
        database.execute("INSERT OR REPLACE INTO logs VALUES (?, ?, ?)", (topic, epoch, entry.at))
        database.execute(
            "INSERT INTO entries VALUES (?, ?, ?)",
            (topic, entry.number, json.dumps(entry.shown())),
        )
        database.executemany(
            "DELETE FROM entries WHERE topic = ? AND number = ?",
            [(topic, number) for number in dropped],
        )


def _forget(database: sqlite3.Connection, topic: str) -> None:
    with database:
        database.execute("DELETE FROM entries WHERE topic = ?", (topic,))
        database.execute("DELETE FROM logs WHERE topic = ?", (topic,))

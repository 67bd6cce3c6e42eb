"""The file of a roll: who is watched, written down, so that a lost node is not the end of it.

An SQLite file in WAL mode, used by one server at a time. What is to be written waits in a queue; a
process writes all of it in one transaction, in a thread, and tells those who wait for it. So a
hundred who enter at once cost one commit, and each waits for the commit that has his entry.

A function is written as `module:name`, and its arguments as JSON. Whoever can change the file can
choose what is called: it belongs where the program itself is, and not where others can write.
"""

from __future__ import annotations

import importlib
import json
import logging
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import trio
from trio.lowlevel import ParkingLot

from exeunt.otp.roll import Leave

logger = logging.getLogger("exeunt")

APPLICATION_ID: Final = 0x65786E74
"""Marks an SQLite file as the file of a roll."""

FORMAT: Final = 1
"""Which tables it has; kept in `user_version`."""

LARGEST_BATCH: Final = 1000
"""Most entries in one transaction."""

RETRY_SECONDS: Final = 1.0
"""How long to wait before entries that could not be crossed off are tried again."""

Settled: TypeAlias = Callable[["RollError | None"], None]


class RollError(Exception):
    """The file of a roll cannot be used; the message says what can be done."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as it is written down. `who` is how its process was called."""

    key: str
    function: str
    arguments: str
    who: str


@dataclass(slots=True)
class _Change:
    """Something to be written: a row that comes, in the place of others, or one that goes."""

    row: Row | None
    key: str
    settled: Settled | None
    replaces: Collection[str] = ()


def name_function(leave: Leave) -> str:
    """Return the name by which a function is found again after a restart.

    Raises `RollError` if there is none.
    """
    module, name = getattr(leave, "__module__", None), getattr(leave, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str):
        written = f"{module}:{name}"
        try:
            if find_function(written) is leave:
                return written
        except RollError:
            pass
    raise RollError(
        f"{leave!r} cannot be found again by its name after a restart: a watcher with a file takes "
        "async functions that stand at the top of a module, and their arguments beside them"
    )


def find_function(written: str) -> Leave:
    """Return the function of that name; raise `RollError` if it is not there."""
    module, _, name = written.partition(":")
    try:
        found: Any = sys.modules.get(module) or importlib.import_module(module)
        found = reduce(getattr, name.split("."), found)
    except Exception as error:
        raise RollError(f"{written!r} cannot be imported: {error}") from error
    if not callable(found):
        raise RollError(f"{written!r} is no function, but {found!r}")
    return cast(Leave, found)


def write_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Write the arguments of a function as JSON; raise `RollError` if they are more than that."""
    try:
        return json.dumps([args, kwargs], allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise RollError(
            f"the arguments of a leave function are written as JSON, which these are not: {error}"
        ) from error


def read_arguments(written: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read arguments as they were written."""
    args, kwargs = json.loads(written)
    return tuple(args), kwargs


class RollFile:
    """The file of one roll, from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Bounded by the number of watched processes, each of which comes and goes once.
        self._changes: deque[_Change] = deque()
        # Where a writer waits for them. There may be two for a moment: one that is killed ends only
        # when its thread has, and the next watcher has a writer by then.
        self._idle = ParkingLot()
        self._connection: sqlite3.Connection | None = None
        # One thread at a time, and no competition with the program's own.
        self._limiter = trio.CapacityLimiter(1)
        self._is_troubled = False

    def __repr__(self) -> str:
        return f"<the roll in {self.path}>"

    # -- opening --------------------------------------------------------------------------------

    async def open(self) -> list[Row]:
        """Open the file, which is made if there is none; return who is on it.

        Raises `RollError` if it cannot be used: it is damaged, is something else, or belongs to a
        server that runs. It is left as it is then.
        """
        return await trio.to_thread.run_sync(self._open, limiter=self._limiter)

    def _open(self) -> list[Row]:
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                self.path, timeout=0.5, isolation_level=None, check_same_thread=False
            )
            rows = _prepare(connection, self.path)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise _explained(error, self.path) from error
            raise
        self._connection = connection
        return rows

    def close(self) -> None:
        """Let the file go; what still waits to be written is lost, and its watchers told so."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        changes, self._changes = self._changes, deque()
        for change in changes:
            if change.settled is not None:
                change.settled(RollError(f"the roll in {self.path} was closed"))

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return self._connection is not None

    # -- writing --------------------------------------------------------------------------------

    def add(self, row: Row, settled: Settled, *, replaces: Collection[str] = ()) -> None:
        """Have a row written; `settled` is called when it is, or with why it could not be.

        The rows with the keys `replaces` go in the same transaction, and so stay if that fails.
        """
        self._put(_Change(row, row.key, settled, replaces))

    def remove(self, key: str) -> None:
        """Have a row crossed off. If the node is lost before, its function runs once more."""
        self._put(_Change(None, key, None))

    def _put(self, change: _Change) -> None:
        self._changes.append(change)
        self._idle.unpark_all()

    async def write(self) -> None:
        """Write what is to be written, for ever: the body of the process that does."""
        while True:
            if not self._changes:
                await self._idle.park()
            if not await self.write_once():
                await trio.sleep(RETRY_SECONDS)

    async def write_once(self) -> bool:
        """Write what waits now; False if it could not be."""
        while self._changes:
            # A writer that is killed ends here: it finishes what it has begun, and begins no more.
            await trio.lowlevel.checkpoint_if_cancelled()
            batch = [self._changes.popleft() for _ in range(min(len(self._changes), LARGEST_BATCH))]
            # What became of it; a thread goes on when the one who waits for it is cancelled.
            outcome: list[RollError | None] = []
            try:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(
                        self._commit, batch, outcome, limiter=self._limiter
                    )
            finally:
                error = outcome[0] if outcome else RollError(f"{self.path} was not written")
                self._settle(batch, error)
            if error is not None:
                return False
        return True

    def _settle(self, batch: Sequence[_Change], error: RollError | None) -> None:
        if error is None and self._is_troubled:
            logger.warning("the roll in %s can be written again", self.path)
        elif error is not None and not self._is_troubled:
            logger.error("%s; nobody can be entered until that has ended", error)
        self._is_troubled = error is not None
        for change in batch:
            if change.settled is not None:
                change.settled(error)
        if error is not None and self._connection is not None:
            # Who has left is crossed off later; who wanted to enter has been told.
            self._changes.extendleft(one for one in reversed(batch) if one.row is None)

    def _commit(self, batch: Sequence[_Change], outcome: list[RollError | None]) -> None:
        connection = self._connection
        if connection is None:
            outcome.append(RollError(f"the roll in {self.path} was closed"))
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change in batch:
                row = change.row
                if row is None:
                    connection.execute("DELETE FROM entries WHERE key = ?", (change.key,))
                else:
                    for key in change.replaces:
                        connection.execute("DELETE FROM entries WHERE key = ?", (key,))
                    connection.execute(
                        "INSERT INTO entries (key, function, arguments, who) VALUES (?, ?, ?, ?)",
                        (row.key, row.function, row.arguments, row.who),
                    )
            connection.execute("COMMIT")
            outcome.append(None)
        except Exception as error:
            if connection.in_transaction:
                try:
                    connection.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # the error that led here is the one to tell
            outcome.append(_explained(error, self.path))


def _prepare(connection: sqlite3.Connection, path: Path) -> list[Row]:
    """Take the file for this server alone, see what it is, and read it."""
    # Held until the connection is closed, or its program ended, whatever the way.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [format] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or format or tables):
        raise RollError(f"{path} is an SQLite file, but not that of a roll: it is left as it is")
    if application == APPLICATION_ID and format != FORMAT:
        raise RollError(
            f"{path} is a roll of the format {format}, and this exeunt knows the format {FORMAT}: "
            "run the version that wrote it once more, or move the file away"
        )
    [health] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        raise sqlite3.DatabaseError(health)
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit is on the disk when it returns, so that a loss of power is no loss of entries.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS entries ("
        "number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, function TEXT NOT NULL, "
        "arguments TEXT NOT NULL, who TEXT NOT NULL)"
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
    found = connection.execute("SELECT key, function, arguments, who FROM entries ORDER BY number")
    return [Row(*row) for row in found]


def _explained(error: Exception, path: Path) -> RollError:
    """Say what an error of SQLite means for the roll, and what can be done."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return RollError(
            f"the roll in {path} is in use by another server that runs; each has a file of its own"
        )
    if "unable to open" in text:
        return RollError(
            f"the roll in {path} cannot be opened: is there such a directory, and may it be "
            "written to?"
        )
    if "readonly" in text:
        return RollError(f"the roll in {path} may not be written to: {text}")
    if "full" in text or "disk I/O" in text:
        return RollError(f"the roll in {path} cannot be written: {text}")
    return RollError(
        f"the roll in {path} cannot be read ({text}): it is left as it is. To start without it, "
        "move it away, with the files beside it that end in -wal and -shm; the leave functions "
        "that stand in it then do not run"
    )


__all__ = [
    "RollError",
    "RollFile",
    "Row",
    "find_function",
    "name_function",
    "read_arguments",
    "write_arguments",
]

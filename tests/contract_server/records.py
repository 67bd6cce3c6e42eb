"""What becomes of the channels: how each has ended, kept for whoever asks later.

A watcher is linked to every channel that asked for it in its join, and tells the `Records`, under
the name that the client chose. `terminate` of the channel tells them too, so that the two can be
compared.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from exeunt import Crash, Departure, GenServer, Pid, Reason, Shutdown, Watcher, on_call, on_cast
from exeunt.channels import Channel, ProtocolError, UnexpectedRequest

RECORDS = "records"
WATCHER = "watcher"
LEAVE_WATCHER = "leave watcher"


@dataclass(slots=True)
class _Watched:
    """One channel that is, or was, watched."""

    pid: Pid
    transport: Pid
    kind: type[Channel]
    exit: dict[str, Any] | None = None
    terminate: dict[str, Any] | None = None


class Records(GenServer):
    """The ends of all channels that were ever watched.

    Without a bound, since every one of them may be asked for until the server ends.
    """

    async def init(self) -> None:
        """Know nothing yet."""
        self._watched: dict[str, _Watched] = {}
        self._left: dict[str, list[tuple[Any, int]]] = {}

    @on_call
    async def begin(self, name: str, pid: Pid, transport: Pid, kind: type[Channel]) -> None:
        """Keep a record under this name from now on; one of an earlier channel is forgotten."""
        self._watched[name] = _Watched(pid, transport, kind)

    @on_cast
    async def exited(self, name: str, pid: Pid, reason: Reason) -> None:
        """Note what the watcher has heard."""
        watched = self._watched.get(name)
        if watched is not None and watched.pid is pid:
            watched.exit = described(reason, watched.kind)

    @on_cast
    async def terminated(self, name: str, pid: Pid, reason: Reason) -> None:
        """Note what the channel's `terminate` was called with."""
        watched = self._watched.get(name)
        if watched is not None and watched.pid is pid:
            watched.terminate = described(reason, watched.kind)

    @on_call
    async def look(self, name: str) -> dict[str, Any]:
        """Return what is known under a name."""
        watched = self._watched.get(name)
        if watched is None:
            return {"status": "unknown", "exit": None, "terminate": None}
        status = "alive" if watched.exit is None else "down"
        return {"status": status, "exit": watched.exit, "terminate": watched.terminate}

    @on_call
    async def processes(self, name: str) -> tuple[Pid, Pid] | None:
        """Return the channel under a name, and the connection that it came by."""
        watched = self._watched.get(name)
        return None if watched is None else (watched.pid, watched.transport)

    @on_cast
    async def left(self, run: str, user: Any, microseconds: int) -> None:
        """Note that a user has left, in a run of a load test."""
        self._left.setdefault(run, []).append((user, microseconds))

    @on_call
    async def left_in(self, run: str) -> list[tuple[Any, int]]:
        """Return who has left in a run, and when."""
        return list(self._left.get(run, ()))

    @on_call
    async def clear(self, run: str) -> None:
        """Forget a run."""
        self._left.pop(run, None)


async def watch(name: str, channel: Channel) -> None:
    """Have the end of a channel recorded under a name; when this returns it is."""
    await Records.begin(RECORDS, name, channel.pid, channel.transport_pid, type(channel))
    await Watcher.watch(WATCHER, channel.pid, _exited, name)


async def watch_leaving(run: str, user: Any, pid: Pid) -> None:
    """Have the end of a user's channel noted in a run."""
    await Watcher.watch(LEAVE_WATCHER, pid, _left, run, user)


async def _exited(departure: Departure, name: str) -> None:
    assert departure.pid is not None
    Records.exited(RECORDS, name, departure.pid, departure.reason)


async def _left(departure: Departure, run: str, user: Any) -> None:
    Records.left(RECORDS, run, user, time.time_ns() // 1000)


def described(reason: Reason, kind: type[Channel] | None = None) -> dict[str, Any]:
    """Say why a channel of this kind has ended, in the contract's words."""
    match reason:
        case "normal" | "shutdown" | "killed":
            return {"class": reason, "detail": None}
        case Shutdown(str(detail)):
            return {"class": "shutdown", "detail": detail}
        case Shutdown(detail):
            return {"class": "shutdown", "detail": inspect(detail)}
        # What has no function, or no clause of one, is there an error of Erlang's own, and none of
        # Elixir's exceptions.
        case Crash(UnexpectedRequest() as error) if kind and kind.handle_in is Channel.handle_in:
            return {"class": "other", "detail": f"{{:undef, {inspect(str(error))}}}"}
        case Crash(UnexpectedRequest() | ProtocolError(is_layout=True) as error):
            return {"class": "other", "detail": f"{{:function_clause, {inspect(str(error))}}}"}
        case Crash(error):
            return {"class": "error", "detail": str(error)}
        case _:
            return {"class": "other", "detail": inspect(reason)}


def inspect(value: object) -> str:
    """Write a value as Elixir does; a string that can be an atom stands for one."""
    match value:
        case str() if re.fullmatch(r"[a-z_][A-Za-z0-9_]*", value):
            return f":{value}"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case tuple():
            return "{" + ", ".join(map(inspect, value)) + "}"
        case Pid():
            return f"#PID{value}" if str(value).startswith("<") else f"#PID<{value}>"
        case _:
            return repr(value)

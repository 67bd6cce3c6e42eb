"""A server to be overloaded: `python -m tests.overload.server OPTIONS`, where OPTIONS is JSON.

It prints where it listens, and then a line for each join and each leave. What its channels do is
what their clients ask for, sensible or not.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from exeunt import (
    Departure,
    Exit,
    Reason,
    StartFailed,
    Supervisor,
    Watcher,
    receive,
    run,
    send_after,
    trap_exit,
)
from exeunt.channels import (
    Channel,
    Endpoint,
    InResult,
    JoinResult,
    Mount,
    Ok,
    Socket,
    SocketRef,
    reply,
)


@dataclass(frozen=True, slots=True)
class Options:
    """How a server is set up; durations in seconds."""

    port: int = 0
    max_connections: int = 16_384
    max_frame_size: int = 64 * 1024
    timeout: float = 60.0
    close_within: float = 0.5
    watchdog: float | None = 0.3
    roll: str | None = None
    # How many files it may have open, beyond those that it has when it listens.
    files: int | None = None
    # How many bytes a file of it may have.
    file_size: int | None = None
    # How long each leave takes.
    leave_takes: float = 0.0


def say(*words: object) -> None:
    """Print a line."""
    print(*words, flush=True)


async def has_left(departure: Departure, who: str, takes: float) -> None:
    """Say who has left: the leave function."""
    await trio.sleep(takes)
    say("left", who, repr(departure.reason).replace(" ", ""))


class Room(Channel):
    """A room whose members may do as they please."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        self.who = str(params.get("who", "somebody"))
        self.raises: str | None = params.get("terminate")
        if params.get("is_watched"):
            takes = self.assigns["leave_takes"]
            await Watcher.watch("watcher", self.pid, has_left, self.who, takes)
            say("joined", self.who)
        await self._do(params.get("join"))
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event:
            case "echo":
                return Ok(payload)
            case "shout":
                self.broadcast("shout", payload)
                return None
            case "do":
                await self._do(payload["what"])
                return Ok()
            case "later":
                send_after(payload["seconds"], self.pid, self.socket_ref())
                return None
        return await super().handle_in(event, payload)

    async def handle_info(self, message: Any) -> None:
        assert isinstance(message, SocketRef)
        reply(message, Ok())

    async def terminate(self, reason: Reason) -> None:
        await self._do(self.raises)

    async def _do(self, what: str | None) -> None:
        match what:
            case "KeyboardInterrupt":
                raise KeyboardInterrupt
            case "SystemExit":
                raise SystemExit(7)
            case "block":
                time.sleep(1)  # noqa: ASYNC251 - on purpose
            case "set the clock back":
                set_clock_back(3600.0)
            case "set the clock forward":
                set_clock_back(-3600.0)
            case _:
                pass


def set_clock_back(seconds: float) -> None:
    """Have `time.time` tell another time, as if somebody had set the clock."""
    told = time.time

    def tells() -> float:
        return told() - seconds

    time.time = tells


class User(Socket):
    """Anybody."""

    channels = {"room:*": Room}


def socket_for(options: Options) -> Callable[[], Socket]:
    """Return what makes a socket for a new client."""

    def make() -> Socket:
        made = User()
        made.assigns["leave_takes"] = options.leave_takes
        return made

    return make


async def serve(options: Options) -> int:
    """Serve until the supervisor ends, or could not start."""
    trap_exit()
    mount = Mount(
        socket_for(options),
        timeout=options.timeout,
        max_frame_size=options.max_frame_size,
        close_within=options.close_within,
    )
    children = [
        Watcher.named("watcher").child(file=options.roll),
        Endpoint.named("endpoint").child(
            {"/socket": mount}, port=options.port, max_connections=options.max_connections
        ),
    ]
    try:
        supervisor = await Supervisor.start_link(children)
    except StartFailed as failed:
        print(f"cannot start: {failed}", file=sys.stderr)
        return 1
    limit(options)
    say("ready at", await Endpoint.url("endpoint"))
    ended = await receive(Exit, lambda message: message.pid is supervisor)
    print(f"ended: {ended.reason}", file=sys.stderr)
    return 1


def limit(options: Options) -> None:
    """Set the limits of this process; those of files may be raised again from outside."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = most
    if options.files is not None:
        files = max(map(int, os.listdir("/proc/self/fd"))) + options.files
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    if options.file_size is not None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_size, most))


def main() -> int:
    """Serve; everything that is logged goes to the standard error."""
    options = Options(**json.loads(sys.argv[1]))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    return run(serve, options, watchdog=options.watchdog)


if __name__ == "__main__":
    sys.exit(main())

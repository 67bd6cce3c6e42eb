"""The watcher: whoever is watched, and in whatever way he ends, a function of ours runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from chapter06 import guest

from exeunt import Exit, Pid, exit, link, receive, run, send, spawn, trap_exit

Leave = Callable[[object], Awaitable[None]]


@dataclass(frozen=True)
class Watch:
    pid: Pid
    leave: Leave


async def watcher() -> None:
    trap_exit()
    watched: dict[Pid, Leave] = {}
    while True:
        match await receive():
            case Watch(pid, leave):
                watched[pid] = leave
                link(pid)
            case Exit(pid, reason) if pid in watched:
                # In a process of its own: a function that crashes is not the watcher's end.
                spawn(watched.pop(pid), reason)


async def main() -> None:
    watching = spawn(watcher)
    for name, how in (("ann", "closed the tab"), ("bob", "kill"), ("eve", None)):

        async def say_goodbye(reason: object, name: str = name) -> None:
            print(f"goodbye, {name}: {reason}")

        pid = spawn(guest)
        send(watching, Watch(pid, say_goodbye))
        await trio.sleep(0.1)
        if how is None:
            send(pid, "the end")
        else:
            exit(pid, how)
        await trio.sleep(0.1)


if __name__ == "__main__":
    run(main, seed=1)

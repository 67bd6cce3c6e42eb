"""How everybody leaves: the one place that turns the end of a process into a line in the room.

A tab in a room is a channel process. Close the tab, and it ends; pull the network out, and it ends;
throw somebody out, crash their handler, stop the server, and it ends. Each time the process ends
with a *reason*, and its exit signal carries that to the `Watcher`, which runs `say_goodbye`.

So there is no list of cases to look after, and no case that was forgotten: there is one way out.

Even `kill -9` is one, where the watcher's roll is in a file (`--history FILE`): the next start
finds on it who was there, and runs `say_goodbye` for each of them before anybody comes in.
"""

from __future__ import annotations

import logging

from examples.chat.archive import Archive, NotKept
from examples.chat.rooms import ROOMS, Member, Room, ThrownOut
from exeunt import CallFailed, Crash, Departure, Pid, Reason, Shutdown, Watcher

logger = logging.getLogger("chat")


async def watch_over(member: Member, room: str) -> None:
    """From here on, whatever ends a member's process, `say_goodbye` runs."""
    await Watcher.watch("watcher", member.channel, say_goodbye, room, member.user, member.name)


async def say_goodbye(departure: Departure, room: str, user: str, name: str) -> None:
    """Tell a room that a process in it has ended, and how: run by the watcher, once for each.

    If the room has ended too, or never was since the server was killed, the line goes into its log,
    where those read it who come next.
    """
    how = how_it_ended(departure.reason)
    if departure.pid is None or not await tell_room(room, departure.pid, how):
        try:
            await Archive.add_left("archive", f"room:{room}", user, name, how)
        except NotKept as error:
            logger.error("room:%s: the archive cannot be written: %s", room, error)


async def tell_room(room: str, channel: Pid, how: str) -> bool:
    """Tell a room how a process in it has ended; False if there is no such room any more."""
    try:
        await Room.leave(ROOMS.via(room), channel, how)
    except CallFailed:
        return False
    return True


def how_it_ended(reason: Reason) -> str:
    """Say in words for people why a process has ended."""
    match reason:
        case Shutdown("left"):
            return "left"
        case Shutdown("local_closed"):
            return "closed the tab"
        case Shutdown("peer_closed" | "read_timeout"):
            return "connection lost"
        case Shutdown("slow_consumer"):
            return "connection lost: too slow"
        case Shutdown(ThrownOut(by)):
            return f"thrown out by {by}"
        case Shutdown("disconnected"):
            return "disconnected by the server"
        case Shutdown("duplicate_join"):
            return "joined anew"
        case Shutdown("draining") | "shutdown":
            return "the server restarts"
        case Shutdown(("deserializing", _)):
            return "sent what nobody can read"
        case "killed":
            return "killed"
        case "the room has ended":
            return "the room crashed"
        case "node_lost":
            return "the server was killed"
        case Crash(error):
            return f"crashed: {type(error).__name__}: {error}"[:200]
        case _:
            return f"ended: {reason}"[:200]

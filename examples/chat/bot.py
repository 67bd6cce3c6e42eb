"""The prompter: a bot that is an ordinary supervised process.

It has no socket and speaks no protocol. It hears a room because it has subscribed to its topic, and
speaks through the same `Room.say` as everybody; the room shows it because Presence tracks its
process. And it leaves as everybody does: say `/crash bot`, and the watcher tells each room how it
has ended, just as it tells of a tab. Then its supervisor starts it again, after a second, and after
a longer while each time if somebody goes on like this.
"""

from __future__ import annotations

import random
import re
import time
from typing import Any, Final

from examples.chat.farewell import how_it_ended, tell_room
from examples.chat.limits import Declined
from examples.chat.rooms import ROOMS, Member, Room
from exeunt import (
    CallFailed,
    Continue,
    Departure,
    Down,
    GenServer,
    Pid,
    Ref,
    Registered,
    Watcher,
    monitor,
    on_call,
)
from exeunt.channels import Broadcast, Presence, PubSub

NAME: Final = "Prompter"
ID: Final = "bot:prompter"

HELP: Final = (
    "I answer /roll, /roll 3d6 and /time, and crash on /crash bot. The page knows "
    "/msg NAME TEXT, /kick NAME, /crash and /crash room."
)


class Bot(GenServer):
    """Is in every room, and answers those who call it."""

    async def init(self, hub: PubSub) -> Continue:
        """Have the rooms told of its end, then go into those that are open."""
        self.hub = hub
        self.rooms: dict[Ref, str] = {}
        self.dice = random.Random()
        await Watcher.watch("watcher", self.pid, bot_has_left)
        return Continue()

    async def handle_continue(self, argument: Any) -> None:
        """Go into the rooms that are open. There are none unless it was here before."""
        for room in ROOMS.select():
            await self._enter(room.key, room.pid)
            await self._say(room.key, "I am back: my supervisor has started me again.")

    async def handle_info(self, message: Any) -> None:
        """Hear of rooms, and of what is said in them."""
        match message:
            case Registered(key=str(room), pid=pid):
                await self._enter(room, pid)
            case Down(ref=ref) if ref in self.rooms:
                room = self.rooms.pop(ref)
                if room not in self.rooms.values():
                    await self._forget(room)
            case Broadcast(topic, "said", {"who": str(who), "text": str(text)}) if who != ID:
                answer = self._answer(text)
                if answer is not None:
                    await self._say(topic.removeprefix("room:"), answer)
            case _:
                pass

    @on_call
    async def where(self) -> list[str]:
        """Return the rooms that it is in."""
        return list(self.rooms.values())

    async def _enter(self, room: str, pid: Pid) -> None:
        if room in self.rooms.values():
            return
        topic = f"room:{room}"
        try:
            await Room.enter(pid, Member(self.pid, ID, NAME, is_bot=True))
        except CallFailed:
            return  # it has ended meanwhile
        self.rooms[monitor(pid)] = room
        self.hub.subscribe(topic)
        await Presence.track("presence", topic, ID, {"name": NAME, "typing": False, "bot": True})

    async def _forget(self, room: str) -> None:
        self.hub.unsubscribe(f"room:{room}")
        await Presence.untrack("presence", f"room:{room}", ID)

    async def _say(self, room: str, text: str) -> None:
        try:
            await Room.say(ROOMS.via(room), self.pid, text, "")
        except (CallFailed, Declined):
            pass  # the room has ended, or cannot keep anything: it will do without

    def _answer(self, text: str) -> str | None:
        match text.split():
            case ["/roll", *what]:
                return roll(what[0] if what else "1d6", self.dice)
            case ["/time"]:
                return time.strftime("It is %H:%M:%S on %A, %d %B, where the server is.")
            case ["/help"]:
                return HELP
            case ["/crash", "bot"]:
                raise RuntimeError("somebody said /crash bot")
            case _:
                return None


def roll(what: str, dice: random.Random) -> str:
    """Roll some dice, such as `3d6`, and say what came of it."""
    found = re.fullmatch(r"(\d{0,2})d(\d{1,4})", what, re.ASCII)
    number, sides = (int(found[1] or 1), int(found[2])) if found else (0, 0)
    if not 1 <= number <= 20 or sides < 2:
        return "I have up to 20 dice of up to 9999 sides: /roll 3d6."
    rolled = [dice.randint(1, sides) for _ in range(number)]
    each = " + ".join(map(str, rolled))
    return f"{what}: {each} = {sum(rolled)}" if number > 1 else f"{what}: {each}"


async def bot_has_left(departure: Departure) -> None:
    """Tell every room that the bot has ended, and how: run by the watcher."""
    if departure.pid is None:
        return  # it was lost with the server, and so was everybody who could be told
    for room in ROOMS.select():
        await tell_room(room.key, departure.pid, how_it_ended(departure.reason))

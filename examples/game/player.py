"""Players, who are clients: somebody at a terminal, or a robot."""

import os
import random
from typing import Final

import trio

from examples.game.table import BEATS, described, say
from exeunt import spawn_link
from exeunt.channels.client import ClientChannel, ClientError, Event, ReplyError, connect

LETTERS: Final = {hand[0]: hand for hand in BEATS}


class Dizzy(Exception):
    """What ends a robot at times."""


async def play(url: str, table: str, name: str) -> None:
    """Play at a terminal, until the table is closed or the input ends."""
    async with connect(url) as socket:
        room = await socket.join(f"table:{table}", {"name": name})
        say(f"{name} sits at the table {table}. Type r, p or s and press Enter; Ctrl-C leaves.")
        spawn_link(type_hands, room)
        async for event in room:
            say(words(event))
        say(f"{name} sits there no more")


async def type_hands(room: ClientChannel) -> None:
    """Throw what is typed. In a round or not: the table knows when it counts."""
    # Not through sys.stdin, whose lock would be held when the program ends.
    while typed := await trio.to_thread.run_sync(os.read, 0, 1000, abandon_on_cancel=True):
        for word in typed.decode(errors="replace").split():
            try:
                await room.push("throw", {"hand": LETTERS.get(word[0].lower(), word)})
            except ReplyError as refused:
                say(refused.response["reason"])
            except ClientError as error:
                say(error)
    await room.leave()


def words(event: Event) -> str:
    """Say what has happened."""
    return described(event.event, event.payload)


async def robot(url: str, table: str, name: str) -> None:
    """Throw something in each round, or too late; and crash at times, which frees its seat."""
    async with connect(url) as socket:
        room = await socket.join(f"table:{table}", {"name": name})
        async for event in room:
            if event.event == "round":
                spawn_link(throw_something, room, event.payload["seconds"])


async def throw_something(room: ClientChannel, seconds: float) -> None:
    """Think for a moment, and throw."""
    await trio.sleep(random.uniform(0.1, 0.7) * seconds)
    match random.random():
        case luck if luck < 0.1:
            raise Dizzy("the robot has lost its head")
        case luck if luck < 0.8:
            room.cast("throw", {"hand": random.choice([*BEATS])})
        case _:
            pass  # it has not made up its mind

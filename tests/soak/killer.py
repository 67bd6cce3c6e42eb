"""The seeded script of a soak: which part of the server is killed when.

It is a function of the seed alone: two runs with one seed draw the same parts at the same times.
Which process of a part that is depends on who is there, and so on the machine.

Parts are drawn from two decks, each shuffled anew when it is used up, so that every part has its
turn. The light one harms one client, or nobody; the heavy one throws out all of them, and is drawn
from more seldom, since they must have the time to come back in order to be thrown out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

Part: TypeAlias = Literal[
    "channel",
    "connection",
    "room",
    "watcher",
    "watcher with a file",
    "writer of the roll",
    "presence",
    "channels supervisor",
    "connections supervisor",
    "listener",
    "endpoint",
]

LIGHT: Final[tuple[Part, ...]] = (
    *("channel",) * 6,
    *("connection",) * 6,
    *("room",) * 3,
    *("watcher",) * 3,
    *("watcher with a file",) * 3,
    *("writer of the roll",) * 3,
)

HEAVY: Final[tuple[Part, ...]] = (
    "presence",
    "channels supervisor",
    "connections supervisor",
    "listener",
    "endpoint",
)

PARTS: Final[tuple[Part, ...]] = tuple(dict.fromkeys((*LIGHT, *HEAVY)))


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill a part of the server, `after` seconds from the one before.

    `pick` is from 0 to below 1: which one, of those that there are.
    """

    after: float
    part: Part
    pick: float


def script(seed: int, *, every: float, heavy_every: float) -> Iterator[Kill]:
    """Yield what is killed, for ever; the times are means, in seconds.

    The first kill is no heavier than the others, so that there is somebody to be thrown out.
    """
    random = Random(seed)
    light: list[Part] = []
    heavy: list[Part] = []
    now = 0.0
    next_heavy = heavy_every
    while True:
        after = random.uniform(0.5, 1.5) * every
        now += after
        deck, cards = light, LIGHT
        if now >= next_heavy:
            next_heavy = now + random.uniform(0.5, 1.5) * heavy_every
            deck, cards = heavy, HEAVY
        if not deck:
            deck += random.sample(cards, len(cards))
        yield Kill(after, deck.pop(), random.random())


__all__ = ["HEAVY", "LIGHT", "PARTS", "Kill", "Part", "script"]

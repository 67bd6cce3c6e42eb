"""The log of a room: what happened, numbered, so that nobody misses anything or sees it twice.

Plain data, without processes. Three things in it make a reconnection lose nothing:

- Every entry has a *number*, one more than the one before. A page that comes back says which number
  it has seen last, and gets what came after.
- The numbers count from 1 within an *epoch*, the life of a log. A page that comes back with another
  epoch has seen nothing of this log, and gets all of it.
- Every message has an *id*, which the page has chosen. A page that was cut off before it got the
  answer sends the message again, and the log knows that it has it.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["said", "joined", "left"]

MOST_SAID: Final = 200
"""How many messages a log remembers, at most."""

MOST_LETTERS: Final = 100_000
"""And how many letters they have together: whoever comes in gets all of them."""

MOST_MOVES: Final = 50
"""How many comings and goings: they are counted apart, or a thousand who lose their network would
drive out everything that was said."""

MOST_IDS: Final = 1000
"""How many messages may have come between one and its repetition, for it to be known again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened: somebody came, said something, or left.

    `text` is what was said, or how somebody left. `at` is in milliseconds since 1970, as pages want
    it. `to` is whom a private message is for.
    """

    number: int
    kind: Kind
    at: int
    who: str
    name: str
    text: str = ""
    id: str = ""
    to: str = ""
    to_name: str = ""

    def shown(self) -> dict[str, Any]:
        """Return the entry as a page gets it."""
        return dataclasses.asdict(self)


class Log:
    """The entries of one room, or of one person's private messages."""

    def __init__(self, epoch: str | None = None, entries: Iterable[Entry] = ()) -> None:
        self.epoch = secrets.token_urlsafe(9) if epoch is None else epoch
        self.last = 0
        self._said: deque[Entry] = deque()
        self._moves: deque[Entry] = deque()
        self._letters = 0
        # The last message that is not remembered any more.
        self._forgotten = 0
        self.dropped: list[int] = []
        """The numbers of entries that are forgotten, until the archive has been told."""
        self._numbers: OrderedDict[tuple[str, str], int] = OrderedDict()
        for entry in entries:
            if self.last == 0:
                self._forgotten = entry.number - 1
            self.add(entry)

    def draft(
        self,
        kind: Kind,
        who: str,
        name: str,
        text: str = "",
        *,
        id: str = "",
        to: str = "",
        to_name: str = "",
    ) -> Entry:
        """Return the next entry, which is not in the log before it is added."""
        return Entry(self.last + 1, kind, now(), who, name, text, id, to, to_name)

    def add(self, entry: Entry) -> None:
        """Add an entry, and forget the oldest ones if there are too many."""
        self.last = entry.number
        if entry.kind != "said":
            self._moves.append(entry)
            if len(self._moves) > MOST_MOVES:
                self.dropped.append(self._moves.popleft().number)
            return
        self._said.append(entry)
        self._letters += len(entry.text)
        if entry.id:
            self._numbers[entry.who, entry.id] = entry.number
            if len(self._numbers) > MOST_IDS:
                self._numbers.popitem(last=False)
        while len(self._said) > MOST_SAID or self._letters > MOST_LETTERS:
            oldest = self._said.popleft()
            self._letters -= len(oldest.text)
            self._forgotten = oldest.number
            self.dropped.append(oldest.number)

    def find(self, who: str, id: str) -> int | None:
        """Return the number of a message, if it has been said already."""
        return self._numbers.get((who, id))

    def is_in(self, user: str) -> bool:
        """Tell whether somebody has come, as far as is remembered, and not left since."""
        moves = [one.kind for one in self._moves if one.who == user]
        return moves[-1:] == ["joined"]

    def since(self, epoch: object = None, seen: object = None) -> dict[str, Any]:
        """Return what somebody has missed who has seen the log of `epoch` up to `seen`.

        `lost` says that there was more than is remembered.
        """
        number = seen if epoch == self.epoch and isinstance(seen, int) else 0
        missed = [one for one in (*self._said, *self._moves) if one.number > number]
        missed.sort(key=lambda one: one.number)
        return {
            "epoch": self.epoch,
            "last": self.last,
            "entries": [one.shown() for one in missed],
            "lost": 0 < number < self._forgotten,
        }


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return int(time.time() * 1000)

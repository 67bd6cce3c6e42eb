"""What the chat takes from strangers: which names, which texts, and how often.

Everything that comes from a browser passes through here once. What does not fit gives an error that
is for people to read; nothing that somebody sends makes a handler crash.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, TypeAlias

LONGEST_NAME: Final = 32
LONGEST_TEXT: Final = 2000
LONGEST_ID: Final = 64

MOST_ROOMS: Final = 200
MOST_CHANNELS_IN_A_ROOM: Final = 5000
MOST_INBOXES: Final = 10_000
MOST_TOPICS_OF_A_TAB: Final = 12


Why: TypeAlias = Literal["never", "later", "outside"]


class Declined(Exception):
    """Somebody asked for what cannot be: the text tells them why.

    `why` is for the page. `"never"`: the same request will not be granted. `"later"`: it may be
    after `wait` seconds, so the page tries again by itself. `"outside"`: so it may, but the person
    was thrown out, and has to ask.
    """

    def __init__(self, text: str, *, why: Why = "never", wait: float = 0.0) -> None:
        super().__init__(text)
        self.why = why
        self.wait = wait


def name_from(value: object, what: str = "name") -> str:
    """Return a name of a person or a room, its spaces tidied; raise `Declined` if it is none."""
    name = " ".join(value.split()) if isinstance(value, str) else ""
    # Letters that nobody sees, or that turn the text around them, are not printable.
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Declined(f"A {what} has 1 to {LONGEST_NAME} letters.")
    return name


def text_from(value: object) -> str:
    """Return the text of a message; raise `Declined` if there is none, or too much."""
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise Declined(f"A message has 1 to {LONGEST_TEXT} letters.")
    return text


def id_from(value: object) -> str:
    """Return the id that a page has given a message, or that of a person."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID:
        raise Declined("This page is too old for the server: load it again.")
    return value


class Rate:
    """So many at once, and then so many a second, for each person: a bucket of tokens each.

    Plain data: the time is given by who asks. Of `most` people it remembers those who have asked
    last; whoever is forgotten has a full bucket again.
    """

    def __init__(self, at_once: int, per_second: float, *, most: int = 10_000) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._most = most
        # How many are left to each, as of when.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str, now: float) -> float:
        """Take one, and return 0; or take none, and return the seconds until there is one."""
        left, since = self._left.pop(who, (float(self._at_once), now))
        left = min(self._at_once, left + (now - since) * self._per_second)
        allowed = left >= 1.0
        self._left[who] = (left - 1.0 if allowed else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_second

    def check(self, who: str, now: float) -> None:
        """Take one, or raise `Declined` with the time to wait."""
        wait = self.take(who, now)
        if wait > 0:
            raise Declined("That was too fast: wait a moment.", why="later", wait=wait)

"""Finding a process from the terminal: what is typed after a slash, and those that were found.

The keys are those of `less`: `/` begins, Enter has it looked for, `n` and `N` go on and back.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any, Final

from exeunt.observer.view import title_of

LONGEST: Final = 200
"""Characters that are taken."""

_ENTER = (b"\r", b"\n")
_ERASE = (b"\x7f", b"\x08")


class Finder:
    """What is looked for, and which of those found was shown last."""

    def __init__(self) -> None:
        self.is_typing = False
        self.text = ""
        self._letters = codecs.getincrementaldecoder("utf-8")("ignore")
        self._found: Sequence[Mapping[str, Any]] = ()
        self._total = 0
        self._index = 0

    @property
    def prompt(self) -> str:
        """What is shown while somebody types."""
        return f"find by pid, name or key: {self.text}▏"

    def begin(self) -> None:
        """Take what is typed from now on."""
        self.is_typing, self.text = True, ""
        self._letters.reset()

    def typed(self, key: bytes) -> bool:
        """Take a key; True if the text is complete, and to be looked for."""
        if key in _ENTER:
            self.is_typing = False
            return bool(self.text.strip())
        if key in _ERASE:
            self.text = self.text[:-1]
        elif len(key) > 1 or key == b"\x1b":
            self.is_typing = False
        else:
            letters = self._letters.decode(key)
            if letters.isprintable():
                self.text = (self.text + letters)[:LONGEST]
        return False

    def take(self, answer: Mapping[str, Any]) -> None:
        """Take what was found."""
        self._found, self._total, self._index = answer["found"], answer["total"], 0

    def step(self, steps: int) -> None:
        """Go to the next of those found, or back; after the last comes the first."""
        if self._found:
            self._index = (self._index + steps) % len(self._found)

    @property
    def current(self) -> Mapping[str, Any] | None:
        """The one that is to be shown; None if nothing was found."""
        return self._found[self._index] if self._found else None

    def note(self, *, is_shown: bool) -> str:
        """Say which of how many it is, and what it is called."""
        one = self.current
        if one is None:
            return f"nothing has {self.text!r} in its name or key" if self.text else ""
        of = f"{self._total:,}"
        if self._total > len(self._found):
            of = f"the first {len(self._found):,} of {of}"
        socket = f" {one['socket']}" if one["socket"] else ""
        where = "" if is_shown else ", for which the tree has no room"
        again = "; n: next" if len(self._found) > 1 else ""
        return f"{self._index + 1} of {of}: {title_of(one)}{socket} {one['pid']}{where}{again}"


__all__ = ["Finder"]

"""Filtering: what may be shown of what a client sent, in the log, in an event, on a page.

Parameters hold passwords and tokens, text of any length, and whatever somebody made up to see what
the reader of a log does with it. So whatever is shown of them goes through here: values under keys
that name a secret are covered, what is long, large or deep is cut, and control characters are
written as escapes, so that a line of the log is a line.

    >>> Filter()({"name": "joe", "user": {"password": "hush"}})
    {'name': 'joe', 'user': {'password': '[FILTERED]'}}
    >>> Filter(("keep", ["name"]))({"name": "joe", "user": {"age": 7}})
    {'name': 'joe', 'user': {'age': '[FILTERED]'}}

The rules are those of Phoenix's `filter_parameters`. Phoenix: only keys with `password` in them are
covered unless told otherwise, in just that spelling; here those of tokens and other secrets too,
and case does not count.

Nothing in this module raises, whatever the value is and whatever its `__repr__` does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from exeunt.channels.wire import Binary

Parameters: TypeAlias = "Collection[str] | tuple[Literal['keep', 'discard'], Collection[str]]"
"""Which parameters are covered: those whose key contains one of these words, as also
`("discard", words)` says; or all but those with exactly these keys: `("keep", keys)`."""

SECRETS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "cookie",
    "credential",
    "api_key",
    "apikey",
)
"""What is covered unless a socket says otherwise."""

FILTERED: Final = "[FILTERED]"

MOST_TEXT: Final = 10_000
"""Characters of a value as text; like the other limits, more than a reader of a log wants."""

_LONGEST = 1_000  # characters of one string
_LONGEST_OF_MANY = 20  # of one that comes behind so many others
_LONGEST_KEY = 200
_LONGEST_BYTES = 64
_LONGEST_INT = 1_000  # bits
_ITEMS = 50  # entries of one object or list, as Elixir's inspect shows
_NODES = 500  # entries altogether
_DEPTH = 20


class Shown(str):
    """Text that stands for a value; its `repr` is the text itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str.__str__(self)


_EXACT = frozenset({bool, float, type(None), Shown})
_LEAVES = _EXACT | {str, int}
_WORDS_OR_KEYS = "expected words, or ('keep', keys), or ('discard', words)"


class Filter:
    """What is covered, made ready."""

    __slots__ = ("_kept", "_words")

    def __init__(self, parameters: Parameters = SECRETS) -> None:
        """Make a filter.

        Raises `TypeError` or `ValueError` for what is no such thing, an empty word above all, which
        would be in every key.
        """
        given: object = parameters
        keeps = False
        if isinstance(given, tuple) and len(given) == 2 and not isinstance(given[1], str):
            if given[0] not in ("keep", "discard"):
                raise ValueError(f"{_WORDS_OR_KEYS}, got {given!r}")
            keeps, given = given[0] == "keep", given[1]
        if isinstance(given, str) or not isinstance(given, Collection):
            raise TypeError(f"{_WORDS_OR_KEYS}, got {given!r}")
        for word in given:
            if not isinstance(word, str):
                raise TypeError(f"{_WORDS_OR_KEYS}, got {word!r} in {given!r}")
            if not word:
                raise ValueError(f"an empty word is in every key: {given!r}")
        words = cast("Collection[str]", given)
        self._kept = frozenset(words) if keeps else None
        self._words = (
            re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
            if words and not keeps
            else None
        )

    def __call__(self, value: object) -> Any:
        """Return a copy of a value in which secrets are covered, and what is too much is cut.

        Objects and lists become plain ones, and `Binary` its size; a tuple of two within a list, as
        headers come, is searched as a key and its value. Instances of dataclasses, of
        `msgspec.Struct` and named tuples are searched as well, if they show their fields, and
        stay what they are if there is nothing to cover; all else stays as it is.
        """
        return _Walk(is_text=False).over(value, 0, self)

    def show(self, value: object, most: int = MOST_TEXT) -> str:
        """Return the text of a value, in one line, with secrets covered; as Python writes it."""
        try:
            text = repr(_Walk(is_text=True).over(value, 0, self))
        except Exception as error:
            text = _failed(value, error)
        return plain(text, most)

    def covers(self, key: object) -> bool:
        """Tell whether what has this key is a secret."""
        return self._words is not None and isinstance(key, str) and bool(self._words.search(key))


def plain(text: str, most: int = _LONGEST_KEY) -> str:
    """Return text such as a topic for a line of a log: shortened, without control characters."""
    if len(text) > most:
        text = f"{text[:most]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def quoted(value: object, most: int = _LONGEST_KEY) -> str:
    """Return `plain` text in double quotes; of what is no string, its text."""
    if isinstance(value, str):
        return f'"{plain(str.__str__(value), most)}"'
    return OPEN.show(value, most)


class _Walk:
    """One way through a value: how much of it there has been, and whether something was changed."""

    __slots__ = ("changed", "characters", "is_text", "nodes")

    def __init__(self, *, is_text: bool) -> None:
        self.is_text = is_text
        self.nodes = 0
        self.characters = 0
        self.changed = False

    def over(self, value: object, depth: int, by: Filter) -> object:
        try:
            return self._over(value, depth, by)
        except Exception as error:
            self.changed = True
            return Shown(_failed(value, error))

    def _over(self, value: object, depth: int, by: Filter) -> object:
        self.nodes += 1
        if self.nodes > _NODES:
            return self._cut(Shown("…"))
        kind = type(value)
        if kind in _LEAVES or isinstance(value, str):
            return self._leaf(value, by)
        if isinstance(value, Mapping):
            return self._mapping(value, depth, by)
        if isinstance(value, (list, tuple)):
            if isinstance(value, tuple) and hasattr(value, "_fields"):
                return self._fields(value, cast("Any", value)._fields, depth, by)
            return self._items(value, depth, by)
        if isinstance(value, Binary):
            return self._leaf(self._cut(Shown(f"Binary({len(value.data)} bytes)")), by)
        if isinstance(value, msgspec.Struct):
            if kind.__repr__ is msgspec.Struct.__repr__:
                return self._fields(value, value.__struct_fields__, depth, by)
        elif dataclasses.is_dataclass(kind) and _shows_its_fields(kind):
            names = tuple(one.name for one in dataclasses.fields(kind) if one.repr)
            return self._fields(value, names, depth, by)
        return self._leaf(value, by)

    def _leaf(self, value: object, by: Filter) -> object:
        if by._kept is not None:
            return self._cut(FILTERED)
        kind = type(value)
        if kind in _EXACT:
            return value
        if isinstance(value, str):
            text = value if kind is str else str.__str__(value)
            most = _LONGEST if self.characters < MOST_TEXT else _LONGEST_OF_MANY
            self.characters += len(text)
            if len(text) <= most:
                return text
            return self._cut(f"{text[:most]}… ({len(text)} characters)")
        if kind is int:
            bits = cast("int", value).bit_length()
            return value if bits <= _LONGEST_INT else self._cut(Shown(f"<an int of {bits} bits>"))
        if isinstance(value, (bytes, bytearray)) and len(value) > _LONGEST_BYTES:
            return self._cut(Shown(f"<{len(value)} bytes>"))
        return Shown(plain(repr(value), _LONGEST)) if self.is_text else value

    def _mapping(self, value: Mapping[object, object], depth: int, by: Filter) -> object:
        if depth >= _DEPTH and value:
            return self._cut(Shown("{…}"))
        shown: dict[object, object] = {}
        for number, (key, item) in enumerate(value.items()):
            if number >= _ITEMS or self.nodes >= _NODES:
                self.changed = True
                shown[Shown("…")] = Shown(f"{len(value) - number} more")
                break
            shown[self._key(key)] = self._value(key, item, depth, by)
        return shown

    def _key(self, key: object) -> object:
        if isinstance(key, str):
            if len(key) <= _LONGEST_KEY:
                return key
            return self._cut(f"{key[:_LONGEST_KEY]}… ({len(key)} characters)")
        return Shown(plain(repr(key), _LONGEST_KEY)) if self.is_text else key

    def _value(self, key: object, item: object, depth: int, by: Filter) -> object:
        if by._kept is not None:
            return self.over(item, depth + 1, OPEN if key in by._kept else by)
        if by.covers(key):
            self.changed = True
            return FILTERED
        return self.over(item, depth + 1, by)

    def _items(self, value: list[Any] | tuple[Any, ...], depth: int, by: Filter) -> object:
        if depth >= _DEPTH and value:
            return self._cut(Shown("[…]"))
        shown: list[object] = []
        for number, item in enumerate(value):
            if number >= _ITEMS or self.nodes >= _NODES:
                self.changed = True
                shown.append(Shown(f"… {len(value) - number} more"))
                break
            if type(item) is tuple and len(item) == 2 and by.covers(item[0]):
                self.changed = True
                shown.append((item[0], FILTERED))
            else:
                shown.append(self.over(item, depth + 1, by))
        return tuple(shown) if isinstance(value, tuple) else shown

    def _fields(self, value: object, names: tuple[str, ...], depth: int, by: Filter) -> object:
        name = type(value).__qualname__
        if depth >= _DEPTH or len(names) > _ITEMS:
            return self._cut(Shown(f"{name}(…)"))
        before, self.changed = self.changed, False
        shown = [(one, self._value(one, getattr(value, one), depth, by)) for one in names]
        is_same = not self.changed and not self.is_text
        self.changed = before or not is_same
        if is_same:
            return value
        text = ", ".join(f"{one}={item!r}" for one, item in shown)
        return Shown(plain(f"{name}({text})", MOST_TEXT))

    def _cut(self, value: object) -> object:
        self.changed = True
        return value


def _shows_its_fields(kind: type) -> bool:
    """Tell whether the `__repr__` of a dataclass was made for it: one of its own may hide things.

    What is made is wrapped, against cycles, so its code has another name.
    """
    code: Any = getattr(kind.__repr__, "__code__", None)
    return code is not None and code.co_name != "__repr__"


def _failed(value: object, error: Exception) -> str:
    return f"<a {type(value).__name__}, which cannot be shown: {type(error).__name__}>"


OPEN: Final = Filter(())
"""Covers nothing, but cuts like any other."""


__all__ = ["FILTERED", "OPEN", "SECRETS", "Filter", "Parameters", "Shown", "plain", "quoted"]

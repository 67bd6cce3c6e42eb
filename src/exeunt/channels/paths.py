"""Which socket the path of a request leads to, and by which transport.

    >>> paths = Paths({"/socket": {"websocket": "/websocket"}, "/rooms/:n": {"longpoll": "/poll"}})
    >>> paths.find("/socket/websocket")
    Found(at='/socket', transport='websocket', params={})
    >>> paths.find("/rooms/7/poll")
    Found(at='/rooms/:n', transport='longpoll', params={'n': '7'})

A segment that begins with a colon is a variable: it stands for one segment that is not empty, which
is among the parameters of `connect` under that name. Of several paths that fit, the first is taken.

Slashes that are doubled, or at the end, count for nothing, as in Plug: a client that was given
`/socket/` asks for `/socket//websocket`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Found", "Paths", "check_path"]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads: to the mount `at` that path, by a transport, with these variables."""

    at: str
    transport: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Pattern:
    segments: tuple[str, ...]
    at: str
    transport: str


class Paths:
    """The paths of an endpoint's sockets: for each mount, that of each of its transports."""

    def __init__(self, mounts: Mapping[str, Mapping[str, str]]) -> None:
        self._patterns = [
            _Pattern(tuple((at + path).split("/")), at, transport)
            for at, paths in mounts.items()
            for transport, path in paths.items()
        ]

    def find(self, path: str) -> Found | None:
        """Return where a path leads, None if to no socket."""
        segments = ["", *filter(None, path.split("/"))]
        for pattern in self._patterns:
            params = _match(pattern.segments, segments)
            if params is not None:
                return Found(pattern.at, pattern.transport, params)
        return None


def check_path(path: object, what: str, like: str) -> None:
    """Raise `ValueError` unless this is a path from the root, without a slash at its end."""
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or not all(segment.removeprefix(":") for segment in path[1:].split("/"))
    ):
        raise ValueError(f"{what} at a path like {like!r}, not at {path!r}")


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    params: dict[str, str] = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted.startswith(":"):
            params[wanted[1:]] = segment
        elif wanted != segment:
            return None
    return params

"""The channels' events, in the shape in which Phoenix's telemetry has them.

Nothing is subscribed to until it is asked for, so that a load test does not pay for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from exeunt import current_node
from exeunt.channels.events import (
    ChannelHandledIn,
    ChannelJoined,
    JoinRefused,
    SocketConnected,
    SocketRefused,
    SocketsDrained,
)
from exeunt.kernel.events import Event

KINDS: tuple[type[Event], ...] = (
    SocketConnected,
    SocketRefused,
    ChannelJoined,
    JoinRefused,
    ChannelHandledIn,
    SocketsDrained,
)
MOST = 10_000


class Telemetry:
    """The latest events since the last reset."""

    def __init__(self) -> None:
        self._seen: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._unsubscribe: Callable[[], None] | None = None

    def reset(self) -> None:
        """Forget what there was, and note what comes."""
        self._seen.clear()
        if self._unsubscribe is None:
            self._unsubscribe = current_node().events.subscribe(self._note, *KINDS)

    def seen(self) -> list[dict[str, Any]]:
        """Return what has come since."""
        return list(self._seen)

    def _note(self, event: Event) -> None:
        match event:
            case SocketConnected(transport=transport, version=version):
                self._add("socket_connected", result="ok", transport=transport, vsn=version)
            case SocketRefused(why="connect" | "id", transport=transport, version=version):
                self._add("socket_connected", result="error", transport=transport, vsn=version)
            case ChannelJoined(topic=topic):
                self._add("channel_joined", result="ok", topic=topic)
            case JoinRefused(why="refused", topic=topic):
                self._add("channel_joined", result="error", topic=topic)
            case ChannelHandledIn(topic=topic, event=name):
                self._add("channel_handled_in", event=name, topic=topic)
            case SocketsDrained():
                self._add("socket_drain")
            case _:
                pass  # Phoenix tells of no other refusal

    def _add(self, name: str, **meta: str) -> None:
        self._seen.append({"event": f"phoenix.{name}", "meta": meta})

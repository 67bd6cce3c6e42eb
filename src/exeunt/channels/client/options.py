"""What a socket of a client was told: checked once, where `connect` is called.

Plain data. What each option means stands in the documentation of `connect`.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from exeunt.channels.client.address import Address, ConnectParams
from exeunt.channels.client.frames import ClientSerializer
from exeunt.channels.client.retry import Schedule

__all__ = ["Options", "ParamsSource", "TokenSource", "resolved"]

ParamsSource: TypeAlias = "ConnectParams | Callable[[], ConnectParams | Awaitable[ConnectParams]]"
"""The parameters of the URL, or a function (async or not) that is called before each connection."""

TokenSource: TypeAlias = "str | Callable[[], str | Awaitable[str | None] | None] | None"
"""An auth token, or a function (async or not) that is called before each connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `connect`, all of them."""

    address: Address
    serializer: ClientSerializer
    params: ParamsSource
    auth_token: TokenSource
    headers: list[tuple[bytes, bytes]]
    ssl_context: ssl.SSLContext | None
    answer_within: float
    connect_within: float
    heartbeat: float
    heartbeat_within: float
    reconnect: Schedule | None
    rejoin: Schedule
    retry_refused: bool
    wait_for_server: bool
    max_message_size: int
    max_queued: int
    close_within: float

    def __post_init__(self) -> None:
        for name in ("answer_within", "connect_within", "heartbeat", "heartbeat_within"):
            seconds = getattr(self, name)
            if not (isinstance(seconds, (int, float)) and seconds > 0):
                raise ValueError(f"{name} must be a positive number of seconds, got {seconds!r}")
        if not 0 <= self.close_within < math.inf:
            raise ValueError(
                f"close_within must be a number of seconds from 0 up, got {self.close_within!r}"
            )
        for name in ("max_message_size", "max_queued"):
            size = getattr(self, name)
            if not (isinstance(size, int) and size > 0):
                raise ValueError(f"{name} must be at least 1 byte, got {size!r}")
        if self.ssl_context is not None and not self.address.secure:
            raise ValueError(f"an ssl_context is for wss, and the URL is {self.address.url!r}")
        if self.wait_for_server and self.reconnect is None:
            raise ValueError("wait_for_server needs the delays of reconnect, which is None")


async def resolved(source: Any) -> Any:
    """Return what was given, or what the function returns that was given, async or not."""
    given = source() if callable(source) else source
    return await given if isinstance(given, Awaitable) else given

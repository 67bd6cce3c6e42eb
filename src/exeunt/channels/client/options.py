"""What a socket of a client was told: checked once, where `connect` is called.

Plain data. What each option means stands in the documentation of `connect`.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
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
        within: object = self.close_within
        if not (isinstance(within, (int, float)) and 0 <= within < math.inf):
            raise ValueError(f"close_within must be a number of seconds from 0 up, got {within!r}")
        for name in ("reconnect", "rejoin"):
            schedule: object = getattr(self, name)
            is_none = schedule is None and name == "reconnect"
            if isinstance(schedule, type) or not (is_none or hasattr(schedule, "delay")):
                none = ", or None for no new connection" if name == "reconnect" else ""
                raise TypeError(f"{name} must be Delays(…){none}, got {schedule!r:.100}")
        context: object = self.ssl_context
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, got {context!r:.100}")
        params: object = self.params
        if not (callable(params) or isinstance(params, Mapping)):
            raise TypeError(f"params must be a mapping or a function, got {params!r:.100}")
        token: object = self.auth_token
        if not (token is None or callable(token) or isinstance(token, str)):
            raise TypeError(f"auth_token must be a string, got {type(token).__name__}")
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

"""The errors of the client: what can become of a connection, a join, and a push.

All are `ClientError`, and each says whose doing it was. What is used wrongly (a payload that is not
JSON, a topic joined twice) is a `TypeError` or `ValueError`, raised where the mistake was made.

| error | what it means |
|---|---|
| `ConnectFailed` | there is no connection: no server, or it has refused |
| `Disconnected` | there was a connection, and it is gone |
| `JoinRefused` | the server does not want this client on the topic |
| `JoinTimeout` | the server has not answered a join in time |
| `ReplyError` | the server has answered a push with another status than "ok" |
| `PushTimeout` | the server has not answered a push in time |
| `NotJoined` | the channel is not joined at the moment, so nothing can be sent on it |
| `ChannelCrashed` | the channel's process on the server crashed with the push unanswered |
| `ChannelClosed` | the channel was closed for good, by the server or by leaving it |
| `SendQueueFull` | the server does not read what is sent to it |
| `EventsLost` | more events came than were taken, and the oldest are lost |
"""

from __future__ import annotations

from typing import Any, TypeVar

from exeunt.channels.errors import in_seconds

__all__ = [
    "ChannelClosed",
    "ChannelCrashed",
    "ClientError",
    "ConnectFailed",
    "Disconnected",
    "EventsLost",
    "JoinRefused",
    "JoinTimeout",
    "NotJoined",
    "PushTimeout",
    "ReplyError",
    "SendQueueFull",
]

_E = TypeVar("_E", bound=Exception)

_CODES = {
    1000: "normal closure",
    1001: "the server has sent this client away",
    1002: "protocol error",
    1005: "no code given",
    1006: "no close frame came",
    1007: "text that is not UTF-8",
    1008: "policy violation",
    1009: "a message was too big",
    1011: "the server failed, as it does on a message that it cannot read",
    1012: "the server restarts",
    1013: "the server is overloaded, or this client too slow",
}


class ClientError(Exception):
    """Something that can happen to a client without anybody having used it wrongly."""


class ConnectFailed(ClientError):
    """No connection came about.

    `status` is the HTTP status if the server answered with one, None if it was not reached or
    spoke no HTTP; `body` is the beginning of what it answered.
    """

    def __init__(
        self, url: str, detail: str, *, status: int | None = None, body: bytes = b""
    ) -> None:
        super().__init__(url, detail)
        self.url = url
        self.detail = detail
        self.status = status
        self.body = body

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.detail}"

    @property
    def is_refusal(self) -> bool:
        """Whether the server has understood, and said no (401 or 403)."""
        return self.status in (401, 403)


class Disconnected(ClientError):
    """The connection has ended.

    `code` is the WebSocket close code, 1006 if no close frame came, and `reason` the text of the
    close frame, empty as a rule. `by` tells who ended it, None if the network did. A push that
    this error ends may have been handled by the server, or not.
    """

    def __init__(self, code: int, reason: str = "", *, by: str | None, detail: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.by = by
        self.detail = detail

    def __str__(self) -> str:
        meaning = self.reason or self.detail or _CODES.get(self.code, "")
        if self.by is None:
            return f"the connection was lost: {meaning}"
        return f"the connection was closed by the {self.by} with code {self.code}" + (
            f": {meaning}" if meaning else ""
        )


class JoinRefused(ClientError):
    """The server has answered a join with an error; `response` is what it said."""

    def __init__(self, topic: str, response: Any) -> None:
        super().__init__(topic, response)
        self.topic = topic
        self.response = response

    def __str__(self) -> str:
        return f"the join of {self.topic!r} was refused: {self.response!r}"


class JoinTimeout(ClientError):
    """The server has not answered a join in time. If it does later, it is told to leave."""

    def __init__(self, topic: str, seconds: float) -> None:
        super().__init__(topic, seconds)
        self.topic = topic
        self.seconds = seconds

    def __str__(self) -> str:
        return f"the join of {self.topic!r} was not answered within {in_seconds(self.seconds)}"


class ReplyError(ClientError):
    """A push was answered with another status than "ok"; `response` is what came with it."""

    def __init__(self, topic: str, event: str, status: str, response: Any) -> None:
        super().__init__(topic, event, status, response)
        self.topic = topic
        self.event = event
        self.status = status
        self.response = response

    def __str__(self) -> str:
        return f"{self.event!r} on {self.topic!r} was answered {self.status!r}: {self.response!r}"


class PushTimeout(ClientError):
    """A push was not answered in time. An answer that comes later vanishes.

    `was_sent` is False if the channel was away for all that time, so that nothing was sent.
    """

    def __init__(self, topic: str, event: str, seconds: float, was_sent: bool = True) -> None:
        super().__init__(topic, event, seconds, was_sent)
        self.topic = topic
        self.event = event
        self.seconds = seconds
        self.was_sent = was_sent

    def __str__(self) -> str:
        what = (
            f"{self.event!r} on {self.topic!r} was not answered within {in_seconds(self.seconds)}"
        )
        if self.topic == "phoenix":
            return what  # a heartbeat, which no handler answers
        if not self.was_sent:
            return f"{what} (it was not sent, as the channel was not joined)"
        return f"{what} (the handler may have returned None, which is no answer)"


class NotJoined(ClientError):
    """The channel is not joined at the moment; nothing was sent.

    It is being joined again. `wait_joined` waits for that, and so does a push with `wait=True`.
    """

    def __init__(self, topic: str, detail: str) -> None:
        super().__init__(topic, detail)
        self.topic = topic
        self.detail = detail

    def __str__(self) -> str:
        return (
            f"{self.topic!r} is not joined at the moment ({self.detail}); "
            "wait_joined() waits until it is"
        )


class ChannelCrashed(ClientError):
    """The channel ended on the server in another way than by closing. It is joined again."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic

    def __str__(self) -> str:
        return f"the channel {self.topic!r} crashed on the server"


class ChannelClosed(ClientError):
    """The channel is closed for good: `by` the server, or by the client."""

    def __init__(self, topic: str, by: str) -> None:
        super().__init__(topic, by)
        self.topic = topic
        self.by = by

    def __str__(self) -> str:
        return f"the channel {self.topic!r} was closed by the {self.by}"


class SendQueueFull(ClientError):
    """More would wait for the server to read it than `max_queued` allows; nothing was sent."""

    def __init__(self, queued: int, size: int, limit: int) -> None:
        super().__init__(queued, size, limit)
        self.queued = queued
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"a message of {self.size} bytes was not sent: {self.queued} bytes wait for the server "
            f"to read them, and max_queued is {self.limit}"
        )


class EventsLost(ClientError):
    """`count` events were thrown away since the last one that was received."""

    def __init__(self, topic: str, count: int) -> None:
        super().__init__(topic, count)
        self.topic = topic
        self.count = count

    def __str__(self) -> str:
        return (
            f"{self.count} events on {self.topic!r} are lost, because they came faster than they "
            "were received"
        )


def afresh(error: _E) -> _E:
    """Return the same error to be raised anew: without a traceback, for one more task."""
    other = type(error).__new__(type(error), *error.args)
    vars(other).update(vars(error))
    return other

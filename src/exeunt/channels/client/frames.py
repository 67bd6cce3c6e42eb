"""The wire from the client's side: what it sends, what it is sent, and frames with a mask.

    >>> CLIENT_V2.encode("4", "5", "room:lobby", "shout", {"body": "hi"}).data
    b'["4","5","room:lobby","shout",{"body":"hi"}]'
    >>> CLIENT_V2.decode('["4","5","room:lobby","phx_reply",{"status":"ok","response":{}}]').ref
    '5'

Plain data, no I/O; the counterpart of `exeunt.channels.wire`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from exeunt.channels.errors import PayloadError, ProtocolError
from exeunt.channels.payloads import check_value
from exeunt.channels.wire import JSON_V1, JSON_V2, Binary, Encoded, Message, _encode, _pack

__all__ = [
    "CLIENT_V1",
    "CLIENT_V2",
    "ClientSerializer",
    "Event",
    "Incoming",
    "Reply",
    "Version",
    "client_serializer",
    "masked_close",
    "masked_frame",
    "reply_of",
]

Version: TypeAlias = Literal["1.0.0", "2.0.0"]
"""The versions of the protocol."""

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as a server sent it; a ref that is absent or empty is None."""

    join_ref: object
    ref: object
    topic: str
    event: str
    payload: Any


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a server has pushed or broadcast on a topic.

    `payload` is a JSON object as a rule, and a `Binary` if it came as raw bytes. `join_ref` names
    the join during which it came: it changes when the channel is joined again.
    """

    topic: str
    event: str
    payload: Any
    join_ref: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a message: `response` is any JSON value, or `Binary`."""

    status: str
    response: Any


class ClientSerializer(Protocol):
    """One version of the wire format, from the client's side.

    `encode` raises `PayloadError` for what cannot be sent; `decode` raises `ProtocolError`, and
    nothing else, for everything that is not a message of a server.
    """

    @property
    def version(self) -> Version: ...

    def encode(
        self, join_ref: str | None, ref: str, topic: str, event: str, payload: object
    ) -> Encoded: ...

    def decode(self, data: str | bytes) -> Incoming: ...


# The fields of each binary layout of a server, after the byte of its kind and their sizes.
_LAYOUTS = {
    0: ("join_ref", "topic", "event"),
    1: ("join_ref", "ref", "topic", "event"),
    2: ("topic", "event"),
}


class ClientV2:
    """Version 2: arrays of five, and a binary layout for payloads of raw bytes."""

    version: Version = "2.0.0"

    def encode(
        self, join_ref: str | None, ref: str, topic: str, event: str, payload: object
    ) -> Encoded:
        """Encode a message; the payload is any JSON value, or `Binary`."""
        if type(payload) is Binary:
            return _pack(0, (join_ref, ref, topic, event), payload.data)
        check_value(payload, "payload")
        return _encode([join_ref, ref, topic, event, payload], payload)

    def decode(self, data: str | bytes) -> Incoming:
        """Decode a WebSocket message: a `str` came as text, `bytes` came as binary."""
        if isinstance(data, str):
            return _checked(JSON_V2.decode_text(data))
        names = _LAYOUTS.get(data[0]) if data else None
        if names is None or len(data) < 1 + len(names):
            raise ProtocolError("a binary message begins with 00, 01 or 02, and sizes")
        start = 1 + len(names)
        fields: dict[str, str] = {}
        for name, size in zip(names, data[1:start], strict=True):
            if start + size > len(data):
                raise ProtocolError("a binary message is shorter than the sizes in it")
            try:
                fields[name] = str(data[start : start + size], "utf-8")
            except UnicodeDecodeError as error:
                raise ProtocolError(f"a binary message holds bad UTF-8: {error}") from None
            start += size
        event, payload = fields["event"], Binary(data[start:])
        join_ref, ref = fields.get("join_ref") or None, fields.get("ref") or None
        if data[0] == 1:
            reply = {"status": event, "response": payload}
            return Incoming(join_ref, ref, fields["topic"], "phx_reply", reply)
        return Incoming(join_ref, ref, fields["topic"], event, payload)


class ClientV1:
    """Version 1: objects, without payloads of raw bytes; a server never tells the join ref."""

    version: Version = "1.0.0"

    def encode(
        self, join_ref: str | None, ref: str, topic: str, event: str, payload: object
    ) -> Encoded:
        """Encode a message; the payload is any JSON value."""
        if type(payload) is Binary:
            raise PayloadError("version 1 of the protocol has no binary payloads: send JSON")
        check_value(payload, "payload")
        frame = {"topic": topic, "event": event, "payload": payload, "ref": ref}
        return _encode({**frame, "join_ref": join_ref}, payload)

    def decode(self, data: str | bytes) -> Incoming:
        """Decode a WebSocket message. The end of a channel has the join ref for its ref."""
        message = JSON_V1.decode(data)
        incoming = _checked(message)
        if incoming.event in ("phx_close", "phx_error"):
            return Incoming(
                incoming.ref, incoming.ref, incoming.topic, incoming.event, incoming.payload
            )
        return incoming


CLIENT_V1 = ClientV1()
CLIENT_V2 = ClientV2()


def client_serializer(version: Version) -> ClientSerializer:
    """Return the serializer of a version; `ValueError` if there is no such version."""
    for one in (CLIENT_V1, CLIENT_V2):
        if one.version == version:
            return one
    raise ValueError(f"vsn must be '1.0.0' or '2.0.0', got {version!r}")


def reply_of(message: Incoming) -> Reply:
    """Return what a `phx_reply` holds; `ProtocolError` if it holds none."""
    match message.payload:
        case {"status": str(status), **rest}:
            return Reply(status, rest.get("response"))
        case payload:
            raise ProtocolError(f"a reply must have a status, got {payload!r:.100}")


def _checked(message: Message) -> Incoming:
    topic, event = message.topic, message.event
    if not isinstance(topic, str) or not isinstance(event, str):
        raise ProtocolError(
            f"topic and event must be strings, got {topic!r:.100} and {event!r:.100}"
        )
    join_ref = None if message.join_ref == "" else message.join_ref
    return Incoming(join_ref, message.ref, topic, event, message.payload)


def masked_frame(message: Encoded, mask: bytes) -> bytes:
    """Return a message as one whole WebSocket frame of a client, with a mask of four bytes.

    RFC 6455, section 5.3: each frame has a mask of its own, which nobody can guess.
    """
    return _masked(BINARY if message.binary else TEXT, message.data, mask)


def masked_close(code: int, reason: str, mask: bytes) -> bytes:
    """Return a close frame of a client; the reason is cut to the 123 bytes that there are."""
    text = reason.encode("utf-8")[:123].decode("utf-8", "ignore").encode()
    return _masked(CLOSE, code.to_bytes(2, "big") + text, mask)


def _masked(opcode: int, payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    # As two large numbers: the mask is repeated, and all bytes are combined at once.
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return head + mask + (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")

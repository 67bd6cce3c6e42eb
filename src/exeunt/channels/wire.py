"""Messages of the channel protocol and their encodings: plain data, no I/O.

A channel message has five fields. How they look on the wire depends on the version that a client
asked for, so everything above this module handles `Message` and a `Serializer`, and never JSON.
An encoded message is framed for WebSocket here too, since a server's frames are not masked: a
broadcast is encoded once and framed once, and the same bytes go to every subscriber.

    >>> wire = JSONSerializerV2()
    >>> message = wire.decode('["4", "5", "room:lobby", "shout", {"body": "hi"}]')
    >>> message.topic, message.event, message.payload
    ('room:lobby', 'shout', {'body': 'hi'})
    >>> wire.encode_reply("4", "5", "room:lobby", "ok", {}).data
    b'["4","5","room:lobby","phx_reply",{"status":"ok","response":{}}]'
"""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

from exeunt.channels.errors import PayloadError, ProtocolError
from exeunt.channels.first_keys import may_repeat_keys, with_first_keys
from exeunt.channels.payloads import check_object, check_value, explain, to_builtin

__all__ = [
    "JSON_V1",
    "JSON_V2",
    "Binary",
    "Encoded",
    "JSONSerializerV1",
    "JSONSerializerV2",
    "Message",
    "Serializer",
    "binary_frame",
    "close_frame",
    "ping_frame",
    "same_ref",
    "serializer_for",
    "text_frame",
]


class Message(msgspec.Struct, frozen=True, array_like=True):
    """A message as a client sent it.

    Every field holds whatever JSON value the client wrote there: a ref keeps its type, and a topic
    or an event need not be a string. `payload` is typed `Any` because it is handed to the user's
    code, which knows its shape; it is a `Binary` when the message came in a binary frame.
    """

    join_ref: object
    ref: object
    topic: object
    event: object
    payload: Any


class Binary(msgspec.Struct, frozen=True):
    """A payload of raw bytes, received in or to be sent in a binary frame."""

    data: bytes


class Encoded(msgspec.Struct, eq=False):
    """An encoded message: `data` as it travels, and whether it is binary rather than text.

    One `Encoded` may go to any number of clients; its frame is made once.
    """

    data: bytes
    binary: bool = False
    _frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The message as one whole WebSocket frame."""
        if self._frame is None:
            self._frame = binary_frame(self.data) if self.binary else text_frame(self.data)
        return self._frame


class Serializer(Protocol):
    """One version of the wire format.

    The `encode_…` methods raise `PayloadError` for what cannot be sent; `decode` raises
    `ProtocolError`, and nothing else, for everything that is not a message.
    """

    @property
    def version(self) -> str: ...

    def decode(self, data: str | bytes) -> Message: ...

    def encode_reply(
        self, join_ref: object, ref: object, topic: object, status: str, response: object
    ) -> Encoded: ...

    def encode_push(self, join_ref: object, topic: str, event: str, payload: object) -> Encoded: ...

    def encode_broadcast(self, topic: str, event: str, payload: object) -> Encoded: ...

    def encode_close(self, join_ref: object, topic: str) -> Encoded: ...

    def encode_error(self, join_ref: object, topic: str) -> Encoded: ...

    def encode_heartbeat(self, ref: object) -> Encoded: ...


_NOTHING: dict[str, object] = {}
_CRASH = {"reason": "channel_crash"}
_encoder = msgspec.json.Encoder(enc_hook=to_builtin)
# UnicodeError is a ValueError; MsgspecError is one only in later versions of msgspec.
_CANNOT_DECODE = (msgspec.MsgspecError, ValueError, RecursionError)
_decoder_v2 = msgspec.json.Decoder(Message)


class JSONSerializerV2:
    """Version 2: a JSON array of five, and a binary layout for payloads of raw bytes."""

    version = "2.0.0"

    def decode(self, data: str | bytes) -> Message:
        """Decode a WebSocket message: a `str` came as text, `bytes` came as binary."""
        if isinstance(data, str):
            return self.decode_text(data)
        return self.decode_binary(data)

    def decode_text(self, data: str | bytes) -> Message:
        """Decode `[join_ref, ref, topic, event, payload]`; elements beyond the fifth are ignored.

        Integers may be of any size that Python converts (4,300 digits); nesting is bounded by the
        interpreter's recursion limit. Of a key that is there twice the first one counts.

        Phoenix: neither has a bound there. Here a text that is too deep (some 900 levels), or has
        too long an integer, is refused with 1011, as a malformed one is.

        Raises `ProtocolError` for everything else that can come: bad JSON, bad UTF-8, `NaN`,
        lone surrogates, another value than an array, fewer than five elements.
        """
        try:
            m = _decoder_v2.decode(data)
        except _CANNOT_DECODE as error:
            raise ProtocolError(f"not a message of version 2: {error}") from None
        if may_repeat_keys(data, 0, (m.join_ref, m.ref, m.topic, m.event, m.payload)):
            first: list[Any] | None = with_first_keys(data)
            if first is not None:
                return Message(*first[:5])
        return m

    def decode_binary(self, data: bytes) -> Message:
        """Decode `00 | 4 sizes | join_ref | ref | topic | event | data`, sizes of one byte each.

        An absent ref is `""`, not null: the layout cannot tell them apart.
        """
        if len(data) < 5 or data[0] != 0:
            wanted = "not a binary push of version 2: it begins 00 and four sizes"
            raise ProtocolError(wanted, is_layout=True)
        fields: list[str] = []
        start = 5
        for size in data[1:5]:
            end = start + size
            if end > len(data):
                short = "a binary push is shorter than the sizes in it"
                raise ProtocolError(short, is_layout=True)
            try:
                fields.append(str(data[start:end], "utf-8"))
            except UnicodeDecodeError as error:
                raise ProtocolError(f"a binary push holds bad UTF-8: {error}") from None
            start = end
        join_ref, ref, topic, event = fields
        return Message(join_ref, ref, topic, event, Binary(data[start:]))

    def encode_reply(
        self, join_ref: object, ref: object, topic: object, status: str, response: object
    ) -> Encoded:
        """Encode the answer to the message `ref`; `response` is any JSON value, or `Binary`."""
        _check_text(status, "a status")
        if type(response) is Binary:
            return _pack(1, (join_ref, ref, topic, status), response.data)
        check_value(response, "response")
        body = {"status": status, "response": response}
        return _encode([join_ref, ref, topic, "phx_reply", body], response, "response")

    def encode_push(self, join_ref: object, topic: str, event: str, payload: object) -> Encoded:
        """Encode a push from a channel to its client; the payload is an object, or `Binary`."""
        _check_text(event, "an event")
        if type(payload) is Binary:
            return _pack(0, (join_ref, topic, event), payload.data)
        check_object(payload, "payload")
        return _encode([join_ref, None, topic, event, payload], payload)

    def encode_broadcast(self, topic: str, event: str, payload: object) -> Encoded:
        """Encode a message to all subscribers of a topic; the payload is an object, or `Binary`."""
        _check_text(event, "an event")
        if type(payload) is Binary:
            return _pack(2, (topic, event), payload.data)
        check_object(payload, "payload")
        return _encode([None, None, topic, event, payload], payload)

    def encode_close(self, join_ref: object, topic: str) -> Encoded:
        """Encode the end of a channel that ended well; its ref is the join ref once more."""
        return _encode([join_ref, join_ref, topic, "phx_close", _NOTHING])

    def encode_error(self, join_ref: object, topic: str) -> Encoded:
        """Encode the end of a channel that crashed; the client joins again after a while."""
        return _encode([join_ref, join_ref, topic, "phx_error", _CRASH])

    def encode_heartbeat(self, ref: object) -> Encoded:
        """Encode the answer to a heartbeat; its join ref is null whatever the client sent."""
        return _encode([None, ref, "phoenix", "phx_reply", {"status": "ok", "response": _NOTHING}])


class _MessageV1(msgspec.Struct, frozen=True):
    topic: object
    event: object
    payload: Any
    ref: object
    join_ref: object = None


_decoder_v1 = msgspec.json.Decoder(_MessageV1)


class JSONSerializerV1:
    """Version 1: a JSON object, for clients of long ago; it never tells the join ref."""

    version = "1.0.0"

    def decode(self, data: str | bytes) -> Message:
        """Decode `{"topic", "event", "payload", "ref"}` and an optional `"join_ref"`.

        Whether the frame was text or binary makes no difference.
        """
        try:
            m = _decoder_v1.decode(data)
        except _CANNOT_DECODE as error:
            raise ProtocolError(f"not a message of version 1: {error}") from None
        fields = (m.join_ref, m.ref, m.topic, m.event, m.payload)
        # The ref of a join need not be there. A text is read twice also where it has a key that is
        # none of ours, or that ref as null.
        own_keys = len(fields) - (m.join_ref is None)
        if may_repeat_keys(data, own_keys, fields):
            first: dict[str, Any] | None = with_first_keys(data)
            if first is not None:
                return Message(*map(first.get, ("join_ref", "ref", "topic", "event", "payload")))
        return Message(*fields)

    def encode_reply(
        self, join_ref: object, ref: object, topic: object, status: str, response: object
    ) -> Encoded:
        """Encode the answer to the message `ref`; `response` is any JSON value."""
        _check_text(status, "a status")
        self._refuse_bytes(response)
        check_value(response, "response")
        return self._encode(topic, "phx_reply", {"status": status, "response": response}, ref)

    def encode_push(self, join_ref: object, topic: str, event: str, payload: object) -> Encoded:
        """Encode a push from a channel to its client; the payload is an object."""
        _check_text(event, "an event")
        self._refuse_bytes(payload)
        check_object(payload, "payload")
        return self._encode(topic, event, payload, None)

    def encode_broadcast(self, topic: str, event: str, payload: object) -> Encoded:
        """Encode a message to all subscribers of a topic; the payload is an object."""
        return self.encode_push(None, topic, event, payload)

    def encode_close(self, join_ref: object, topic: str) -> Encoded:
        """Encode the end of a channel that ended well."""
        return self._encode(topic, "phx_close", _NOTHING, join_ref)

    def encode_error(self, join_ref: object, topic: str) -> Encoded:
        """Encode the end of a channel that crashed."""
        return self._encode(topic, "phx_error", _CRASH, join_ref)

    def encode_heartbeat(self, ref: object) -> Encoded:
        """Encode the answer to a heartbeat."""
        return self._encode("phoenix", "phx_reply", {"status": "ok", "response": _NOTHING}, ref)

    def _refuse_bytes(self, payload: object) -> None:
        if type(payload) is Binary:
            raise PayloadError("version 1 of the protocol has no binary payloads: send JSON")

    def _encode(self, topic: object, event: str, payload: object, ref: object) -> Encoded:
        return _encode({"topic": topic, "event": event, "payload": payload, "ref": ref}, payload)


JSON_V1 = JSONSerializerV1()
JSON_V2 = JSONSerializerV2()

_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


def serializer_for(version: object) -> Serializer | None:
    """Return the serializer for the connection parameter `vsn`, None if none fits.

    The parameter is a whole semantic version; `1.0.x` and `2.0.x` fit (`~> 1.0.0` and `~> 2.0.0`
    in Phoenix.Socket), a pre-release of `x.0.0` does not. Anything that is no string, or no
    version, fits nothing. A client that sends no `vsn` means `"1.0.0"`; that is for the caller.
    """
    match = _SEMVER.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        return None
    major, minor, patch, prerelease = match.groups()
    if minor != "0" or (patch == "0" and prerelease):
        return None
    if major == "1":
        return JSON_V1
    return JSON_V2 if major == "2" else None


def same_ref(one: object, other: object) -> bool:
    """Compare two refs as the protocol does: `1`, `1.0`, `true` and `"1"` are four refs."""
    return one == other and type(one) is type(other)


def _check_text(given: object, what: str) -> None:
    if not isinstance(given, str):
        raise PayloadError(f"{what} is a string, not {given!r:.60}")


def _encode(frame: object, payload: object = None, name: str = "payload") -> Encoded:
    try:
        return Encoded(_encoder.encode(frame))
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        # The payload was found plain, so this is a lone surrogate, or a field beside the payload.
        explain(payload, name)
        explain(frame, "frame")
        raise PayloadError(f"the frame cannot be encoded as JSON: {error}") from error


def _pack(kind: int, fields: tuple[object, ...], data: bytes) -> Encoded:
    encoded = [_field(field) for field in fields]
    sizes = bytes([kind, *map(len, encoded)])
    return Encoded(b"".join([sizes, *encoded, data]), binary=True)


def _field(value: object) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise PayloadError(
            f"a field of a binary message must be a string, an integer or None, got {value!r}"
        )
    try:
        field = str(value).encode()
    except ValueError as error:
        raise PayloadError(f"a field of a binary message cannot be encoded: {error}") from None
    if len(field) > 255:
        raise PayloadError(
            f"a field of a binary message holds at most 255 bytes, got {len(field)}: {value!r:.60}"
        )
    return field


# RFC 6455, section 5.2: FIN and the opcode in the first byte; the length in the second, or in the
# two or eight bytes behind it. No mask: only clients mask.
_TEXT, _BINARY, _CLOSE, _PING = 0x81, 0x82, 0x88, 0x89
_SHORT = {op: [bytes((op, size)) for size in range(126)] for op in (_TEXT, _BINARY)}


def text_frame(payload: bytes) -> bytes:
    """Return `payload`, which is UTF-8, as one whole unmasked text frame."""
    return _header(_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return `payload` as one whole unmasked binary frame."""
    return _header(_BINARY, len(payload)) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """Return a close frame; a `code` of None makes an empty one. The reason is cut to 123 bytes."""
    if code is None:
        return b"\x88\x00"
    text = reason.encode("utf-8", "replace")[:123]
    text = text.decode("utf-8", "ignore").encode()  # not cut within a character
    return bytes((_CLOSE, 2 + len(text))) + code.to_bytes(2, "big") + text


def ping_frame(payload: bytes = b"") -> bytes:
    """Return a ping of at most 125 bytes."""
    if len(payload) > 125:
        raise ValueError(f"a ping holds at most 125 bytes, got {len(payload)}")
    return bytes((_PING, len(payload))) + payload


def _header(op: int, size: int) -> bytes:
    if size < 126:
        return _SHORT[op][size]
    if size < 65536:
        return bytes((op, 126)) + size.to_bytes(2, "big")
    return bytes((op, 127)) + size.to_bytes(8, "big")

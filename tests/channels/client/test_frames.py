"""The wire from the client's side: it meets the server's side, and survives whatever comes."""

from __future__ import annotations

import doctest
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from exeunt.channels import Binary, PayloadError, ProtocolError
from exeunt.channels.client import frames
from exeunt.channels.client.frames import (
    CLIENT_V1,
    CLIENT_V2,
    ClientSerializer,
    Reply,
    client_serializer,
    masked_close,
    masked_frame,
    reply_of,
)
from exeunt.channels.wire import JSON_V1, JSON_V2, Encoded
from tests.conformance.phoenix.transcripts import GOLDEN, read

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3
        )
    ),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
refs = st.none() | st.integers(1, 10**9).map(str)


def test_the_examples_of_the_module_hold() -> None:
    assert doctest.testmod(frames) == doctest.TestResults(failed=0, attempted=2)


@given(refs, st.integers(1, 10**9).map(str), names, names, values)
def test_the_server_reads_what_the_client_writes(
    join_ref: str | None, ref: str, topic: str, event: str, payload: Any
) -> None:
    for client, server in ((CLIENT_V2, JSON_V2), (CLIENT_V1, JSON_V1)):
        message = server.decode(client.encode(join_ref, ref, topic, event, payload).data.decode())
        assert (message.join_ref, message.ref) == (join_ref, ref)
        assert (message.topic, message.event, message.payload) == (topic, event, payload)


@given(refs, st.integers(1, 10**9).map(str), names, names, st.binary())
def test_the_server_reads_raw_bytes_of_the_client(
    join_ref: str | None, ref: str, topic: str, event: str, data: bytes
) -> None:
    encoded = CLIENT_V2.encode(join_ref, ref, topic, event, Binary(data))
    assert encoded.binary
    message = JSON_V2.decode(encoded.data)
    assert (message.join_ref, message.ref) == (join_ref or "", ref)
    assert (message.topic, message.event, message.payload) == (topic, event, Binary(data))


def as_sent(encoded: Encoded) -> str | bytes:
    return encoded.data if encoded.binary else encoded.data.decode()


@given(refs, names, names, values, st.binary())
def test_the_client_reads_what_the_server_writes(
    ref: str | None, topic: str, event: str, response: Any, data: bytes
) -> None:
    answers: list[tuple[Any, Any]] = [(response, response), (Binary(data), Binary(data))]
    for given_response, expected in answers:
        message = CLIENT_V2.decode(
            as_sent(JSON_V2.encode_reply(ref, ref, topic, "ok", given_response))
        )
        assert (message.join_ref, message.ref, message.topic) == (ref, ref, topic)
        assert message.event == "phx_reply"
        assert reply_of(message) == Reply("ok", expected)
    for payload in ({"value": response}, Binary(data)):
        pushed = CLIENT_V2.decode(as_sent(JSON_V2.encode_push(ref, topic, event, payload)))
        assert (pushed.join_ref, pushed.ref) == (ref, None)
        told = CLIENT_V2.decode(as_sent(JSON_V2.encode_broadcast(topic, event, payload)))
        assert (told.join_ref, told.ref) == (None, None)
        for one in (pushed, told):
            assert (one.topic, one.event, one.payload) == (topic, event, payload)


@pytest.mark.parametrize("serializer", [CLIENT_V1, CLIENT_V2], ids=["V1", "V2"])
@given(data=st.binary() | st.text() | values.map(json.dumps) | st.lists(values).map(json.dumps))
def test_whatever_comes_is_a_message_or_the_one_error(
    serializer: ClientSerializer, data: str | bytes
) -> None:
    try:
        message = serializer.decode(data)
    except ProtocolError:
        return
    assert [type(message.topic), type(message.event)] == [str, str]
    try:
        reply_of(message)
    except ProtocolError:
        pass


LAYOUTS = {
    "push": (0, ("join_ref", "topic", "event")),
    "reply": (1, ("join_ref", "ref", "topic", "status")),
    "broadcast": (2, ("topic", "event")),
}


def recorded() -> Iterator[tuple[dict[str, Any], str | bytes]]:
    """Yield what a real Phoenix has sent to clients of version 2, as recorded and as it came."""
    for path in sorted(GOLDEN.glob("*/*.json")):
        for conn in read(path).conns:
            for frame in conn["frames"] if "vsn=2" in conn.get("url", "") else ():
                if frame.get("dir") != "in":
                    continue
                if "json" in frame and isinstance(frame["json"][2], str):
                    yield frame, json.dumps(frame["json"])
                elif "bytes)" not in frame.get("bin", {}).get("data", "bytes)"):
                    kind, fields = LAYOUTS[frame["bin"]["kind"]]
                    parts = [frame["bin"][name].encode() for name in fields]
                    sizes = bytes([kind, *map(len, parts)])
                    yield frame, sizes + b"".join(parts) + bytes.fromhex(frame["bin"]["data"])


def test_the_client_understands_what_a_real_phoenix_has_sent() -> None:
    seen = {"json": 0, "bin": 0}
    for frame, data in recorded():
        message = CLIENT_V2.decode(data)
        if "json" in frame:
            seen["json"] += 1
            fields = [message.join_ref, message.ref, message.topic, message.event, message.payload]
            assert fields == frame["json"]
        else:
            seen["bin"] += 1
            assert message.topic == frame["bin"]["topic"]
        if message.event == "phx_reply":
            assert reply_of(message).status
    assert seen["json"] > 300
    assert seen["bin"] > 5


def test_a_server_of_version_1_ends_a_channel_by_its_join_ref() -> None:
    for encoded in (JSON_V1.encode_close("4", "a"), JSON_V1.encode_error("4", "a")):
        assert CLIENT_V1.decode(as_sent(encoded)).join_ref == "4"
    reply = CLIENT_V1.decode(as_sent(JSON_V1.encode_reply("4", "5", "a", "ok", {})))
    assert (reply.join_ref, reply.ref) == (None, "5")


def test_what_cannot_be_sent_is_refused_with_its_path() -> None:
    with pytest.raises(PayloadError, match=r"payload\.at"):
        CLIENT_V2.encode("1", "2", "a", "x", {"at": object()})
    with pytest.raises(PayloadError, match="255 bytes"):
        CLIENT_V2.encode("1", "2", "a" * 256, "x", Binary(b""))
    with pytest.raises(PayloadError, match="surrogate"):
        CLIENT_V2.encode("1", "2", "a", "x", {"text": "\ud800"})
    with pytest.raises(ValueError, match=r"2\.0\.0"):
        client_serializer("3.0.0")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 65535, 65536, 100_001])
@pytest.mark.parametrize("binary", [False, True])
def test_a_masked_frame_is_what_a_server_expects(size: int, binary: bool) -> None:
    data = bytes(ord("a") + at % 26 for at in range(size))
    server = Connection(ConnectionType.SERVER)
    server.receive_data(masked_frame(Encoded(data, binary), b"\x01\xfe\x00\x80"))
    [event] = [*server.events()]
    if binary:
        assert isinstance(event, BytesMessage) and bytes(event.data) == data
    else:
        assert isinstance(event, TextMessage) and event.data == data.decode()


def test_a_close_frame_is_what_a_server_expects_and_never_too_long() -> None:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(masked_close(3001, "é" * 100, b"\x09\x08\x07\x06"))
    [event] = [*server.events()]
    assert isinstance(event, CloseConnection)
    assert (event.code, event.reason) == (3001, "é" * 61)

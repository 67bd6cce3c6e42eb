"""The wire formats: what decodes, what is refused, and that no input does anything else."""

from __future__ import annotations

import doctest
import enum
import json
import math
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from exeunt.channels import http_messages, payloads, wire
from exeunt.channels.errors import PayloadError, ProtocolError
from exeunt.channels.wire import (
    JSON_V1,
    JSON_V2,
    Binary,
    Encoded,
    Message,
    Serializer,
    binary_frame,
    close_frame,
    ping_frame,
    same_ref,
    serializer_for,
    text_frame,
)

json_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
json_values = st.recursive(
    json_leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)
refs = st.none() | st.text(max_size=8) | st.integers()


# -- version 2, text


def test_a_frame_decodes_into_its_five_fields() -> None:
    message = JSON_V2.decode_text('["4","5","room:1","shout",{"body":"hé"}]')
    assert message == Message("4", "5", "room:1", "shout", {"body": "hé"})


def test_text_may_come_as_utf8_bytes() -> None:
    assert JSON_V2.decode_text(b'["4","5","t","e","h\xc3\xa9"]').payload == "hé"


def test_elements_beyond_the_fifth_are_ignored() -> None:
    assert JSON_V2.decode('[1,2,"t","e",{},7,[8]]') == Message(1, 2, "t", "e", {})


@pytest.mark.parametrize(
    "ref", ["7", 7, 7.5, None, True, 10**30, -(10**30), "", ["odd"], {"o": "dd"}]
)
def test_refs_keep_their_json_type_from_client_to_reply(ref: object) -> None:
    message = JSON_V2.decode(json.dumps([ref, ref, "t", "e", {}]))
    assert same_ref(message.ref, ref)
    assert same_ref(message.join_ref, ref)
    reply = json.loads(JSON_V2.encode_reply(ref, message.ref, "t", "ok", {}).data)
    assert same_ref(reply[0], ref)
    assert same_ref(reply[1], ref)


def test_refs_are_compared_strictly() -> None:
    assert same_ref("1", "1")
    assert same_ref(None, None)
    assert not same_ref("1", 1)
    assert not same_ref(1, True)
    assert not same_ref(1, 1.0)
    assert not same_ref(None, "")


@pytest.mark.parametrize("payload", [[1], "s", 3, None, True, {}, 1.5])
def test_a_payload_may_come_in_as_any_json_value(payload: object) -> None:
    assert JSON_V2.decode(json.dumps(["1", "2", "t", "e", payload])).payload == payload


@pytest.mark.parametrize(
    ("payload", "meant"),
    [
        ('{"a":1,"a":2}', {"a": 1}),
        ('{"a" :1,"a": 2}', {"a": 1}),
        ('{"a":{"b":1,"b":2},"c":[{"d":1,"d":2}]}', {"a": {"b": 1}, "c": [{"d": 1}]}),
        ('{"a":"x:y","a":1}', {"a": "x:y"}),
        ('{"a":1,"a":"x:y"}', {"a": 1}),
        ('{"a:b":1,"a:b":2}', {"a:b": 1}),
        ('{"a:b":"12:30:00","c":["::",{"d":":"}]}', {"a:b": "12:30:00", "c": ["::", {"d": ":"}]}),
        ('{"a":1,"a":%s}' % ("9" * 5000), None),
    ],
)
def test_of_a_key_that_is_there_twice_the_first_one_counts(payload: str, meant: Any) -> None:
    if meant is None:
        with pytest.raises(ProtocolError):
            JSON_V2.decode(f'["1","2","room:a","e",{payload}]')
        return
    assert JSON_V2.decode(f'["1","2","room:a","e",{payload}]').payload == meant
    text = f'{{"topic":"room:a","topic":"b:","event":"e","payload":{payload},"ref":"1"}}'
    message = JSON_V1.decode(text)
    assert (message.topic, message.payload, message.join_ref) == ("room:a", meant, None)


@pytest.mark.parametrize("join_ref", ["", ',"join_ref":null', ',"join_ref":"7"'])
@pytest.mark.parametrize("key", ["topic", "event", "payload", "ref"])
def test_of_a_field_of_version_1_that_is_there_twice_the_first_one_counts(
    key: str, join_ref: str
) -> None:
    fields = {"topic": "room:a", "event": "e", "payload": {"a": 1}, "ref": "1"}
    text = json.dumps(fields, separators=(",", ":"))[:-1] + f',"{key}":"other"{join_ref}}}'
    expected = Message("7" if "7" in join_ref else None, "1", "room:a", "e", {"a": 1})
    assert JSON_V1.decode(text) == expected


def test_white_space_is_taken() -> None:
    assert JSON_V2.decode(' [ "1" ,\n"2",\t"t","e" , {} ] ').topic == "t"


BAD_TEXT: list[str | bytes] = [
    "",
    " ",
    "{nope",
    "null",
    "5",
    '"text"',
    "{}",
    "[]",
    '["1","2","t","e"]',
    '["1","2","t","e",{}',
    '["1","2","t","e",{}]x',
    '["1","2","t","e",NaN]',
    '["1","2","t","e",Infinity]',
    '["1","2","t","e",1e999]',
    '["1","2","t","e",1.]',
    '["1","2","t","e",01]',
    '["1","2","t","e",{"a":1,}]',
    "['1','2','t','e',{}]",
    '["1","2","t\n","e",{}]',
    '["1","2","t","e","\\ud800"]',
    '["1","2","t","e","\ud800"]',
    '\ufeff["1","2","t","e",{}]',
    b'["1","2","t","e","\xff"]',
    b"\xff\xfe",
    b'["1","2","t","e",{"\xc3\x28":1}]',
    '["1","2","t","e",' + "9" * 5000 + "]",
    '["1","2","t","e",' + "[" * 100_000 + "]" * 100_000 + "]",
    "[" * 100_000,
    '{"a":' * 100_000,
]


@pytest.mark.parametrize("data", BAD_TEXT, ids=range(len(BAD_TEXT)))
@pytest.mark.parametrize("serializer", [JSON_V1, JSON_V2], ids=["v1", "v2"])
def test_everything_that_is_no_message_is_a_protocol_error_that_closes_with_1011(
    serializer: Serializer, data: str | bytes
) -> None:
    with pytest.raises(ProtocolError) as caught:
        serializer.decode(data)
    assert caught.value.code == 1011


@given(st.binary() | st.text() | json_values.map(lambda value: json.dumps(value)))
@settings(max_examples=300)
def test_any_input_at_all_decodes_to_a_message_or_a_protocol_error(data: str | bytes) -> None:
    for decode in (JSON_V1.decode, JSON_V2.decode, JSON_V2.decode_text):
        try:
            message = decode(data)
        except ProtocolError:
            continue
        assert type(message) is Message


@given(refs, refs, st.text(), st.text(), json_values)
def test_what_json_encodes_decodes_to_the_same(
    join_ref: object, ref: object, topic: str, event: str, payload: object
) -> None:
    sent = [join_ref, ref, topic, event, payload]
    assert JSON_V2.decode(json.dumps(sent)) == Message(*sent)


@given(refs, refs, st.text(), st.text(), json_values, json_objects)
def test_decoding_undoes_every_encoding(
    join_ref: object, ref: object, topic: str, name: str, value: Any, payload: dict[str, Any]
) -> None:
    reply = JSON_V2.encode_reply(join_ref, ref, topic, name, value)
    assert JSON_V2.decode(reply.data.decode()) == Message(
        join_ref, ref, topic, "phx_reply", {"status": name, "response": value}
    )
    push = JSON_V2.encode_push(join_ref, topic, name, payload)
    assert JSON_V2.decode(push.data.decode()) == Message(join_ref, None, topic, name, payload)
    cast = JSON_V2.encode_broadcast(topic, name, payload)
    assert JSON_V2.decode(cast.data.decode()) == Message(None, None, topic, name, payload)
    assert not (reply.binary or push.binary or cast.binary)


def test_the_frames_of_the_protocol_are_encoded_to_the_letter() -> None:
    assert JSON_V2.encode_close("4", "t").data == b'["4","4","t","phx_close",{}]'
    assert (
        JSON_V2.encode_error("4", "t").data
        == b'["4","4","t","phx_error",{"reason":"channel_crash"}]'
    )
    assert (
        JSON_V2.encode_heartbeat(7).data
        == b'[null,7,"phoenix","phx_reply",{"status":"ok","response":{}}]'
    )
    assert (
        JSON_V2.encode_reply(None, "2", 5, "error", {"reason": "unmatched topic"}).data
        == b'[null,"2",5,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]'
    )


# -- what may be sent


class Typed(TypedDict):
    body: str


@dataclass
class Point:
    x: int
    y: float


class Shape(msgspec.Struct):
    name: str
    points: list[Point] = []


class Colour(enum.StrEnum):
    RED = "red"


class Plain(enum.Enum):
    RED = "red"


class Text(str):
    pass


class Number(int):
    pass


class Size(float):
    pass


@pytest.mark.parametrize(
    ("payload", "encoded"),
    [
        ({}, "{}"),
        ({"a": [1, 2.5, "x", None, True, {"b": []}]}, '{"a":[1,2.5,"x",null,true,{"b":[]}]}'),
        ({"a": (1, (2,))}, '{"a":[1,[2]]}'),
        (Typed(body="hi"), '{"body":"hi"}'),
        (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
        (Point(1, 2.0), '{"x":1,"y":2.0}'),
        (Shape("box", [Point(1, 2.0)]), '{"name":"box","points":[{"x":1,"y":2.0}]}'),
        ({"c": Colour.RED, Colour.RED: 1}, '{"c":"red","red":1}'),
        ({"t": Text("t"), "n": Number(3), "s": Size(1.5)}, '{"t":"t","n":3,"s":1.5}'),
        ({"big": 2**100}, '{"big":1267650600228229401496703205376}'),
        ({"é\x00\u2028": "\U0001f600"}, '{"é\\u0000\u2028":"\U0001f600"}'),
    ],
)
def test_json_values_dataclasses_and_structs_can_be_sent(payload: object, encoded: str) -> None:
    push = JSON_V2.encode_push("1", "t", "e", payload)
    assert push.data.decode() == f'["1",null,"t","e",{encoded}]'
    reply = JSON_V2.encode_reply("1", "2", "t", "ok", payload)
    assert reply.data.decode().endswith(f'"response":{encoded}}}]')


CULPRITS: list[tuple[object, str]] = [
    ({"a": math.nan}, "payload.a is nan"),
    ({"a": [1, {"b": math.inf}]}, "payload.a[1].b is inf"),
    ({"a": (-math.inf,)}, "payload.a[0] is -inf"),
    ({"a": b"raw"}, "payload.a is b'raw' (bytes)"),
    ({"a": bytearray(b"x")}, "payload.a"),
    ({"a": {1, 2}}, "payload.a"),
    ({"a": frozenset()}, "payload.a"),
    ({"a": datetime.now(UTC)}, "isoformat"),
    ({"a": uuid.uuid4()}, "payload.a"),
    ({"a": object()}, "payload.a"),
    ({"a": Plain.RED}, "send its value"),
    ({"a": {1: 2}}, "payload.a has the key 1 (int)"),
    ({None: 2}, "payload has the key None"),
    ({"a": "\ud800"}, "payload.a holds a lone surrogate"),
    ({"\udfff": 1}, "a key of payload holds a lone surrogate"),
    ({"a": Point(1, math.nan)}, "payload.a.y is nan"),
    ({"a": Shape("x", [Point(1, 1), Point(b"", 1)])}, "payload.a.points[1].x"),  # type: ignore[arg-type]
    ({"a": Size("nan")}, "payload.a is nan"),
    ({"a": msgspec.Raw(b"1]")}, "payload.a"),
    ({"a": Binary(b"x")}, "payload.a.data"),
    ({"a": range(3)}, "payload.a"),
    ({"a": Point}, "payload.a"),
]


@pytest.mark.parametrize(("payload", "path"), CULPRITS, ids=range(len(CULPRITS)))
def test_what_is_not_json_is_refused_in_the_sender_with_its_path(
    payload: object, path: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        JSON_V2.encode_push("1", "t", "e", payload)
    assert path in str(caught.value)
    for encode in (JSON_V2.encode_broadcast, JSON_V1.encode_broadcast):
        with pytest.raises(PayloadError):
            encode("t", "e", payload)
    with pytest.raises(PayloadError):
        JSON_V2.encode_reply("1", "2", "t", "ok", payload)
    assert issubclass(PayloadError, TypeError)


@pytest.mark.parametrize("payload", [None, 5, "text", [1], (1,), True, Point, b"raw"])
def test_a_push_or_broadcast_must_be_an_object_but_a_reply_need_not(payload: object) -> None:
    for serializer in (JSON_V1, JSON_V2):
        with pytest.raises(PayloadError, match="must be a JSON object"):
            serializer.encode_push("1", "t", "e", payload)
        with pytest.raises(PayloadError, match="must be a JSON object"):
            serializer.encode_broadcast("t", "e", payload)
    if payload is not Point and payload != b"raw":
        JSON_V2.encode_reply("1", "2", "t", "ok", payload)


def test_a_struct_that_encodes_as_an_array_is_no_object() -> None:
    class Row(msgspec.Struct, array_like=True):
        a: int

    with pytest.raises(PayloadError, match="must be a JSON object"):
        JSON_V2.encode_push("1", "t", "e", Row(1))
    assert JSON_V2.encode_reply("1", "2", "t", "ok", Row(1)).data.endswith(b'"response":[1]}]')


def test_a_payload_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for payload in (loop, {"deep": deep}):
        with pytest.raises(PayloadError, match="nested too deeply"):
            JSON_V2.encode_push("1", "t", "e", payload)


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_lists_may_be_nested_as_deeply_as_objects(begin: str, end: str) -> None:
    message = JSON_V2.decode(f'["1","2","t","e",{begin * 700}1{end * 700}]')
    reply = JSON_V2.encode_reply("1", "2", "t", "ok", message.payload)
    assert JSON_V2.decode(reply.data.decode()).payload["response"] == message.payload


def test_a_name_that_cannot_be_encoded_is_refused_like_a_payload() -> None:
    with pytest.raises(PayloadError, match="surrogate"):
        JSON_V2.encode_push("1", "room:\ud800", "e", {})
    with pytest.raises(PayloadError):
        JSON_V2.encode_push("1", object(), "e", {})  # type: ignore[arg-type]


def test_a_payload_with_what_was_not_awaited_says_so() -> None:
    async def count() -> int:
        return 3

    with pytest.raises(PayloadError, match=r"payload\.n is <coroutine .*: is an `await` missing\?"):
        JSON_V2.encode_push("1", "room:a", "e", {"n": count()})


@given(json_objects)
@settings(max_examples=60)
def test_what_is_checked_is_what_python_itself_would_encode(payload: dict[str, Any]) -> None:
    encoded = JSON_V2.encode_broadcast("t", "e", payload).data
    assert json.loads(encoded)[4] == payload


# -- version 2, binary


def binary_push(join_ref: bytes, ref: bytes, topic: bytes, event: bytes, data: bytes) -> bytes:
    fields = (join_ref, ref, topic, event)
    return bytes([0, *map(len, fields)]) + b"".join(fields) + data


def test_a_binary_push_decodes_into_its_fields_and_an_absent_ref_is_empty() -> None:
    data = binary_push(b"1", b"", "zimmer:ü".encode(), b"up", b"\x00\xff")
    assert JSON_V2.decode(data) == Message("1", "", "zimmer:ü", "up", Binary(b"\x00\xff"))
    assert JSON_V2.decode(binary_push(b"", b"", b"", b"", b"")).payload == Binary(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x01\x01\x01",
        b"\x01" + binary_push(b"1", b"2", b"t", b"e", b"")[1:],
        b"\x00\x01\x01\x01\xff12t",
        binary_push(b"1", b"2", b"\xff", b"e", b"x"),
        b'["1","2","t","e",{}]',
    ],
)
def test_a_binary_frame_that_does_not_add_up_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        JSON_V2.decode(data)


def test_binary_payloads_are_laid_out_as_phoenix_lays_them_out() -> None:
    push = JSON_V2.encode_push("1", "t:x", "ev", Binary(b"\x07"))
    assert (push.data, push.binary) == (b"\x00\x01\x03\x021t:xev\x07", True)
    reply = JSON_V2.encode_reply("1", 22, "t", "ok", Binary(b"\x08"))
    assert (reply.data, reply.binary) == (b"\x01\x01\x02\x01\x02122tok\x08", True)
    cast = JSON_V2.encode_broadcast("t", "e", Binary(b""))
    assert (cast.data, cast.binary) == (b"\x02\x01\x01te", True)
    assert (
        JSON_V2.encode_reply(None, None, "t", "ok", Binary(b"")).data[:5] == b"\x01\x00\x00\x01\x02"
    )


@pytest.mark.parametrize("topic", ["x" * 256, "é" * 128, "\ud800", 1.5, ["t"], True])
def test_a_field_that_does_not_fit_a_binary_message_is_refused(topic: Any) -> None:
    with pytest.raises(PayloadError):
        JSON_V2.encode_broadcast(topic, "e", Binary(b""))


# -- version 1


def test_version_1_reads_an_object_and_honours_a_join_ref() -> None:
    text = '{"topic":"t","event":"e","payload":{"a":1},"ref":"5","extra":0}'
    assert JSON_V1.decode(text) == Message(None, "5", "t", "e", {"a": 1})
    text = '{"topic":"t","event":"e","payload":{},"ref":"5","join_ref":"4"}'
    assert JSON_V1.decode(text.encode()).join_ref == "4"
    with pytest.raises(ProtocolError):
        JSON_V1.decode('{"topic":"t","event":"e","payload":{}}')
    with pytest.raises(ProtocolError):
        JSON_V1.decode('["1","2","t","e",{}]')


def test_version_1_never_writes_a_join_ref() -> None:
    assert (
        JSON_V1.encode_reply("4", "5", "t", "ok", {}).data
        == b'{"topic":"t","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"5"}'
    )
    assert (
        JSON_V1.encode_push("4", "t", "e", {}).data
        == b'{"topic":"t","event":"e","payload":{},"ref":null}'
    )
    assert JSON_V1.encode_close("4", "t").data.endswith(b'"ref":"4"}')
    assert JSON_V1.encode_error(None, "t").data.endswith(b'"ref":null}')
    assert JSON_V1.encode_heartbeat("9").data.startswith(b'{"topic":"phoenix",')


def test_version_1_has_no_binary_payloads() -> None:
    with pytest.raises(PayloadError, match="version 1"):
        JSON_V1.encode_broadcast("t", "e", Binary(b""))
    with pytest.raises(PayloadError, match="version 1"):
        JSON_V1.encode_reply("1", "2", "t", "ok", Binary(b""))


@pytest.mark.parametrize(
    ("version", "serializer"),
    [
        ("1.0.0", JSON_V1),
        ("1.0.9", JSON_V1),
        ("2.0.0", JSON_V2),
        ("2.0.7", JSON_V2),
        ("2.0.1-rc.1", JSON_V2),
        ("2.0.0+build.5", JSON_V2),
        ("2.0", None),
        ("2.1.0", None),
        ("3.0.0", None),
        ("2.0.0-rc.1", None),
        ("2.0.07", None),
        ("", None),
        ("bogus", None),
        ("2.0.0\n", None),
        ("２.0.0", None),
        (["2.0.0"], None),
        ({}, None),
        (None, None),
        (2, None),
    ],
)
def test_the_version_parameter_selects_the_serializer(
    version: object, serializer: Serializer | None
) -> None:
    assert serializer_for(version) is serializer


# -- WebSocket frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
@pytest.mark.parametrize(("frame", "opcode"), [(text_frame, 1), (binary_frame, 2)])
def test_a_frame_is_read_back_by_the_websocket_library(frame: Any, opcode: int, size: int) -> None:
    from wsproto.frame_protocol import FrameProtocol

    payload = bytes(ord("a") + index % 26 for index in range(size))
    reader = FrameProtocol(client=True, extensions=[])
    reader.receive_bytes(frame(payload))
    frames = list(reader.received_frames())
    got = b""
    for part in frames:
        assert not isinstance(part.payload, tuple)
        got += part.payload.encode() if isinstance(part.payload, str) else part.payload
    assert got == payload
    assert frames[0].opcode == opcode
    assert frames[-1].message_finished


def test_close_and_ping_frames_are_short_enough_and_whole_characters() -> None:
    assert close_frame(None) == b"\x88\x00"
    assert close_frame(1001) == b"\x88\x02\x03\xe9"
    assert close_frame(1000, "bye") == b"\x88\x05\x03\xe8bye"
    long = close_frame(4000, "é" * 200)
    assert len(long) <= 127
    assert long[4:].decode() == "é" * 61
    assert ping_frame(b"x") == b"\x89\x01x"
    with pytest.raises(ValueError, match="125"):
        ping_frame(b"x" * 126)


def test_an_encoded_message_is_framed_once_for_all_who_get_it() -> None:
    encoded = JSON_V2.encode_broadcast("t", "e", {})
    assert encoded.frame == text_frame(encoded.data)
    assert encoded.frame is encoded.frame
    assert Encoded(b"x", True).frame == binary_frame(b"x")


@pytest.mark.parametrize("module", [wire, payloads, http_messages])
def test_the_examples_in_the_documentation_hold(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0 or module is payloads

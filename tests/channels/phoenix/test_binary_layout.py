"""Binary messages: every field of each kind is measured in bytes, and 255 are the most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from exeunt.channels import Binary, Channel, InResult, JoinResult, PayloadError, Reply, Socket
from exeunt.channels.wire import JSON_V2, Encoded
from tests.faults.client import BINARY, Client, frame

from .sites import open_endpoint


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of binary message: its first byte, its fields in order, and what makes one."""

    number: int
    fields: tuple[str, ...]
    encode: Callable[..., Encoded]


def reply(join_ref: str, ref: str, topic: str, status: str) -> Encoded:
    return JSON_V2.encode_reply(join_ref, ref, topic, status, Binary(b"\x00data"))


def push(join_ref: str, topic: str, event: str) -> Encoded:
    return JSON_V2.encode_push(join_ref, topic, event, Binary(b"\x00data"))


def broadcast(topic: str, event: str) -> Encoded:
    return JSON_V2.encode_broadcast(topic, event, Binary(b"\x00data"))


KINDS = (
    Kind(0, ("join_ref", "topic", "event"), push),
    Kind(1, ("join_ref", "ref", "topic", "status"), reply),
    Kind(2, ("topic", "event"), broadcast),
)
EVERY_FIELD = [
    pytest.param(kind, field, id=f"{field} of {kind.number}")
    for kind in KINDS
    for field in kind.fields
]


@pytest.mark.parametrize(("kind", "field"), EVERY_FIELD)
@pytest.mark.parametrize("value", ["x" * 255, "é" * 127, "😀" * 63, "", "ünï"])
def test_a_field_is_written_in_utf8_behind_the_sizes_of_all_of_them(
    kind: Kind, field: str, value: str
) -> None:
    given = dict.fromkeys(kind.fields, "f") | {field: value}
    encoded = [one.encode() for one in given.values()]
    sizes = bytes(map(len, encoded))
    made = kind.encode(**given)
    assert made.binary
    assert made.data == bytes((kind.number,)) + sizes + b"".join(encoded) + b"\x00data"


@pytest.mark.parametrize(("kind", "field"), EVERY_FIELD)
@pytest.mark.parametrize("value", ["x" * 256, "é" * 128, "😀" * 64])
def test_a_field_of_more_than_255_bytes_is_refused(kind: Kind, field: str, value: str) -> None:
    with pytest.raises(PayloadError, match="at most 255 bytes"):
        kind.encode(**dict.fromkeys(kind.fields, "f") | {field: value})


class Bytes(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        turned = Binary(payload.data[::-1] if isinstance(payload, Binary) else b"")
        if event == "push":
            self.push("pushed ü", turned)
            return None
        if event == "broadcast":
            self.broadcast("told ü", turned)
            return None
        return Reply(event, turned)


class Sockets(Socket):
    channels = {"bytes:*": Bytes}


def client_push(join_ref: str, ref: str, topic: str, event: str, data: bytes) -> bytes:
    fields = [one.encode() for one in (join_ref, ref, topic, event)]
    return frame(BINARY, b"\x00" + bytes(map(len, fields)) + b"".join(fields) + data)


async def test_bytes_go_both_ways_in_all_kinds_of_messages() -> None:
    topic = "bytes:é"
    async with open_endpoint({"/socket": Sockets}) as port, await Client.connect(port) as client:
        await client.join(topic, join_ref="12")
        for event, expected in (
            ("push", b"\x00\x02\x08\x0912" + topic.encode() + "pushed ü".encode()),
            ("broadcast", b"\x02\x08\x07" + topic.encode() + "told ü".encode()),
            ("tea", b"\x01\x02\x03\x08\x0312" + b"345" + topic.encode() + b"tea"),
        ):
            await client.send(client_push("12", "345", topic, event, b"\xff\x00\x01"))
            assert await client.receive() == expected + b"\x01\x00\xff"


async def test_a_status_that_does_not_fit_crashes_its_channel_alone() -> None:
    async with open_endpoint({"/socket": Sockets}) as port, await Client.connect(port) as client:
        await client.join("bytes:a", join_ref="1")
        await client.join("bytes:b", join_ref="2")
        await client.say("1", "3", "bytes:a", "x" * 255, {})
        assert isinstance(await client.receive(), bytes)
        await client.say("1", "4", "bytes:a", "x" * 256, {})
        crashed = {"reason": "channel_crash"}
        assert await client.receive() == ["1", "1", "bytes:a", "phx_error", crashed]
        await client.say("2", "5", "bytes:b", "still", {})
        assert isinstance(await client.receive(), bytes)

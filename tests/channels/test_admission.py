"""Admission: whichever way a client comes, it passes the same checks, in the same order."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from exeunt import open_node, stop, trap_exit
from exeunt.channels import ConnectInfo, Endpoint, LongPoll, Mount, Params, Refused, Socket
from tests.channels.polling import ask
from tests.conformance.phoenix.client import UPGRADE


class Gate(Socket):
    """Does what it is told to, and notes what it was asked."""

    def __init__(self, asked: list[dict[str, Any]], answer: Any, name: Any) -> None:
        super().__init__()
        self.asked = asked
        self.answer = answer
        self.name = name

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        self.asked.append(params)
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: bool = self.answer
        return answer

    def id(self) -> str | None:
        name: str | None = self.name
        return name


@asynccontextmanager
async def open_gate(answer: Any, name: Any) -> AsyncGenerator[tuple[int, list[dict[str, Any]]]]:
    """Run a server with a gate in front; yield its port, and what the gate is asked."""
    async with open_node(signals=False):
        trap_exit()
        asked: list[dict[str, Any]] = []
        mount = Mount(
            partial(Gate, asked, answer, name),
            check_origin=["//good.example"],
            longpoll=LongPoll(),
            close_within=0.1,
        )
        endpoint = await Endpoint.start_link({"/socket": mount}, port=0)
        yield int((await Endpoint.url(endpoint)).rpartition(":")[2]), asked
        await stop(endpoint, "shutdown")


GOOD = "https://good.example"


@pytest.mark.parametrize(
    ("query", "origin", "answer", "name", "status", "times"),
    [
        ("vsn=2.0.0", GOOD, True, "user:7", 101, 1),
        ("vsn=1.0.0", GOOD, True, None, 101, 1),
        ("", GOOD, True, None, 101, 1),
        ("vsn=2.0.0", "https://evil.example", True, None, 403, 0),
        ("vsn=bogus", "https://evil.example", True, None, 403, 0),
        ("vsn=2.1.0", GOOD, True, None, 403, 0),
        ("vsn=", GOOD, True, None, 403, 0),
        ("vsn[]=2.0.0", GOOD, True, None, 403, 0),
        ("vsn=2.0.0", GOOD, False, None, 403, 1),
        ("vsn=2.0.0", GOOD, Refused(), None, 403, 1),
        ("vsn=2.0.0", GOOD, True, 7, 403, 1),
        ("vsn=2.0.0", GOOD, Refused(503), None, 503, 1),
        ("vsn=2.0.0", GOOD, None, None, 500, 1),
        ("vsn=2.0.0", GOOD, RuntimeError("on purpose"), None, 500, 1),
    ],
)
async def test_both_ways_in_have_the_same_checks(
    query: str, origin: str, answer: Any, name: Any, status: int, times: int
) -> None:
    async with open_gate(answer, name) as (port, asked):
        target = f"/socket/websocket?{query}"
        opened = await ask(port, "GET", target, b"", {**UPGRADE, "Origin": origin})
        assert opened.status == status
        assert len(asked) == times
        target = f"/socket/longpoll?{query}"
        polled = await ask(port, "GET", target, b"", {"Origin": origin})
        if status < 500:
            assert polled.status == 200
            assert polled.json["status"] == {101: 410, 403: 403}[status]
        else:
            assert polled.status == status
        assert len(asked) == 2 * times

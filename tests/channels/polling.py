"""A client that polls, in raw requests, and a server for it whose channels are watched."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from exeunt import Watcher, is_alive, open_node, stop, trap_exit
from exeunt.channels import Endpoint, Limits, LongPoll, Mount, Socket
from tests.faults.client import Client
from tests.faults.world import User, World, until

WINDOW = 0.5
"""Seconds of a window that a test waits out, be it a poll's or one and a half of silence."""

FOR_EVER = LongPoll(window=30.0)
"""A window that no test waits out: however slow the machine is, its clients stay."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of HTTP."""

    status: int
    head: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name:
                return value.strip()
        return None


def request(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def ask(
    port: int,
    method: str,
    target: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request on a connection of its own; return the answer."""
    async with await Client.dial(port) as client:
        await client.send(request(method, target, body, headers))
        return Answer(*await client.response())


NDJSON = {"Content-Type": "application/x-ndjson"}


class Poller:
    """One client of version 2, which has a connection for each of its requests."""

    def __init__(self, port: int, path: str = "/socket/longpoll", **params: str) -> None:
        self.port = port
        self.params = {"vsn": "2.0.0", **params}
        self.path = path
        self.token: str | None = None
        self.early: list[Any] = []

    def target(self) -> str:
        """Return where the next request goes."""
        token = {} if self.token is None else {"token": self.token}
        return f"{self.path}?{urlencode({**self.params, **token})}"

    async def open(self) -> Poller:
        """Become a client; it has to be let in."""
        answer = await ask(self.port, "GET", self.target())
        assert answer.status == 200, answer
        assert answer.json.keys() == {"status", "token", "messages"}, answer
        assert (answer.json["status"], answer.json["messages"]) == (410, []), answer
        self.token = answer.json["token"]
        return self

    async def poll_raw(self) -> Any:
        """Poll; return the JSON of the answer."""
        answer = await ask(self.port, "GET", self.target())
        assert answer.status == 200, answer
        return answer.json

    async def poll(self) -> list[Any]:
        """Poll; return the messages, which is none if the window passes."""
        answer = await self.poll_raw()
        assert answer["status"] == (200 if answer["messages"] else 204), answer
        assert answer["token"] == self.token
        return [json.loads(one) for one in answer["messages"]]

    async def post(self, *messages: object) -> int:
        """Post messages of text; return the status of the body."""
        lines = [one if isinstance(one, str) else json.dumps(one) for one in messages]
        return await self.post_raw("\n".join(lines).encode())

    async def post_raw(self, body: bytes, headers: Mapping[str, str] = NDJSON) -> int:
        """Post a body; return the status that is in the answer's."""
        answer = await ask(self.port, "POST", self.target(), body, headers)
        assert answer.status == 200, answer
        assert answer.json.keys() == {"status"}, answer
        status: int = answer.json["status"]
        return status

    async def receive(self) -> Any:
        """Return the next message; poll for it if need be."""
        if not self.early:
            self.early = await self.poll()
            assert self.early, "nothing came"
        return self.early.pop(0)

    async def join(self, topic: str, params: object = None, *, join_ref: str = "1") -> Any:
        """Join a topic; return the response."""
        assert await self.post([join_ref, join_ref, topic, "phx_join", params or {}]) == 200
        answer = await self.receive()
        assert answer[:4] == [join_ref, join_ref, topic, "phx_reply"], answer
        assert answer[4]["status"] == "ok", answer
        return answer[4]["response"]

    async def is_known(self) -> bool:
        """Tell whether the server still knows this client, without a poll."""
        status = await self.post([None, "known", "phoenix", "heartbeat", {}])
        assert status in (200, 410), status
        return status == 200


@asynccontextmanager
async def open_polled(
    longpoll: LongPoll | None = None,
    *,
    kind: Callable[[], Socket] | None = None,
    limits: Limits | None = None,
    max_connections: int = 100,
    **options: Any,
) -> AsyncGenerator[World]:
    """Run a server whose socket can be polled; see to it that nothing of it is left at the end."""
    async with open_node(signals=False) as node:
        trap_exit()
        world = World(node)
        world.watcher = await Watcher.start_link()
        mount = Mount(
            partial(User, world) if kind is None else kind,
            longpoll=FOR_EVER if longpoll is None else longpoll,
            close_within=0.2,
            **options,
        )
        world.endpoint = await Endpoint.start_link(
            {"/socket": mount},
            port=0,
            hub=world.hub,
            limits=Limits(linger_seconds=0.1) if limits is None else limits,
            max_connections=max_connections,
        )
        world.port = await world.find_port()
        yield world
        world.gate.set()
        if is_alive(world.endpoint):
            await stop(world.endpoint, "shutdown")
        await until(lambda: len(node.processes) == 2, "all but this process and the watcher to end")
        assert world.hub.topics() == []
        assert len(node.timers) == 0


async def open_poller(world: World, who: str = "ada", **params: str) -> Poller:
    """Have somebody connect."""
    return await Poller(world.port, who=who, **params).open()


async def join(world: World, who: str = "ada", topic: str = "room:a", **params: str) -> Poller:
    """Have somebody connect and join."""
    poller = await open_poller(world, who, **params)
    await poller.join(topic)
    return poller

"""The official JavaScript client in a Node of its own, driven from a test through `driver.mjs`.

    async with open_client(part("node")) as js:
        ada = await js.connect(stage.url, token=stage.token("ada"))
        room = await ada.join("room:1", events=["shout"])
        assert await room.push("echo", {"text": "hello"}) == ("ok", {"text": "hello"})

What the client's callbacks were given is kept until somebody asks for it with `next`, so that the
order of asking does not matter. The process is killed when the block is left.
"""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import trio

News: TypeAlias = "dict[str, Any]"
"""A line of the driver: what kind it is under "is", and what that kind has besides."""

DRIVER = Path(__file__).with_name("driver.mjs")

WITHIN = 10.0
"""Seconds that anything which is bound to happen may take on a busy machine."""


class DriverEnded(Exception):
    """The driver's process has ended, so that there is no more news."""


class JsClient:
    """One Node process; any number of the client's sockets live in it."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.frames: list[News] = []
        """Every message that its sockets have got, in order."""
        self._news: list[News] = []
        self._changed = trio.Event()
        self._has_ended = False
        self._numbers = itertools.count(1)
        self._writing = trio.Lock()

    async def run(self) -> None:
        """Take in what the driver tells, until it ends."""
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                news: News = json.loads(line)
                (self.frames if news["is"] == "frame" else self._news).append(news)
            self._notify()
        self._has_ended = True
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def order(self, do: str, **more: Any) -> None:
        """Have the driver do something."""
        assert self.process.stdin is not None
        async with self._writing:
            await self.process.stdin.send_all(json.dumps({"do": do, **more}).encode() + b"\n")

    async def next(self, kind: str, *, within: float = WITHIN, **fits: Any) -> News:
        """Take the oldest piece of news of a kind that has these values; wait for it."""
        with trio.move_on_after(within):
            while True:
                for index, one in enumerate(self._news):
                    if one["is"] == kind and fits.items() <= one.items():
                        return self._news.pop(index)
                if self._has_ended:
                    raise DriverEnded(f"Node ended with status {self.process.returncode}")
                await self._changed.wait()
        shown = "\n".join(f"    {one}" for one in [*self._news, *self.frames[-10:]])
        raise AssertionError(f"no {kind!r} with {fits} within {within} s, but:\n{shown}")

    async def changed(self) -> None:
        """Wait until there is more, of whatever kind."""
        await self._changed.wait()

    def left_over(self, kind: str, **fits: Any) -> list[News]:
        """Return the news of a kind that nobody has taken."""
        return [one for one in self._news if one["is"] == kind and fits.items() <= one.items()]

    def number(self, what: str) -> str:
        return f"{what} {next(self._numbers)}"

    async def connect(
        self,
        url: str,
        *,
        mount: str = "/socket",
        opens: bool = True,
        polls: bool = False,
        v1: bool = False,
        **given: Any,
    ) -> JsSocket:
        """Make a socket and connect it, by long-polling if it `polls`; `opens` waits until it is.

        With `v1` it speaks version 1 of the protocol, which it cannot where it polls. `options` are
        the client's own; everything else is a parameter of the connection.
        """
        name = self.number("socket")
        options = given.pop("options", {})
        await self.order(
            "connect",
            socket=name,
            url=url,
            mount=mount,
            params=given,
            options=options,
            polls=polls,
            v1=v1,
        )
        socket = JsSocket(self, name)
        if opens:
            await socket.next("open")
        return socket


@dataclass(frozen=True, slots=True)
class JsSocket:
    """One socket of the client."""

    client: JsClient
    name: str

    async def next(self, kind: str, **fits: Any) -> News:
        return await self.client.next(kind, socket=self.name, **fits)

    def left_over(self, kind: str, **fits: Any) -> list[News]:
        return self.client.left_over(kind, socket=self.name, **fits)

    async def join(
        self,
        topic: str,
        params: Any = None,
        *,
        expect: str = "ok",
        events: Sequence[str] = ("welcome", "entered", "left"),
        presence: bool = False,
    ) -> JsChannel:
        """Join a topic with a channel object of its own; wait for the reply, which is `expect`.

        With `presence` the client's own keeps the list of who is there: see `JsChannel.sees`.
        """
        name = self.client.number("channel")
        await self.client.order(
            "join",
            channel=name,
            socket=self.name,
            topic=topic,
            params=params or {},
            events=list(events),
            presence=presence,
        )
        answer = await self.client.next("join", channel=name)
        assert answer["status"] == expect, answer
        return JsChannel(self, name, topic, answer["response"])

    async def disconnect(self) -> None:
        await self.client.order("disconnect", socket=self.name)
        await self.next("disconnected")

    async def settle(self) -> None:
        """Wait until everything that the server has sent so far has been taken in."""
        await self.client.order("ping", socket=self.name)
        await self.next("pong")

    async def frames(self, *events: str, topic: str = "room:") -> list[list[Any]]:
        """Return the messages that the server has sent so far, as they came.

        Those on topics that begin with `topic`; those of certain events, if any are named.
        """
        await self.settle()
        return [
            frame
            for one in self.client.frames
            if one["socket"] == self.name
            and (frame := one["frame"])[2].startswith(topic)
            and (not events or frame[3] in events)
        ]


@dataclass(frozen=True, slots=True)
class JsChannel:
    """One channel of the client; `response` is what its first join was answered."""

    socket: JsSocket
    name: str
    topic: str
    response: Any

    async def next(self, kind: str, **fits: Any) -> News:
        return await self.socket.client.next(kind, channel=self.name, **fits)

    def left_over(self, kind: str, **fits: Any) -> list[News]:
        return self.socket.client.left_over(kind, channel=self.name, **fits)

    async def event(self, event: str) -> Any:
        """Take the oldest payload of an event."""
        return _unpacked((await self.next("event", event=event))["payload"])

    async def sees(self, who: Callable[[Any], bool]) -> Any:
        """Wait until the client's Presence shows what fits; return it."""
        with trio.fail_after(WITHIN):
            while True:
                state = (await self.next("sync"))["state"]
                if who(state):
                    return state

    async def send(
        self,
        event: str,
        payload: Any = None,
        *,
        patience: int = 10_000,
        statuses: Sequence[str] = (),
    ) -> str:
        """Push without waiting; `reply` takes what this returns.

        `patience` is in milliseconds: after that the client gives the push up. `statuses` are those
        that are waited for besides "ok", "error" and "timeout".
        """
        push = self.socket.client.number("push")
        if isinstance(payload, bytes):
            payload = {"bytes": base64.b64encode(payload).decode()}
        await self.socket.client.order(
            "push",
            channel=self.name,
            push=push,
            event=event,
            payload=payload,
            timeout=patience,
            statuses=list(statuses),
        )
        return push

    async def reply(self, push: str) -> tuple[str, Any]:
        """Wait for the status and the response of a push."""
        answer = await self.socket.client.next("reply", push=push)
        return answer["status"], _unpacked(answer["response"])

    async def push(self, event: str, payload: Any = None, **more: Any) -> tuple[str, Any]:
        return await self.reply(await self.send(event, payload, **more))

    async def leave(self) -> None:
        await self.socket.client.order("leave", channel=self.name)
        await self.next("channel close")


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"bytes"}:
        return base64.b64decode(value["bytes"])
    return value


@asynccontextmanager
async def open_client(node: Path) -> AsyncGenerator[JsClient]:
    """Start Node with the driver; kill it on leaving the block."""
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            [node, DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            check=False,
            deliver_cancel=_kill,
        )
        process: trio.Process = await nursery.start(run)
        client = JsClient(process)
        nursery.start_soon(client.run)
        await client.next("ready")
        try:
            yield client
        finally:
            nursery.cancel_scope.cancel()


async def _kill(process: trio.Process) -> None:
    process.kill()

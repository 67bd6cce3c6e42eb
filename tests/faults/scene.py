"""A scene: one client, ada, at one moment of her visit, beside one who must not notice.

What is arranged here is the moment; what then happens to ada is a way to leave (see `ways`). Each
way is done in one step, so that it happens exactly there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from exeunt import Pid, is_alive
from exeunt.channels.connection import run_connection
from exeunt.channels.pubsub import Fastlane
from exeunt.channels.wire import Encoded, serializer_for

from .client import Client, Closed, Frame, Gone, close_frame, text
from .lines import Line
from .world import ROOM, Deed, Witness, World, until

ADA: Final = "ada"

BIG: Final = "x" * 4000

FULL: Final = 64 * 1024
"""Bytes in an out-queue that count as full for the moment of that name; the bound is above that."""


class Scene:
    """What a moment and a way have at hand."""

    def __init__(self, world: World, nursery: trio.Nursery, line: Line, bystander: Bystander):
        self.world = world
        self.nursery = nursery
        self.line = line
        self.bystander = bystander
        # What came to ada, without the talk of the room; and the status of her upgrade.
        self.frames: list[Frame] = []
        self.status: int | None = None
        # Whether she answers a close frame, as clients do.
        self.answers = True
        # What is to happen within the next broadcast to the room.
        self.hook = Hook()
        self.connection: Pid
        self._reader = trio.CancelScope()

    @property
    def client(self) -> Client:
        return self.line.client

    @property
    def channel(self) -> Pid:
        return self.world.channels[ADA]

    def release(self) -> None:
        """Let ada's channel go on, which is held somewhere."""
        self.world.gate.set()

    def tell(self, deed: Deed) -> None:
        """Have her channel do a deed in `handle_info`."""
        self.world.deed = deed
        self.world.tell(ADA)

    # -- what her client does

    async def find_connection(self) -> None:
        """Learn which process serves her; nobody else may be about to connect."""
        others = set(self.world.connections.values())

        def found() -> list[Pid]:
            return [
                one.pid
                for one in self.world.node.processes.values()
                if one.label.startswith(run_connection.__qualname__) and one.pid not in others
            ]

        await until(lambda: len(found()) == 1, "the connection")
        [self.connection] = found()

    async def read(self) -> None:
        """Read as a client does, until the connection has ended, or `stop_reading`."""
        with self._reader:
            try:
                self.status, _, _ = await self.client.response(within=math.inf)
                while self.status == 101:
                    one = await self.client.receive(within=math.inf)
                    if isinstance(one, list) and one[3] in ("tick", "flood", "news", "filling"):
                        continue
                    self.frames.append(one)
                    if isinstance(one, Gone):
                        return
                    if isinstance(one, Closed) and self.answers:
                        await self.client.send(close_frame(1000))
            except (OSError, EOFError, trio.ClosedResourceError):
                pass

    def stop_reading(self) -> None:
        """Read nothing more from now on."""
        self._reader.cancel()

    def has_come(self, event: str) -> bool:
        """Tell whether a message of this event has come."""
        return any(isinstance(one, list) and one[3] == event for one in self.frames)

    def was_closed(self) -> bool:
        """Tell whether the server has sent a close frame."""
        return any(isinstance(one, Closed) for one in self.frames)

    async def overflow(self) -> None:
        """Read nothing, while the room is busy, until the connection has ended.

        The one who stays sees all that is said before more of it is. Once ada has left the room,
        she has herself answered without reading it.
        """
        self.stop_reading()
        is_in_room = is_alive(self.channel)
        beat = text([None, "r" * 2000, "phoenix", "heartbeat", {}])
        for number in range(10_000):
            if not is_alive(self.connection) or not self.bystander.is_there:
                return
            if is_in_room:
                self.world.hub.broadcast(ROOM, "flood", {"text": BIG})
                await self.bystander.has_seen_flood(number + 1)
            else:
                try:
                    await self.client.send(beat)
                except (OSError, trio.ClosedResourceError):
                    return

    async def fill_queue(self) -> None:
        """Stop reading, and have so much pushed that it waits in the out-queue, and stays there."""
        self.stop_reading()
        waiting: list[int] = []

        async def fill(channel: Witness) -> None:
            assert channel._server is not None
            stream = channel._server.session.transport.stream  # type: ignore[attr-defined]
            waiting.append(stream.queued_bytes)
            while stream.queued_bytes < FULL:
                channel.push("filling", {"text": BIG})

        # Whatever is in between may still take some, until nothing moves any more.
        for number in range(1, 50):
            self.tell(fill)
            await until(partial(_has_length, waiting, number), "the filling")
            if waiting[-1] >= FULL:
                return
            await trio.sleep(0.02)
        raise AssertionError("the out-queue does not stay full")


def _has_length(these: list[int], number: int) -> bool:
    return len(these) == number


class Hook:
    """A subscriber of the room that does something in the middle of a broadcast."""

    def __init__(self) -> None:
        self.act: Callable[[], None] | None = None

    def send(self, message: Encoded) -> None:
        act, self.act = self.act, None
        if act is not None:
            act()

    def subscribe(self, world: World) -> None:
        """Stand between those who have joined the room already, and those who will."""
        serializer = serializer_for("2.0.0")
        assert serializer is not None
        world.hub.subscribe(ROOM, metadata=Fastlane(self, serializer))


# -- the one who must not notice -------------------------------------------------------------------


class Bystander:
    """A client in the same room, who sees every message of a numbered stream, and at once."""

    def __init__(self, client: Client, who: str) -> None:
        self.client = client
        self.who = who
        # The number of the last message of the stream, how long each has taken, and when it came.
        self.last: int | None = None
        self.delays: list[float] = []
        self.came: list[float] = []
        # What was not as it should be.
        self.troubles: list[str] = []
        self.end: Closed | Gone | None = None
        self.has_joined = False
        self._floods = 0
        self._flood_came = trio.Event()

    @property
    def is_there(self) -> bool:
        return self.end is None

    def has_heard(self, talk: Talk) -> bool:
        """Tell whether all has come that was said so far."""
        return self.last == talk.number

    async def has_seen_flood(self, number: int) -> None:
        """Wait until so many messages of a flood have come, or the connection has ended."""
        while self._floods < number and self.is_there:
            await self._flood_came.wait()

    async def read(self) -> None:
        """Read all there is, to the end."""
        try:
            await self._read()
        except (OSError, trio.ClosedResourceError):
            pass  # closed on this side

    async def _read(self) -> None:
        while True:
            match await self.client.receive(within=math.inf):
                case [_, _, _, "tick", {"n": int(n), "at": float(at)}]:
                    now = trio.current_time()
                    self.delays.append(now - at)
                    self.came.append(now)
                    if self.last is not None and n != self.last + 1:
                        self.troubles.append(f"{self.who} got {n} after {self.last}")
                    self.last = n
                case [_, _, _, "flood" | "news", _]:
                    self._floods += 1
                    self._flood()
                case [_, _, _, "phx_reply", {"status": "ok"}] if not self.has_joined:
                    self.has_joined = True
                case Closed() as closed:
                    self.end = closed
                    self._flood()
                    await self.client.send(close_frame(1000))
                case Gone() as gone:
                    self.end = self.end or gone
                    self._flood()
                    return
                case other:
                    self.troubles.append(f"{self.who} got {other!r}")

    def _flood(self) -> None:
        self._flood_came.set()
        self._flood_came = trio.Event()


class Talk:
    """The numbered stream of the room."""

    def __init__(self, world: World) -> None:
        self.number = 0
        self._world = world
        self._scope = trio.CancelScope()

    async def go_on(self) -> None:
        with self._scope:
            while True:
                self._say()
                await trio.sleep(0.004)

    def stop(self) -> None:
        """Say one thing more, and then nothing."""
        self._scope.cancel()
        self._say()

    def _say(self) -> None:
        self.number += 1
        talk = {"n": self.number, "at": trio.current_time()}
        self._world.hub.broadcast(ROOM, "tick", talk)


__all__ = ["ADA", "BIG", "Bystander", "Hook", "Scene", "Talk"]

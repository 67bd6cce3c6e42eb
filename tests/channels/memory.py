"""A client without a network, for the tests of this room: what is sent to it is kept, decoded."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from exeunt import Down, DynamicSupervisor, Node, Pid, open_node, receive, self_pid, trap_exit
from exeunt.channels import Binary, PubSub, Socket
from exeunt.channels.session import JoinDecided, Session
from exeunt.channels.wire import JSON_V1, JSON_V2, Encoded, Serializer


class Recorder:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.is_closing = False
        self._waiting: trio.Event | None = None

    @property
    def last_received(self) -> float:
        return trio.current_time()

    def send(self, message: Encoded) -> None:
        if self.is_closing:
            return
        self.sent.append(message.data if message.binary else json.loads(message.data))
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None

    async def take(self, number: int = 1, within: float = 2.0) -> list[Any]:
        """Wait for so many messages, and take them."""
        with trio.fail_after(within):
            while len(self.sent) < number:
                self._waiting = trio.Event()
                await self._waiting.wait()
        taken, self.sent = self.sent[:number], self.sent[number:]
        return taken

    async def receive(self) -> str | bytes:
        raise AssertionError("nobody receives from this transport")

    async def close(self, code: int, reason: str = "", *, within: float = 5.0) -> None:
        self.is_closing = True
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        self.is_closing = True


class Bench:
    """A session in the test's own process, which stands in for that of the connection."""

    def __init__(
        self, node: Node, session: Session, transport: Recorder, nursery: trio.Nursery
    ) -> None:
        self.node = node
        self.session = session
        self.transport = transport
        self.hub = session.hub
        self._nursery = nursery

    async def say(self, *message: object) -> None:
        """Have the session receive a message of version 2."""
        await self.session.receive(json.dumps(list(message)))

    async def take(self, number: int = 1) -> list[Any]:
        """Wait for so many messages to the client, and take them."""
        return await self.transport.take(number)

    async def ask(self, *message: object) -> Any:
        """Have the session receive a message; return what the client gets next."""
        await self.say(*message)
        [answer] = await self.take()
        return answer

    async def quiet(self) -> None:
        """See that nothing more is sent."""
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert self.transport.sent == []

    def pid_of(self, topic: str) -> Pid:
        """Return the process of a topic's channel."""
        [pid] = [one.pid for one in self.session.topics() if one.topic == topic]
        assert pid is not None
        return pid

    async def pump(self) -> None:
        """Do what the process of a connection does with its messages."""
        while True:
            match await receive():
                case Down(ref, _, _) if self.session.channel_down(ref):
                    pass
                case JoinDecided() as decided:
                    self.session.release(decided)
                case _:
                    pass


@asynccontextmanager
async def open_bench(
    socket: Socket, *, serializer: Serializer = JSON_V2, pumps: bool = True
) -> AsyncGenerator[Bench]:
    """Run a session for a socket; without `pumps` the test takes the messages itself."""
    async with open_node(signals=False) as node:
        trap_exit()
        supervisor = await DynamicSupervisor.start_link()
        async with trio.open_nursery() as nursery:
            transport = Recorder()
            session = Session(
                socket, transport, "memory", serializer, PubSub(), supervisor, nursery
            )
            assert session.pid == self_pid()
            bench = Bench(node, session, transport, nursery)
            if pumps:
                nursery.start_soon(bench.pump)
            yield bench
            nursery.cancel_scope.cancel()


__all__ = ["JSON_V1", "JSON_V2", "Bench", "Binary", "Recorder", "open_bench"]

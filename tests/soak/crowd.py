"""The clients of a soak, and their lives: each comes, talks for a while, leaves somehow, returns.

What a client does is drawn from a source of randomness of its own, made of the seed and its number.
When it is cut off it takes note, rests, and comes back. What it demands of the server, whatever is
killed there: that a join and a heartbeat are answered, or else the connection ends; that a client
which has gone silent, or sends nonsense, is let go; and that nothing comes which is no message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

import trio

from .visitor import Visitor
from .wire import Connection, Gone, Poller, Violation, WebSocket, dial, frame

WAYS: Final[dict[str, int]] = {
    "sends a close frame": 20,
    "ends TCP": 15,
    "resets TCP": 20,
    "resets TCP in the middle of a join": 8,
    "goes in the middle of the upgrade": 4,
    "falls silent": 6,
    "does not read": 4,
    "sends what is no message": 5,
    "breaks the rules of WebSocket": 3,
    "sends too large a frame": 2,
}
"""The ways in which clients of WebSocket leave of their own accord, and how often."""

POLLER_WAYS: Final = ("leaves its topic", "does not poll any more", "breaks off a poll")


@dataclass(frozen=True, slots=True)
class Habits:
    """How the clients of one run live; times are means, in seconds."""

    port: int
    clients: int
    rooms: int
    seed: int
    timeout: float
    stay: float
    act: float
    rest: float


@dataclass(slots=True)
class Chronicle:
    """What the clients have seen."""

    confirmed: set[str] = field(default_factory=set[str])
    """Keys of the joins that a client was told of."""

    latencies: list[float] = field(default_factory=list[float])
    """How long heartbeats took."""

    left: Counter[str] = field(default_factory=Counter[str])
    """How clients have left of their own accord."""

    cut: Counter[str] = field(default_factory=Counter[str])
    """How connections ended otherwise, or could not be made."""

    violations: list[str] = field(default_factory=list[str])
    connected: int = 0


class Crowd:
    """All clients of a run."""

    def __init__(self, habits: Habits, chronicle: Chronicle, name: str) -> None:
        self._habits = habits
        self._chronicle = chronicle
        self._name = name
        self.over = trio.Event()

    async def live(self) -> None:
        """Have all clients come, and return when the last has gone, after `over`."""
        habits = self._habits
        async with trio.open_nursery() as nursery:
            for number in range(habits.clients):
                # One in thirty polls.
                visit = self._visit_by_polling if number % 30 == 29 else self._visit
                nursery.start_soon(self._live, number, visit)

    async def _live(self, number: int, visit: Callable[[str, Random], Awaitable[None]]) -> None:
        habits, chronicle = self._habits, self._chronicle
        random = Random(f"{habits.seed} {self._name} {number}")
        failures = visits = 0
        await self._rest(random.uniform(0, 2 * habits.rest))
        while not self.over.is_set():
            visits += 1
            try:
                await visit(f"{self._name}{number}.{visits}", random)
                failures = 0
            except Gone as gone:
                chronicle.cut[str(gone)] += 1
                failures = min(failures + 1, 4)
            except Violation as violation:
                if len(chronicle.violations) < 100:
                    chronicle.violations.append(f"{self._name}{number}: {violation}")
                failures = 4
            await self._rest(random.uniform(0.5, 1.5) * habits.rest * 2 ** max(0, failures - 1))

    async def _rest(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.over.wait()

    # -- by WebSocket ----------------------------------------------------------------------------

    async def _visit(self, name: str, random: Random) -> None:
        habits, chronicle = self._habits, self._chronicle
        [way] = random.choices(list(WAYS), list(WAYS.values()))
        if way == "goes in the middle of the upgrade":
            await self._knock(random)
            chronicle.left[way] += 1
            return
        websocket = await WebSocket.open(
            habits.port, buffer=4096 if way == "does not read" else None
        )
        chronicle.connected += 1
        try:
            visitor = Visitor(websocket, name, random, habits, chronicle)
            await visitor.stay(random.expovariate(1 / habits.stay), self.over)
            await self._leave(way, websocket, visitor)
            chronicle.left[way] += 1
        finally:
            chronicle.connected -= 1
            websocket.close()

    async def _knock(self, random: Random) -> None:
        """Begin an upgrade, and be gone."""
        connection = Connection(await dial(self._habits.port))
        try:
            await connection.send(b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHo")
            await trio.sleep(random.uniform(0, 0.5))
        finally:
            connection.reset()

    async def _leave(self, way: str, websocket: WebSocket, visitor: Visitor) -> None:
        timeout = self._habits.timeout
        match way:
            case "sends a close frame":
                await websocket.bid_farewell(1001)
                await websocket.until_end()
            case "ends TCP":
                websocket.fin()
                await websocket.until_end()
            case "resets TCP":
                websocket.reset()
            case "resets TCP in the middle of a join":
                await visitor.join_anew()
                websocket.reset()
            case "falls silent":
                await trio.sleep(timeout + 1)
                await websocket.until_end()
            case "does not read":
                await visitor.ask_for_flood()
                await trio.sleep(timeout + 1)
                await websocket.until_end()
            case "sends what is no message":
                await websocket.send(frame(0x81, b'{"no":"message"}'))
                await websocket.until_end()
            case "breaks the rules of WebSocket":
                await websocket.send(b"\xf7\x80\x00\x00\x00\x00")
                await websocket.until_end()
            case _:
                await websocket.send(b"\x81\xff" + (1 << 30).to_bytes(8, "big") + bytes(4))
                await websocket.until_end()

    # -- by polling ------------------------------------------------------------------------------

    async def _visit_by_polling(self, name: str, random: Random) -> None:
        habits, chronicle = self._habits, self._chronicle
        topic = f"room:{random.randrange(habits.rooms)}"
        way = random.choice(POLLER_WAYS)
        poller = Poller(habits.port)
        await poller.open()
        chronicle.connected += 1
        try:
            await poller.say("1", "1", topic, "phx_join", {"key": name})
            leave_at = trio.current_time() + random.expovariate(1 / habits.stay)
            while trio.current_time() < leave_at and not self.over.is_set():
                for message in await poller.poll():
                    match message:
                        case ["1", "1", _, "phx_reply", {"status": "ok"}]:
                            chronicle.confirmed.add(name)
                        case ["1", "1", _, "phx_reply", _] | ["1", _, _, "phx_error", _]:
                            raise Gone("a poller's channel has crashed")
                        case _:
                            pass
                await poller.say("1", None, topic, "say", {"text": name})
            match way:
                case "leaves its topic":
                    await poller.say("1", "2", topic, "phx_leave", {})
                case "breaks off a poll":
                    await poller.break_off(random.uniform(0, 0.05))
                case _:
                    pass
            chronicle.left[f"(polling) {way}"] += 1
        finally:
            chronicle.connected -= 1


__all__ = ["Chronicle", "Crowd", "Habits"]

"""One visit of a client by WebSocket: what it does between its coming and its leaving."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import trio

from .wire import PATIENCE, Violation, WebSocket

if TYPE_CHECKING:
    from .crowd import Chronicle, Habits


class Visitor:
    """A client that is connected: it is in one topic at a time, and talks there."""

    def __init__(
        self,
        websocket: WebSocket,
        name: str,
        random: Random,
        habits: Habits,
        chronicle: Chronicle,
    ) -> None:
        self._websocket = websocket
        self._name = name
        self._random = random
        self._habits = habits
        self._chronicle = chronicle
        self._topic = f"room:{random.randrange(habits.rooms)}"
        self._refs = 0
        # The ref of the join that counts, its key, and whether it has succeeded.
        self._join_ref = ""
        self._key = ""
        self._is_in = False
        # Refs that have to be answered, and since when they wait.
        self._waiting: dict[str, float] = {}
        self._beat_at = 0.0
        self._act_at = 0.0

    async def stay(self, seconds: float, over: trio.Event) -> None:
        """Be there for so long, or until all is over."""
        websocket, habits, random = self._websocket, self._habits, self._random
        now = trio.current_time()
        leave_at = now + seconds
        self._beat_at = now + random.uniform(0, habits.timeout / 3)
        await self.join_anew()
        while now < leave_at and not over.is_set():
            message = None
            with trio.move_on_at(min(self._beat_at, self._act_at, leave_at, now + 1.0)):
                message = await websocket.receive()
            now = trio.current_time()
            if message is not None:
                self._take(message, now)
            if now >= self._beat_at:
                self._beat_at = now + habits.timeout / 3
                self._check_answers(now)
                await websocket.say(None, self._demand(now), "phoenix", "heartbeat", {})
            if now >= self._act_at:
                await self._act()
        # What was answered meanwhile, and not yet read, stays unread; but who waits for long is
        # told of it.
        self._check_answers(trio.current_time())

    async def join_anew(self) -> None:
        """Join the topic, whether that is a second time or not."""
        self._waiting.pop(self._join_ref, None)
        self._join_ref = self._demand(trio.current_time())
        self._key = f"{self._name}.{self._join_ref}"
        self._is_in = False
        self._set_next_act()
        params = {"key": self._key, "slowly": self._random.random() < 0.15}
        await self._websocket.say(self._join_ref, self._join_ref, self._topic, "phx_join", params)

    async def ask_for_flood(self) -> None:
        """Have the server send more than it may have waiting for one client."""
        await self._websocket.say(self._join_ref, None, self._topic, "flood", {})

    async def _act(self) -> None:
        self._set_next_act()
        if not self._is_in:
            if self._join_ref not in self._waiting:
                await self.join_anew()
            return
        say, choice = self._websocket.say, self._random.random()
        if choice < 0.75:
            await say(self._join_ref, None, self._topic, "say", {"text": self._key})
        elif choice < 0.83:
            await say(self._join_ref, None, self._topic, "crash", {})
        elif choice < 0.91:
            self._is_in = False
            await say(self._join_ref, self._demand_none(), self._topic, "phx_leave", {})
        else:
            await self.join_anew()

    def _take(self, message: list[object], now: float) -> None:
        match message:
            case [_, str(ref), "phoenix", "phx_reply", _] if ref in self._waiting:
                self._chronicle.latencies.append(now - self._waiting.pop(ref))
            case [join_ref, ref, topic, "phx_reply", {"status": str(status)}]:
                if topic != self._topic:
                    raise Violation(f"an answer is for another topic: {message}")
                if ref == self._join_ref and join_ref == ref:
                    self._waiting.pop(self._join_ref, None)
                    self._is_in = status == "ok"
                    if self._is_in:
                        self._chronicle.confirmed.add(self._key)
                    else:
                        self._come_back()
            case [join_ref, _, topic, "phx_error" | "phx_close", _] if topic == self._topic:
                if join_ref == self._join_ref:
                    self._is_in = False
                    self._waiting.pop(self._join_ref, None)
                    self._come_back()
            case [_, _, topic, "presence_state" | "noise", _] if topic == self._topic:
                pass
            case _:
                raise Violation(f"nobody has asked for this: {message!r}"[:300])

    def _come_back(self) -> None:
        """Join again before long."""
        self._act_at = min(self._act_at, trio.current_time() + self._random.uniform(0.1, 1.0))

    def _set_next_act(self) -> None:
        self._act_at = trio.current_time() + self._random.expovariate(1 / self._habits.act)

    def _demand(self, now: float) -> str:
        """Return a new ref, which has to be answered."""
        ref = self._demand_none()
        self._waiting[ref] = now
        return ref

    def _demand_none(self) -> str:
        self._refs += 1
        return str(self._refs)

    def _check_answers(self, now: float) -> None:
        for ref, since in self._waiting.items():
            if now - since > PATIENCE:
                what = "join" if ref == self._join_ref else "heartbeat"
                raise Violation(f"a {what} is not answered after {now - since:.0f} s")


__all__ = ["Visitor"]

"""Onlookers: clients that stay, and keep a picture of who is present in one room.

They tell whether the clients' picture is right when all others have gone, as well as the server's.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import trio

from .wire import Gone, Violation, WebSocket

if TYPE_CHECKING:
    from .crowd import Chronicle, Habits


class Onlooker:
    """Stays in one room until it is told to leave; when it is cut off, it comes back at once."""

    def __init__(self, habits: Habits, chronicle: Chronicle, name: str, room: int) -> None:
        self._habits = habits
        self._chronicle = chronicle
        self._name = name
        self._topic = f"room:{room}"
        self._joins = 0
        self._key = ""
        # The phx_refs of each key; None until the state has come.
        self._present: dict[str, set[str]] | None = None
        self._early: list[dict[str, Any]] = []

    @property
    def strangers(self) -> list[str]:
        """Those that it believes to be there, besides itself."""
        if self._present is None:
            return ["(it has not been told)"]
        found = [key for key in self._present if key != self._key]
        return found if self._key in self._present else [*found, "(it misses itself)"]

    async def live(self, over: trio.Event) -> None:
        """Look on until all is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_on)
            await over.wait()
            nursery.cancel_scope.cancel()

    async def _look_on(self) -> None:
        random = Random(self._name)
        while True:
            self._present = None
            try:
                websocket = await WebSocket.open(self._habits.port)
                try:
                    await self._follow(websocket)
                finally:
                    websocket.close()
            except Gone as gone:
                self._chronicle.cut[str(gone)] += 1
            except Violation as violation:
                self._chronicle.violations.append(f"{self._name}: {violation}")
            await trio.sleep(random.uniform(0.2, 1.0))

    async def _follow(self, websocket: WebSocket) -> None:
        """Join, keep the picture, and join again when the channel has crashed."""
        is_wanted = True
        beat_at = 0.0
        while True:
            if is_wanted:
                is_wanted = False
                self._joins += 1
                self._present, self._early = None, []
                self._key = f"{self._name}.{self._joins}"
                ref = f"j{self._joins}"
                await websocket.say(ref, ref, self._topic, "phx_join", {"key": self._key})
            if trio.current_time() >= beat_at:
                beat_at = trio.current_time() + self._habits.timeout / 3
                await websocket.say(None, "beat", "phoenix", "heartbeat", {})
            message = None
            with trio.move_on_at(beat_at):
                message = await websocket.receive(wants_all=True)
            match message:
                case [_, str(ref), _, "phx_reply", {"status": status}] if ref[0] == "j":
                    if status == "ok":
                        self._chronicle.confirmed.add(self._key)
                    is_wanted = status != "ok"
                case [_, _, _, "phx_error", _]:
                    is_wanted = True
                case [_, _, _, "presence_state", state]:
                    self._present = {key: refs(one) for key, one in state.items()}
                    for diff in self._early:
                        self._apply(diff)
                    self._early = []
                case [_, _, _, "presence_diff", diff]:
                    if self._present is None:
                        self._early.append(diff)
                    else:
                        self._apply(diff)
                case _:
                    pass
            if is_wanted:
                await trio.sleep(0.2)

    def _apply(self, diff: dict[str, Any]) -> None:
        assert self._present is not None
        for key, one in diff["joins"].items():
            self._present.setdefault(key, set()).update(refs(one))
        for key, one in diff["leaves"].items():
            left = self._present.get(key, set()) - refs(one)
            if left:
                self._present[key] = left
            else:
                self._present.pop(key, None)


def refs(presence: dict[str, Any]) -> set[str]:
    """Return the phx_refs of one key."""
    return {meta["phx_ref"] for meta in presence["metas"]}


__all__ = ["Onlooker"]

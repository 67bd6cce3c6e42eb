"""The lobby: knows which rooms are open and how many are in each, and tells every page.

A room says how many are in it. That it has been opened, the lobby hears from the registry; that it
is gone, from a monitor: so no room has to say goodbye, and none that crashes is shown for ever.
"""

from __future__ import annotations

from typing import Any, Final

from exeunt import Down, GenServer, Ref, Registered, monitor, on_call, on_cast, send_after
from exeunt.channels import PubSub

TOPIC: Final = "lobby"

TELL_WITHIN: Final = 0.2
"""Seconds for which changes are gathered: when a thousand lose their network, that is one."""


class Lobby(GenServer):
    """The list of open rooms; its name is among the registry's listeners."""

    async def init(self, hub: PubSub) -> None:
        """Know of no room yet: they are started after the lobby, and restarted with it."""
        self.hub = hub
        self.people: dict[str, int] = {}
        self.monitors: dict[Ref, str] = {}
        # Rooms that have changed since everybody was told.
        self.changed: dict[str, None] = {}

    @on_cast
    async def count(self, name: str, people: int) -> None:
        """Take note of how many people are in a room."""
        if self.people.get(name, people) != people:
            self.people[name] = people
            self._tell_soon(name)

    @on_call
    async def rooms(self) -> list[dict[str, Any]]:
        """Return the open rooms, as pages want them."""
        return [{"name": name, "people": people} for name, people in self.people.items()]

    async def handle_info(self, message: Any) -> None:
        """Hear of rooms that open and end, and tell what has changed."""
        match message:
            case Registered(key=str(name), pid=pid):
                self.monitors[monitor(pid)] = name
                self.people[name] = 0
                self._tell_soon(name)
            case Down(ref=ref) if ref in self.monitors:
                name = self.monitors.pop(ref)
                # Another one may have been opened under that name already.
                if name not in self.monitors.values():
                    del self.people[name]
                self._tell_soon(name)
            case "tell":
                rooms = [{"name": name, "people": self.people.get(name)} for name in self.changed]
                self.changed.clear()
                self.hub.broadcast(TOPIC, "rooms", {"rooms": rooms})
            case _:
                pass

    def _tell_soon(self, name: str) -> None:
        if not self.changed:
            send_after(TELL_WITHIN, self.pid, "tell")
        self.changed[name] = None

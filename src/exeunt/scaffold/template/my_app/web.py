"""What visitors speak to: a page, and a socket with one channel, the lobby."""

from pathlib import Path
from typing import Any

from exeunt import CallFailed, Departure, Watcher
from exeunt.channels import Channel, Error, InResult, JoinResult, Ok, PubSub, Socket, StaticFiles
from my_app.visitors import Visitors

HUB = PubSub()
"""Carries the broadcasts; the endpoint has the same one."""

PAGES = StaticFiles(
    Path(__file__).parent / "static",
    # No script from elsewhere, and no page of somebody else's around this one.
    headers=(("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"),),
)

LONGEST_NAME = 40


class LobbyChannel(Channel):
    """One visitor in the lobby; each join is a process of its own."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let somebody in who says a name, and have it seen to that their leaving is noticed."""
        match params:
            case {"name": str(name)} if 0 < len(name) <= LONGEST_NAME:
                self.assigns["name"] = name
            case _:
                return Error({"reason": 'join with your name: {"name": …}'})
        # First this, so that whoever has entered leaves too, whatever happens next.
        await Watcher.watch("watcher", self.pid, say_goodbye, name)
        here = await Visitors.enter("visitors", name)
        self.hub.broadcast_from(self.pid, topic, "entered", {"name": name, "here": here})
        return Ok({"here": here})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Answer what the visitor sends."""
        match event:
            case "wave":
                self.broadcast("waved", {"name": self.assigns["name"]})
                return Ok()
            case _:
                return Error({"reason": f"the lobby does not know the event {event!r}"})


async def say_goodbye(departure: Departure, name: str) -> None:
    """Run by the watcher when a visitor's process has ended, whatever the way."""
    print(f"{name} has left: {departure.reason}", flush=True)
    try:
        here = await Visitors.leave("visitors", name)
    except CallFailed:
        return  # Visitors went first, and those who take its place begin with nobody.
    HUB.broadcast("lobby", "left", {"name": name, "here": here})


class VisitorSocket(Socket):
    """One connection."""

    channels = {"lobby": LobbyChannel}

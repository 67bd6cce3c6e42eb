"""What the browser talks to: the page, the tokens, the socket, and the channel of a room."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, Final

from examples.chat.rooms import Member, Room, RoomIsFull, find_room, say_goodbye
from exeunt import Down, Stop, Watcher, monitor
from exeunt.channels import (
    Channel,
    ConnectInfo,
    Error,
    InResult,
    JoinResult,
    Ok,
    Params,
    Request,
    Response,
    Socket,
    TokenError,
    Tokens,
)
from exeunt.channels.static import StaticFiles

TOKEN_AGE: Final = 60.0
"""Seconds that a token is good for: the page fetches one right before it connects."""

LONGEST_NAME: Final = 32
LONGEST_TEXT: Final = 2000

_numbers = itertools.count(1)

STATIC = StaticFiles(
    Path(__file__).parent / "static",
    headers=(
        ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"),
        ("Referrer-Policy", "no-referrer"),
    ),
)


class RoomChannel(Channel):
    """One person in one room."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Enter the room; from here on the watcher sees to it that everybody hears of the end."""
        name = topic.removeprefix("room:")
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            return Error({"reason": f"A room has a name of 1 to {LONGEST_NAME} letters."})
        self.room = await find_room(name, self.hub)
        name_of_user = self.assigns["name"]
        self.member = Member(next(_numbers), name_of_user, self.pid, self.socket_id or "")
        # If the room crashes, its members go as well, and their pages join the new one.
        monitor(self.room)
        await Watcher.watch("watcher", self.pid, say_goodbye, name, self.member.id)
        try:
            return Ok(await Room.enter(self.room, self.member))
        except RoomIsFull as full:
            return Error({"reason": str(full)})

    async def handle_info(self, message: Any) -> Stop | None:
        """End when the room has ended."""
        match message:
            case Down(process=pid) if pid is self.room:
                return Stop("the room has ended")
            case _:
                return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Do what the page asks for."""
        match event, payload:
            case "say", {"text": str(text)}:
                if not 1 <= len(text.strip()) <= LONGEST_TEXT:
                    return Error({"reason": f"A message has 1 to {LONGEST_TEXT} letters."})
                await Room.say(self.room, self.member.id, text)
                return Ok()
            case "throw_out", {"id": int(id)}:
                other = await Room.find(self.room, id)
                if other is None:
                    return Error({"reason": "There is nobody of that name any more."})
                self.hub.broadcast(other.socket, "disconnect", {})
                return Ok()
            case "crash", _:
                raise RuntimeError("the crash button was pressed")
            case _:
                return Error({"reason": f"This room does not understand {event!r}."})


class UserSocket(Socket):
    """One browser tab."""

    channels = {"room:*": RoomChannel}

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = tokens

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        """Let in whoever has a token of ours that is not too old."""
        try:
            name = self.tokens.verify("user", params.get("token"), max_age=TOKEN_AGE)
        except TokenError:
            return False
        self.assigns = {"name": name, "tab": f"tab:{next(_numbers)}"}
        return True

    def id(self) -> str:
        """Name the connection, so that it can be disconnected."""
        return str(self.assigns["tab"])


async def pages(tokens: Tokens, request: Request) -> Response:
    """Answer what is no socket: the page, its files, and its tokens."""
    if request.path != "/token":
        return await STATIC.respond(request, request.path)
    if request.method not in ("GET", "HEAD"):
        return Response.text(405, "method not allowed\n", (("Allow", "GET, HEAD"),))
    name = request.query.get("name", "")
    name = " ".join(name.split()) if isinstance(name, str) else ""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        problem = f"Choose a name of 1 to {LONGEST_NAME} letters."
        return _json(400, {"error": problem})
    return _json(200, {"token": tokens.sign("user", name), "name": name})


def _json(status: int, value: object) -> Response:
    return Response(
        status,
        json.dumps(value).encode(),
        (("Content-Type", "application/json"), ("Cache-Control", "no-store")),
    )

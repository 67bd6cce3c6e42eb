"""Channels to test the kit with, written as a user writes them."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import trio

from exeunt import Reason, Shutdown, Stop, send
from exeunt import Reply as CallReply
from exeunt.channels import (
    Binary,
    Channel,
    ConnectInfo,
    Error,
    InResult,
    JoinResult,
    Ok,
    OutResult,
    Params,
    Refused,
    Route,
    Socket,
)
from exeunt.channels import reply as reply_to


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Boom(Exception):
    """What the channel crashes with."""


class Room(Channel):
    """Does what it is told to."""

    intercepts = ("whispered",)

    async def join(self, topic: str, params: Any) -> JoinResult:
        match topic.removeprefix("room:"):
            case "secret":
                return Error({"reason": "unauthorized"})
            case "broken":
                raise Boom("in join")
            case "slow":
                await trio.sleep(5)
            case "greeting":
                send(self.pid, "greet")
        return Ok({"got": params, **self.assigns})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event:
            case "echo":
                return Ok(payload)
            case "refuse":
                return Error({"reason": "no"})
            case "push":
                self.push("pushed", payload)
            case "push_date":
                self.push("pushed", {"at": datetime.date(2026, 1, 1)})
            case "push_shapes":
                self.push("pushed", {"pair": (1, 2), "point": Point(3, 4)})
            case "push_keys":
                self.push("pushed", {1: "one"})
            case "push_bytes":
                self.push("pushed", Binary(b"\x00\xff"))
            case "reply_bytes":
                return Ok(Binary(b"\x01"))
            case "shout":
                self.broadcast("shouted", payload)
            case "tell_others":
                self.broadcast_from("told", payload)
            case "later":
                send(self.pid, ("later", self.socket_ref()))
            case "push_then_crash":
                self.push("pushed", {})
                raise Boom("after a push")
            case "crash":
                raise Boom("in handle_in")
            case "stop":
                return Stop("normal", Ok({"bye": True}))
            case "stop_for":
                return Stop(payload)
            case "hang":
                await trio.sleep_forever()
            case "assign":
                self.assigns.update(payload)
            case _:
                return await super().handle_in(event, payload)
        return None

    async def handle_out(self, event: str, payload: Any) -> OutResult:
        self.push(event, {"heard": payload})
        return Stop(Shutdown("heard")) if "stop" in payload else None

    async def handle_info(self, message: Any) -> Any:
        match message:
            case "greet":
                self.push("hello", {})
            case ("later", ref):
                reply_to(ref, Ok({"late": True}))
            case "stop":
                self.push("stopping", {})
                return Stop("shutdown")
            case _:
                self.push("info", {"message": repr(message)})
        return None

    async def handle_call(self, request: Any, caller: Any) -> Any:
        return CallReply(request)

    async def terminate(self, reason: Reason) -> None:
        if self.assigns.get("crash_at_the_end"):
            raise Boom("in terminate")
        if self.assigns.get("hang_at_the_end"):
            await trio.sleep_forever()
        self.hub.broadcast("ends", "ended", {"reason": str(reason)})


class Badly(Channel):
    """Cannot even be made."""

    def __init__(self) -> None:
        super().__init__()
        raise Boom("in __init__")

    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok()


class UserSocket(Socket):
    """Lets in who says a name."""

    channels = {"room:*": Room, "bad": Badly, "admin": Route(Room, {"role": "admin"})}

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        match params.get("name"):
            case None:
                return False
            case "banned":
                return Refused(429, b"go away")
            case "broken":
                raise Boom("in connect")
            case "slow":
                await trio.sleep_forever()
            case name:
                self.assigns["name"] = name
        self.info = info
        self.params = params
        return True

    def id(self) -> str | None:
        name = self.assigns.get("name")
        return None if name is None else f"user:{name}"


__all__ = ["Boom", "Room", "UserSocket"]

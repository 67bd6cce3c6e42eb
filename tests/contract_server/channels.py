"""The channels of the contract, and the sockets that lead to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import trio

from exeunt import (
    ProcessExit,
    Reason,
    Shutdown,
    Stop,
    exit,
    send,
    send_after,
    spawn,
    spawn_link,
    trap_exit,
)
from exeunt.channels import (
    AlreadyTracked,
    Binary,
    CastResult,
    Channel,
    ConnectInfo,
    Error,
    InResult,
    JoinResult,
    NotTracked,
    Ok,
    OutResult,
    Params,
    Presence,
    Presences,
    Refused,
    Reply,
    Route,
    Socket,
    SocketRef,
    TokenError,
    Tokens,
    UnexpectedRequest,
    reply,
)

from .records import RECORDS, Records, inspect, watch, watch_leaving

PRESENCE = "presence"
PRESENCE_WITH_USERS = "presence with users"
SALT = "user auth"

REASONS: dict[str, Reason] = {
    "normal": "normal",
    "shutdown": "shutdown",
    "shutdown_x": Shutdown("x"),
    "other": "other",
    "boom": "boom",
}


class PresenceWithUsers(Presence):
    """Presence that adds who a key stands for."""

    async def fetch(self, topic: str, presences: Presences) -> Presences:
        """Add the user of each key."""
        return {key: {**one, "user": {"id": key}} for key, one in presences.items()}


async def begin(channel: Channel, params: Any) -> dict[str, Any]:
    """Do what every channel does first in its join; return the parameters, if they are an object.

    `"watch"` names a record of the channel's end, `"trap"` lets it trap exits.
    """
    asked: dict[str, Any] = params if isinstance(params, dict) else {}
    name = asked.get("watch")
    if isinstance(name, str):
        await watch(name, channel)
        channel.assigns["watch"] = name
    if asked.get("trap") is True:
        trap_exit()
    return asked


def either(value: Any, default: Any) -> Any:
    """Return what `value || default` is in Elixir, where only null and false give way."""
    return default if value is None or value is False else value


class WatchedChannel(Channel):
    """A channel that records how it ends."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in."""
        await begin(self, params)
        return Ok()

    async def terminate(self, reason: Reason) -> None:
        """Record the reason."""
        if "watch" in self.assigns:
            Records.terminated(RECORDS, self.assigns["watch"], self.pid, reason)


class EchoChannel(WatchedChannel):
    """Answers, in every way in which one can."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in, and say with what."""
        await begin(self, params)
        if topic == "echo:plain":
            return Ok()
        return Ok({"topic": topic, "params": params})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Answer."""
        match event:
            case "echo":
                return Ok(payload)
            case "echo_error":
                return Error(payload)
            case "echo_status":
                return Reply(payload["status"], payload["response"])
            case "ok":
                return Ok()
            case "error":
                return Error()
            case "noreply":
                return None
            case "push_back":
                self.push(payload["event"], payload["payload"])
                return Ok()
            case "push_many":
                for number in range(1, payload["n"] + 1):
                    self.push("tick", {"i": number})
                return Ok({"n": payload["n"]})
            case "async_reply":
                answer = Reply(payload["status"], payload["response"])
                spawn(reply_later, payload["delay_ms"] / 1000, self.socket_ref(), answer)
                return None
            case "double_reply":
                reply(self.socket_ref(), Ok({"n": 1}))
                return Ok({"n": 2})
            case "info_after":
                send_after(payload["delay_ms"] / 1000, self.pid, "info_after")
                return None
            case "set":
                self.assigns.setdefault("kv", {})[payload["key"]] = payload["value"]
                return Ok()
            case "get":
                return Ok({"value": self.assigns.get("kv", {}).get(payload["key"])})
            case "whoami":
                return Ok(
                    {
                        "id": self.socket_id,
                        "topic": self.topic,
                        "join_ref": self.join_ref,
                        "ref": self.ref,
                        "transport": self.transport,
                        "joined": self.is_joined,
                        "user_id": self.assigns["user_id"],
                    }
                )
            case "connect_info":
                return Ok(self.assigns["connect_info"])
            case "params":
                return Ok(self.assigns["params"])
            case "bad_push":
                self.push("x", ["not", "a", "map"])
                return Ok()
        return await super().handle_in(event, payload)

    async def handle_info(self, message: Any) -> CastResult:
        """Push, when the time has come."""
        match message:
            case "info_after":
                self.push("info", {"from": "handle_info"})
                return None
        raise UnexpectedRequest(f"{message!r}")


async def reply_later(delay: float, to: SocketRef, answer: Reply) -> None:
    """Answer a message from a process of its own."""
    await trio.sleep(delay)
    reply(to, answer)


class RoomChannel(WatchedChannel):
    """Broadcasts, intercepts and presence."""

    intercepts = ("intercepted", "stop_out", "raise_out")
    presence = PRESENCE

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in but into one room."""
        asked = await begin(self, params)
        if topic == "room:forbidden":
            return Error({"reason": "unauthorized"})
        self.assigns["name"] = either(asked.get("name"), "anon")
        self.assigns["track"] = either(asked.get("track"), None)
        if self.assigns["track"] is not None:
            send(self.pid, "after_join")
        if asked.get("announce") is True:
            send(self.pid, "announce")
        if asked.get("leave") is not None:
            await watch_leaving(asked["leave"], asked.get("user"), self.pid)
        return Ok()

    async def handle_info(self, message: Any) -> CastResult:
        """Do what cannot be done before the join is answered."""
        match message:
            case "after_join":
                self.push("presence_state", await Presence.list(self.presence, self))
                meta = {"name": self.assigns["name"]}
                await Presence.track(self.presence, self, self.assigns["track"], meta)
            case "announce":
                self.broadcast_from("joined", {"name": self.assigns["name"]})
            case _:
                raise UnexpectedRequest(f"{message!r}")
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Broadcast, or track."""
        match event:
            case "shout":
                self.broadcast("shout", payload)
            case "shout_from":
                self.broadcast_from("shout", payload)
            case "shout_noreply":
                self.broadcast("shout", payload)
                return None
            case "shout_many":
                for number in range(1, payload["n"] + 1):
                    self.broadcast("shout", {"i": number})
            case "intercepted" | "stop_out" | "raise_out":
                self.broadcast(event, payload)
            case "external":
                self.hub.broadcast(payload["topic"], payload["event"], payload["payload"])
            case "track":
                return await self.changed(Presence.track, payload)
            case "update":
                return await self.changed(Presence.update, payload)
            case "untrack":
                await Presence.untrack(self.presence, self, payload["key"])
            case "list":
                return Ok(await Presence.list(self.presence, self))
            case "get_by_key":
                found = await Presence.get_by_key(self.presence, self, payload["key"])
                return Ok({"presence": [] if found is None else found})
            case "flush":
                pass
            case "leave_stats":
                return Ok(leave_stats(await Records.left_in(RECORDS, payload["run"])))
            case "leave_dump":
                return Ok({"rows": await Records.left_in(RECORDS, payload["run"])})
            case "leave_clear":
                await Records.clear(RECORDS, payload["run"])
            case _:
                return await super().handle_in(event, payload)
        return Ok()

    async def changed(self, change: Any, payload: Any) -> Reply:
        """Track or update, and say how that went."""
        try:
            ref = await change(self.presence, self, payload["key"], payload["meta"])
        except AlreadyTracked as error:
            place = f"{json.dumps(error.topic)}, {json.dumps(error.key)}"
            return Error({"reason": f"{{:already_tracked, {inspect(error.pid)}, {place}}}"})
        except NotTracked:
            return Error({"reason": inspect("nopresence")})
        return Ok({"phx_ref": ref})

    async def handle_out(self, event: str, payload: Any) -> OutResult:
        """Change what this client gets, or end."""
        name = self.assigns["name"]
        match event:
            case "intercepted":
                if payload.get("skip") != name:
                    self.push("intercepted", {**payload, "seen_by": name})
            case "stop_out":
                if payload.get("who") == name:
                    return Stop("normal")
            case "raise_out":
                if payload.get("who") == name:
                    raise RuntimeError("raise_out")
            case _:
                self.push(event, payload)
        return None


def leave_stats(rows: Sequence[tuple[Any, int]]) -> dict[str, Any]:
    """Sum up who has left in a run."""
    times = [microseconds for _, microseconds in rows]
    return {
        "n": len(rows),
        "uniq": len({str(user) for user, _ in rows}),
        "first_us": min(times, default=None),
        "last_us": max(times, default=None),
    }


class PresenceFetchChannel(WatchedChannel):
    """Presence that knows more than it was told."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in."""
        asked = await begin(self, params)
        self.assigns["name"] = either(asked.get("name"), "anon")
        self.assigns["track"] = either(asked.get("track"), None)
        if self.assigns["track"] is not None:
            send(self.pid, "after_join")
        return Ok()

    async def handle_info(self, message: Any) -> CastResult:
        """Send the state first, then track."""
        match message:
            case "after_join":
                here = await Presence.list(PRESENCE_WITH_USERS, self)
                self.push("presence_state", here)
                meta = {"name": self.assigns["name"]}
                await Presence.track(PRESENCE_WITH_USERS, self, self.assigns["track"], meta)
                return None
        raise UnexpectedRequest(f"{message!r}")

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Say who is here."""
        match event:
            case "list":
                return Ok(await Presence.list(PRESENCE_WITH_USERS, self))
        return await super().handle_in(event, payload)


class CrashChannel(WatchedChannel):
    """Ends in every way that is none of the orderly ones."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Fail, as the topic says."""
        await begin(self, params)
        match topic.removeprefix("crash:"):
            case "join_raise":
                raise RuntimeError("boom")
            case "join_exit":
                raise ProcessExit("boom")
            case "join_normal":
                raise ProcessExit("normal")
            case "join_throw":
                # Python has no throw: this is what OTP makes of one.
                raise ProcessExit(("bad_return_value", "boom"))
            case "join_badreturn":
                return cast(JoinResult, "bogus")
            case "join_error":
                return Error({"reason": "denied", "code": 42})
            case "join_error_string":
                return Error("just a string")
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Fail, as the event says."""
        match event:
            case "raise":
                raise RuntimeError("boom")
            case "throw":
                raise ProcessExit(("bad_return_value", "boom"))
            case "exit":
                raise ProcessExit(REASONS[payload["reason"]])
            case "kill":
                exit(self.pid, "kill")
            case "badreturn":
                return cast(InResult, "bogus")
            case "bad_reply":
                return Reply(cast(str, 7))
            case "info_raise":
                send(self.pid, "boom")
                return Ok()
            case "link_crash":
                spawn_link(leave_with, "linked_boom")
                return None
            case "link_normal":
                spawn_link(leave_with, "normal")
                return Ok()
            case "unencodable_reply":
                return Ok({"x": self.pid})
            case "unencodable_broadcast":
                self.broadcast("x", {"x": self.pid})
                return Ok()
            case "ping":
                return Ok({"pong": True})
        return await super().handle_in(event, payload)

    async def handle_info(self, message: Any) -> CastResult:
        """Fail."""
        match message:
            case "boom":
                raise RuntimeError("info boom")
        raise UnexpectedRequest(f"{message!r}")


async def leave_with(reason: Reason) -> None:
    """End for a reason."""
    raise ProcessExit(reason)


@dataclass(frozen=True, slots=True)
class StopNow:
    """A message: stop for this reason."""

    reason: Reason


class StopChannel(WatchedChannel):
    """Stops, in order or not."""

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Stop, with a reply or without."""
        match event:
            case "stop" if payload.get("reply") is not None:
                answer = Reply(payload["reply"], payload.get("response"))
                return Stop(REASONS[payload["reason"]], answer)
            case "stop":
                return Stop(REASONS[payload["reason"]])
            case "info_stop":
                send(self.pid, StopNow(REASONS[payload["reason"]]))
                return Ok()
            case "push_stop":
                self.push("bye", {})
                return Stop(REASONS[payload["reason"]])
        return await super().handle_in(event, payload)

    async def handle_info(self, message: Any) -> CastResult:
        """Stop."""
        match message:
            case StopNow(reason):
                return Stop(reason)
        raise UnexpectedRequest(f"{message!r}")


class AuthChannel(WatchedChannel):
    """Lets in whoever has a token."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Verify the token."""
        asked = await begin(self, params)
        tokens: Tokens = self.assigns["tokens"]
        max_age = either(asked.get("max_age"), 86_400)
        try:
            user = tokens.verify(SALT, asked.get("token"), max_age=max_age)
        except TokenError as error:
            return Error({"reason": error.problem})
        return Ok({"user_id": user})


class SlowChannel(WatchedChannel):
    """Takes its time for everything."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Sleep first."""
        asked = await begin(self, params)
        self.assigns["terminate_ms"] = either(asked.get("terminate_ms"), 0)
        delay = either(asked.get("delay_ms"), 0)
        await trio.sleep(delay / 1000)
        return Ok({"slept": delay})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Sleep first, if asked to."""
        match event:
            case "sleep":
                await trio.sleep(payload["ms"] / 1000)
                return Ok({"slept": payload["ms"]})
            case "ping":
                return Ok()
        return await super().handle_in(event, payload)

    async def terminate(self, reason: Reason) -> None:
        """Sleep first."""
        await trio.sleep(self.assigns.get("terminate_ms", 0) / 1000)
        await super().terminate(reason)


class BinaryChannel(WatchedChannel):
    """Takes and gives raw bytes."""

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Give back what came, or something of it."""
        match event, payload:
            case "echo", _:
                return Ok(payload)
            case "echo_error", Binary():
                return Error(payload)
            case "info", Binary(data=data):
                return Ok({"size": len(data), "sum": sum(data)})
            case "push", Binary():
                self.push("pushed", payload)
                return Ok()
            case "bcast", Binary():
                self.broadcast("bcast", payload)
                return Ok()
            case "gen", {"n": int(number)}:
                return Ok(Binary((bytes(range(256)) * (number // 256 + 1))[:number]))
        return await super().handle_in(event, payload)


class ExactChannel(WatchedChannel):
    """Is on one topic only."""

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Answer a ping."""
        match event:
            case "ping":
                return Ok()
        return await super().handle_in(event, payload)


class OptsChannel(WatchedChannel):
    """Knows what its route says."""

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Say the role."""
        match event:
            case "role":
                return Ok({"role": self.assigns["role"]})
        return await super().handle_in(event, payload)


class NoHooksChannel(Channel):
    """Has nothing but a join."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in, perhaps with a message that nobody expects."""
        asked = await begin(self, params)
        if asked.get("stray") is True:
            send(self.pid, "stray")
        return Ok()


class UserSocket(Socket):
    """Lets everybody in who does not ask to be refused."""

    channels = {
        "echo:*": EchoChannel,
        "room:*": RoomChannel,
        "presence_fetch:*": PresenceFetchChannel,
        "crash:*": CrashChannel,
        "stop:*": StopChannel,
        "auth:*": AuthChannel,
        "slow:*": SlowChannel,
        "binary:*": BinaryChannel,
        "exact": ExactChannel,
        "opts:*": Route(OptsChannel, {"role": "guest"}),
        "nohooks:*": NoHooksChannel,
    }

    def __init__(self, tokens: Tokens, *, knows_clients: bool = False) -> None:
        super().__init__()
        self.assigns["tokens"] = tokens
        self.knows_clients = knows_clients

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        """Let in, or fail as the parameters say."""
        match params.get("reject"):
            case "error":
                return False
            case "reason":
                return Refused()
            case "raise":
                raise RuntimeError("connect was asked to raise")
        self.assigns |= {
            "user_id": params.get("user_id"),
            "params": params,
            "connect_info": shown(info, self.knows_clients),
        }
        return True

    def id(self) -> str | None:
        """Name the socket after its user."""
        user: Any = self.assigns["user_id"]
        # A list or an object raises, as it does there.
        return None if user is None else "user_socket:" + user


def shown(info: ConnectInfo, is_known: bool) -> dict[str, Any]:
    """Return what is known of a client; all of it is null where the mount asks for nothing."""
    if not is_known:
        names = ("user_agent", "auth_token", "x_headers", "trace", "path", "peer")
        return dict.fromkeys(names)
    return {
        "user_agent": info.user_agent,
        "auth_token": info.auth_token,
        "x_headers": dict(info.x_headers),
        "trace": dict(info.trace_context_headers),
        "path": info.path,
        "peer": info.peer[0] if info.peer else None,
    }


class LimitedSocket(UserSocket):
    """The same, for three topics at a time."""

    max_channels = 3

"""The requests under `/control/`: what reaches into the server from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio

from exeunt import CallFailed, Shutdown, exit, stop
from exeunt.channels import Endpoint, Presence, PubSub, Request, Response, Tokens

from .channels import PRESENCE, SALT
from .records import RECORDS, Records
from .telemetry import Telemetry

ENDPOINT = "endpoint"

Handler: TypeAlias = "Callable[[dict[str, Any]], Awaitable[Any]]"

DONE = {"ok": True}
CLOSE_WITHIN = 5.0


class Control:
    """Answers the requests that are for no socket."""

    def __init__(self, hub: PubSub, tokens: Tokens) -> None:
        self._hub = hub
        self._tokens = tokens
        self._telemetry = Telemetry()
        self._handlers: dict[tuple[str, str], Handler] = {
            ("GET", "ping"): self._ping,
            ("GET", "watch"): self._watch,
            ("GET", "token"): self._token,
            ("GET", "presence"): self._presence,
            ("GET", "telemetry"): self._seen_telemetry,
            ("POST", "telemetry_reset"): self._reset_telemetry,
            ("POST", "broadcast"): self._broadcast,
            ("POST", "disconnect"): self._disconnect,
            ("POST", "drain"): self._drain,
            ("POST", "kill_channel"): self._kill_channel,
            ("POST", "crash_transport"): self._crash_transport,
            ("POST", "cast"): self._cast,
        }

    async def respond(self, request: Request) -> Response:
        """Answer a request: what `Endpoint` calls for its pages."""
        prefix, _, name = request.path.rpartition("/")
        handler = self._handlers.get((request.method, name)) if prefix == "/control" else None
        if handler is None:
            return _json(404, {"error": "not found"})
        asked: Any = request.query
        if request.method == "POST":
            try:
                asked = json.loads(request.body or b"{}")
            except ValueError:
                asked = None
        if not isinstance(asked, dict):
            return _json(400, {"error": "the body is to be a JSON object"})
        try:
            return _json(200, await handler(asked))
        except (KeyError, ValueError, TypeError) as error:
            return _json(400, {"error": f"{type(error).__name__}: {error}"})

    async def _ping(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "impl": "exeunt"}

    async def _watch(self, asked: dict[str, Any]) -> dict[str, Any]:
        return await Records.look(RECORDS, asked["id"])

    async def _token(self, asked: dict[str, Any]) -> dict[str, Any]:
        signed_at = time.time() - float(asked.get("age", 0))
        salt = asked.get("salt", SALT)
        return {"token": self._tokens.sign(salt, asked["user_id"], signed_at=signed_at)}

    async def _presence(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"presence": await Presence.list(PRESENCE, asked["topic"])}

    async def _seen_telemetry(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        return self._telemetry.seen()

    async def _reset_telemetry(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._telemetry.reset()
        return DONE

    async def _broadcast(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._hub.broadcast(asked["topic"], asked["event"], asked["payload"])
        return DONE

    async def _disconnect(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._hub.broadcast(asked["id"], "disconnect", {})
        return DONE

    async def _drain(self, asked: dict[str, Any]) -> dict[str, Any]:
        await Endpoint.drain(ENDPOINT)
        return DONE

    async def _kill_channel(self, asked: dict[str, Any]) -> dict[str, Any]:
        processes = await Records.processes(RECORDS, asked["watch"])
        if processes is not None:
            exit(processes[0], asked["reason"])
        return DONE

    async def _crash_transport(self, asked: dict[str, Any]) -> dict[str, Any]:
        processes = await Records.processes(RECORDS, asked["watch"])
        if processes is not None:
            exit(processes[1], asked["reason"])
        return DONE

    async def _cast(self, asked: dict[str, Any]) -> dict[str, Any]:
        processes = await Records.processes(RECORDS, asked["watch"])
        if processes is None or asked["msg"] != "close":
            raise ValueError(f"nothing to close: {asked!r}")
        channel, _ = processes
        with trio.move_on_after(CLOSE_WITHIN) as patience:
            try:
                await stop(channel, Shutdown("closed"))
            except CallFailed:
                pass  # it has ended otherwise meanwhile
        if patience.cancelled_caught:
            exit(channel, "kill")
        return DONE


def _json(status: int, value: object) -> Response:
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, body, (("Content-Type", "application/json; charset=utf-8"),))

"""One conversation from the first join to what comes after the leave, in both versions."""

from __future__ import annotations

from typing import Any

import pytest

from exeunt import Down, Pid, Reason, Shutdown, monitor, receive, send
from exeunt.channels import Channel, InResult, JoinResult, Ok, Socket
from tests.faults.client import Client, text

from .sites import open_endpoint

TOPIC = "room:lobby"
JOIN_REFS = {"1.0.0": None, "2.0.0": "11"}


class Lobby(Channel):
    """Tells each client that it is in, the others that somebody has come, and all who has gone."""

    pids: list[Pid]

    async def join(self, topic: str, params: Any) -> JoinResult:
        self.assigns["user"] = params["user"]
        Lobby.pids.append(self.pid)
        send(self.pid, "after_join")
        return Ok({"welcome": params["user"]})

    async def handle_info(self, message: Any) -> None:
        self.push("joined", {"status": "connected"})
        self.broadcast("user_entered", {"user": self.assigns["user"]})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        if event == "new_msg":
            self.broadcast("new_msg", payload)
            return None
        return await super().handle_in(event, payload)

    async def terminate(self, reason: Reason) -> None:
        self.push("you_left", {"reason": str(reason)})


class Lobbies(Socket):
    channels = {"room:*": Lobby}


class Speaker:
    """A client of either version; messages are shown as those of version 2."""

    def __init__(self, client: Client, version: str) -> None:
        self._client = client
        self._version = version
        self.join_ref = JOIN_REFS[version]

    async def say(self, ref: str, event: str, payload: object) -> None:
        if self._version == "2.0.0":
            await self._client.say(self.join_ref, ref, TOPIC, event, payload)
        else:
            message = {"topic": TOPIC, "event": event, "payload": payload, "ref": ref}
            await self._client.send(text(message))

    async def hear(self) -> list[Any]:
        """Return the next message; one of version 1 has no join ref."""
        frame: Any = await self._client.receive()
        if self._version == "2.0.0":
            return list(frame)
        assert sorted(frame) == ["event", "payload", "ref", "topic"]
        return [None, frame["ref"], frame["topic"], frame["event"], frame["payload"]]


def ok(response: object) -> dict[str, object]:
    return {"status": "ok", "response": response}


@pytest.mark.parametrize("version", JOIN_REFS)
async def test_join_push_broadcast_and_leave(version: str) -> None:
    Lobby.pids = []
    async with (
        open_endpoint({"/socket": Lobbies}) as port,
        await Client.connect(port, vsn=version) as client,
        await Client.connect(port) as witness,
    ):
        one = Speaker(client, version)
        mine = one.join_ref
        await one.say("1", "phx_join", {"user": "ann"})
        assert await one.hear() == [mine, "1", TOPIC, "phx_reply", ok({"welcome": "ann"})]
        # What the channel pushes carries the join's ref, what is broadcast carries none.
        assert await one.hear() == [mine, None, TOPIC, "joined", {"status": "connected"}]
        assert await one.hear() == [None, None, TOPIC, "user_entered", {"user": "ann"}]

        await witness.join(TOPIC, {"user": "bob"}, join_ref="7")
        assert await witness.receive() == ["7", None, TOPIC, "joined", {"status": "connected"}]
        entered = [None, None, TOPIC, "user_entered", {"user": "bob"}]
        assert await witness.receive() == entered
        assert await one.hear() == entered

        await one.say("2", "new_msg", {"body": "hi"})
        said = [None, None, TOPIC, "new_msg", {"body": "hi"}]
        assert await one.hear() == said
        assert await witness.receive() == said

        monitor(Lobby.pids[0])
        await one.say("3", "phx_leave", {})
        # Without a join ref in version 1, the channel's own messages have the join's ref instead.
        assert await one.hear() == [mine, "3", TOPIC, "phx_reply", ok({})]
        assert await one.hear() == [mine, mine, TOPIC, "phx_close", {}]
        assert await one.hear() == [mine, None, TOPIC, "you_left", {"reason": "shutdown: left"}]
        assert (await receive(Down)).reason == Shutdown("left")

        await one.say("4", "new_msg", {"body": "anybody there"})
        unmatched = {"status": "error", "response": {"reason": "unmatched topic"}}
        assert await one.hear() == [None, "4", TOPIC, "phx_reply", unmatched]
        assert await witness.sync() == []

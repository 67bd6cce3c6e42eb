"""The contract's telemetry: what Phoenix would tell of the same clients."""

from __future__ import annotations

import trio

from tests.conformance.phoenix.client import request

from .test_contract import Server, open_contract

TARGET = "/socket/websocket?vsn=2.0.0"


async def seen(server: Server, number: int) -> list[object]:
    """Wait for so many events."""
    with trio.fail_after(3):
        while True:
            events: list[object] = await server.get("telemetry")
            if len(events) >= number:
                return events
            await trio.sleep(0.005)


async def test_nothing_is_noted_before_the_first_reset() -> None:
    async with open_contract() as server:
        client = await server.open()
        await client.join("echo:plain")
        assert await server.get("telemetry") == []


async def test_what_happens_is_told_as_phoenix_does() -> None:
    async with open_contract() as server:
        assert await server.post("telemetry_reset") == {"ok": True}
        client = await server.open()
        await client.join("echo:plain")
        await client.call("echo:plain", "echo", {"a": 1})
        await client.say("1", "2", "echo:plain", "phx_leave", {})
        assert (await client.take())[3] == "phx_reply"
        assert (await client.take())[3] == "phx_close"
        await client.ask("2", "2", "room:forbidden", "phx_join", {})
        await client.ask("3", "3", "crash:join_raise", "phx_join", {})
        await client.ask("4", "4", "nowhere", "phx_join", {})
        assert await server.status(f"{TARGET}&reject=error") == 403
        assert await server.status("/socket/websocket?vsn=3.0.0") == 403
        # Nobody has joined anything now, so that nobody is told.
        assert await server.post("drain") == {"ok": True}
        plain, peer = await request(server.url, "GET", TARGET, {})
        assert plain.status == 400
        peer.close()
        await client.join("echo:plain")
        assert await server.post("drain") == {"ok": True}
        connect = {"transport": "websocket", "vsn": "2.0.0"}
        assert await seen(server, 8) == [
            {"event": "phoenix.socket_connected", "meta": {"result": "ok", **connect}},
            {"event": "phoenix.channel_joined", "meta": {"result": "ok", "topic": "echo:plain"}},
            {
                "event": "phoenix.channel_handled_in",
                "meta": {"event": "echo", "topic": "echo:plain"},
            },
            {
                "event": "phoenix.channel_joined",
                "meta": {"result": "error", "topic": "room:forbidden"},
            },
            {"event": "phoenix.socket_connected", "meta": {"result": "error", **connect}},
            # Of what turns out to be no WebSocket, the socket has been asked all the same.
            {"event": "phoenix.socket_connected", "meta": {"result": "ok", **connect}},
            {"event": "phoenix.channel_joined", "meta": {"result": "ok", "topic": "echo:plain"}},
            {"event": "phoenix.socket_drain", "meta": {}},
        ]


async def test_a_reset_forgets_and_goes_on() -> None:
    async with open_contract() as server:
        await server.post("telemetry_reset")
        client = await server.open()
        await client.join("echo:plain")
        await seen(server, 2)
        await server.post("telemetry_reset")
        await client.call("echo:plain", "ok")
        assert await seen(server, 1) == [
            {"event": "phoenix.channel_handled_in", "meta": {"event": "ok", "topic": "echo:plain"}}
        ]

"""The client within processes of exeunt, and many clients at a time."""

from __future__ import annotations

import gc
import logging
import resource
from typing import Any

import pytest
import trio

from exeunt import (
    Down,
    Pid,
    Supervisor,
    exit,
    monitor,
    open_node,
    receive,
    self_pid,
    send,
    spawn_link,
)
from exeunt.channels.client import ClientChannel, ClientSocket, Delays, Event, connect
from exeunt.otp.children import child
from tests.contract_server.app import open_server

from .servers import open_restartable

SOON = Delays(0.01, jitter=0)


async def bot(url: str, owner: Pid) -> None:
    """Answer what is shouted, in the way of an ordinary supervised process."""
    send(owner, self_pid())
    async with connect(url, reconnect=None) as socket, await socket.join("room:1") as room:
        send(owner, "ready")
        async for event in room:
            match event:
                case Event(event="shout", payload={"text": "hi" as text}):
                    await room.push("shout", {"text": f"you said {text}"})


async def test_a_bot_is_an_ordinary_supervised_process(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    async with open_restartable() as server, open_node(signals=False):
        await Supervisor.start_link([child(bot, server.url, self_pid())], max_restarts=1000)
        first = await receive(Pid)
        await receive(str)
        async with connect(server.url, reconnect=SOON) as socket:
            room = await socket.join("room:1")

            async def ask() -> str:
                await room.push("shout", {"text": "hi"}, wait=True)
                async for event in room:
                    if event.event == "shout" and event.payload["text"] != "hi":
                        return str(event.payload["text"])
                raise AssertionError("the room was closed")

            assert await ask() == "you said hi"
            # Killed, it leaves the room, and another one comes.
            exit(first, "kill")
            second = await receive(Pid)
            assert second != first
            await receive(str)
            assert await ask() == "you said hi"
            # So it does when its server goes, since it does not reconnect by itself.
            monitor(second)
            await server.stop()
            assert "Disconnected" in repr((await receive(Down)).reason)
            await server.start()
            with trio.fail_after(10):
                await receive(str)
            assert await ask() == "you said hi"


async def test_a_process_may_have_what_comes_sent_to_its_mailbox() -> None:
    async def listener(url: str, owner: Pid) -> None:
        me = self_pid()

        async def pass_on(room: ClientChannel) -> None:
            async for event in room:
                send(me, event)

        async with connect(url) as socket, trio.open_nursery() as nursery:
            room = await socket.join("echo:1")
            nursery.start_soon(pass_on, room)
            await room.push("push_many", {"n": 2})
            send(owner, [(await receive(Event)).payload["i"] for _ in range(2)])
            nursery.cancel_scope.cancel()

    async with open_server() as url, open_node(signals=False):
        spawn_link(listener, f"{url}/socket", self_pid())
        with trio.fail_after(10):
            assert await receive(list) == [1, 2]


@pytest.mark.slow
async def test_500_clients_in_one_process() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
    rooms: list[ClientChannel] = []
    got: list[Any] = []
    done, joined = trio.Event(), trio.Event()

    async def client(url: str) -> None:
        async with connect(f"{url}/socket", connect_within=60, heartbeat=60) as socket:
            room = await socket.join("room:1", within=60)
            rooms.append(room)
            if len(rooms) == 500:
                joined.set()
            event = await room.receive()
            got.append(event.payload)
            if len(got) == 500:
                done.set()
            await done.wait()

    try:
        with trio.fail_after(120):
            async with open_server() as url, trio.open_nursery() as nursery:
                for _ in range(500):
                    nursery.start_soon(client, url)
                await joined.wait()
                await rooms[0].push("shout", {"text": "hi"})
        assert got == [{"text": "hi"}] * 500
        assert all(room.state == "closed" for room in rooms)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    async def once(url: str) -> None:
        async with connect(f"{url}/socket") as socket:
            room = await socket.join("echo:1")
            await room.push("push_many", {"n": 3})
            await room.receive()
            with trio.move_on_after(0):
                await room.push("noreply")

    async with open_server() as url:
        for _ in range(10):
            await once(url)
        gc.collect()
        gc.collect()
        tasks = trio.lowlevel.current_statistics().tasks_living
        kept = [one for one in gc.get_objects() if isinstance(one, (ClientSocket, ClientChannel))]
        assert kept == []
        for _ in range(30):
            await once(url)
        await trio.sleep(0.05)
        assert trio.lowlevel.current_statistics().tasks_living == tasks

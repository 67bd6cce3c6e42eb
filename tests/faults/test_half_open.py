"""Half-open connections: the network is gone and nobody has said so. They are found in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from exeunt import Shutdown

from . import namespaces
from .client import Client, Closed
from .proxy import open_proxy
from .world import ROOM, Options, open_world, until

TIMEOUT = 0.3


@pytest.mark.slow
async def test_a_client_behind_a_silent_network_is_found_within_the_idle_timeout() -> None:
    async with open_world(Options(timeout=TIMEOUT)) as world, open_proxy(world.port) as proxy:
        before = await world.snapshot()
        async with await Client.connect(proxy.port, who="ada") as client:
            await client.join(ROOM)
            await client.sync()
            proxy.go_silent()
            started = trio.current_time()
            # It goes on talking; nothing of it arrives.
            await client.say("1", "2", ROOM, "echo", {})
            await world.until_left("ada")
            elapsed = trio.current_time() - started
            assert TIMEOUT * 0.8 < elapsed < TIMEOUT + 1
            assert world.reasons_of("ada") == [Shutdown("read_timeout")]
            assert world.terminated_of("ada") == [Shutdown("read_timeout")]
            # Nobody answers the close frame: the connection does not wait for long.
            await until(lambda: world.served() == [], "the connection to end", 3)
            assert proxy.swallowed["up"] > 0
            assert proxy.swallowed["down"] > 0
        await world.settle(before)
        assert world.reasons_of("ada") == [Shutdown("read_timeout")]


@pytest.mark.slow
async def test_a_silence_that_is_shorter_than_the_timeout_is_forgiven() -> None:
    async with (
        open_world(Options(timeout=0.8)) as world,
        open_proxy(world.port) as proxy,
        await Client.connect(proxy.port, who="ada") as client,
    ):
        await client.join(ROOM)
        for _ in range(3):
            proxy.go_silent()
            await trio.sleep(0.35)
            proxy.speak_again()
            assert await client.sync() == []
        assert world.left == []


@pytest.mark.slow
async def test_what_is_pushed_to_nobody_does_not_keep_the_connection() -> None:
    """A room goes on talking: the bytes pile up, but that is no sign of life."""
    async with (
        open_world(Options(timeout=TIMEOUT)) as world,
        open_proxy(world.port) as proxy,
        await Client.connect(proxy.port, who="ada") as client,
    ):
        await client.join(ROOM)
        proxy.go_silent()
        with trio.fail_after(3):
            while not world.left:
                world.hub.broadcast(ROOM, "talk", {"x": "y" * 100})
                await trio.sleep(0.01)
        assert world.reasons_of("ada") == [Shutdown("read_timeout")]


@pytest.mark.slow
async def test_a_client_that_is_silent_but_there_is_told_1002() -> None:
    async with open_world(Options(timeout=TIMEOUT)) as world, await world.join() as client:
        frames = await client.receive_until_end()
        assert frames == [Closed(1002)]
        await world.until_left("ada")
        assert world.reasons_of("ada") == [Shutdown("read_timeout")]


@pytest.mark.slow
@pytest.mark.needs("netns")
def test_a_client_whose_cable_is_pulled_is_found(part: Callable[[str], Path]) -> None:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    finished = subprocess.run(
        ["unshare", *user, "--net", sys.executable, namespaces.__file__, str(part("netns"))],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PATH": path},
    )
    assert finished.returncode == 0, finished.stderr
    joined, left, small = map(json.loads, finished.stdout.splitlines())
    # When the cable was pulled it had joined, and had not left; and nothing has told of it.
    assert joined == {"joined": True, "left": 0}
    assert left["reasons"] == ["shutdown: read_timeout"]
    assert 0.5 * namespaces.TIMEOUT < left["seconds"] < namespaces.TIMEOUT + 1.0
    assert small == {"small": True}

"""A crowd in one room: official clients that come, change, crash and go, and what each sees.

    python -m tests.e2e.presence --clients 200 --seconds 60 --seed 7

runs it by hand, for as long as one likes, and shows what was done. The clients and the choices are
those of `presence.mjs`; the server runs in this process, and knows who is really there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from exeunt import Supervisor, open_node, send
from exeunt.channels import (
    Channel,
    Endpoint,
    InResult,
    JoinResult,
    Mount,
    Ok,
    Presence,
    PubSub,
    Socket,
)
from tests.e2e.phoenix_js import JsClient

DRIVER = Path(__file__).with_name("presence.mjs")
TOPIC = "room:crowd"


class CrowdChannel(Channel):
    """Tracks its client; changes what is told of it, or crashes, when the client says so."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Let everybody in."""
        self.client, self.name = params["client"], params["name"]
        send(self.pid, "after_join")
        return Ok()

    async def handle_info(self, message: Any) -> None:
        """Send the state, then track: the other way round would do as well."""
        self.push("presence_state", await Presence.list("presence", self))
        meta = {"client": self.client, "count": 0}
        await Presence.track("presence", self, self.name, meta)

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Do as the client says."""
        match event:
            case "update":
                count = payload["count"]
                await Presence.update(
                    "presence", self, self.name, lambda old: {**old, "count": count}
                )
                return Ok({"count": count})
            case "crash":
                raise RuntimeError("as you wish")
        return await super().handle_in(event, payload)


class CrowdSocket(Socket):
    """Lets everybody in."""

    channels = {TOPIC: CrowdChannel}


@dataclass(frozen=True, slots=True)
class Crowd:
    """What has become of a crowd."""

    expected: list[dict[str, Any]]
    """Who is still there: the number, the name and the last count of each client."""
    done: dict[str, int]
    """How often each thing was done."""
    lists: list[dict[str, Any]]
    """What the clients see: each list that differs from the others, and how many see it."""
    listed: list[Any]
    """What the server lists, in the same form."""

    @property
    def agrees(self) -> bool:
        """Whether all see the same, which is what the server lists."""
        return [one["list"] for one in self.lists] == [self.listed]


async def run_crowd(
    node: Path, *, clients: int, seconds: float, seed: int, pause: float = 4.0, within: float = 60.0
) -> Crowd:
    """Have a crowd act for some seconds, each client once in `pause` seconds; see how it ends.

    Waits until everybody agrees, for `within` seconds, and then once more, to see that it stays so.
    """
    async with open_crowd_server() as url:
        given = {"url": url, "clients": clients, "seconds": seconds, "pause": pause, "seed": seed}
        async with open_driver(node, json.dumps(given)) as driver:
            try:
                settled = await driver.next("settled", within=seconds + within)
            except AssertionError:
                await driver.order("unsettled")
                moving = (await driver.next("unsettled"))["clients"]
                raise AssertionError(f"after {within} s these still move: {moving}") from None

            async def look() -> Crowd:
                await driver.order("lists")
                lists = (await driver.next("lists", within=within))["lists"]
                # Asked for afterwards: what has changed meanwhile would show.
                listed = _sorted(await Presence.list("presence", TOPIC))
                return Crowd(settled["expected"], settled["done"], lists, listed)

            deadline = trio.current_time() + within
            crowd = await look()
            while not crowd.agrees and trio.current_time() < deadline:
                await trio.sleep(0.1)
                crowd = await look()
            await trio.sleep(0.3)
            return await look()


def _sorted(presences: dict[str, Any]) -> list[Any]:
    """Put presences into the form of the driver's lists: by key, then by ref."""
    return [
        [key, sorted(presence["metas"], key=lambda meta: str(meta["phx_ref"]))]
        for key, presence in sorted(presences.items())
    ]


@asynccontextmanager
async def open_crowd_server() -> AsyncGenerator[str]:
    """Run the room in a node of its own; yield the URL."""
    hub = PubSub()
    async with open_node(signals=False):
        await Supervisor.start_link(
            [
                Presence.named("presence").child(hub),
                Endpoint.named("crowd").child({"/socket": Mount(CrowdSocket)}, port=0, hub=hub),
            ]
        )
        yield await Endpoint.url("crowd")


@asynccontextmanager
async def open_driver(node: Path, *arguments: str) -> AsyncGenerator[JsClient]:
    """Start the crowd in Node; kill it on leaving the block."""
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            [node, DRIVER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            check=False,
            deliver_cancel=_kill,
        )
        process: trio.Process = await nursery.start(run)
        client = JsClient(process)
        nursery.start_soon(client.run)
        await client.next("ready")
        try:
            yield client
        finally:
            nursery.cancel_scope.cancel()


async def _kill(process: trio.Process) -> None:
    process.kill()


def main() -> int:
    """Run a crowd by hand; the status is 1 if it does not agree in the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.presence", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two acts of one")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    given = parser.parse_args()
    node = shutil.which("node")
    if node is None:
        parser.error("this needs Node")
    print(f"seed {given.seed}", flush=True)
    crowd = trio.run(partial(run_crowd, Path(node), **vars(given)))
    print(" ".join(f"{what} {number}" for what, number in crowd.done.items()))
    print(f"{len(crowd.expected)} are there, who see {len(crowd.lists)} list(s)")
    print("all agree" if crowd.agrees else "NOT ALL AGREE")
    return 0 if crowd.agrees else 1


if __name__ == "__main__":
    raise SystemExit(main())

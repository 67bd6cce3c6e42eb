"""The moments at which somebody can leave: how ada comes to be there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from exeunt import is_alive, stop
from exeunt.channels import Endpoint

from .client import text, upgrade_request
from .scene import ADA, Scene
from .ways import LEAVE, Way
from .world import ROOM, until


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a visit. `is_held`: code of the user's runs at it, until it is released."""

    name: str
    arrange: Callable[[Scene], Awaitable[None]]
    is_held: bool = False
    # Whether the whole server is on its way out.
    hits_all: bool = False

    def fire(self, scene: Scene, way: Way) -> None:
        """Have the way happen, now."""
        if self is BROADCAST:
            scene.hook.act = lambda: way.act(scene)
            scene.world.hub.broadcast(ROOM, "news", {})
            assert scene.hook.act is None
        else:
            way.act(scene)


HEAD_SENT: Final = 60


async def in_the_head(scene: Scene) -> None:
    await scene.client.send(upgrade_request(who=ADA)[:HEAD_SENT])
    await scene.find_connection()


async def in_connect(scene: Scene) -> None:
    scene.world.held_at = ("connect", ADA)
    await scene.client.send(upgrade_request(who=ADA))
    await scene.world.busy.wait()
    await scene.find_connection()


async def _connected(scene: Scene) -> None:
    await scene.client.send(upgrade_request(who=ADA))
    await until(lambda: scene.status is not None, "the upgrade")
    assert scene.status == 101
    await scene.find_connection()


async def _join(scene: Scene) -> None:
    await scene.client.send(text(["1", "1", ROOM, "phx_join", {}]))


async def joined(scene: Scene) -> None:
    await _connected(scene)
    await _join(scene)
    await until(lambda: scene.has_come("phx_reply"), "the answer to the join")
    scene.frames.clear()


async def in_join_unwatched(scene: Scene) -> None:
    await _connected(scene)
    scene.world.held_at = ("join, before watch", ADA)
    await _join(scene)
    await scene.world.busy.wait()


async def in_join(scene: Scene) -> None:
    await _connected(scene)
    scene.world.held_at = ("join", ADA)
    await _join(scene)
    await scene.world.busy.wait()


async def in_handle_in(scene: Scene) -> None:
    await joined(scene)
    scene.world.held_at = ("handle_in", ADA)
    await scene.client.send(text(["1", "5", ROOM, "run", {}]))
    await scene.world.busy.wait()


async def with_full_queue(scene: Scene) -> None:
    await joined(scene)
    await scene.fill_queue()


async def in_terminate(scene: Scene) -> None:
    await joined(scene)
    scene.world.held_at = ("terminate", ADA)
    await scene.client.send(LEAVE)
    await scene.world.busy.wait()


async def in_leave(scene: Scene) -> None:
    await joined(scene)
    scene.world.held_at = ("leave", ADA)
    await scene.client.send(LEAVE)
    await scene.world.busy.wait()


async def during_drain(scene: Scene) -> None:
    scene.answers = False
    await in_handle_in(scene)
    await Endpoint.drain(scene.world.endpoint)
    await until(scene.was_closed, "the close frame")
    assert is_alive(scene.connection) and is_alive(scene.channel)


async def during_stop(scene: Scene) -> None:
    scene.answers = False
    await in_handle_in(scene)
    scene.nursery.start_soon(stop, scene.world.endpoint, "shutdown")
    await until(scene.was_closed, "the close frame")
    assert is_alive(scene.connection) and is_alive(scene.channel)


HEAD: Final = Moment("in the head of the upgrade", in_the_head)
CONNECT: Final = Moment("in `connect`", in_connect, is_held=True)
UNWATCHED: Final = Moment("in `join`, not yet watched", in_join_unwatched, is_held=True)
JOIN: Final = Moment("in `join`, watched", in_join, is_held=True)
IDLE: Final = Moment("idle", joined)
HANDLE_IN: Final = Moment("in `handle_in`", in_handle_in, is_held=True)
BROADCAST: Final = Moment("within a broadcast", joined)
FULL: Final = Moment("out-queue full", with_full_queue)
TERMINATE: Final = Moment("left, in `terminate`", in_terminate, is_held=True)
LEAVING: Final = Moment("left, `leave` runs", in_leave, is_held=True)
DRAIN: Final = Moment("while drained, in `handle_in`", during_drain, is_held=True, hits_all=True)
STOP: Final = Moment("while stopped, in `handle_in`", during_stop, is_held=True, hits_all=True)

MOMENTS: Final = (
    HEAD,
    CONNECT,
    UNWATCHED,
    JOIN,
    IDLE,
    HANDLE_IN,
    BROADCAST,
    FULL,
    TERMINATE,
    LEAVING,
    DRAIN,
    STOP,
)

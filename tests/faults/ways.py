"""The ways to leave: each is done to ada in one step, at whatever moment that is.

Those of her client are bytes that it writes, or what happens to its socket; those of her channel
are done to its process, or by the code that runs in it at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from exeunt import CallFailed, Shutdown, Stop, stop, whereis
from exeunt import exit as exit_signal
from exeunt.channels import Endpoint

from .acts import raises, returns
from .client import TEXT, close_frame, frame, text
from .lines import LineKind
from .scene import ADA, Scene
from .world import ROOM, WATCHER

Hits: TypeAlias = Literal["connection", "channel", "handler", "server", "nobody"]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to leave.

    `hits` is what ends first: the process of the connection, or of the channel; the channel in its
    turn, by what it handles; the whole server; or neither of them.
    """

    name: str
    act: Callable[[Scene], None]
    hits: Hits
    line: LineKind = "direct"
    # Whether the log may tell of it as of a trouble.
    is_trouble: bool = False
    # Whether the one who stays is sent away as well.
    hits_all: bool = False


def writes(data: bytes) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        scene.client.send_now(data)

    return act


def fin(scene: Scene) -> None:
    scene.client.fin()


def reset(scene: Scene) -> None:
    scene.client.reset()


def silence(scene: Scene) -> None:
    assert scene.line.proxy is not None
    scene.line.proxy.go_silent(deaf=True)


def client_killed(scene: Scene) -> None:
    assert scene.line.program is not None
    scene.line.program.kill()


def channel_killed(scene: Scene) -> None:
    exit_signal(scene.channel, "kill")


def connection_killed(scene: Scene) -> None:
    exit_signal(scene.connection, "kill")


def crash(scene: Scene) -> None:
    """Have the code raise that runs at this moment, or the next that would."""
    boom = RuntimeError("on purpose")

    def fail() -> None:
        raise boom

    match scene.world.held_at:
        case (_, who) if who == ADA:
            scene.world.then = fail
            scene.release()
        case _:
            scene.tell(raises(boom))


def stop_from_handler(scene: Scene) -> None:
    """Have the handler return `Stop` that runs at this moment, or the next that will."""
    ending = Stop(Shutdown("done"))
    match scene.world.held_at:
        case ("handle_in", _):
            scene.world.then = lambda: ending
            scene.release()
        case _:
            scene.tell(returns(ending))


def disconnect(scene: Scene) -> None:
    scene.world.hub.broadcast(f"user:{ADA}", "disconnect", {})


def drain(scene: Scene) -> None:
    async def drained() -> None:
        try:
            await Endpoint.drain(scene.world.endpoint)
        except CallFailed:
            pass  # it is being stopped

    scene.nursery.start_soon(drained)


def server_stop(scene: Scene) -> None:
    scene.nursery.start_soon(stop, scene.world.endpoint, "shutdown")


def malformed(scene: Scene) -> None:
    is_websocket = scene.status == 101 or scene.world.held_at == ("connect", ADA)
    scene.client.send_now(text("junk") if is_websocket else b"\x00\r\n\r\n")


def oversized(scene: Scene) -> None:
    is_websocket = scene.status == 101 or scene.world.held_at == ("connect", ADA)
    large = text(["1", "2", ROOM, "echo", {"x": "y" * 5000}])
    scene.client.send_now(large if is_websocket else b"a" * 20_000)


def slow_consumer(scene: Scene) -> None:
    scene.nursery.start_soon(scene.overflow)


def watcher_killed(scene: Scene) -> None:
    watcher = whereis(WATCHER)
    assert watcher is not None
    exit_signal(watcher, "kill")


def watcher_killed_and_reset(scene: Scene) -> None:
    watcher_killed(scene)
    reset(scene)


LEAVE: Final = text(["1", "2", ROOM, "phx_leave", {}])
JOIN_ANEW: Final = text(["9", "9", ROOM, "phx_join", {"who": "ada again"}])

WAYS: Final = (
    Way("close frame", writes(close_frame(1000)), "connection"),
    Way("FIN", fin, "connection"),
    Way("RST", reset, "connection"),
    Way("silence (half-open)", silence, "connection", line="proxy"),
    Way("client killed (SIGKILL)", client_killed, "connection", line="program"),
    Way("connection killed", connection_killed, "connection", is_trouble=True),
    Way("channel killed", channel_killed, "channel", is_trouble=True),
    Way("crash in a handler", crash, "handler", is_trouble=True),
    Way("`Stop` from a handler", stop_from_handler, "handler"),
    Way("phx_leave", writes(LEAVE), "handler"),
    Way("joined anew", writes(JOIN_ANEW), "handler"),
    Way("disconnected by its id", disconnect, "connection"),
    Way("malformed frame", malformed, "connection", is_trouble=True),
    Way("oversized frame", oversized, "connection"),
    Way(
        "text that is not UTF-8",
        writes(frame(TEXT, b'["\xff\xfe"]')),
        "connection",
        is_trouble=True,
    ),
    Way("slow consumer", slow_consumer, "connection", is_trouble=True),
    Way("server drained", drain, "connection", hits_all=True),
    Way("server stopped", server_stop, "server", hits_all=True),
    Way("watcher killed", watcher_killed, "nobody", is_trouble=True),
    Way("watcher killed, and RST", watcher_killed_and_reset, "connection", is_trouble=True),
)

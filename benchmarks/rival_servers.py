"""The rivals' servers: `python -m benchmarks.rival_servers Starlette|python-socketio`.

Each does with its own means what `benchmarks.servers` does with ours, as its documentation would
have it done, under uvicorn with the loop and the WebSockets in C that come with
`uvicorn[standard]`. Neither pings while it is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.meters import allow_many_files, clock, leaves, resident
from benchmarks.rivals import module

LONG = 3600.0


def starlette_room() -> Any:
    """Return an application with WebSocket rooms."""
    websockets = module("starlette.websockets")
    rooms: dict[str, dict[Any, None]] = {}

    async def serve(websocket: Any) -> None:
        await websocket.accept()
        room: dict[Any, None] = {}
        try:
            while True:
                message = await websocket.receive_json()
                match message["type"]:
                    case "join":
                        room = rooms.setdefault(message["topic"], {})
                        room[websocket] = None
                        await websocket.send_json({"type": "joined", "topic": message["topic"]})
                    case "shout":
                        text = json.dumps(message)
                        for member in tuple(room):
                            try:
                                await member.send_text(text)
                            except websockets.WebSocketDisconnect:
                                pass
                    case _:
                        await websocket.send_json(message)
        except websockets.WebSocketDisconnect:
            pass
        finally:
            room.pop(websocket, None)
            leaves.count()

    route = module("starlette.routing").WebSocketRoute("/ws", serve)
    return module("starlette.applications").Starlette(routes=[route])


def socketio_server() -> Any:
    """Return an application that speaks Socket.IO."""
    socketio = module("socketio")
    server = socketio.AsyncServer(async_mode="asgi", ping_interval=LONG, ping_timeout=LONG)

    async def join(sid: str, message: Any) -> dict[str, Any]:
        await server.enter_room(sid, message["topic"])
        return {}

    async def echo(sid: str, message: Any) -> Any:
        return message["payload"]

    async def shout(sid: str, message: Any) -> None:
        await server.emit("shout", message["payload"], room=message["topic"])

    async def disconnect(sid: str, reason: str) -> None:
        leaves.count()

    for handler in (join, echo, shout, disconnect):
        server.on(handler.__name__, handler)
    return socketio.ASGIApp(server)


async def tell_time(_: str) -> float:
    """Return the processor time of this process so far."""
    return clock()


async def tell_memory(_: str) -> float:
    """Return the resident memory of this process."""
    return resident()


async def expect_leaves(count: str) -> str:
    """Return the processor time that passes until so many clients have left, and when each did."""
    done = asyncio.Event()
    leaves.expect(int(count), done.set)
    print("armed", flush=True)
    await done.wait()
    seconds = leaves.seconds()
    await asyncio.sleep(0.2)
    return leaves.report(seconds)


ORDERS: dict[str, Callable[[str], Awaitable[object]]] = {
    "time": tell_time,
    "memory": tell_memory,
    "leaves": expect_leaves,
}


async def serve(server: Any) -> None:
    """Serve until the standard input ends."""
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  it has no event to wait for
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, _, rest = line.strip().partition(" ")
        print(await ORDERS[name](rest), flush=True)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    allow_many_files()
    application = {"Starlette": starlette_room, "python-socketio": socketio_server}[sys.argv[1]]()
    uvicorn = module("uvicorn")
    config = uvicorn.Config(
        application, port=0, log_level="critical", lifespan="off", ws_ping_interval=None
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve(uvicorn.Server(config)))

"""The life of a client that polls, recorded: it has a process of its own, and no connection."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import quote

import trio

from docs.diagrams.connections import ROOM, User
from docs.diagrams.recorder import BEFORE, Data, Recorder, replaced, shown_reason
from exeunt import Pid, exit, is_alive, open_node, stop, trap_exit
from exeunt.channels import Endpoint, LongPoll, Mount, PubSub
from exeunt.channels import longpoll_client as client_module
from exeunt.channels.admission import Accepted, admit
from exeunt.channels.serving import Serving
from exeunt.kernel.events import Exited
from exeunt.kernel.process import current_process
from tests.faults.client import Client

STATES: Final = ("connect", "refused", "served", "ended")


def record() -> Data:
    """Have polling clients come and go; return the states that they were in, and the steps."""
    recorder = Recorder()
    places = _Places(recorder)
    with places.noted():
        trio.run(_come_and_go, recorder, places)
    return recorder.data(STATES)


class _Places:
    """Notes, for each client, which place of the code its process comes to."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.newest: Pid

    def noted(self) -> ExitStack:
        """Note all steps for as long as the block runs."""
        serve = Serving.serve

        async def noting_admit(*args: Any) -> Any:
            self.newest = current_process().pid
            self.recorder.enter(self.newest, "connect")
            answer = await admit(*args)
            if not isinstance(answer, Accepted):
                self.recorder.enter(self.newest, "refused")
            return answer

        async def noting_serve(serving: Serving) -> Any:
            self.recorder.enter(serving._pid, "served")
            return await serve(serving)

        stack = ExitStack()
        stack.enter_context(replaced(client_module, admit=noting_admit))
        stack.enter_context(replaced(Serving, serve=noting_serve))
        return stack

    def note_exit(self, event: Exited) -> None:
        """Note that the process of a client has ended."""
        if self.recorder.state_of(event.pid) != BEFORE:
            self.recorder.enter(event.pid, "ended", reason=shown_reason(event.reason))


class _Polling:
    """One client at a time, which polls."""

    def __init__(self, recorder: Recorder, places: _Places, port: int) -> None:
        self.recorder = recorder
        self.places = places
        self.port = port

    async def ask(self, path: str, token: str = "", body: str | None = None, **more: str) -> Any:
        """Send one request, on a connection of its own; return its answer."""
        query = f"vsn=2.0.0&token={quote(token)}" + "".join(f"&{k}={v}" for k, v in more.items())
        method, data = ("GET", b"") if body is None else ("POST", body.encode())
        head = f"{method} {path}/longpoll?{query} HTTP/1.1\r\nHost: localhost\r\n"
        async with await Client.dial(self.port) as client:
            await client.send(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            _, _, answer = await client.response()
        return json.loads(answer)

    async def come(self, path: str = "/socket") -> str:
        """Be let in, and join a room; return the client's token."""
        self.recorder.begin("connect says yes", at="connect")
        token = str((await self.ask(path))["token"])
        if path == "/socket":
            join = json.dumps(["1", "1", ROOM, "phx_join", {}])
            assert (await self.ask(path, token, join))["status"] == 200
        return token

    async def leave(
        self, way: str, act: Callable[[str], Awaitable[Any] | None], *, path: str = "/socket"
    ) -> None:
        """Come, and be made to leave."""
        self.recorder.begin(way, at="served")
        token = await self.come(path)
        acting = act(token)
        if acting is not None:
            await acting
        await self.recorder.until(self.places.newest, "ended")
        self.recorder.check_seen()


async def _come_and_go(recorder: Recorder, places: _Places) -> None:
    hub = PubSub()
    sockets = {
        "/socket": Mount(User, longpoll=LongPoll(window=5.0), max_queued=64 * 1024),
        "/quick": Mount(User, longpoll=LongPoll(window=0.05)),
    }
    async with open_node(signals=False) as node:
        trap_exit()
        node.events.subscribe(places.note_exit, Exited)
        endpoint = await Endpoint.start_link(sockets, port=0, hub=hub)
        polling = _Polling(recorder, places, await _port(endpoint))

        recorder.begin("connect says no", at="connect")
        await polling.ask("/socket", want="no")
        await recorder.until(places.newest, "ended")

        def is_there() -> bool:
            return is_alive(places.newest)

        async def flood(token: str) -> None:
            while is_there():
                hub.broadcast(ROOM, "flood", {"x": "y" * 8000})
                await trio.lowlevel.checkpoint()

        async def send_junk(token: str) -> None:
            async with trio.open_nursery() as nursery:
                # It is answered when its window is over, and nobody waits for that.
                nursery.start_soon(polling.ask, "/socket", token, "junk")
                await recorder.until(places.newest, "ended")
                nursery.cancel_scope.cancel()

        def disconnect(token: str) -> None:
            hub.broadcast("user", "disconnect", {})

        await polling.leave("it polls no more", lambda token: None, path="/quick")
        await polling.leave("it does not poll, and much is sent", flood)
        await polling.leave("it sends junk", send_junk)
        await polling.leave("it is disconnected by its id", disconnect)
        await polling.leave("a signal comes", lambda token: exit(places.newest, "reason"))
        await polling.leave("its process is killed", lambda token: exit(places.newest, "kill"))
        await polling.leave("the server drains", lambda token: Endpoint.drain(endpoint))
        await polling.leave("the server stops", lambda token: stop(endpoint, "shutdown"))


async def _port(endpoint: Pid) -> int:
    return int((await Endpoint.url(endpoint)).rpartition(":")[2])

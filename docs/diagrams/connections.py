"""The life of a connection, recorded: real clients that come, are turned away, stay, and leave.

The code has no variable for the state of a connection: it is the place in the code where the
process of the connection is. So the states are such places, and the steps are noted where a
function of that place is entered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, get_args

import trio

from docs.diagrams.recorder import Data, Mismatch, Recorder, eventually, replaced, shown_reason
from exeunt import Pid, Reason, exit, is_alive, open_node, stop, trap_exit
from exeunt.channels import (
    Channel,
    ConnectInfo,
    Endpoint,
    Limits,
    Mount,
    Params,
    PubSub,
    Refused,
    Request,
    Response,
    Socket,
    admission,
)
from exeunt.channels import connection as connection_module
from exeunt.channels import endpoint as endpoint_module
from exeunt.channels import http as http_module
from exeunt.channels.events import SocketRefused, WhyRefused
from exeunt.channels.serving import Serving
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.trio_websocket import WebSocket
from exeunt.kernel.events import Exited
from exeunt.kernel.process import current_process
from tests.faults.client import TEXT, Client, close_frame, frame, text, upgrade_request

STATES: Final = ("accepted", "request", "connect", "refused", "open", "closing", "ended")

ROOM: Final = "room:a"


def record() -> Data:
    """Have clients come and go; return the states of their connections and the steps between."""
    recorder = Recorder()
    places = _Places(recorder)
    with places.noted():
        trio.run(_come_and_go, recorder, places)
    missing = set(get_args(WhyRefused)) - places.refusals
    if missing:
        raise Mismatch(f"no client was refused for {sorted(missing)}")
    return recorder.data(STATES)


class _Places:
    """Notes, for each connection, which place of the code it comes to."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.refusals: set[WhyRefused] = set()
        # The process of the latest connection, and how many there were.
        self.newest: Pid
        self.accepted = 0
        self._reasons: dict[Pid, str] = {}
        self._pages: set[Pid] = set()

    def noted(self) -> ExitStack:
        """Note all steps for as long as the block runs."""
        start = endpoint_module._start_connection
        refuse = endpoint_module._refuse
        read_head = http_module._Server._read_head
        write = http_module._Server._write
        admit = admission.admit
        serve = Serving.serve
        finish = Serving.finish
        close = WebSocket.close

        async def noting_start(stream: ByteStream, site: Any) -> Pid:
            self.newest = await start(stream, site)
            self.accepted += 1
            self.recorder.enter(self.newest, "accepted")
            return self.newest

        async def noting_refuse(stream: ByteStream) -> None:
            # There is no process for this one.
            self.recorder.enter(stream, "accepted")
            self.recorder.begin("there is no room for one more")
            self.recorder.enter(stream, "refused", code="503")
            await refuse(stream)
            self.recorder.enter(stream, "ended")

        async def noting_read_head(server: Any, *, is_first: bool) -> bytes | None:
            pid = current_process().pid
            if pid in self._pages:
                self._pages.remove(pid)
                self.recorder.enter(pid, "request", code="200")
            else:
                self.recorder.enter(pid, "request")
            return await read_head(server, is_first=is_first)

        async def noting_write(
            server: Any, parser: Any, method: str, answer: Response, *, close: bool
        ) -> bool:
            pid = current_process().pid
            if answer.status < 400:
                self._pages.add(pid)
            else:
                self.recorder.enter(pid, "refused", code=str(answer.status))
            return await write(server, parser, method, answer, close=close)

        async def noting_admit(*args: Any) -> Any:
            self.recorder.enter(current_process().pid, "connect")
            return await admit(*args)

        async def noting_serve(serving: Serving) -> Any:
            self.recorder.enter(serving._pid, "open", code="101")
            return await serve(serving)

        def noting_finish(serving: Serving, reason: Reason, code: int | None = None) -> None:
            if serving._end is None:
                self._reasons[serving._pid] = shown_reason(reason)
            finish(serving, reason, code)

        async def noting_close(websocket: WebSocket, code: int, *args: Any, **more: Any) -> None:
            pid = current_process().pid
            if self.recorder.state_of(pid) != "closing":
                reason = self._reasons.get(pid, "none was given")
                self.recorder.enter(pid, "closing", reason=reason, code=str(code))
            await close(websocket, code, *args, **more)

        stack = ExitStack()
        for owner, changes in (
            (endpoint_module, {"_start_connection": noting_start, "_refuse": noting_refuse}),
            (http_module._Server, {"_read_head": noting_read_head, "_write": noting_write}),
            (connection_module, {"admit": noting_admit}),
            (Serving, {"serve": noting_serve, "finish": noting_finish}),
            (WebSocket, {"close": noting_close}),
        ):
            stack.enter_context(replaced(owner, **changes))
        return stack

    def note_exit(self, event: Exited) -> None:
        """Note that the process of a connection has ended."""
        if self.recorder.state_of(event.pid):
            self.recorder.enter(event.pid, "ended", reason=shown_reason(event.reason))

    def note_refusal(self, event: SocketRefused) -> None:
        """Note for which reasons sockets have refused somebody."""
        self.refusals.add(event.why)


class Room(Channel):
    """A channel that anybody may join."""

    async def join(self, topic: str, params: Any) -> None:
        """Let them in."""


class User(Socket):
    """Lets in everybody who does not ask for trouble."""

    channels = {"room:*": Room}

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:
        """Do what is asked for."""
        self.wanted = params.get("want")
        match self.wanted:
            case "no":
                return False
            case "crash":
                raise RuntimeError("on purpose")
            case "wait":
                await trio.sleep_forever()
        return True

    def id(self) -> Any:
        """Return the name under which it is disconnected."""
        return 5 if self.wanted == "nameless" else "user"


MOUNT: Final = Mount(
    User,
    max_frame_size=4096,
    max_queued=64 * 1024,
    close_within=0.5,
    subprotocols=("chat",),
)
# Only who is to run out of time is given little of it: the machine may be slow.
SOCKETS: Final = {
    "/socket": MOUNT,
    "/impatient": replace(MOUNT, connect_within=0.05),
    "/silent": replace(MOUNT, timeout=0.1),
}


async def _page(request: Request) -> Response:
    return Response.text(200, "a page\n")


@asynccontextmanager
async def served(hub: PubSub, **options: Any) -> AsyncGenerator[tuple[int, Pid]]:
    """Run an endpoint; the block gets its port and its pid."""
    endpoint = await Endpoint.start_link(SOCKETS, port=0, hub=hub, pages=_page, **options)
    try:
        yield int((await Endpoint.url(endpoint)).rpartition(":")[2]), endpoint
    finally:
        if is_alive(endpoint):
            await stop(endpoint, "shutdown")


async def _come_and_go(recorder: Recorder, places: _Places) -> None:
    hub = PubSub()
    async with open_node(signals=False) as node:
        trap_exit()
        node.events.subscribe(places.note_exit, Exited)
        node.events.subscribe(places.note_refusal, SocketRefused)
        async with served(hub) as (port, endpoint):
            clients = _Clients(recorder, places, port)
            await _ask(clients)
            await _be_refused(clients)
            await _leave(clients, hub)
            await _be_sent_away(clients, hub, endpoint)
        async with served(hub, limits=Limits(head_seconds=0.05)) as (port, _):
            await _be_late(_Clients(recorder, places, port))
        async with (
            served(hub, max_connections=1) as (port, _),
            await Client.dial(port) as first,
            await Client.dial(port) as second,
        ):
            await second.response()
            await recorder.until(places.newest, "request")
            recorder.begin("the client goes", at="request")
            first.close()
            await recorder.until(places.newest, "ended")


class _Clients:
    """Makes clients, one at a time."""

    def __init__(self, recorder: Recorder, places: _Places, port: int) -> None:
        self.recorder = recorder
        self.places = places
        self.port = port

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """Connect a client, and see to its connection's end."""
        before = self.places.accepted
        async with await Client.dial(self.port, buffer=4096) as client:
            await eventually(lambda: self.places.accepted > before)
            yield client
        await self.recorder.until(self.places.newest, "ended")

    async def turn_away(self, way: str, data: bytes, *, at: str = "request") -> None:
        """Send what is refused, then go."""
        async with self.client() as client:
            await self.recorder.until(self.places.newest, "request")
            self.recorder.begin(way, at=at)
            await client.send(data)
            _, head, _ = await client.response()
            self.recorder.check_seen()
            if "connection: close" not in head.lower():
                await self.recorder.until(self.places.newest, "request")
                self.recorder.begin("the client goes")

    async def leave(
        self,
        way: str,
        act: Callable[[Client], Awaitable[None] | None],
        *,
        path: str = "/socket/websocket",
    ) -> None:
        """Open a WebSocket, join a room, and then be made to leave."""
        self.recorder.begin("connect says yes", at="connect")
        self.recorder.begin(way, at="open")
        async with self.client() as client:
            await client.upgrade(path)
            await client.join(ROOM)
            acting = act(client)
            if acting is not None:
                await acting
            await self.recorder.until(self.places.newest, "closing", "ended")
        self.recorder.check_seen()


async def _ask(clients: _Clients) -> None:
    recorder = clients.recorder
    async with clients.client() as client:
        for _ in range(2):
            await recorder.until(clients.places.newest, "request")
            recorder.begin("a page is asked for")
            await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await client.response()
            await recorder.until_seen()
        recorder.begin("the client goes")


async def _be_late(clients: _Clients) -> None:
    recorder = clients.recorder
    recorder.begin("no request comes in time", at="request")
    async with clients.client():
        await recorder.until(clients.places.newest, "ended")
    recorder.begin("half a head comes in time", at="request")
    async with clients.client() as client:
        await client.send(upgrade_request()[:40])
        await client.response()
    recorder.check_seen()


async def _be_refused(clients: _Clients) -> None:
    await clients.turn_away("it is no HTTP", b"\x00\r\n\r\n")
    await clients.turn_away("the head is too large", b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
    foreign = (("Origin", "http://elsewhere.example"),)
    await clients.turn_away("the origin is foreign", upgrade_request(headers=foreign))
    other = (("Sec-WebSocket-Protocol", "other"),)
    await clients.turn_away("no subprotocol will do", upgrade_request(headers=other))
    await clients.turn_away("its version is unknown", upgrade_request(vsn="3.0.0"), at="connect")
    await clients.turn_away("connect says no", upgrade_request(want="no"), at="connect")
    slow = upgrade_request("/impatient/websocket", want="wait")
    await clients.turn_away("connect takes too long", slow, at="connect")
    await clients.turn_away("connect raises", upgrade_request(want="crash"), at="connect")
    await clients.turn_away("id is no string", upgrade_request(want="nameless"), at="connect")
    plain = b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await clients.turn_away("it asks for no WebSocket", plain, at="connect")


async def _leave(clients: _Clients, hub: PubSub) -> None:
    await clients.leave("it closes", lambda client: client.send(close_frame(1000)))
    await clients.leave("TCP ends, or is reset", lambda client: client.fin())
    await clients.leave("TCP ends, or is reset", lambda client: client.reset())
    await clients.leave("it is silent", lambda client: None, path="/silent/websocket")
    await clients.leave("it sends junk", lambda client: client.send(text("junk")))
    too_large = text(["1", "2", ROOM, "e", {"x": "y" * 5000}])
    await clients.leave("it sends too much at once", lambda client: client.send(too_large))
    not_utf8 = frame(TEXT, b'["\xff\xfe"]')
    await clients.leave("its text is not UTF-8", lambda client: client.send(not_utf8))
    unmasked = frame(TEXT, b"[]", mask=False)
    await clients.leave("it breaks RFC 6455", lambda client: client.send(unmasked))

    async def flood(client: Client) -> None:
        while clients.recorder.state_of(clients.places.newest) == "open":
            hub.broadcast(ROOM, "flood", {"x": "y" * 8000})
            await trio.lowlevel.checkpoint()

    await clients.leave("it does not read", flood)


async def _be_sent_away(clients: _Clients, hub: PubSub, endpoint: Pid) -> None:
    def disconnect(client: Client) -> None:
        hub.broadcast("user", "disconnect", {})

    def kill(client: Client) -> None:
        exit(clients.places.newest, "kill")

    await clients.leave("it is disconnected by its id", disconnect)
    await clients.leave("the server drains", lambda client: Endpoint.drain(endpoint))
    await clients.leave("its process is killed", kill)
    await clients.leave("the server stops", lambda client: stop(endpoint, "shutdown"))

"""Endpoint: the port, the connections and the channels of an application, as one supervised tree.

    Endpoint.child({"/socket": UserSocket}, port=4000, pages=pages)

It is a supervisor with three children, in this order: the channels, the connections, the listener
(one for each address).
So when it stops, no connection is accepted any more, then every client is told that the server goes
away (close code 1012) and its channels end with `Shutdown("draining")`, then what channels are left
are shut down.
"""

from __future__ import annotations

import logging
import socket as stdlib_socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from exeunt.channels.checks import check_number, check_pages
from exeunt.channels.connection import run_connection
from exeunt.channels.draining import Draining, drain
from exeunt.channels.http_messages import Limits
from exeunt.channels.listeners import accept, open_listeners
from exeunt.channels.mounting import hidden_patterns
from exeunt.channels.origin import check_origins
from exeunt.channels.paths import check_path
from exeunt.channels.pubsub import PubSub
from exeunt.channels.site import Mount, Pages, Site
from exeunt.channels.socket import Socket
from exeunt.channels.stream import ByteStream
from exeunt.kernel.errors import CallFailed, StartError
from exeunt.kernel.exits import Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import is_alive, spawn_process
from exeunt.otp.children import child
from exeunt.otp.dynamic_supervisor import DynamicSupervisor, MaxChildren
from exeunt.otp.requests import on_call
from exeunt.otp.results import InitResult
from exeunt.otp.supervision import ChildSpec
from exeunt.otp.supervisor import Supervisor
from exeunt.otp.tables import run_at_exit

logger = logging.getLogger("exeunt.channels")

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Connection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
)


MOST_REFUSALS: Final = 64
"""How many clients at a time are told that there is no place for them; others are cut off."""


_DRAINING: Final = Draining()


class _Slot:
    """A name known to one endpoint only: where its parts find each other after a restart."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid: Pid | None = None

    def __repr__(self) -> str:
        return self._what

    def whereis(self) -> Pid | None:
        """Return the process, or None."""
        return self._pid if self._pid is not None and is_alive(self._pid) else None

    def register(self, pid: Pid) -> bool:
        """Take a process in, unless there is one."""
        if self.whereis() is not None:
            return False
        self._pid = pid
        return True


async def _accept(listener: stdlib_socket.socket, connections: _Slot, site: Site) -> None:
    """Accept connections for ever, and have a process started for each: the body of a listener."""
    is_troubled = False

    def note(error: OSError) -> None:
        nonlocal is_troubled
        if not is_troubled:
            logger.error("cannot accept connections: %s; they wait until that has ended", error)
        is_troubled = True

    async with trio.open_nursery() as nursery:
        while True:
            try:
                stream = await accept(listener, on_trouble=note)
                is_troubled = False
            except trio.ClosedResourceError:
                # The endpoint stops: this process is told so in its turn.
                await trio.sleep_forever()
            is_passed_on = False
            try:
                start = partial(_start_connection, stream, site)
                spec = ChildSpec(id="run_connection", start=start, restart="temporary")
                await DynamicSupervisor.start_child(connections, spec)
                is_passed_on = True
            except MaxChildren:
                if len(nursery.child_tasks) < MOST_REFUSALS:
                    nursery.start_soon(_refuse, stream)
                    is_passed_on = True
            except (StartError, CallFailed):
                pass  # the endpoint is being stopped, or restarted
            finally:
                if not is_passed_on:
                    stream.abort()


async def _start_connection(stream: ByteStream, site: Site) -> Pid:
    """Start the process of a connection; its socket is closed with it, even if it never ran."""
    process = spawn_process(run_connection, (stream, site), linked=True)
    run_at_exit(process, stream, stream.abort_with)
    return process.pid


async def _refuse(stream: ByteStream) -> None:
    """Tell a client that there is no place for it, in a way that it gets to read."""
    try:
        stream.put(_FULL)
        await stream.close_after_drain(1.0, linger=True)
    finally:
        stream.abort()


class Endpoint(Supervisor):
    """The port, the connections and the channels of an application."""

    async def init(  # type: ignore[override]
        self,
        sockets: Mapping[str, Callable[[], Socket] | Mount],
        *,
        host: str | None = "127.0.0.1",
        port: int = 4000,
        hub: PubSub | None = None,
        pages: Pages | None = None,
        limits: Limits | None = None,
        max_connections: int = 16_384,
        draining: Draining | Callable[[], Draining] | None = _DRAINING,
        public_host: str | None = None,
    ) -> InitResult:
        """Listen on `host` (None: on all addresses) and `port` (0: any free one).

        `sockets` says which socket is at which path: at `"/socket"`, clients connect to
        `/socket/websocket`, and if its `Mount` has long-polling, to `/socket/longpoll` too. A
        segment such as `:room` is a variable, which `connect` gets as a parameter; of several paths
        that fit, the first is taken. `pages` answers all other requests: an async function of the
        `Request` that returns a `Response`, or `StaticFiles(…)`. `hub` carries the broadcasts; give
        one to share it with other processes. More than `max_connections` are
        answered 503; a client that polls counts as one, beside the connections that its requests
        come by.

        `public_host` is the name under which the application is known to browsers; sockets with
        `check_origin=True` can be opened by its pages only.

        `draining` says how clients are sent away: options, or a function that is asked for them
        when the endpoint starts. With None all are told at once.

        The tokens of clients that poll are signed with a secret that is made here, at random:
        after a restart of the endpoint they are as unknown as the clients that they stood for, who
        connect anew.

        Phoenix: there, nodes that are connected pass the requests of a client that polls on to the
        one that has it. Here, where several programs serve the same clients, whatever stands in
        front has to send all requests of a client to the same one.
        """
        if not isinstance(sockets, Mapping):
            raise TypeError(
                f"an endpoint is given its sockets by path, {{'/socket': UserSocket}}, "
                f"not {sockets!r}"
            )
        mounts = {path: _mount(path, to) for path, to in sockets.items()}
        _check_options(hub, pages, limits, max_connections, draining, public_host)
        if public_host is not None:
            origin = (f"//{public_host}",)
            check_origins(origin)
            for path, mount in mounts.items():
                if mount.check_origin is True:
                    mounts[path] = replace(mount, check_origin=origin)
        try:
            self._listeners = await open_listeners(host, port)
        except OSError:
            # Whoever starts the endpoint is told, and needs no traceback for it.
            self._process.reporting = "never"
            raise
        close = self._close_listeners
        self._process.at_exit = {**(self._process.at_exit or {}), self: lambda _: close()}
        channels, connections = _Slot("channels"), _Slot("connections")
        self._connections = connections
        self._draining = draining() if callable(draining) else draining
        _check_draining(self._draining)
        self._hub = PubSub() if hub is None else hub
        site = self._site = Site(
            mounts=mounts,
            hub=self._hub,
            channels=channels,
            connections=connections,
            pages=pages,
            limits=Limits() if limits is None else limits,
        )
        children: list[ChildSpec] = [
            DynamicSupervisor.named(channels).child(quiet=True).replace(id="channels"),
            DynamicSupervisor.named(connections)
            .child(max_children=max_connections, quiet=True)
            .replace(id="connections"),
        ]
        # The sockets are the endpoint's, so that a listener which is restarted loses nobody: who
        # connects meanwhile waits in the backlog.
        for number, listener in enumerate(self._listeners):
            id = "listener" if number == 0 else f"listener {number + 1}"
            children.append(child(_accept, listener, connections, site, id=id))
        return await super().init(children, strategy="rest_for_one")

    @on_call
    async def url(self) -> str:
        """Return the URL under which the endpoint is to be reached."""
        host, port, *_ = self._listeners[0].getsockname()
        if host in ("0.0.0.0", "::"):
            host = "localhost"
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @on_call
    async def hub(self) -> PubSub:
        """Return the hub that carries the broadcasts: from anywhere,

        `(await Endpoint.hub("endpoint")).broadcast("room:lobby", "said", {"text": "hi"})`.
        """
        return self._hub

    @staticmethod
    async def drain(server: Destination) -> None:
        """Have every client that has joined a topic go (close code 1012), and go on listening.

        They are told in the rounds that the endpoint was given; this returns when the last one has
        been told. One that polls is told so at its next poll. Who connects meanwhile stays.

        Its channels end with `Shutdown("draining")`, and the client comes back by itself: to this
        endpoint, or to another one to which whatever stands in front sends it now.

        Phoenix: a channel there is told in its turn, behind what it has to handle, and then tells
        its client, which so has its answers first where all its channels are busy. Here no handler,
        however long it takes, keeps a client from being told; it comes to its end, but what it
        still answers is lost.
        """
        clients, draining = await Endpoint._clients(server)
        # In the caller's process, since the endpoint has its children to look after.
        for socket, pids in clients.items():
            await drain(socket, pids, draining or Draining(batch_size=len(pids)))

    @on_call
    async def _clients(self) -> tuple[dict[str, list[Pid]], Draining | None]:
        """Return the clients that have joined a topic, by the kind of their sockets."""
        clients: dict[str, list[Pid]] = {}
        for pid, session in self._site.served.items():
            if session.topics():
                clients.setdefault(type(session.socket).__qualname__, []).append(pid)
        return clients, self._draining

    async def terminate(self, reason: Reason) -> None:
        """Stop listening, send the clients away in rounds, then shut the children down."""
        self._close_listeners()
        clients, draining = await self._clients()
        if draining is not None:
            with trio.move_on_after(draining.within):
                for socket, pids in clients.items():
                    await drain(socket, pids, draining)
        await super().terminate(reason)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            if listener.fileno() >= 0:
                trio.lowlevel.notify_closing(listener)
                listener.close()


def _mount(path: str, to: Callable[[], Socket] | Mount) -> Mount:
    check_path(path, "a socket is mounted", "/socket")
    mount = to if isinstance(to, Mount) else Mount(to)
    if isinstance(mount.socket, type):
        for hidden, by in hidden_patterns(mount.socket):
            logger.warning(
                "%s.channels: no topic comes to %r, since %r is ahead of it and takes them all",
                mount.socket.__qualname__,
                hidden,
                by,
            )
    return mount


def _check_options(
    hub: object,
    pages: object,
    limits: object,
    max_connections: object,
    draining: object,
    public_host: object,
) -> None:
    """Raise `TypeError` or `ValueError` for an option that is none."""
    if hub is not None and not isinstance(hub, PubSub):
        raise TypeError(f"hub is a PubSub(), not {hub!r}")
    if pages is not None:
        check_pages(pages)
    if limits is not None and not isinstance(limits, Limits):
        raise TypeError(f"limits is Limits(…), not {limits!r}")
    check_number(max_connections, "max_connections", least=0)
    if not callable(draining):
        _check_draining(draining)
    if public_host is not None and (not isinstance(public_host, str) or "/" in public_host):
        raise ValueError(f"public_host is a name such as 'example.org', not {public_host!r}")


def _check_draining(given: object) -> None:
    if given is not None and not isinstance(given, Draining):
        raise TypeError(
            f"draining is Draining(…), a function that returns it, or None, not {given!r}"
        )


__all__ = ["Endpoint"]

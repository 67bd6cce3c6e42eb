"""The process of one client that polls.

It is started by the client's first request, lets the client in or not, and serves it from then on,
whichever connections its requests come by. The client ends in the ways that
`exeunt.channels.serving` lists, or in one of these; the first is also how a client ends that closes
of its own accord, since it does so by not polling any more:

| how the client ended | exit reason |
| --- | --- |
| it has not polled for one and a half windows | `Shutdown("inactive")` |
| an exit signal came to its process | that signal's |
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Final

import trio

from exeunt.channels.admission import Accepted, admit
from exeunt.channels.errors import ConnectionEnded, Lost
from exeunt.channels.http_messages import Response
from exeunt.channels.serving import End, Serving
from exeunt.channels.site import Mount, Site
from exeunt.channels.socket import ConnectInfo, Params
from exeunt.channels.transports.longpoll import PolledTransport
from exeunt.kernel.errors import CallFailed, StartError
from exeunt.kernel.exits import ProcessExit, Reason, Shutdown
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import spawn_process, trap_exit
from exeunt.kernel.process import current_process
from exeunt.otp.dynamic_supervisor import DynamicSupervisor
from exeunt.otp.supervision import ChildSpec
from exeunt.otp.tables import run_at_exit

__all__ = ["enter", "run_polled_client"]

_PATIENCE: Final = 1.5  # windows without a poll


class _Newcomer:
    """A client that asks to be let in, and what is decided."""

    __slots__ = ("decided", "decision", "info", "mount", "params")

    def __init__(self, mount: Mount, params: Params, info: ConnectInfo) -> None:
        self.mount = mount
        self.params = params
        self.info = info
        self.decided = trio.Event()
        # None if the process was ended before it could decide.
        self.decision: str | Response | Exception | None = None


async def enter(site: Site, mount: Mount, params: Params, info: ConnectInfo) -> str | Response:
    """Start the process of a new client; return its name in `site.polled`, or why it has none.

    That is a 503 where there is no place for it. Raises what the socket's `connect` raises.
    """
    newcomer = _Newcomer(mount, params, info)
    start = partial(_start_polled_client, site, newcomer)
    spec = ChildSpec(id="run_polled_client", start=start, restart="temporary")
    try:
        await DynamicSupervisor.start_child(site.connections, spec)
    except (StartError, CallFailed):
        # There are as many clients as there may be, or the endpoint is being stopped.
        return Response(503)
    await newcomer.decided.wait()
    if isinstance(newcomer.decision, Exception):
        raise newcomer.decision
    return Response(503) if newcomer.decision is None else newcomer.decision


async def _start_polled_client(site: Site, newcomer: _Newcomer) -> Pid:
    """Start the process of a client; who waits for its decision goes on even if it never ran."""
    process = spawn_process(run_polled_client, (site, newcomer), linked=True)
    run_at_exit(process, newcomer, lambda _: newcomer.decided.set())
    return process.pid


async def run_polled_client(site: Site, newcomer: _Newcomer) -> None:
    """Admit a client and serve it to its end: the body of its process."""
    try:
        accepted = await _decide(newcomer)
        if accepted is None:
            return
        name = secrets.token_urlsafe(16)
        transport = PolledTransport(newcomer.mount.max_queued)
        serving = _LongPollServing(accepted, transport, site)
        site.polled[name] = transport
        newcomer.decision = name
    finally:
        newcomer.decided.set()
    # Its request is some kilobytes that nobody needs again.
    del newcomer, accepted
    # From here on every signal but a kill comes as a message.
    trap_exit()
    try:
        reason, code = await serving.serve()
        if code is not None:
            # Its requests that wait are told by the code whether to wait on.
            await transport.close(code)
    finally:
        del site.polled[name]
        transport.on_overflow = None
        transport.abort()
    # Told already, where there is something to tell.
    current_process().reporting = "never"
    raise ProcessExit(reason)


async def _decide(newcomer: _Newcomer) -> Accepted | None:
    try:
        admitted = await admit(newcomer.mount, newcomer.params, newcomer.info, "longpoll")
    except Exception as error:
        # It is told where the request is answered, like that of any other request.
        newcomer.decision = error
        return None
    if isinstance(admitted, Response):
        newcomer.decision = admitted
        return None
    return admitted


class _LongPollServing(Serving):
    """One client that polls."""

    def __init__(self, accepted: Accepted, transport: PolledTransport, site: Site) -> None:
        super().__init__(accepted, transport, "longpoll", site)
        self._polled = transport
        longpoll = accepted.mount.longpoll
        assert longpoll is not None
        self._patience = _PATIENCE * longpoll.window

    def watch_for_overflow(self) -> None:
        """Have more than may wait for a client that does not poll end it."""
        self._polled.on_overflow = partial(self.finish, Shutdown("slow_consumer"))

    def look(self) -> float:
        """See whether the client has polled lately."""
        # Phoenix: there, silence counts from the beginning of the last poll, and is looked for
        # every one and a half windows, so that a client is gone after between one and a half and
        # three. Here it is gone one and a half windows after the end of its last poll.
        since = self._polled.unpolled_since
        if since is None:
            return self._patience
        silent = trio.current_time() - since
        if silent >= self._patience:
            self.finish(Shutdown("inactive"))
        return max(self._patience - silent, 0.001)

    def end_of(self, ended: ConnectionEnded) -> End:
        """Return the exit reason for an end that the transport has come to by itself."""
        if isinstance(ended, Lost) and ended.how == "overflow":
            return Shutdown("slow_consumer"), None
        return Shutdown("closed"), None

    def exit_came(self, reason: Reason) -> None:
        """End with the reason of a signal, as a process of Phoenix's long-polling does."""
        self.finish(reason)

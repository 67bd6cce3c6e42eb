"""Observer: a live picture of a node, in the browser and in the terminal.

    async with open_node() as node:
        async with observe(node) as observation:
            print(observation.url)
            ...

or as a child in the tree of a program:

    await Supervisor.start_link([..., Observer.child(port=4040)])

The URL is also logged, once, at information, by the logger `exeunt.observer`; a program that has
not set its logging up gets it on the standard error. It has a token in it, without which nothing is
shown; the page keeps it out of every request but the one that opens the socket. The observer
listens on loopback only, unless it is told another host. Whoever has the URL sees which processes
there are, and where their code stands, but no state and no message.

While nobody watches, the observer costs one look a second at which process is the newest, and a
note of each crash and each start of a child.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import trio

from exeunt.channels.endpoint import Endpoint
from exeunt.channels.pubsub import PubSub
from exeunt.channels.site import Mount
from exeunt.kernel.errors import CallFailed
from exeunt.kernel.exits import KILL, SHUTDOWN
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node
from exeunt.kernel.primitives import call, is_alive, self_pid, wait_exit
from exeunt.kernel.process import running_process
from exeunt.kernel.signals import signal
from exeunt.observer.rows import Extent
from exeunt.observer.sampler import INTERVAL, Sampler
from exeunt.observer.web import Access, ObserverSocket, pages
from exeunt.otp.backoff import Backoff
from exeunt.otp.genserver import child_of_server
from exeunt.otp.requests import on_call
from exeunt.otp.results import InitResult
from exeunt.otp.server_loop import StopRequest
from exeunt.otp.supervision import ChildSpec
from exeunt.otp.supervisor import Supervisor

logger = logging.getLogger("exeunt.observer")

PORT: Final = 4040
"""The port of an observer that is a child, unless told otherwise."""

SHORTEST_TOKEN: Final = 16
"""Characters of the shortest token that is taken."""

MOST_VIEWERS: Final = 64
"""How many connections an observer takes."""

_PATIENCE: Final = 10.0  # seconds that an observer has to end
_BACKOFF: Final = Backoff(initial=2.0, factor=2.0, maximum=60.0)


class _Place:
    """Where the parts of one observer find its sampler, after a restart too."""

    def __init__(self) -> None:
        self._pid: Pid | None = None

    def __repr__(self) -> str:
        return "sampler"

    def whereis(self) -> Pid | None:
        """Return the process, or None."""
        return self._pid if self._pid is not None and is_alive(self._pid) else None

    def register(self, pid: Pid) -> bool:
        """Take a process in, unless there is one."""
        if self.whereis() is not None:
            return False
        self._pid = pid
        return True


class _AnyPort:
    """Any free port, and the same one after a restart: whoever watches finds it again."""

    def __init__(self) -> None:
        self._number = 0
        self._holder: Pid | None = None

    def __repr__(self) -> str:
        return repr(self._number)

    def choose(self) -> int:
        """Return the port to listen on: 0 if there is none yet, or another observer is there."""
        return 0 if self._holder is not None and is_alive(self._holder) else self._number

    def keep(self, url: str | None) -> None:
        """Keep the port that was found; with None, forget it, since there was trouble with it."""
        self._number = 0 if url is None else urlsplit(url).port or 0
        self._holder = self_pid()


class Observer(Supervisor):
    """The page, the channels, and the sampler of one observer."""

    @classmethod
    def child(cls, *args: Any, **kwargs: Any) -> ChildSpec:
        """Return the specification of an observer as a child; the arguments are those of `init`.

        A token that is made here holds for the observer's restarts too, and so does a port that was
        found. Those come with a backoff, so that an observer that fails never uses up what its
        supervisor allows: what shows a program must not end it.
        """
        token = kwargs.get("token")
        if token is None:
            kwargs["token"] = new_token()
        elif isinstance(token, str):
            kwargs["token"] = Token(token)
        if kwargs.get("port") == 0:
            kwargs["port"] = _AnyPort()
        return child_of_server(cls, args, kwargs, name=None).replace(backoff=_BACKOFF)

    async def init(  # type: ignore[override]
        self,
        *,
        host: str | None = "127.0.0.1",
        port: int | _AnyPort = PORT,
        token: str | Literal[False] | None = None,
        allow_kill: bool = False,
        hub: PubSub | Iterable[PubSub] = (),
        extent: Extent | None = None,
        interval: float = INTERVAL,
        hint: bool = True,
    ) -> InitResult:
        """Listen on `host` and `port` (0: any free one).

        `token` is a secret of one's own, by default a new one. False stands for none: then whoever
        can reach the port may watch, and `host` has to be one of loopback. With `allow_kill` those
        who watch can kill processes, to see them restarted. `hub` is the application's, or several;
        those of endpoints are found without. `extent` says how much is shown; `interval` is in
        seconds. Without `hint`, a program that has not set its logging up is not told the URL.
        """
        if token is None:
            token = new_token()
        check(host, token, interval)
        secret = None if token is False else Token(token)
        # Whoever has this pid above them is one of the observer's own processes.
        own = self_pid()
        place = _Place()
        hubs = (hub,) if isinstance(hub, PubSub) else tuple(hub)
        access = Access(
            token=secret,
            sampler=place,
            own=own,
            allow_kill=allow_kill,
            interval=interval,
        )
        mount = Mount(partial(ObserverSocket, access), auth_token=True, max_frame_size=16 * 1024)
        shared = PubSub()
        children = [
            Sampler.named(place).child(
                shared, own=own, hubs=hubs, extent=extent, interval=interval
            ),
            Endpoint.child(
                {"/socket": mount},
                host=host,
                port=port.choose() if isinstance(port, _AnyPort) else port,
                hub=shared,
                pages=pages,
                max_connections=MOST_VIEWERS,
            ),
        ]
        self._token = secret
        result = await super().init(children, strategy="rest_for_one")
        if result is None:
            self._url = await self._find_url()
            logger.info("observing node %d at %s", self._process.node.number, self._url)
            if hint and not logger.hasHandlers():
                _hint(self._process.node, self._url)
        if isinstance(port, _AnyPort):
            # If it did not start, somebody else may have the port by now.
            port.keep(self._url if result is None else None)
        return result

    @on_call
    async def url(self) -> str:
        """Return the URL of the page, which has the token behind its `#`."""
        return self._url

    async def _find_url(self) -> str:
        endpoint = self._children["Endpoint"].pid
        assert isinstance(endpoint, Pid)
        url = await Endpoint.url(endpoint)
        return f"{url}/" if self._token is None else f"{url}/#token={self._token}"

    def format_status(self, state: dict[str, Any]) -> dict[str, Any]:
        """Keep the token to itself."""
        return {name: one for name, one in state.items() if name not in ("_token", "_url")}


def _hint(node: Node, url: str) -> None:
    """Say where the observer is, where a warning would go if nobody had set the logging up."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it is closed, or there is none
        print(f"observing node {node.number} at {url}", file=sys.stderr, flush=True)


class Token(str):
    """A token; its `repr` does not tell it, so that it stands in no crash report."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[TOKEN]'"


def new_token() -> Token:
    """Make a token that nobody can guess."""
    return Token(secrets.token_urlsafe(24))


def check(host: str | None, token: str | Literal[False], interval: float) -> None:
    """Raise `ValueError` for an observer that would be open to others, or too busy."""
    if not interval >= 0.05:
        raise ValueError(f"an observer looks every 0.05 seconds at most, not every {interval!r}")
    if token is not False:
        if len(token) < SHORTEST_TOKEN or not all("!" <= one <= "~" for one in token):
            raise ValueError(
                f"the token of an observer has at least {SHORTEST_TOKEN} characters, which are "
                "letters, digits and signs: leave it out to have one made"
            )
        return
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise ValueError(
            f"an observer without a token listens on loopback only, not on {host!r}: "
            "leave token=False out"
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """An observer that runs: the URL of its page, with its token, and its process."""

    url: str
    pid: Pid


@asynccontextmanager
async def observe(
    node: Node | None = None,
    *,
    host: str | None = "127.0.0.1",
    port: int = 0,
    token: str | Literal[False] | None = None,
    allow_kill: bool = False,
    hub: PubSub | Iterable[PubSub] = (),
    extent: Extent | None = None,
    interval: float = INTERVAL,
) -> AsyncGenerator[Observation]:
    """Observe a node, by default that of this process, while the block runs.

    The options are those of `Observer`, but that the port is any free one. The observer is linked
    to nobody: should it fail, the block goes on without it.
    """
    here = running_process.get()
    marker = None
    if node is not None and (here is None or here.node is not node):
        marker = running_process.set(node.main)
    try:
        pid = await Observer.start(
            host=host,
            port=port,
            token=token,
            allow_kill=allow_kill,
            hub=hub,
            extent=extent,
            interval=interval,
            hint=False,
        )
        url = await Observer.url(pid)
    finally:
        if marker is not None:
            running_process.reset(marker)
    try:
        yield Observation(url, pid)
    finally:
        with trio.CancelScope(shield=True):
            await _end(pid)


async def _end(pid: Pid) -> None:
    with trio.move_on_after(_PATIENCE):
        try:
            await call(pid, StopRequest(SHUTDOWN))
        except CallFailed:
            return  # that is how it ends
    signal(pid._process, pid, KILL)
    await wait_exit(pid)


__all__ = ["Observation", "Observer", "observe"]

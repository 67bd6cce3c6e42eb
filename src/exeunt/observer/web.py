"""What the observer serves: its page, and the channels through which the page is kept up to date.

| topic | what it is for |
| --- | --- |
| `observer:node` | the join is answered with the picture, the event `changed` has what changed |
| `observer:process:<0.42>` | one process closely: its links, monitors, stack, and its end |

On the first the event `find` with `{"text": "hall"}` is answered with the processes that are called
so, and `kill` with `{"pid": "<0.42>"}` kills one, where that is allowed.
"""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final

import trio

from exeunt.channels.channel import Channel, Error, InResult, JoinResult, Ok
from exeunt.channels.http_messages import Request, Response
from exeunt.channels.log import LogLevel
from exeunt.channels.socket import ConnectInfo, Params, Socket
from exeunt.channels.static import StaticFiles
from exeunt.kernel.events import shown
from exeunt.kernel.exits import KILL, Down
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.node import Node
from exeunt.kernel.primitives import current_node, monitor, send_interval
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.process import Process
from exeunt.observer.clients import socket_id_of
from exeunt.observer.looking import cut, kinds_of_messages, shown_id, stack_of, status_of
from exeunt.observer.sampler import TOPIC, Sampler
from exeunt.observer.scanning import Sources
from exeunt.observer.searching import found, search
from exeunt.otp.results import CastResult

logger = logging.getLogger("exeunt.observer")

MOST_PEERS: Final = 100
"""How many links, and how many monitors, of one process are listed."""

_PID = re.compile(r"<?(\d{1,9})\.(\d{1,18})>?")

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

STATIC: Final = StaticFiles(
    Path(__file__).parent / "static",
    headers=(
        # Nothing from elsewhere, no script or style within the page, no page around it.
        (
            "Content-Security-Policy",
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        ("Referrer-Policy", "no-referrer"),
    ),
)


async def pages(request: Request) -> Response:
    """Answer with the page and its files, which hold nothing that is secret."""
    return await STATIC.respond(request, request.path)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may watch, and what they may do."""

    token: str | None
    sampler: Destination
    own: Pid
    allow_kill: bool
    interval: float


class NodeChannel(Channel):
    """The picture of the node."""

    log_join: ClassVar[LogLevel] = "debug"

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Begin to watch."""
        access: Access = self.assigns["access"]
        seen = await Sampler.watch(access.sampler, self.pid)
        return Ok({**seen, "allow_kill": access.allow_kill})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Find processes, or kill one, or say why not; any other event is an error."""
        if event == "find":
            return await self._find(payload)
        if event == "kill":
            return await self._kill(payload)
        return Error({"reason": "unknown event"})

    async def _find(self, payload: Any) -> InResult:
        text = payload.get("text") if isinstance(payload, dict) else None
        if not isinstance(text, str):
            return Error({"reason": "there is no text to search for"})
        access: Access = self.assigns["access"]
        sources = await Sampler.sources(access.sampler)
        node = current_node()
        if _PID.fullmatch(text.strip()) is None:
            return Ok(await search(node, text, sources, trio.lowlevel.checkpoint))
        process = find(node, text.strip())
        return Ok(found([] if process is None else [process]))

    async def _kill(self, payload: Any) -> InResult:
        access: Access = self.assigns["access"]
        if not access.allow_kill:
            return Error({"reason": "this observer may not kill: it needs allow_kill=True"})
        node = current_node()
        process = find(node, payload.get("pid") if isinstance(payload, dict) else None)
        if process is None:
            return Error({"reason": "there is no such process any more"})
        if process is node.main:
            return Error({"reason": "that is the main process: with it the whole node ends"})
        sources = await Sampler.sources(access.sampler)
        if is_own(process, sources):
            return Error({"reason": "that is a process of the observer itself"})
        label = cut(process.name or process.label)
        logger.warning("%s (%s) is killed, as an observer asked", process.pid, label)
        exit_signal(process.pid, KILL)
        return Ok()


@dataclass(frozen=True, slots=True)
class _Look:
    """Message to itself: look at the process again."""


class ProcessChannel(Channel):
    """One process, closely."""

    log_join: ClassVar[LogLevel] = "debug"

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Look at the process that the topic names, by its pid or its registered name."""
        access: Access = self.assigns["access"]
        process = find(current_node(), topic.removeprefix("observer:process:"))
        if process is None:
            return Error({"reason": "there is no such process"})
        self._subject = process
        self._sources = await Sampler.sources(access.sampler)
        self._ref = monitor(process.pid)
        self._told = detail_of(process, self._sources)
        send_interval(access.interval, self.pid, _Look())
        return Ok(self._told)

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Answer any event with an error: there is none to be sent."""
        return Error({"reason": "unknown event"})

    async def handle_info(self, message: Any) -> CastResult:
        """Tell what has changed, and that the process has ended."""
        match message:
            case _Look() if self._subject.status != "dead":
                detail = detail_of(self._subject, self._sources)
                if detail != self._told:
                    self._told = detail
                    self.push("detail", detail)
            case _Look():
                pass
            case Down(ref, _, reason) if ref is self._ref:
                self.push("ended", {"reason": cut(shown(reason, 300), 300)})
            case _:
                return await super().handle_info(message)
        return None


class ObserverSocket(Socket):
    """One who watches."""

    channels = {TOPIC: NodeChannel, "observer:process:*": ProcessChannel}
    max_channels = 20
    log: ClassVar[LogLevel] = "debug"

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access
        self.assigns = {"access": access}

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        """Let in whoever has the token.

        Without one, whoever speaks to this machine by a name of its own: a page from elsewhere
        whose name leads here does not.
        """
        token = self._access.token
        if token is None:
            return info.uri.hostname in _LOCAL
        given = info.auth_token or ""
        return secrets.compare_digest(given.encode(), token.encode())


def find(node: Node, text: object) -> Process | None:
    """Return the process that a text names: by its pid, as in `<0.42>`, or by its name."""
    if not isinstance(text, str):
        return None
    found = _PID.fullmatch(text)
    if found is None:
        return node.names.find(text)
    if int(found[1]) != node.number:
        return None
    process = node.processes.get(int(found[2]))
    return None if process is None or process.status == "dead" else process


def is_own(process: Process | None, sources: Sources) -> bool:
    """Tell whether a process is one of the observer's."""
    while process is not None:
        if process.pid is sources.own:
            return True
        process = None if process.parent is None else process.parent._process
    return False


def detail_of(process: Process, sources: Sources) -> dict[str, Any]:
    """Return what is shown of one process that the tree has no room for.

    Of the messages that wait only the classes are told, and of the code only where it stands.
    """
    known = sources.ledger.record_of(process.pid)
    links = list(islice(process.links or (), MOST_PEERS))
    monitors = [entry.shown for entry in islice((process.monitors or {}).values(), MOST_PEERS)]
    # Those who look at it from here do not count among those who watch it.
    first = [entry.watcher for entry in islice((process.watchers or {}).values(), MOST_PEERS)]
    watched_by = [one for one in first if not is_own_peer(one, sources)]
    return {
        "pid": repr(process.pid),
        "name": cut(process.name or ""),
        "label": cut(process.label),
        "socket": cut(socket_id_of(process)),
        "status": status_of(process, process.node.zombies),
        "parent": "" if process.parent is None else _named(process.parent),
        "traps_exits": process.traps,
        "is_own": is_own(process, sources),
        "mailbox": len(process.mailbox.messages),
        "waiting": kinds_of_messages(process),
        "links": [_named(one.pid) for one in links],
        "link_count": len(process.links or ()),
        "monitors": [_named(one) if isinstance(one, Pid) else shown_id(one) for one in monitors],
        "monitor_count": len(process.monitors or ()),
        "monitored_by": [_named(one.pid) for one in watched_by],
        "monitored_by_count": len(process.watchers or ()) - len(first) + len(watched_by),
        "stack": stack_of(process),
        "restarts": known.restarts,
        "crash": known.crash,
    }


def is_own_peer(peer: object, sources: Sources) -> bool:
    """Tell whether the other end of a link or a monitor is a process of the observer."""
    return isinstance(peer, Process) and is_own(peer, sources)


def _named(pid: Pid) -> str:
    """Write a pid, and what its process is called."""
    process = pid._process
    return repr(pid) if process is None else f"{pid} {cut(process.name or process.label, 80)}"

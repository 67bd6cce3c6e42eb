"""Presence: who is on a topic, kept up to date on every client that listens.

    await Supervisor.start_link(
        [Presence.named("presence").child(hub), Endpoint.child(sockets, hub=hub)]
    )

    class RoomChannel(Channel):
        async def join(self, topic: str, params: Any) -> JoinResult:
            send(self.pid, "after_join")
            return Ok()

        async def handle_info(self, message: Any) -> CastResult:
            self.push("presence_state", await Presence.list("presence", self))
            await Presence.track("presence", self, self.assigns["user"], {"typing": False})
            return None

A process that is tracked is linked to the tracker, so that whatever way it ends its presences end
with it. Each change is broadcast on its topic as `presence_diff`, which the Presence of phoenix.js
applies to the `presence_state` that it was pushed before:

    {"joins": {"ann": {"metas": [{"typing": false, "phx_ref": "F5mXvhkJ8tTQAvmB"}]}}, "leaves": {}}

A link works both ways: if the tracker crashes, what it tracks ends too, and the clients join anew.

After Phoenix.Presence, whose names it keeps. What the tracker knows is a `PresenceState`, which
several nodes can merge.
"""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from exeunt.channels.channel import Channel
from exeunt.channels.errors import PayloadError
from exeunt.channels.presence_state import Diff, Entry, PresenceState
from exeunt.channels.pubsub import PubSub
from exeunt.channels.wire import JSON_V2
from exeunt.kernel.exits import Exit
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import link, receive, self_pid, send, spawn_link, trap_exit, unlink
from exeunt.otp.genserver import GenServer, on_call
from exeunt.otp.results import CastResult, InitResult, Refuse, Stop

logger = logging.getLogger("exeunt.channels")

Meta: TypeAlias = "Mapping[str, Any]"
"""What is told of a presence: a JSON object."""

Presences: TypeAlias = "dict[str, dict[str, Any]]"
"""By key: `{"metas": [meta, …]}`, the longest present first, and what `fetch` has added."""

Update: TypeAlias = "Callable[[dict[str, Any]], Meta]"
"""Makes the new meta of the old one. It runs in the tracker, so it waits for nothing."""

_Fetch: TypeAlias = "Callable[[str, Presences], Awaitable[Presences]]"

DIFF: Final = "presence_diff"


class AlreadyTracked(ValueError):
    """A process is tracked on this topic under this key already."""

    def __init__(self, pid: Pid, topic: str, key: str) -> None:
        super().__init__(pid, topic, key)
        self.pid = pid
        self.topic = topic
        self.key = key

    def __str__(self) -> str:
        return f"{self.pid} is tracked on {self.topic!r} as {self.key!r} already: use update"


class NotTracked(LookupError):
    """A process is not tracked on this topic under this key."""

    def __init__(self, pid: Pid, topic: str, key: str) -> None:
        super().__init__(pid, topic, key)
        self.pid = pid
        self.topic = topic
        self.key = key

    def __str__(self) -> str:
        return f"{self.pid} is not tracked on {self.topic!r} as {self.key!r}: use track"


@dataclass(frozen=True, slots=True)
class _TopicDiff:
    """What has changed on one topic, as it is broadcast."""

    topic: str
    joins: Presences
    leaves: Presences


class Presence(GenServer):
    """The tracker: a server that knows who is where, and tells.

    Every request names the server first, then the place: a channel, which stands for its topic, or
    a topic. Who is tracked is the calling process (in a channel, the channel's) unless `pid` says
    otherwise.
    """

    async def init(self, hub: PubSub, *, replica: str | None = None) -> InitResult:
        """Track nobody yet; `hub` is the one that the clients' endpoint uses."""
        trap_exit()
        self._hub = hub
        self._state = PresenceState(secrets.token_urlsafe(12) if replica is None else replica)
        # A fetch may take its time. A process of its own then works through the diffs in order. It
        # has as many waiting as there are changes in that time: to drop one would leave clients
        # wrong for ever, and to wait would hold up every join.
        self._teller: Pid | None = None
        if type(self).fetch is not Presence.fetch:
            self._teller = spawn_link(_tell_all, hub, self.fetch)
        return None

    # -- to override ------------------------------------------------------------------------------

    async def fetch(self, topic: str, presences: Presences) -> Presences:
        """Add to presences, such as what a database knows of their keys, and return them.

        Called for what `list` and `get_by_key` return, in the process that asks, and for the joins
        and leaves of every diff, in a process for that: so it must not touch the server's state.
        If it raises for a diff, that is logged, and the diff goes out as it is.
        """
        return presences

    # -- requests ---------------------------------------------------------------------------------

    @staticmethod
    async def track(
        server: Destination,
        where: Channel | str,
        key: str | int,
        meta: Meta | None = None,
        *,
        pid: Pid | None = None,
    ) -> str:
        """Track a process under a key, until it ends; return the `phx_ref` of the presence.

        A process may be tracked under several keys and on several topics, and a key may have
        several processes. `phx_ref` in `meta` is overwritten. Raises `AlreadyTracked`, and
        `PayloadError` if `meta` is no JSON object. A process that is dead joins and leaves.
        """
        topic, name = _topic(where), _key(key)
        checked = _checked(topic, name, {} if meta is None else meta)
        return await Presence._track(server, _pid(where, pid), topic, name, checked)

    @staticmethod
    async def update(
        server: Destination,
        where: Channel | str,
        key: str | int,
        meta: Meta | Update,
        *,
        pid: Pid | None = None,
    ) -> str:
        """Replace what is told of a presence, by a mapping, or by a function of the old one.

        Returns the new `phx_ref`; the old one becomes `phx_ref_prev`. The diff has both: the new
        one joins and the old one leaves. Raises `NotTracked`, `PayloadError`, and what the function
        raises, and then nothing is changed.
        """
        topic, name = _topic(where), _key(key)
        change = meta if callable(meta) else _checked(topic, name, meta)
        return await Presence._update(server, _pid(where, pid), topic, name, change)

    @staticmethod
    async def untrack(
        server: Destination, where: Channel | str, key: str | int, *, pid: Pid | None = None
    ) -> None:
        """Stop tracking a process under a key; nothing happens if it is not tracked so."""
        await Presence._untrack(server, _pid(where, pid), _topic(where), _key(key))

    @staticmethod
    async def list(server: Destination, where: Channel | str) -> Presences:
        """Return everybody who is there, by key: what a client is to get as `presence_state`."""
        topic = _topic(where)
        presences, fetch = await Presence._list(server, topic, None)
        return _fetched(await fetch(topic, presences))

    @staticmethod
    async def get_by_key(
        server: Destination, where: Channel | str, key: str | int
    ) -> dict[str, Any] | None:
        """Return the presences of one key, `{"metas": [meta, …]}`; None if there are none."""
        topic, name = _topic(where), _key(key)
        presences, fetch = await Presence._list(server, topic, name)
        if not presences:
            return None
        return _fetched(await fetch(topic, presences)).get(name)

    # -- in the server's process ------------------------------------------------------------------

    @on_call
    async def _track(self, pid: Pid, topic: str, key: str, meta: dict[str, Any]) -> str | Refuse:
        if pid is self.pid:
            return Refuse(ValueError("the tracker cannot track itself"))
        if self._state.find(topic, key, pid) is not None:
            return Refuse(AlreadyTracked(pid, topic, key))
        ref = _new_ref()
        meta.pop("phx_ref_prev", None)
        # To link to the dead puts an Exit with "noproc" into the mailbox: it leaves in its turn.
        link(pid)
        joined = self._state.add(topic, key, pid, ref, {**meta, "phx_ref": ref})
        self._tell(Diff(joins=(joined,)))
        return ref

    @on_call
    async def _update(
        self, pid: Pid, topic: str, key: str, change: dict[str, Any] | Update
    ) -> str | Refuse:
        old = self._state.find(topic, key, pid)
        if old is None:
            return Refuse(NotTracked(pid, topic, key))
        if callable(change):
            try:
                meta = _checked(topic, key, change(dict(old.meta)))
            except Exception as error:
                return Refuse(error)
        else:
            meta = change
        ref = _new_ref()
        new = self._state.replace(old, ref, {**meta, "phx_ref": ref, "phx_ref_prev": old.ref})
        self._tell(Diff(joins=(new,), leaves=(old,)))
        return ref

    @on_call
    async def _untrack(self, pid: Pid, topic: str, key: str) -> None:
        left = self._state.remove(topic, key, pid)
        if left is not None:
            self._tell(Diff(leaves=(left,)))
            if not self._state.has_owner(pid) and pid is not self._loop.parent:
                unlink(pid)

    @on_call
    async def _list(self, topic: str, key: str | None) -> tuple[Presences, _Fetch]:
        # `fetch` goes along, for the caller to run: which class the server is of, only it knows.
        return _grouped(self._state.entries(topic, key)), self.fetch

    async def handle_info(self, message: Any) -> CastResult:
        """Hear of the end of processes."""
        match message:
            case Exit(pid, reason) if pid is self._teller:
                return Stop(reason)
            case Exit(pid, _):
                self._tell(Diff(leaves=tuple(self._state.remove_owner(pid))))
                return None
            case _:
                return await super().handle_info(message)

    def _tell(self, diff: Diff) -> None:
        """Have one diff broadcast on each topic that something has changed on."""
        joins, leaves = _by_topic(diff.joins), _by_topic(diff.leaves)
        for topic in {**joins, **leaves}:
            told = _TopicDiff(
                topic, _grouped(joins.get(topic, ())), _grouped(leaves.get(topic, ()))
            )
            if self._teller is None:
                _broadcast(self._hub, told)
            else:
                send(self._teller, told)


async def _tell_all(hub: PubSub, fetch: _Fetch) -> None:
    """Broadcast diffs for ever, one after the other, with what `fetch` adds: a process's body."""
    while True:
        diff = await receive(_TopicDiff)
        try:
            joins = await _enriched(fetch, diff.topic, diff.joins)
            leaves = await _enriched(fetch, diff.topic, diff.leaves)
            _broadcast(hub, _TopicDiff(diff.topic, joins, leaves))
        except Exception:
            # A client that misses a diff shows somebody who has left for as long as it stays.
            logger.exception("fetch failed for a diff on %.200r: it is sent as it is", diff.topic)
            _broadcast(hub, diff)


async def _enriched(fetch: _Fetch, topic: str, presences: Presences) -> Presences:
    return _fetched(await fetch(topic, _copied(presences))) if presences else presences


def _broadcast(hub: PubSub, diff: _TopicDiff) -> None:
    hub.broadcast(diff.topic, DIFF, {"joins": diff.joins, "leaves": diff.leaves})


def _by_topic(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.topic, []).append(entry)
    return found


def _grouped(entries: Iterable[Entry]) -> Presences:
    found: Presences = {}
    for entry in entries:
        found.setdefault(entry.key, {"metas": []})["metas"].append(dict(entry.meta))
    return found


def _copied(presences: Presences) -> Presences:
    return {
        key: {"metas": [dict(meta) for meta in presence["metas"]]}
        for key, presence in presences.items()
    }


def _fetched(presences: object) -> Presences:
    if not isinstance(presences, dict):
        raise TypeError(f"fetch returned {presences!r}: expected the presences, by key")
    return presences


def _topic(where: Channel | str) -> str:
    if isinstance(where, Channel):
        return where.topic
    if not isinstance(where, str):
        raise TypeError(f"presence is on a channel's topic, or a topic, not {where!r}")
    return where


def _pid(where: Channel | str, pid: Pid | None) -> Pid:
    if pid is None:
        return where.pid if isinstance(where, Channel) else self_pid()
    if not isinstance(pid, Pid):
        raise TypeError(f"who is tracked is the pid of a process, not {pid!r}")
    return pid


def _key(key: object) -> str:
    if not isinstance(key, (str, int)) or isinstance(key, bool):
        raise TypeError(f"the key of a presence is a string or an integer, not {key!r}")
    return str(key)


def _checked(topic: str, key: str, meta: object) -> dict[str, Any]:
    """Return a copy of a meta, found fit to be sent, so that no diff ever fails in the tracker."""
    if not isinstance(meta, Mapping):
        if inspect.iscoroutine(meta):
            meta.close()
        raise PayloadError(f"the meta of a presence is a mapping with string keys, not {meta!r}")
    copied: dict[str, Any] = dict(meta)
    JSON_V2.encode_broadcast(topic, DIFF, {"joins": {key: {"metas": [copied]}}})
    return copied


def _new_ref() -> str:
    return secrets.token_urlsafe(12)


__all__ = ["AlreadyTracked", "Meta", "NotTracked", "Presence", "Presences", "Update"]

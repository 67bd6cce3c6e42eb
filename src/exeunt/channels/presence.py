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
several nodes can merge; but trackers do not tell each other yet, so each knows of its own node, and
tells the clients of that.
"""

from __future__ import annotations

import builtins
import inspect
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from exeunt.channels.channel import Channel
from exeunt.channels.errors import PayloadError
from exeunt.channels.presence_diffs import (
    DIFF,
    Fetch,
    Here,
    PresenceDiff,
    Presences,
    Teller,
    diffs_of,
    fetched,
    grouped,
)
from exeunt.channels.presence_state import Diff, PresenceState
from exeunt.channels.pubsub import Dispatch, PubSub
from exeunt.channels.wire import JSON_V2
from exeunt.kernel.exits import Exit
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import link, self_pid, send, spawn_link, trap_exit, unlink
from exeunt.otp.callbacks import refuse_misspelt
from exeunt.otp.genserver import CALLBACKS, GenServer
from exeunt.otp.requests import on_call
from exeunt.otp.results import CastResult, InitResult, Refuse, Stop

Meta: TypeAlias = "Mapping[str, Any]"
"""What is told of a presence: a JSON object."""

Update: TypeAlias = "Callable[[dict[str, Any]], Meta]"
"""Makes the new meta of the old one. It runs in the tracker, so it waits for nothing."""


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


class Presence(GenServer):
    """The tracker: a server that knows who is where, and tells.

    Every request names the server first, then the place: a channel, which stands for its topic, or
    a topic. Who is tracked is the calling process (in a channel, the channel's) unless `pid` says
    otherwise.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_misspelt(cls, (*CALLBACKS, "fetch", "handle_metas"))

    async def init(
        self, hub: PubSub, *, replica: str | None = None, dispatch: Dispatch | None = None
    ) -> InitResult:
        """Track nobody yet; `hub` is the one that the clients' endpoint uses.

        `dispatch` delivers the diffs in another way than the hub's. A subclass with an `init` of
        its own calls this one.
        """
        trap_exit()
        self._state = PresenceState(secrets.token_urlsafe(12) if replica is None else replica)
        kind = type(self)
        self._teller = Teller(
            hub,
            None if kind.fetch is Presence.fetch else self.fetch,
            None if kind.handle_metas is Presence.handle_metas else self.handle_metas,
            dispatch,
        )
        # Where telling takes time, it has as many diffs waiting as there are changes meanwhile: to
        # drop one would leave clients wrong for ever, and to wait would hold up every join.
        self._telling: Pid | None = None
        if self._teller.needs_a_process:
            self._telling = spawn_link(self._teller.run)
        return None

    # -- to override ------------------------------------------------------------------------------

    async def fetch(self, topic: str, presences: Presences) -> Presences:
        """Add to presences, such as what a database knows of their keys, and return them.

        Called for what `list` and `get_by_key` return, in the process that asks, and for the joins
        and leaves of every diff, in a process for that: so it must not touch the server's state.
        If it raises for a diff, that is logged, and the diff goes out as it is.
        """
        return presences

    async def handle_metas(self, topic: str, diff: PresenceDiff, presences: Here) -> None:
        """Hear of each diff, after it has been broadcast: to tell others of it in one's own way.

        `diff` is as it was broadcast, with what `fetch` has added; `presences` are the metas of
        those who are on the topic after it, and change with the next one. Called for one diff after
        the other, in the process that runs `fetch` for them. If it raises, the tracker ends, and
        with it what it tracks, since what was made of the diffs may be wrong from then on.

        Phoenix: `init` returns a state, which every `handle_metas` is given and returns anew. Here
        it is kept in attributes of `self`, which no other method should change.
        """

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
        return fetched(await fetch(topic, presences))

    @staticmethod
    async def get_by_key(
        server: Destination, where: Channel | str, key: str | int
    ) -> dict[str, Any] | None:
        """Return the presences of one key, `{"metas": [meta, …]}`; None if there are none.

        Phoenix: for a key without presences, `get_by_key` returns an empty list.
        """
        topic, name = _topic(where), _key(key)
        presences, fetch = await Presence._list(server, topic, name)
        if not presences:
            return None
        return fetched(await fetch(topic, presences)).get(name)

    @on_call
    async def fetchers_pids(self) -> builtins.list[Pid]:
        """Return the processes that run `fetch` for diffs, and `handle_metas`, if there are any.

        There is one at most, which lives as long as the server does.
        """
        return [] if self._telling is None else [self._telling]

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
    async def _list(self, topic: str, key: str | None) -> tuple[Presences, Fetch]:
        # `fetch` goes along, for the caller to run: which class the server is of, only it knows.
        return grouped(self._state.entries(topic, key)), self.fetch

    async def handle_info(self, message: Any) -> CastResult:
        """Hear of the end of processes."""
        match message:
            case Exit(pid, reason) if pid is self._telling:
                return Stop(reason)
            case Exit(pid, _):
                self._tell(Diff(leaves=tuple(self._state.remove_owner(pid))))
                return None
            case _:
                return await super().handle_info(message)

    def _tell(self, change: Diff) -> None:
        """Have one diff broadcast on each topic that something has changed on."""
        for diff in diffs_of(change):
            if self._telling is None:
                self._teller.tell(diff)
            else:
                send(self._telling, diff)


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
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return ""
    if not isinstance(key, (str, int, float)):
        raise TypeError(f"the key of a presence is a string or a number, not {key!r}")
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


__all__ = [
    "AlreadyTracked",
    "Here",
    "Meta",
    "NotTracked",
    "Presence",
    "PresenceDiff",
    "Presences",
    "Update",
]

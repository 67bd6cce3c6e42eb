"""Who is on a topic, as a client knows it from what the server's Presence tells.

    here = PresenceView(on_join=greet)
    room = await socket.join("room:lobby", {"name": "ann"}, presence=here)
    ...
    print(sorted(here))

A view that is given to `join` is kept up to date by the connection, and its events do not come out
of the channel. Without that, hand it the events that do:

    async for event in room:
        if not here.apply(event):
            ...

Plain data, no I/O. It does what the Presence of phoenix.js does: differences that come before the
state, and those after the channel was joined again, wait for the state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast, overload

from exeunt.channels.client.frames import Event
from exeunt.channels.errors import ProtocolError

__all__ = ["MAX_PENDING", "One", "PresenceView"]

T = TypeVar("T")

One: TypeAlias = "dict[str, Any]"
"""What is known of a key: `{"metas": [meta, …]}`, and what the server's `fetch` has added.

Each meta is a JSON object with its `phx_ref`, and after an update the one before, `phx_ref_prev`.
"""

_Changed: TypeAlias = "Callable[[str, One | None, One], object]"
_Left: TypeAlias = "Callable[[str, One, One], object]"

MAX_PENDING: Final = 1_000
"""How many differences may wait for a state. Of more the oldest are dropped: the state that comes
at last is likely to be newer than they are."""


class PresenceView(Mapping[str, One]):
    """Who is there, by key, in the order in which they came: a mapping that changes by itself.

    `on_join(key, before, joined)` is called for each key with new metas, with what was known of the
    key before, or None; so for an update too. `on_leave(key, left_over, left)` is called for each
    key that lost metas, with what is left of it, maybe no meta any more. `on_sync()` is called
    after each change as a whole. An update is a join of the new meta and then a leave of the old.

    They are called in the task of the connection if the view was given to `join`: they must not
    wait, and what they raise ends the block of `connect`.
    """

    __slots__ = ("_events", "_join_ref", "_on_join", "_on_leave", "_on_sync", "_pending", "_state")

    def __init__(
        self,
        *,
        on_join: _Changed | None = None,
        on_leave: _Left | None = None,
        on_sync: Callable[[], object] | None = None,
        events: tuple[str, str] = ("presence_state", "presence_diff"),
    ) -> None:
        self._on_join = on_join
        self._on_leave = on_leave
        self._on_sync = on_sync
        self._events = events
        self._state: dict[str, One] = {}
        self._pending: deque[tuple[dict[str, One], dict[str, One]]] = deque(maxlen=MAX_PENDING)
        # The join to which the state belongs. After another join it is out of date.
        self._join_ref: str | None = None

    def __repr__(self) -> str:
        return f"<PresenceView of {len(self)} keys>"

    def __getitem__(self, key: str) -> One:
        return self._state[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)

    @property
    def is_synced(self) -> bool:
        """Whether a state has come yet. Stale while the channel is away, until the next one."""
        return self._join_ref is not None

    @overload
    def list(self) -> list[One]: ...
    @overload
    def list(self, by: Callable[[str, One], T]) -> list[T]: ...
    def list(self, by: Callable[[str, One], Any] | None = None) -> list[Any]:
        """Return what is known of each key, or what `by` makes of the key and that."""
        if by is None:
            return [*self._state.values()]
        return [by(key, one) for key, one in self._state.items()]

    def concerns(self, event: str) -> bool:
        """Tell whether an event of this name is one for this view."""
        return event in self._events

    def apply(self, event: Event) -> bool:
        """Take in an event, and return True; False if it is none of the two that a view is for.

        Raises `ProtocolError` if its payload has another shape than Presence gives it.
        """
        if not self.concerns(event.event):
            return False
        payload = event.payload
        if event.event == self._events[0]:
            state = _presences(payload)
            self._join_ref = event.join_ref
            self._sync_state(state)
            while self._pending:
                self._sync_diff(*self._pending.popleft())
        else:
            if not isinstance(payload, dict):
                raise _no_presence(payload)
            diff = _presences(payload.get("joins")), _presences(payload.get("leaves"))
            if self._join_ref != event.join_ref:
                self._pending.append(diff)
                return True
            self._sync_diff(*diff)
        if self._on_sync is not None:
            self._on_sync()
        return True

    def _sync_state(self, new: dict[str, One]) -> None:
        joins: dict[str, One] = {}
        leaves = {key: one for key, one in self._state.items() if key not in new}
        for key, one in new.items():
            known = self._state.get(key)
            if known is None:
                joins[key] = one
                continue
            refs, known_refs = _refs(one), _refs(known)
            if fresh := [meta for meta in one["metas"] if meta.get("phx_ref") not in known_refs]:
                joins[key] = {**one, "metas": fresh}
            if gone := [meta for meta in known["metas"] if meta.get("phx_ref") not in refs]:
                leaves[key] = {**known, "metas": gone}
        self._sync_diff(joins, leaves)

    def _sync_diff(self, joins: dict[str, One], leaves: dict[str, One]) -> None:
        for key, joined in joins.items():
            known = self._state.get(key)
            before: list[Any] = []
            if known is not None:
                refs = _refs(joined)
                before = [meta for meta in known["metas"] if meta.get("phx_ref") not in refs]
            self._state[key] = {**joined, "metas": [*before, *joined["metas"]]}
            if self._on_join is not None:
                self._on_join(key, known, joined)
        for key, left in leaves.items():
            known = self._state.get(key)
            if known is None:
                continue
            refs = _refs(left)
            rest = [meta for meta in known["metas"] if meta.get("phx_ref") not in refs]
            left_over = {**known, "metas": rest}
            if rest:
                self._state[key] = left_over
            else:
                del self._state[key]
            if self._on_leave is not None:
                self._on_leave(key, left_over, left)


def _refs(one: One) -> set[object]:
    return {meta.get("phx_ref") for meta in one["metas"]}


def _presences(value: object) -> dict[str, One]:
    if not isinstance(value, dict):
        raise _no_presence(value)
    for one in value.values():
        metas = one.get("metas") if isinstance(one, dict) else None
        if not isinstance(metas, list) or not all(_is_meta(meta) for meta in metas):
            raise _no_presence(one)
    return cast("dict[str, One]", value)


def _is_meta(meta: object) -> bool:
    return isinstance(meta, dict) and isinstance(meta.get("phx_ref"), (str, int, type(None)))


def _no_presence(value: object) -> ProtocolError:
    return ProtocolError(f"this is nothing that Presence sends: {value!r:.100}")

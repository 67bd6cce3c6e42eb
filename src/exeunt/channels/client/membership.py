"""Being on a topic: the joins of one channel, the first and all later ones, and what becomes of it.

What a message of the server changes is changed in the moment in which it comes, in the task that
reads the connection; a task that joins only sends, and waits for the outcome. A channel that was
joined once and is lost has one such task of its own, which ends when it is joined again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import trio
from trio.lowlevel import ParkingLot

from exeunt.channels.client.errors import (
    ChannelClosed,
    ChannelCrashed,
    ClientError,
    Disconnected,
    JoinRefused,
    JoinTimeout,
    NotJoined,
    afresh,
)
from exeunt.channels.client.events import EventQueue
from exeunt.channels.client.frames import Event, Incoming, Reply, reply_of
from exeunt.channels.client.options import resolved
from exeunt.channels.client.presence import PresenceView
from exeunt.channels.client.replies import Replies
from exeunt.channels.wire import Binary

if TYPE_CHECKING:
    from exeunt.channels.client.socket import ClientSocket

__all__ = ["ChannelState", "JoinParams", "Membership"]

JoinParams: TypeAlias = (
    "Mapping[str, Any] | Binary | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]"
)
"""What is sent with a join: a JSON object, or a function (async or not) that is called for each."""

ChannelState: TypeAlias = Literal["joining", "joined", "away", "leaving", "closed"]
"""How a channel stands.

`away`: it was joined, and is not at the moment, since the connection is gone or the channel has
crashed; it will be joined again. `closed`: for good.
"""

REJOINED: Final = "phx_join"
"""The event that tells that a channel was joined again; its payload is the join's response."""


class Membership:
    """What is behind a `ClientChannel`."""

    __slots__ = (
        "_changed",
        "_error",
        "_joiner",
        "_params",
        "_presence",
        "_queue",
        "_replies",
        "_response",
        "_retry_refused",
        "_socket",
        "_tell_rejoins",
        "_tries",
        "join_ref",
        "joins",
        "state",
        "topic",
    )

    def __init__(
        self,
        socket: ClientSocket,
        topic: str,
        params: JoinParams,
        queue: EventQueue,
        presence: PresenceView | None,
        *,
        retry_refused: bool,
        tell_rejoins: bool,
    ) -> None:
        self._socket = socket
        self.topic = topic
        self.state: ChannelState = "joining"
        # The ref of the latest join, which names it: messages of an earlier one are dropped.
        self.join_ref: str | None = None
        self.joins = 0
        self._params = params
        self._queue = queue
        self._presence = presence
        self._retry_refused = retry_refused
        self._tell_rejoins = tell_rejoins
        self._tries = 0  # to join again, since it was joined last or the connection was new
        self._response: Any = None
        self._replies = Replies()
        # Set while a task joins the channel again. Invariant: there is one such task at most that
        # is not cancelled.
        self._joiner: trio.CancelScope | None = None
        self._error: ClientError | None = None  # why it is closed, or away
        self._changed: ParkingLot | None = None

    def _not_joined(self) -> ClientError:
        if self.state == "closed" and self._error is not None:
            return afresh(self._error)
        return NotJoined(self.topic, str(self._error or self.state))

    async def _until_joined(self) -> None:
        while self.state != "joined":
            if self.state in ("closed", "leaving"):
                raise self._not_joined()
            if self._changed is None:
                self._changed = ParkingLot()
            await self._changed.park()

    async def _join_first(self, seconds: float) -> None:
        # Returns when the channel is joined. If not, whoever called undoes what has begun.
        with trio.move_on_after(seconds):
            tries = 0
            while True:
                await self._socket.wait_connected()
                try:
                    reply = await self._join_once()
                except (Disconnected, NotJoined):
                    if not self._socket.reconnects:
                        raise
                    continue
                if reply.status == "ok":
                    return
                if not self._retry_refused:
                    raise JoinRefused(self.topic, reply.response)
                await trio.sleep(self._socket._rejoin_delay(tries))
                tries += 1
        if self.joins == 0:  # else the answer came when the time was up
            raise JoinTimeout(self.topic, seconds) from self._socket.trouble

    async def _join_once(self) -> Reply:
        params = await resolved(self._params)
        # What is done when the answer comes depends on these two, and on no task.
        self._change("joining")
        self.join_ref = self._socket._make_ref()
        self._socket._push(self.join_ref, self.topic, "phx_join", params, ref=self.join_ref)
        return await self._replies.wait(self.join_ref)

    async def _join_again(self, scope: trio.CancelScope, has_crashed: bool) -> None:
        # A crash is followed by a delay, a new connection is not.
        with scope:
            wait = has_crashed
            while self._joiner is scope:
                if wait:
                    await trio.sleep(self._socket._rejoin_delay(self._tries))
                    self._tries += 1
                wait = True
                await self._socket.wait_connected()
                try:
                    with trio.move_on_after(self._socket.answer_within):
                        reply = await self._join_once()
                        if reply.status == "ok":
                            break
                        refused = JoinRefused(self.topic, reply.response)
                        if not self._retry_refused:
                            self._close(refused)
                            break
                        self._change("away", refused)
                        continue
                except ClientError:
                    # As a rule the connection is gone again, or the channel has crashed, and
                    # another task has taken over from this one.
                    continue
                if self.state == "joined":
                    break  # the answer came when the time was up
                self._take_back()
                self._change("away", JoinTimeout(self.topic, self._socket.answer_within))
        if self._joiner is scope:
            self._joiner = None

    def _start_joining(self, *, has_crashed: bool) -> None:
        if self._joiner is not None:
            self._joiner.cancel()
        self._joiner = trio.CancelScope()
        self._socket._start(self._join_again, self._joiner, has_crashed)

    def _take_back(self) -> None:
        # Should the server let us in after all, it is told that we are gone, as phoenix.js does.
        # Its answer finds nobody.
        if self.state in ("joining", "joined") and self.join_ref is not None:
            try:
                self._socket._push(self.join_ref, self.topic, "phx_leave", {}, urgent=True)
            except ClientError:
                pass  # the connection is gone, and with it the join

    def _take(self, message: Incoming) -> None:
        # The one place where a message of the server changes something here. It never waits.
        if message.join_ref is not None and message.join_ref != self.join_ref:
            return  # of an earlier join
        match message.event:
            case "phx_reply":
                reply = reply_of(message)
                if (
                    message.ref == self.join_ref
                    and self.state == "joining"
                    and reply.status == "ok"
                ):
                    self._joined(reply.response)
                self._replies.answer(message.ref, reply)
            case "phx_close":
                by = "client" if self.state == "leaving" else "server"
                self._close(ChannelClosed(self.topic, by))
            case "phx_error":
                self._crashed()
            case event if self.state in ("joined", "leaving"):
                happened = Event(self.topic, event, message.payload, self.join_ref or "")
                if self._presence is None or not self._presence.apply(happened):
                    self._queue.put(happened)
            case _:
                pass

    def _joined(self, response: Any) -> None:
        self.joins += 1
        self._tries = 0
        self._response = response
        self._error = None
        self._change("joined")
        if self.joins > 1 and self._tell_rejoins:
            self._queue.put(Event(self.topic, REJOINED, response, self.join_ref or ""))

    def _crashed(self) -> None:
        error = ChannelCrashed(self.topic)
        if self.state == "leaving":
            self._close(ChannelClosed(self.topic, "client"))
        elif self.joins == 0:
            self._replies.fail(error)  # the first join, which fails with it
        elif self.state in ("joined", "joining"):
            self._change("away", error)
            self._replies.fail(error)
            self._start_joining(has_crashed=True)

    def _lost(self, error: ClientError) -> None:
        # The connection is gone.
        if self.state == "leaving":
            self._close(ChannelClosed(self.topic, "client"))
        elif self.joins == 0:
            self._replies.fail(error)
        elif self.state != "closed":
            self._tries = 0
            self._change("away", error)
            self._replies.fail(error)
            if self._socket.reconnects:
                self._start_joining(has_crashed=False)

    def _close(self, error: ClientError) -> None:
        if self.state == "closed":
            return
        self._change("closed", error)
        self._socket._forget(self)
        if self._joiner is not None:
            self._joiner.cancel()
            self._joiner = None
        self._replies.fail(error)
        self._queue.end(lambda: afresh(error))

    def _change(self, state: ChannelState, error: ClientError | None = None) -> None:
        self.state = state
        if error is not None:
            self._error = error
        if self._changed is not None and state != "joining":
            self._changed.unpark_all()

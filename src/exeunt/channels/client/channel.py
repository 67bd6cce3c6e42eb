"""A channel of a client: one topic, from the join to the end, over any number of connections.

    room = await socket.join("room:lobby", {"name": "ann"})
    reply = await room.push("say", {"text": "hi"})
    async for event in room:
        print(event.event, event.payload)
    await room.leave()

What becomes of it is what becomes of a channel of phoenix.js, with these deliberate differences.

Phoenix: The official client tries a join that is refused again, with backoff, for ever. The client
in Python takes it for final, be it the first join or a later one, unless it has `retry_refused`.

Phoenix: The official client keeps what is pushed while a channel is not joined, without a bound.
With the client in Python it fails at once with `NotJoined`, or waits in the task that pushes.

Phoenix: The official client lets a push that is unanswered when its connection or its channel goes
run into its timeout. With the client in Python it fails at once, with what has happened.

Phoenix: The official client also hands out events that come before a join is answered, and so
belong to an earlier one. The client in Python has events only while it is joined.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import trio

from exeunt.channels.client.errors import ChannelClosed, ClientError, PushTimeout, ReplyError
from exeunt.channels.client.frames import Event
from exeunt.channels.client.membership import Membership
from exeunt.channels.client.presence import PresenceView

__all__ = ["ClientChannel"]


class ClientChannel(Membership):
    """A topic that a client has joined; made by `ClientSocket.join`.

    `topic` is its name and `state` a `ChannelState`; `joins` is how often it was joined, and
    `join_ref` names the latest join. As an async context manager it leaves the topic at the end of
    the block.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<ClientChannel {self.topic!r} {self.state}>"

    @property
    def is_joined(self) -> bool:
        """Whether the channel can be pushed to."""
        return self.state == "joined"

    @property
    def response(self) -> Any:
        """What the server has answered to the latest join."""
        return self._response

    @property
    def presence(self) -> PresenceView | None:
        """The view that was given to `join`."""
        return self._presence

    @property
    def lost_events(self) -> int:
        """How many events were dropped because nobody took them in time."""
        return self._queue.lost

    # -- sending

    async def push(
        self,
        event: str,
        payload: object = None,
        *,
        within: float | None = None,
        wait: bool = False,
    ) -> Any:
        """Send a message, wait for the answer, and return its response.

        The payload is JSON or a `Binary`, `{}` if it is None, and so is the response. `within` is
        in seconds, the socket's `answer_within` if None, `math.inf` for no limit. With `wait` a
        channel that is away is waited for first, within the same time.

        Raises `ReplyError` if the status of the answer is not "ok", `PushTimeout`, and, without
        anything having been sent, `NotJoined`, `SendQueueFull` or `PayloadError`. If the connection
        or the channel goes while the answer is awaited, `Disconnected`, `ChannelCrashed` or
        `ChannelClosed`: then the message may have been handled or not. A push that is cancelled is
        not taken back; its answer vanishes.
        """
        seconds = self._socket.answer_within if within is None else within
        ref: str | None = None
        with trio.move_on_after(seconds):
            await trio.lowlevel.checkpoint_if_cancelled()
            if wait:
                await self._until_joined()
            ref = self._send(event, payload)
            reply = await self._replies.wait(ref)
            if reply.status != "ok":
                raise ReplyError(self.topic, event, reply.status, reply.response)
            return reply.response
        raise PushTimeout(self.topic, event, seconds, ref is not None) from self._socket.trouble

    def cast(self, event: str, payload: object = None) -> None:
        """Send a message and do not wait; whatever the answer is, it vanishes.

        Raises `NotJoined`, `SendQueueFull` or `PayloadError`, as `push` does; if it returns, the
        message is on its way, as far as a client can know.
        """
        self._send(event, payload)

    def _send(self, event: str, payload: object) -> str:
        if not isinstance(event, str):
            raise TypeError(f"event must be a string, got {event!r:.100}")
        if self.state != "joined":
            raise self._not_joined()
        return self._socket._push(
            self.join_ref, self.topic, event, {} if payload is None else payload
        )

    # -- receiving

    async def receive(self) -> Event:
        """Receive the next event; a cancelled `receive` loses none.

        With `tell_rejoins` there is an event `phx_join` where the channel was joined again, whose
        payload is the response: what was broadcast since the connection was lost, or the channel
        crashed, is missing there.

        Once the channel is closed and the events that came before are consumed, raises
        `ChannelClosed`, or what has ended it: `JoinRefused`, `Disconnected`, `ConnectFailed`.
        Raises `EventsLost` if events were dropped, as `on_overflow` says.
        """
        return await self._queue.receive(self.topic)

    def __aiter__(self) -> ClientChannel:
        return self

    async def __anext__(self) -> Event:
        """Receive the next event; a channel that was closed in an orderly way ends the loop."""
        try:
            return await self._queue.receive(self.topic)
        except ChannelClosed:
            raise StopAsyncIteration from None

    # -- waiting and leaving

    async def wait_joined(self) -> None:
        """Wait until the channel is joined; raise what has closed it if it is closed."""
        await trio.lowlevel.checkpoint()
        await self._until_joined()

    async def leave(self, *, within: float | None = None) -> None:
        """Leave the topic, and wait until the server has answered, or cannot any more.

        Events that came before can still be received. The channel is closed when this returns,
        also if it is cancelled, or the answer does not come in time. It may be called twice.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.state != "joined":
            self._take_back()
            self._close(ChannelClosed(self.topic, "client"))
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        seconds = self._socket.answer_within if within is None else within
        self._change("leaving")
        try:
            ref = self._socket._push(self.join_ref, self.topic, "phx_leave", {}, urgent=True)
            with trio.move_on_after(seconds):
                await self._replies.wait(ref)
        except ClientError:
            pass  # it was closed meanwhile, or the connection is gone: the server knows
        finally:
            self._close(ChannelClosed(self.topic, "client"))

    async def __aenter__(self) -> ClientChannel:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.leave()

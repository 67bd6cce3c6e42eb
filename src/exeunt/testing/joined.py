"""A topic that a test's client has joined: what it sends there, and what is asserted of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exeunt.channels.client.frames import Incoming
from exeunt.kernel.exits import Reason
from exeunt.kernel.ids import Pid
from exeunt.testing.asserting import ENDS
from exeunt.testing.matching import ANYTHING
from exeunt.testing.stage import ASSERT_WITHIN, REFUTE_WITHIN

if TYPE_CHECKING:
    from exeunt.testing.client import Client

LEAVE_WITHIN: Final = 5.0
"""Seconds that a channel has to end when its client leaves, by default."""


class JoinedChannel:
    """A topic that a client has joined, as that client sees it; made by `Client.join`.

    `pid` is the channel's process, `join_ref` the reference of the join, and `response` what the
    channel's `join` has answered.

    Of what has come, an assertion takes the first that matches, and the next assertion does not see
    it again. A payload is compared by `==` with what a client would see, so a tuple has become a
    list; `containing`, `satisfying` and `ANYTHING` match in part.
    """

    def __init__(self, client: Client, topic: str, join_ref: str, pid: Pid, response: Any) -> None:
        self.client = client
        self.topic = topic
        self.join_ref = join_ref
        self.pid = pid
        self.response = response
        self._witness = client._witness
        self._has_left = False

    def __repr__(self) -> str:
        return f"<{self.topic!r} {self.pid}>"

    # -- what the client does ---------------------------------------------------------------------

    def push(self, event: str, payload: Any = None) -> str:
        """Send an event to the channel; return its ref, for `assert_reply`.

        The payload is any JSON value, by default an empty object, or `Binary`. Does not wait.
        Raises `PayloadError` for what JSON cannot carry, and `RuntimeError` if the connection has
        ended. After a leave it is answered as by a server, "unmatched topic"; that fails the test
        at the end of the `connect` block, unless the reply is asserted or refuted.
        """
        payload = {} if payload is None else payload
        ref = self.client._push(self.topic, event, payload, self.join_ref)
        if self._has_left:
            self.client._late[ref] = f"{event!r} was pushed on {self.topic!r} after its leave"
        return ref

    async def leave(self, *, within: float = LEAVE_WITHIN) -> None:
        """Leave the topic; wait for the answer, and until the channel's process has ended.

        It ends with `Shutdown("left")`. Raises `ChannelCrashed` if its `terminate` raises.
        """
        __tracebackhide__ = True
        ref = self.client._push(self.topic, "phx_leave", {}, self.join_ref)
        self._has_left = True
        await self._witness.assert_reply(ref, "phx_leave", "ok", ANYTHING, within)
        await self._witness.wait_for_end(self.pid, repr(self.topic), within)

    # -- what a test asserts ----------------------------------------------------------------------

    async def assert_push(
        self, event: str, payload: Any = ANYTHING, *, within: float = ASSERT_WITHIN
    ) -> Any:
        """Wait for an event that is pushed to this client, or broadcast to it; return its payload.

        Also `"phx_close"` and `"phx_error"`, by which a client learns that its channel has ended.
        """
        __tracebackhide__ = True
        return await self._witness.assert_message(
            "push", event, payload, within, self._is_mine, repr(self.topic)
        )

    async def refute_push(
        self, event: str | None = None, payload: Any = ANYTHING, *, within: float = REFUTE_WITHIN
    ) -> None:
        """Wait `within` seconds, and fail if such an event comes, or has come unasserted.

        Without an event, any will do.
        """
        __tracebackhide__ = True
        await self._witness.refute_message(
            "push", event, payload, within, self._is_mine, repr(self.topic)
        )

    async def assert_reply(
        self,
        ref: str,
        status: str,
        response: Any = ANYTHING,
        *,
        within: float = ASSERT_WITHIN,
    ) -> Any:
        """Wait for the reply to what was pushed with `ref`; return its response.

        Fails at once if there is a reply, but another one.
        """
        __tracebackhide__ = True
        return await self._witness.assert_reply(
            ref, self.client._event_of(ref), status, response, within
        )

    async def refute_reply(
        self,
        ref: str,
        status: str | None = None,
        response: Any = ANYTHING,
        *,
        within: float = REFUTE_WITHIN,
    ) -> None:
        """Wait `within` seconds, and fail if such a reply comes; without a status, if any does."""
        __tracebackhide__ = True
        await self._witness.refute_reply(ref, self.client._event_of(ref), status, response, within)

    async def assert_broadcast(
        self, event: str, payload: Any = ANYTHING, *, within: float = ASSERT_WITHIN
    ) -> Any:
        """Wait for a broadcast on the topic; return its payload.

        For a topic that was joined with `subscribe_and_join`. A broadcast is seen whoever makes it
        and whether or not the channel has it in `intercepts`.
        """
        __tracebackhide__ = True
        return await self.client.assert_broadcast(self.topic, event, payload, within=within)

    async def refute_broadcast(
        self, event: str | None = None, payload: Any = ANYTHING, *, within: float = REFUTE_WITHIN
    ) -> None:
        """Wait `within` seconds, and fail if there is such a broadcast on the topic."""
        __tracebackhide__ = True
        await self.client.refute_broadcast(self.topic, event, payload, within=within)

    async def assert_exit(
        self, reason: Reason | type[BaseException] = ANYTHING, *, within: float = ASSERT_WITHIN
    ) -> Reason:
        """Wait for the end of the channel's process; return its exit reason.

        `reason` is compared by `==`, such as `Shutdown("left")`; an exception's class stands for a
        crash with one of these. A crash that is asserted is not raised any more.
        """
        __tracebackhide__ = True
        return await self._witness.assert_exit(self.pid, repr(self.topic), reason, within)

    def pushed(self) -> list[tuple[str, Any]]:
        """Return the events and payloads that were pushed so far, in order, asserted or not."""
        return [
            (str(one.message.event), one.payload)
            for one in self._witness.log.received()
            if one.kind == "push" and self._is_mine(one.message) and one.message.event not in ENDS
        ]

    def _is_mine(self, message: Incoming) -> bool:
        # As phoenix.js does: what belongs to another join of the topic is dropped; a broadcast
        # belongs to none.
        return message.topic == self.topic and message.join_ref in (None, self.join_ref)


__all__ = ["LEAVE_WITHIN", "JoinedChannel"]

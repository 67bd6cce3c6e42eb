"""The token bucket: how many things may be begun in a second, by all processes together.

There is a token for each thing that may be begun. They come at a steady rate; a few are kept for
when several things are begun at once. Who asks for one and finds none waits: the answer to the call
comes with the next token.
"""

from collections import deque
from typing import Any, Final

from exeunt import Call, GenServer, NoReply, Refuse, on_call, reply, send_interval

MOST_WAITING: Final = 1_000
"""Callers that may wait for a token."""


class TooManyWait(Exception):
    """The bucket takes no more callers for now."""


class Bucket(GenServer):
    """Gives `rate` tokens a second, and `burst` of them at once after a pause."""

    async def init(self, rate: float, burst: int) -> None:
        """Begin with a full bucket."""
        self.burst = self.tokens = burst
        self.waiting: deque[Call] = deque()
        send_interval(1 / rate, self.pid, "token")

    @on_call
    async def take(self) -> NoReply | Refuse | None:
        """Wait for a token, and take it. Who comes first is served first."""
        if self.tokens:
            self.tokens -= 1
            return None
        # Who was killed or has given up meanwhile is none of them.
        self.waiting = deque(call for call in self.waiting if call.is_pending)
        if len(self.waiting) >= MOST_WAITING:
            return Refuse(TooManyWait(f"{MOST_WAITING} callers wait already"))
        self.waiting.append(self.caller)
        return NoReply()

    async def handle_info(self, message: Any) -> None:
        """Give the next token to whoever waits for it, or keep it."""
        while self.waiting:
            call = self.waiting.popleft()
            if call.is_pending:
                reply(call, None)
                return
        self.tokens = min(self.burst, self.tokens + 1)

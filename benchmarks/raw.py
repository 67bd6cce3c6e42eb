"""Raw trio: the least that a task, a mailbox and a request need when nothing else is wanted.

No links, no names, no exit reasons, no budget, nobody who gives up, and nothing that stops a second
reader. This is what exeunt's figures are divided by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from outcome import Value
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled


class RawMailbox:
    """A deque and the task that waits for something to be in it."""

    __slots__ = ("messages", "receiver")

    def __init__(self) -> None:
        self.messages: deque[Any] = deque()
        self.receiver: Task | None = None

    def put(self, message: object) -> None:
        """Append a message and wake the receiver."""
        self.messages.append(message)
        receiver = self.receiver
        if receiver is not None:
            self.receiver = None
            reschedule(receiver)

    async def get(self) -> Any:
        """Take the first message; wait until there is one."""
        if not self.messages:
            self.receiver = current_task()
            await wait_task_rescheduled(self._abort)
        return self.messages.popleft()

    def _abort(self, _: RaiseCancelT) -> Abort:
        self.receiver = None
        return Abort.SUCCEEDED


def give_up(_: RaiseCancelT) -> Abort:
    """Let a parked task be cancelled."""
    return Abort.SUCCEEDED


async def park() -> None:
    """Wait until cancelled."""
    await wait_task_rescheduled(give_up)


async def in_scope(body: Callable[..., Awaitable[object]], *args: Any) -> None:
    """Run a body under a cancel scope of its own: what a process comes down to."""
    with trio.CancelScope():
        await body(*args)


async def serve(mailbox: RawMailbox, handle: Callable[[Any], Awaitable[object]]) -> None:
    """Answer each request in a mailbox with what `handle` makes of it."""
    while True:
        task, request = await mailbox.get()
        reschedule(task, Value(await handle(request)))


async def ask(mailbox: RawMailbox, request: object) -> Any:
    """Put a request into a mailbox and wait for the answer."""
    mailbox.put((current_task(), request))
    return await wait_task_rescheduled(give_up)

"""The mailbox of a process: a deque, one parked task, and what happens when it is full.

A mailbox has any number of senders, who never wait, and one receiver. Without a limit it grows with
what is sent to it; with one, an `Overflow` says what gives way. What links and monitors tell never
does: no end of a process goes unnoticed because a mailbox is full. A call whose caller has given up
is never handed out.

OTP: a message is copied into the heap of its receiver, so nobody can change it afterwards. Here the
receiver gets the very object that was sent: send what does not change, or what you keep no longer.

OTP: a mailbox has no bound, unless the whole process is killed by the size of its heap. Here it may
have one, by choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, wait_task_rescheduled

from exeunt.kernel.calls import Call, wake
from exeunt.kernel.exits import Down, Exit

T = TypeVar("T")

Overflow: TypeAlias = Literal["drop_newest", "drop_oldest", "exit"]
"""What gives way in a full mailbox: the new message, the oldest one, or the receiver."""

REDUCTIONS: Final = 200
"""How many messages a process may take in a row before it lets the others run.

A count and not a time, so that the clock of the machine never decides an order.
"""

# What every mailbox holds until its first message: an empty deque of one's own takes 600 bytes.
_NO_MESSAGES: Final[deque[object]] = deque(maxlen=0)


class _News:
    __slots__ = ()

    def unwrap(self) -> None:
        pass


_NEWS: Final = _News()


class Mailbox:
    """Messages in order of arrival, and the task that waits for one."""

    __slots__ = ("budget", "messages", "receiver", "scanned", "withdrawn")

    def __init__(self) -> None:
        self.messages = _NO_MESSAGES
        # The task parked in `get`, if there is one. Whoever reschedules it sets this to None.
        self.receiver: Task | None = None
        # Messages left before the next checkpoint. It is 0 while a task is parked, so that another
        # one which receives takes the slow way and is refused; and once the process is exiting, so
        # that the next receive is a checkpoint, which raises the cancellation.
        self.budget = REDUCTIONS
        # How many messages the parked task has looked at and left in place.
        self.scanned = 0
        # How many calls among the messages were withdrawn.
        self.withdrawn = 0

    def put(self, message: object) -> None:
        """Append a message and wake the receiver. Never blocks and never fails."""
        receiver = self.receiver
        if receiver is not None:
            # First, since it raises in a thread that is not trio's, where nothing may change.
            wake(receiver, _NEWS)
            self.receiver = None
            self.budget = REDUCTIONS
        if self.messages is _NO_MESSAGES:
            self.messages = deque()
        self.messages.append(message)

    def remove_if(self, unwanted: Callable[[object], bool]) -> int:
        """Remove all messages that `unwanted` picks, wherever they stand; return their number."""
        kept = [message for message in self.messages if not unwanted(message)]
        removed = len(self.messages) - len(kept)
        if removed:
            self.messages.clear()
            self.messages.extend(kept)
            self.scanned = 0
        return removed

    def note_withdrawn(self) -> None:
        """Account for a call among the messages whose caller has given up.

        It is skipped when it comes up; once such calls are the larger part of the mailbox they are
        swept out, so that a server that hangs does not hoard them.
        """
        self.withdrawn += 1
        if self.withdrawn > 16 and self.withdrawn * 2 > len(self.messages):
            self.sweep()

    def sweep(self) -> None:
        """Remove the calls whose callers have given up."""
        self.remove_if(lambda one: isinstance(one, Call) and one.is_withdrawn)
        self.withdrawn = 0

    async def spend(self) -> None:
        """Count one unit of work that takes no message; let the others run when it is time."""
        if self.budget > 0:
            self.budget -= 1
        else:
            self.budget = REDUCTIONS
            await trio.lowlevel.checkpoint()

    async def take(self) -> Any:
        """Take the first message; wait until there is one."""
        while True:
            budget = self.budget
            if budget <= 0:
                await self.spend()
                self._check_no_receiver()
            elif self.messages:
                self.budget = budget - 1
                message = self.messages.popleft()
                if type(message) is Call:
                    if message.is_withdrawn:
                        self.withdrawn -= 1
                        continue
                    message.was_taken = True
                return message
            else:
                # As _park does, without another coroutine on the way of every wait.
                self.budget = 0
                self.receiver = current_task()
                await wait_task_rescheduled(self._abort)

    async def get(self, kind: type[T], where: Callable[[T], bool] | None = None) -> T:
        """Take the first message of the type `kind` for which `where` holds; wait until one comes.

        The others stay where they are. One task at a time may wait.
        """
        await self.spend()
        self._check_no_receiver()
        self.scanned = 0
        while True:
            if len(self.messages) > self.scanned:
                found = self._scan(kind, where)
                if found is not None:
                    return found[0]
            self._check_no_receiver()
            await self._park()

    async def _park(self) -> None:
        self.budget = 0
        self.receiver = current_task()
        await wait_task_rescheduled(self._abort)

    def _check_no_receiver(self) -> None:
        if self.receiver is not None:
            raise RuntimeError(
                "another task of this process is receiving already: a mailbox has one receiver"
            )

    def _abort(self, _: RaiseCancelT) -> Abort:
        self.receiver = None
        return Abort.SUCCEEDED

    # For whoever forgets the `await`: Python says then "coroutine 'receive' was never awaited".
    take.__qualname__ = get.__qualname__ = "receive"

    def get_nowait(self, kind: type[T], where: Callable[[T], bool] | None = None) -> T:
        """Take the first message that matches, or raise `trio.WouldBlock`."""
        self.scanned = 0
        found = self._scan(kind, where)
        self.scanned = 0
        if found is None:
            raise trio.WouldBlock
        return found[0]

    def _scan(self, kind: type[T], where: Callable[[T], bool] | None) -> tuple[T] | None:
        messages = self.messages
        # By index from where the last look ended: reading near either end of a deque is cheap, and
        # `where` may well send something to this very mailbox.
        index = self.scanned
        while index < len(messages):
            message = messages[index]
            if type(message) is Call and message.is_withdrawn:
                del messages[index]
                self.withdrawn -= 1
            elif isinstance(message, kind) and (where is None or where(message)):
                del messages[index]
                taken: object = message
                if type(taken) is Call:
                    taken.was_taken = True
                return (message,)
            else:
                index += 1
        self.scanned = index
        return None


class BoundedMailbox(Mailbox):
    """A mailbox that holds at most `limit` messages.

    `Exit` and `Down` are always taken, and stay. There are as many of them at most as the process
    has links and monitors, besides exit signals that are sent by hand.
    """

    __slots__ = ("limit", "lost", "overflow")

    def __init__(self, limit: int, overflow: Overflow, lost: Callable[[object], None]) -> None:
        super().__init__()
        self.limit = limit
        self.overflow = overflow
        self.lost = lost

    def put(self, message: object) -> None:
        """Append a message, or let something go and tell `lost` of it."""
        if len(self.messages) < self.limit or type(message) in _TOLD_BY_THE_KERNEL:
            super().put(message)
            return
        if self.withdrawn:
            self.sweep()
            if len(self.messages) < self.limit:
                super().put(message)
                return
        oldest = self._oldest() if self.overflow == "drop_oldest" else None
        if oldest is None:
            self.lost(message)
            return
        gives_way = self.messages[oldest]
        del self.messages[oldest]
        if oldest < self.scanned:
            self.scanned -= 1
        super().put(message)
        self.lost(gives_way)

    def _oldest(self) -> int | None:
        """Return the index of the oldest message that may go."""
        for index, message in enumerate(self.messages):
            if type(message) not in _TOLD_BY_THE_KERNEL:
                return index
        return None


_TOLD_BY_THE_KERNEL: Final = (Exit, Down)

"""Those who wait for an answer: a ref each, and the task that waits.

An answer is handed to the task that waits, in the moment in which it comes. A task that was given
its answer gets it, also if it is cancelled right behind; one that gave up before is forgotten, and
the answer that comes late vanishes.
"""

from __future__ import annotations

from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

from exeunt.channels.client.errors import afresh
from exeunt.channels.client.frames import Reply

__all__ = ["Replies"]


class _Waiter:
    __slots__ = ("answer", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.answer: Reply | Exception | None = None


class Replies:
    """The messages of one channel that are not answered yet."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        # As many as there are tasks that wait: what is sent without waiting is not in it.
        self._waiting: dict[str, _Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, ref: str) -> Reply:
        """Wait for the answer to `ref`, which must not be there yet, or the error it failed with.

        No checkpoint comes before the waiting has begun.
        """
        waiter = _Waiter(current_task())
        self._waiting[ref] = waiter

        def give_up(_: RaiseCancelT) -> Abort:
            del self._waiting[ref]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(give_up)
        answer = waiter.answer
        if isinstance(answer, Reply):
            return answer
        assert answer is not None
        try:
            raise answer
        finally:
            # The error's traceback holds this frame.
            del answer, waiter

    def answer(self, ref: object, reply: Reply) -> bool:
        """Hand an answer to the task that waits for it; return whether there is one."""
        waiter = self._waiting.pop(ref, None) if isinstance(ref, str) else None
        if waiter is None:
            return False
        waiter.answer = reply
        reschedule(waiter.task)
        return True

    def fail(self, error: Exception) -> None:
        """Have all that wait raise `error`, a copy each."""
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            waiter.answer = afresh(error)
            reschedule(waiter.task)

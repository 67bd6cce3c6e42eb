"""The stage: what all clients of one node share while a test runs.

Every await of the kit ends up in `Stage.watch`, which waits until what it looks for has come; and
which raises, there and then, if a channel has crashed that the test has not asked about. So a crash
shows at the line that awaits, with what the channel raised as its cause, and not as a time-out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import trio

from exeunt.channels.pubsub import PubSub
from exeunt.kernel.exits import Crash, Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.node import Node

T = TypeVar("T")

ASSERT_WITHIN: Final = 1.0
"""Seconds that an assertion waits for what is to come, by default."""

REFUTE_WITHIN: Final = 0.1
"""Seconds in which what is refuted must not come, by default."""


class ChannelCrashed(Exception):
    """A channel, or a connection, has ended for another reason than an orderly one.

    Raised by the next await of the kit, once, unless that is the `assert_exit` which expects it.
    What the process raised is the cause, with the traceback of where; `reason` is its exit reason.
    """

    def __init__(self, pid: Pid, label: str, reason: Reason) -> None:
        super().__init__(pid, label, reason)
        self.pid = pid
        self.label = label
        self.reason = reason
        if isinstance(reason, Crash):
            self.__cause__ = reason.exception

    def __str__(self) -> str:
        return f"{self.label} {self.pid} ended: {self.reason}"


class Stage:
    """What the clients of one node share: the hub, the crashes, and who waits for news."""

    def __init__(self) -> None:
        self.hub = PubSub()
        # Crashes that no line of the test has been told of, oldest first.
        self._crashes: list[ChannelCrashed] = []
        # Set at the next piece of news; only while somebody waits.
        self._news: trio.Event | None = None

    def tell(self) -> None:
        """Have everybody who waits look again."""
        if self._news is not None:
            self._news.set()
            self._news = None

    def note_crash(self, crash: ChannelCrashed) -> None:
        """Keep a crash until a line of the test is told of it."""
        self._crashes.append(crash)

    def take_crash(self, pid: Pid) -> ChannelCrashed | None:
        """Take the crash of one process, if nobody has been told of it."""
        for crash in self._crashes:
            if crash.pid is pid:
                self._crashes.remove(crash)
                return crash
        return None

    def take_crashes(self) -> list[ChannelCrashed]:
        """Take all crashes that nobody has been told of."""
        taken, self._crashes = self._crashes, []
        return taken

    def raise_crash(self) -> None:
        """Raise the oldest crash that nobody has been told of, if there is one."""
        __tracebackhide__ = True
        if self._crashes:
            raise self._crashes.pop(0)

    async def watch(self, look: Callable[[], T | None], within: float) -> T | None:
        """Wait until `look` returns something, and return that; None after `within` seconds.

        What is there goes before a crash, so that the outcome does not hang on which of two tasks
        runs first. Raises `ChannelCrashed`. To cancel it loses nothing.
        """
        __tracebackhide__ = True
        if not within >= 0:
            raise ValueError(f"within is a number of seconds from 0 up, not {within!r}")
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while True:
                found = look()
                if found is not None:
                    return found
                self.raise_crash()
                if self._news is None:
                    self._news = trio.Event()
                await self._news.wait()
        # What came in the very moment in which the time was over has come in time.
        found = look()
        if found is None:
            self.raise_crash()
        return found


_stages: WeakKeyDictionary[Node, Stage] = WeakKeyDictionary()


def stage_of(node: Node) -> Stage:
    """Return the stage of a node."""
    stage = _stages.get(node)
    if stage is None:
        stage = _stages[node] = Stage()
    return stage


__all__ = ["ASSERT_WITHIN", "REFUTE_WITHIN", "ChannelCrashed", "Stage", "stage_of"]

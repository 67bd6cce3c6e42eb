"""Watchdog: names the process that keeps all others waiting.

All processes of a node share one thread. One that computes for long, or calls something that
blocks, holds up every other: heartbeats are not answered, timers are late, clients are cut off. No
error tells of it, so a watchdog does: a thread that looks now and then how long the loop has not
come round, and in which process, at which line, it stands.

It costs two small calls each time the loop comes round, and nothing per step of a process.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import ClassVar

import trio

from exeunt.kernel.events import Event, Events, logged
from exeunt.kernel.ids import Pid
from exeunt.kernel.process import Process

logger = logging.getLogger("exeunt")


@logged
@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """Something has kept the loop from coming round; it is over now.

    `pid` is None if it was not a process's own task: one that it has started in a nursery, or the
    main process. `where` is the file and the line.
    """

    pid: Pid | None
    label: str
    where: str
    seconds: float

    level: ClassVar[int] = logging.WARNING

    def __str__(self) -> str:
        return f"{self.label} has blocked the loop for {self.seconds:.1f} s, at {self.where}"


class Watchdog(trio.abc.Instrument):
    """Looks after the loop of the current thread, from `start` to `stop`."""

    def __init__(self, limit: float, events: Events) -> None:
        self._limit = limit
        self._events = events
        self._loop = threading.get_ident()
        # When the loop has begun the round that it is in; None while it waits for something to do.
        self._round: float | None = None
        # The round that was complained of, and of whom. Written by the thread alone.
        self._told: tuple[float, Pid | None, str, str] | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="exeunt watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        trio.lowlevel.add_instrument(self)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        trio.lowlevel.remove_instrument(self)
        self._is_over.set()
        self._thread.join()

    # -- in the loop's thread -------------------------------------------------------------------

    def after_io_wait(self, timeout: float) -> None:
        """Note that a round begins."""
        self._round = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """Note that a round is over, and tell of one that took too long."""
        begun, self._round = self._round, None
        told = self._told
        if told is not None and told[0] == begun:
            _, pid, label, where = told
            seconds = time.perf_counter() - told[0]
            self._events.emit(LoopBlocked(pid, label, where, seconds))

    # -- in the watchdog's thread ---------------------------------------------------------------

    def _watch(self) -> None:
        while not self._is_over.wait(self._limit / 4):
            begun = self._round
            if begun is None or (self._told is not None and self._told[0] == begun):
                continue
            if time.perf_counter() - begun < self._limit:
                continue
            frame = sys._current_frames().get(self._loop)
            if frame is None:
                continue
            process, stack = _place(frame)
            # Only a process's own task has `Process.live` on its stack.
            label = f"process {process!r}" if process else "the main process, or a nursery's task,"
            inner = stack[-1]
            where = f"{inner.filename}:{inner.lineno} in {inner.name}"
            del frame, inner
            if self._round != begun:
                continue  # it has come round while this looked
            self._told = begun, None if process is None else process.pid, label, where
            logger.warning(
                "%s has not let anything else run for %.1f s: it should do that in a thread, "
                "`await trio.to_thread.run_sync(…)`. It stands here:\n%s",
                label,
                time.perf_counter() - begun,
                "".join(traceback.format_list(stack)).rstrip(),
            )
            del process


def _place(frame: FrameType) -> tuple[Process | None, traceback.StackSummary]:
    """Find the process that runs, and the part of the stack that is its own code."""
    stack: list[tuple[FrameType, int]] = []
    step: FrameType | None = frame
    process: Process | None = None
    while step is not None:
        if step.f_code is Process.live.__code__:
            process = step.f_locals["self"]
            break
        if step.f_globals.get("__name__", "").startswith("trio."):
            break
        stack.append((step, step.f_lineno))
        step = step.f_back
    if not stack:
        stack.append((frame, frame.f_lineno))
    return process, traceback.StackSummary.extract(iter(reversed(stack)))


@contextmanager
def watching(limit: float | None, events: Events) -> Generator[None]:
    """Have a watchdog for the block, if there is a limit; it is in seconds."""
    if limit is None:
        yield
        return
    if not limit > 0:
        raise ValueError(f"the watchdog's limit is above 0 seconds, not {limit!r}")
    dog = Watchdog(limit, events)
    dog.start()
    try:
        yield
    finally:
        dog.stop()


__all__ = ["LoopBlocked", "Watchdog", "watching"]

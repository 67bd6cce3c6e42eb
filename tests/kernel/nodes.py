"""What the tests of kernel and otp share: a node that is looked through when it closes.

`async with node() as stage:` opens one. Whatever is logged while it is open, a crash above all, has
to be claimed by the test (`stage.crash()`, `stage.logged(…)`), and when the block is left nothing
may be left over: no process, name, timer, link, monitor or pending call. A node that does not close
is torn down after an hour of trio's clock, which is the virtual one in nearly all of these tests:
so a hang is a failure and not a wait.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

import exeunt
from exeunt import Node, Pid, process_info
from exeunt.kernel.events import CrashReport, Event

T = TypeVar("T")

HOUR = 3600.0


# -- the virtual clock ----------------------------------------------------------------------------


def run_on_virtual_clock(main: Callable[[], Awaitable[T]], **options: Any) -> T:
    """Run like `trio.run`, on a clock that jumps to the next deadline when all else is idle."""
    if options.get("clock") is None:
        options["clock"] = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(main, **options)


def use_virtual_clock(items: list[pytest.Item]) -> None:
    """Make `usefixtures("autojump_clock")` do what it says.

    pytest-trio takes a clock from a test's own arguments only; this spares each test the argument.
    """
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "autojump_clock" in names and item.get_closest_marker("trio") is not None:
            item.add_marker(pytest.mark.trio(run=run_on_virtual_clock), append=False)
            assert isinstance(item, pytest.Function)
            # The hooks of several folders see all items of a run.
            if not hasattr(item.obj, "__wrapped__"):
                item.obj = not_cancelled(item.obj)


def not_cancelled(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Have a test fail out of which a cancellation comes, which pytest-trio takes for a success.

    It is none of the test's own, so something around it was torn down.
    """

    @wraps(test)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            await test(*args, **kwargs)
        except trio.Cancelled as error:
            raise AssertionError(f"the test was torn down: {error!r}") from error

    return guarded


# -- the log --------------------------------------------------------------------------------------


class Records(logging.Handler):
    """Keeps the records of warnings and worse that nobody has claimed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.unclaimed: list[tuple[str, logging.LogRecord]] = []
        self.gathered: dict[type, list[Any]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception as error:
            text = f"a record that cannot be formatted: {record.msg!r}: {error!r}"
        event = getattr(record, "event", None)
        if type(event) in self.gathered:
            self.gathered[type(event)].append(event)
            return
        self.unclaimed.append((text, record))

    def claim(self, wanted: Callable[[str, logging.LogRecord], bool]) -> logging.LogRecord | None:
        for index, (text, record) in enumerate(self.unclaimed):
            if wanted(text, record):
                del self.unclaimed[index]
                return record
        return None

    def texts(self) -> list[str]:
        return [text for text, _ in self.unclaimed]


@contextmanager
def records() -> Iterator[Records]:
    """Keep what exeunt logs as a warning or worse."""
    handler = Records()
    logger = logging.getLogger("exeunt")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


# -- the node -------------------------------------------------------------------------------------


class DidNotClose(AssertionError):
    """A node was still there after a virtual hour."""


class Stage:
    """An open node, as a test sees it."""

    def __init__(self, opened: Node, log: Records) -> None:
        self.node = opened
        self.log = log
        self._at_close: list[str] = []

    def crash(self, kind: type[BaseException] | None = None, pid: Pid | None = None) -> CrashReport:
        """Claim the one crash report of a process, by the exception or the pid or neither."""

        def is_wanted(_: str, record: logging.LogRecord) -> bool:
            report = getattr(record, "event", None)
            return (
                isinstance(report, CrashReport)
                and (kind is None or isinstance(report.exception, kind))
                and (pid is None or report.pid is pid)
            )

        record = self.log.claim(is_wanted)
        assert record is not None, f"no such crash was logged, but: {self.log.texts()}"
        report = record.__dict__["event"]
        assert isinstance(report, CrashReport)
        return report

    def crashes(self, count: int, kind: type[BaseException] | None = None) -> list[CrashReport]:
        """Claim so many crash reports."""
        return [self.crash(kind) for _ in range(count)]

    def logged(self, part: str, level: int | None = None) -> logging.LogRecord:
        """Claim the first record whose text has this part."""
        record = self.log.claim(
            lambda text, record: part in text and level in (None, record.levelno)
        )
        assert record is not None, f"no record says {part!r}, but: {self.log.texts()}"
        return record

    def gathers(self, kind: type[Event]) -> list[Any]:
        """Claim all records of this type of event from now on; return the list of the events."""
        return self.log.gathered.setdefault(kind, [])

    def at_close(self, *parts: str) -> None:
        """Claim records that will be logged while the node closes, by a part of their text."""
        self._at_close += parts

    def claim_the_last(self) -> None:
        """Claim what `at_close` has announced."""
        for part in self._at_close:
            self.logged(part)

    def events(self, *kinds: type[Event]) -> list[Any]:
        """Return a list that gathers the events of these types from now on."""
        gathered: list[Any] = []
        self.node.events.subscribe(gathered.append, *kinds)
        return gathered


@asynccontextmanager
async def node(*, limit: float = HOUR, **options: Any) -> AsyncIterator[Stage]:
    """Open a node; when the block is left normally, see that nothing is left over."""
    options.setdefault("signals", False)
    late = trio.CancelScope()
    opened: Node | None = None

    async def stop_when_late() -> None:
        with late:
            await trio.sleep(limit)
            assert opened is not None
            hung = DidNotClose(f"after {limit} virtual seconds, the node still has {alive(opened)}")
            opened.interrupt(hung)
            await trio.testing.wait_all_tasks_blocked()
            opened.interrupt(hung)

    with records() as log:
        try:
            async with exeunt.open_node(**options) as opened:
                trio.lowlevel.spawn_system_task(stop_when_late)
                stage = Stage(opened, log)
                yield stage
                check_tables()
        finally:
            late.cancel()
        stage.claim_the_last()
        assert log.texts() == [], "the test left these records unclaimed"
        nothing_is_left(opened)


def alive(opened: Node) -> list[str]:
    """Describe the processes of a node, zombies included."""
    return [repr(one) for one in (*opened.processes.values(), *opened.zombies.values())]


def nothing_is_left(opened: Node) -> None:
    """See that a node which has closed holds nothing any more."""
    assert alive(opened) == []
    assert opened.names.all() == []
    assert len(opened.timers) == 0
    main = opened.main
    for held in (main.links, main.monitors, main.watchers, main.calls, main.timers, main.at_exit):
        assert not held


def check_tables() -> None:
    """See that the tables of the running node agree with each other.

    Links and monitors are held by both of their ends, and both live; each name, timer and pending
    call belongs to a process in the table.
    """
    opened = exeunt.current_node()
    table = set(opened.processes.values())
    for pid in exeunt.processes():
        info = process_info(pid)
        assert info is not None
        assert len(set(info.links)) == len(info.links)
        for other in info.links:
            there = process_info(other)
            assert there is not None, f"{pid} is linked to {other}, which is dead"
            assert pid in there.links, f"{pid} is linked to {other}, but not the other way round"
            assert other is not pid
        for watched in info.monitors:
            if isinstance(watched, Pid):
                there = process_info(watched)
                assert there is not None, f"{pid} monitors {watched}, which is dead"
                assert pid in there.monitored_by
        for watcher in info.monitored_by:
            assert process_info(watcher) is not None, f"{watcher} monitors {pid}, but is dead"
        if info.name is not None:
            assert info.name in exeunt.registered()
    for name in exeunt.registered():
        holder = opened.names.holder(name)
        assert holder in table and holder is not None and holder.name == name
    timers = 0
    for process in table:
        for call in process.calls or ():
            assert call.is_pending and call.server is process
        for ref in process.timers or ():
            assert opened.timers.left(ref) is not None
            timers += 1
    assert timers <= len(opened.timers)


# -- processes for tests --------------------------------------------------------------------------


async def idle() -> None:
    """Do nothing for ever."""
    await trio.sleep_forever()


async def trapping() -> None:
    """Trap exits and do nothing for ever."""
    exeunt.trap_exit()
    await trio.sleep_forever()


async def collect(into: list[Any]) -> None:
    """Put every message into a list."""
    while True:
        into.append(await exeunt.receive())


async def collect_trapping(into: list[Any]) -> None:
    """Put every message into a list, exit signals too."""
    exeunt.trap_exit()
    await collect(into)


async def echo() -> None:
    """Answer every call with its request."""
    while True:
        message = await exeunt.receive()
        if isinstance(message, exeunt.Call):
            exeunt.reply(message, message.request)


async def settle() -> None:
    """Wait until no task has anything to do at this moment of the virtual clock."""
    await trio.testing.wait_all_tasks_blocked()


def messages(pid: Pid) -> list[object]:
    """Return what is in the mailbox of a living process."""
    info = process_info(pid)
    assert info is not None, f"{pid} is dead"
    return list(info.messages)


def drain() -> list[Any]:
    """Take everything out of this process's mailbox."""
    taken: list[Any] = []
    while True:
        try:
            taken.append(exeunt.receive_nowait())
        except trio.WouldBlock:
            return taken


class Actor:
    """A process that does what it is told, in its own task, and takes nothing from its mailbox."""

    def __init__(
        self, *, trap: bool = False, spawned: Callable[..., Any] = exeunt.spawn, **options: Any
    ) -> None:
        self._orders, orders = trio.open_memory_channel[tuple[Callable[[], Any], "_Answer"]](100)
        self.result = spawned(self._live, orders, trap, **options)
        self.pid: Pid = self.result[0] if isinstance(self.result, tuple) else self.result

    async def _live(
        self, orders: trio.MemoryReceiveChannel[tuple[Callable[[], Any], _Answer]], trap: bool
    ) -> None:
        exeunt.trap_exit(trap)
        async for act, answer in orders:
            try:
                value = act()
                if isinstance(value, Awaitable):
                    value = await value
            except Exception as error:
                answer.error = error
            else:
                answer.value = value
            answer.done.set()

    async def do(self, act: Callable[[], Any]) -> Any:
        """Have the process call (and await) `act`; return what it returns, raise what it raises."""
        answer = self.begin(act)
        await answer.done.wait()
        if answer.error is not None:
            raise answer.error
        return answer.value

    def begin(self, act: Callable[[], Any]) -> _Answer:
        """Have the process call `act`, and do not wait for it."""
        answer = _Answer()
        self._orders.send_nowait((act, answer))
        return answer

    @property
    def messages(self) -> list[object]:
        """What is in the mailbox."""
        return messages(self.pid)


class _Answer:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.value: Any = None
        self.error: Exception | None = None

"""What the executors of all families share: labels, driven processes, steps, and the virtual clock.

A *driven* process does what it is told to, one order after the other, in its own task, so that it
is that process which acts. It takes its orders from a trio channel, and nothing out of its mailbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import exeunt
from exeunt import Down, Exit, Node, Pid, Ref, process_info
from exeunt.kernel.events import CrashReport, Exited
from tests.conformance.terms import Fired, Plain, ScenarioError, message_json, reason_json
from tests.conformance.traces import Json, canonical

Op: TypeAlias = dict[str, Any]
Step: TypeAlias = dict[str, Any]

SKIPPED = "skipped"
DIED = "died"
PENDING = "pending"

SHORT = 1.0
"""Seconds: whatever comes sooner than that is part of the step in which it was set up."""

MOST_JUMPS = 10_000
"""How many time-outs one step may see come, one after the other."""


class Return(BaseException):
    """Has the body of a driven process return."""


@dataclass(eq=False, slots=True)
class Order:
    """Something that a driven process is to do, and what came of it."""

    label: str
    by: str
    act: Callable[[], Awaitable[Json]]
    result: Json = PENDING
    is_done: bool = False


@dataclass(eq=False, slots=True)
class Driven:
    """A driven process, as its driver sees it."""

    label: str
    orders: trio.MemorySendChannel[Order]
    current: Order | None = None
    # Its mailbox as it was last seen: each message with the step in which it came.
    mailbox: list[tuple[int, object]] = field(default_factory=list[tuple[int, object]])
    shown: dict[str, Json] = field(
        default_factory=lambda: {"mailbox": [], "links": [], "monitors": []}
    )


class World:
    """The labels of one scenario, its driven processes, and what has become of them."""

    def __init__(self, node: Node, clock: MockClock) -> None:
        self.clock = clock
        self.step = 0
        self.pids: dict[str, Pid] = {}
        self.labels: dict[Pid, str] = {exeunt.self_pid(): "controller"}
        self.exits: dict[str, Json] = {}
        self.driven: dict[str, Driven] = {}
        self.monitors: dict[str, tuple[str, Ref]] = {}
        self.monitor_labels: dict[Ref, str] = {}
        # Whose end a monitor by name tells of: the process that had the name, or else the name.
        self.named: dict[Ref, str] = {}
        self.reported: set[str] = set()
        # A mistake in the scenario itself, found by one of its processes.
        self.mistake: BaseException | None = None
        node.events.subscribe(self.has_exited, Exited)
        node.events.subscribe(self.has_crashed_for, CrashReport)

    # -- labels -----------------------------------------------------------------------------------

    def add(self, label: str, pid: Pid) -> None:
        """Give a process its label."""
        if label in self.pids:
            raise ScenarioError(f"the label {label!r} is used twice")
        self.pids[label] = pid
        self.labels[pid] = label

    def who(self, pid: Pid) -> str:
        """Return the label of a process; that of a foreign one is its pid, which no trace has."""
        return self.labels.get(pid, repr(pid))

    def which(self, ref: Ref) -> str:
        """Return the label of a monitor."""
        return self.monitor_labels.get(ref, repr(ref))

    def message(self, message: object) -> Json:
        """Return a message as a trace writes it."""
        return message_json(message, self.who, self.which)

    def knows(self, to: Json) -> bool:
        """Tell whether a destination can be named: a name always can."""
        return isinstance(to, dict) or to in self.pids

    def find(self, to: Json) -> Pid | str:
        """Return a destination: the pid of a label, or a name."""
        if isinstance(to, dict):
            name: str = to["name"]
            return name
        return self.pids[to]

    def is_dead(self, label: str) -> bool:
        """Tell whether a process has ended."""
        return label in self.exits

    def has_exited(self, event: Exited) -> None:
        """Note the end of a process."""
        label = self.labels.get(event.pid)
        if label is not None:
            self.exits[label] = reason_json(event.reason)

    def has_crashed_for(self, event: CrashReport) -> None:
        """Note a crash that comes from the scenario being none."""
        if isinstance(event.exception, ScenarioError):
            self.mistake = event.exception

    # -- driven processes -------------------------------------------------------------------------

    def drive(
        self,
        label: str,
        spawn: Callable[..., Pid] = exeunt.spawn,
        *,
        traps: bool = False,
    ) -> Pid:
        """Spawn a driven process from the process that is running now."""
        # The one order that a process may get before it has taken the last: it gets no other.
        send, receive = trio.open_memory_channel[Order](1)
        pid = spawn(self._live, receive, traps)
        self.add(label, pid)
        self.driven[label] = Driven(label, send)
        return pid

    @staticmethod
    async def _live(orders: trio.MemoryReceiveChannel[Order], traps: bool) -> None:
        exeunt.trap_exit(traps)
        while True:
            order = await orders.receive()
            try:
                order.result = await order.act()
            except Return:
                return
            order.is_done = True

    def is_free(self, by: str) -> bool:
        """Tell whether there is a driven process of this label that can be given an order."""
        return by in self.driven and not self.is_dead(by) and self.driven[by].current is None

    def order(self, by: str, label: str, act: Callable[[], Awaitable[Json]]) -> Order | None:
        """Have a driven process do something; None if it is dead or busy, or there is none."""
        if not self.is_free(by):
            return None
        driven = self.driven[by]
        driven.current = order = Order(label, by, act)
        driven.orders.send_nowait(order)
        return order

    def collect(self, order: Order) -> Json:
        """Return what has come of an order by now; when it is over the process is free again."""
        if self.is_dead(order.by):
            return DIED
        if order.is_done:
            if self.driven[order.by].current is order:
                self.driven[order.by].current = None
            return order.result
        return PENDING

    def monitor(self, by: str, label: str, to: Json) -> None:
        """Make a monitor, in the process that is running now."""
        target = self.find(to)
        holder = exeunt.whereis(target) if isinstance(target, str) else target
        self.note_monitor(by, label, exeunt.monitor(target))
        if isinstance(target, str):
            ref = self.monitors[label][1]
            self.named[ref] = target if holder is None else self.who(holder)

    def note_monitor(self, by: str, label: str, ref: Ref) -> None:
        """Give a monitor its label."""
        self.monitors[label] = (by, ref)
        self.monitor_labels[ref] = label

    # -- what is to be seen -----------------------------------------------------------------------

    def look(self, *aspects: str) -> dict[str, Json]:
        """Return the changes of the driven processes since the last look, exits included."""
        changes: dict[str, Json] = {}
        for label, driven in self.driven.items():
            if label in self.exits:
                if label not in self.reported:
                    self.reported.add(label)
                    changes[label] = {"exit": self.exits[label]}
                continue
            seen = self._see(driven)
            change = {key: seen[key] for key in aspects if seen[key] != driven.shown[key]}
            driven.shown = seen
            if change:
                changes[label] = change
        return changes

    def _see(self, driven: Driven) -> dict[str, Json]:
        info = process_info(self.pids[driven.label])
        if info is None:
            raise AssertionError(f"{driven.label} has ended without an event Exited")
        known = {id(message): step for step, message in driven.mailbox}
        # Kept from look to look, so that no message is freed and its id used again.
        driven.mailbox = [(known.get(id(message), self.step), message) for message in info.messages]
        return {
            "mailbox": canonical(
                [(step, self._sender(one), self.message(one)) for step, one in driven.mailbox]
            ),
            "links": sorted(self.who(pid) for pid in info.links),
            "monitors": sorted(
                self.who(target) if isinstance(target, Pid) else f"name:{target}"
                for target in info.monitors
            ),
        }

    def _sender(self, message: object) -> str:
        match message:
            case Plain(sender, _) | Fired(sender, _):
                return sender
            case Exit():
                return self.who(message.pid)
            case Down(ref, shown, _):
                return self.who(shown) if isinstance(shown, Pid) else self.named.get(ref, "")
            case _:
                return ""

    # -- time -------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Wait until nothing moves any more, short time-outs included.

        The clock goes from each short time-out to the next and no further, so that a step takes no
        more time than what happens in it.
        """
        for _ in range(MOST_JUMPS):
            await wait_all_tasks_blocked()
            left = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if self.mistake is not None:
                raise self.mistake
            if left >= SHORT:
                return
            self.clock.jump(max(0.0, left))
        raise ScenarioError(f"more than {MOST_JUMPS} time-outs come in one step")

    async def let_pass(self, duration: float) -> None:
        """Let so many seconds pass, with everything that comes in them in its turn."""
        end = trio.current_time() + duration
        while True:
            await wait_all_tasks_blocked()
            rest = end - trio.current_time()
            left = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if rest <= 0 and left > 0:
                return
            self.clock.jump(max(0.0, min(left, rest)))


class Executor(Protocol):
    """A family's executor: made within a node, ready to do the steps of one scenario."""

    def __init__(self, node: Node, clock: MockClock, scenario: dict[str, Any]) -> None: ...

    async def begin(self) -> None:
        """Do what comes before the first step."""
        ...

    async def do(self, index: int, op: Op) -> Step:
        """Do one step and return its trace."""
        ...

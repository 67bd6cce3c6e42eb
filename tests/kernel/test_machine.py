"""Processes that do everything in any order: the invariants hold after each step.

A hypothesis state machine gathers steps and plays them at its end in one `trio.run`, on a virtual
clock. A plain model, which is nothing but sets and dicts, says what must be; the node is looked at
through the public functions only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import exeunt
from exeunt import CallCycle, CallFailed, Crash, Down, Exit, Node, NoProcess, Pid, process_info
from exeunt.kernel.events import Exited

from .nodes import Actor, Stage, check_tables, node, run_on_virtual_clock, settle

REASONS = st.sampled_from(["normal", "shutdown", "bye", "kill", "killed"])
NAMES = st.sampled_from(["ada", "bob", "cyd"])
WHO = st.integers(0, 30)
Pairs: TypeAlias = list[tuple[int, int]]
PAIRS = st.lists(st.tuples(WHO, WHO), min_size=1, max_size=6)


@dataclass
class Entry:
    """A process of the model."""

    number: int
    traps: bool = False
    name: str | None = None
    links: set[int] = field(default_factory=set[int])
    inbox: list[Any] = field(default_factory=list[Any])


@dataclass
class Monitor:
    watcher: int
    target: int
    shown: Any


class Play:
    """One play of the steps: the processes, and the model of them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.actors: list[Actor] = []
        self.living: dict[int, Entry] = {}
        self.reasons: dict[int, object] = {}
        self.monitors: dict[exeunt.Ref, Monitor] = {}
        self.timers: dict[exeunt.Ref, tuple[float, Any, Any]] = {}
        # Calls that wait: who asks, who is asked, and how the asking ends.
        self.calls: list[tuple[int, int, Any, str]] = []
        self.ran: dict[int, int] = {}
        self.exits: list[Exited] = stage.events(Exited)

    # -- the model's rules

    def pid(self, number: int) -> Pid:
        return self.actors[number].pid

    def pick(self, which: int) -> int | None:
        """Choose a process, living or dead."""
        return which % len(self.actors) if self.actors else None

    def pick_living(self, which: int) -> Entry | None:
        entries = list(self.living.values())
        return entries[which % len(entries)] if entries else None

    def dies(self, number: int, reason: object) -> None:
        entry = self.living.pop(number)
        self.reasons[number] = reason
        for other in entry.links:
            self.living[other].links.discard(number)
        for ref, monitor in list(self.monitors.items()):
            if monitor.watcher == number:
                del self.monitors[ref]
            elif monitor.target == number:
                del self.monitors[ref]
                if monitor.watcher in self.living:
                    self.living[monitor.watcher].inbox.append(Down(ref, monitor.shown, reason))
        self.timers = {
            ref: timer for ref, timer in self.timers.items() if timer[1] is not self.pid(number)
        }
        for other in sorted(entry.links):
            if other in self.living:
                self.link_signal(number, other, reason)

    def link_signal(self, sender: int, to: int, reason: object) -> None:
        entry = self.living[to]
        if entry.traps:
            entry.inbox.append(Exit(self.pid(sender), reason))
        elif reason != "normal":
            self.dies(to, reason)

    def exit_signal(self, sender: int, to: int, reason: object) -> None:
        entry = self.living.get(to)
        if entry is None:
            return
        if reason == "kill":
            self.dies(to, "killed")
        elif entry.traps:
            entry.inbox.append(Exit(self.pid(sender), reason))
        elif reason != "normal" or sender == to:
            self.dies(to, reason)

    def is_waiting(self, number: int) -> bool:
        return any(caller == number for caller, *_ in self.calls)

    # -- what is looked at after each step

    async def look(self) -> None:
        await settle()
        self.fire_timers()
        self.settle_calls()
        check_tables()
        main = exeunt.self_pid()
        expected = [main, *(self.pid(number) for number in sorted(self.living))]
        assert exeunt.processes() == expected
        for number, entry in self.living.items():
            info = process_info(self.pid(number))
            assert info is not None and exeunt.is_alive(self.pid(number))
            assert set(info.links) == {self.pid(other) for other in entry.links}
            assert info.traps_exits == entry.traps
            assert info.name == entry.name
            mine = [m for m in self.monitors.values() if m.watcher == number]
            assert list(info.monitors) == [m.shown for m in mine]
            watching = [m.watcher for m in self.monitors.values() if m.target == number]
            assert sorted(info.monitored_by) == sorted(self.pid(one) for one in watching)
            waiting = [one for one in info.messages if isinstance(one, exeunt.Call)]
            rest = [one for one in info.messages if not isinstance(one, exeunt.Call)]
            # Signals of one death have no order among themselves.
            assert sorted(map(repr, rest)) == sorted(map(repr, entry.inbox))
            asked = [request for _, server, _, request in self.calls if server == number]
            assert [one.request for one in waiting if one.is_pending] == asked
        for number, reason in self.reasons.items():
            pid = self.pid(number)
            assert process_info(pid) is None and not exeunt.is_alive(pid)
            assert [one.reason for one in self.exits if one.pid is pid] == [reason]
        names = {entry.name: n for n, entry in self.living.items() if entry.name is not None}
        assert sorted(exeunt.registered()) == sorted(names)
        for name, number in names.items():
            assert exeunt.whereis(name) is self.pid(number)
        assert len(self.stage.node.timers) == len(self.timers)
        for ref, (deadline, *_) in self.timers.items():
            left = exeunt.read_timer(ref)
            assert left is not None and abs(left - (deadline - trio.current_time())) < 1e-6
        # Nothing of a dead process runs: each living one ticks, and only those.
        ticks = dict(self.ran)
        await trio.sleep(1)
        self.fire_timers()
        assert {n for n in self.ran if self.ran[n] != ticks.get(n, 0)} == set(self.living)

    def fire_timers(self) -> None:
        now = trio.current_time()
        for ref, (deadline, to, message) in sorted(
            self.timers.items(), key=lambda item: (item[1][0], item[0])
        ):
            if deadline > now + 1e-9:
                continue
            del self.timers[ref]
            number = self.find(to)
            if number is not None:
                self.living[number].inbox.append(message)

    def find(self, to: Any) -> int | None:
        for number, entry in self.living.items():
            if to is self.pid(number) or (isinstance(to, str) and entry.name == to):
                return number
        return None

    def settle_calls(self) -> None:
        """Calls of the dead are over, and those to the dead have failed with their reason."""
        again = True
        while again:
            again = False
            for call in list(self.calls):
                caller, server, answer, _ = call
                if caller in self.living and server in self.living:
                    continue
                self.calls.remove(call)
                again = True
                # If both have died, whether the caller heard of the other's end is open.
                if answer.done.is_set() or caller in self.living:
                    assert isinstance(answer.error, CallFailed)
                    assert answer.error.reason == self.reasons[server]

    # -- the steps

    async def spawn(self, parent: int, traps: bool, how: str) -> None:
        number = len(self.actors)
        entry = Entry(number, traps)
        if how == "alone" or (starter := self.pick_living(parent)) is None:
            actor = Ticking(self, number, traps)
        elif self.is_waiting(starter.number):
            return
        else:
            made: list[Actor] = []
            spawned = {"link": exeunt.spawn_link, "monitor": exeunt.spawn_monitor}[how]

            def start() -> Any:
                actor = Ticking(self, number, traps, spawned=spawned)
                made.append(actor)
                return actor.result

            result = await self.actors[starter.number].do(start)
            actor = made[0]
            if how == "link":
                entry.links.add(starter.number)
                starter.links.add(number)
            else:
                self.monitors[result[1]] = Monitor(starter.number, number, actor.pid)
        self.actors.append(actor)
        self.living[number] = entry

    async def link(self, one: int, other: int) -> None:
        entry, target = self.pick_living(one), self.pick(other)
        if entry is None or target is None or self.is_waiting(entry.number):
            return
        actor = self.actors[entry.number]
        if target in self.living:
            await actor.do(lambda: exeunt.link(self.pid(target)))
            if target != entry.number:
                entry.links.add(target)
                self.living[target].links.add(entry.number)
        elif entry.traps:
            await actor.do(lambda: exeunt.link(self.pid(target)))
            entry.inbox.append(Exit(self.pid(target), "noproc"))
        else:
            try:
                await actor.do(lambda: exeunt.link(self.pid(target)))
            except NoProcess:
                return
            raise AssertionError("linked to the dead")

    async def unlink(self, one: int, other: int) -> None:
        entry, target = self.pick_living(one), self.pick(other)
        if entry is None or target is None or self.is_waiting(entry.number):
            return
        await self.actors[entry.number].do(lambda: exeunt.unlink(self.pid(target)))
        if target in entry.links:
            entry.links.discard(target)
            self.living[target].links.discard(entry.number)

    async def monitor(self, one: int, other: int, name: str | None) -> None:
        entry, target = self.pick_living(one), self.pick(other)
        if entry is None or target is None or self.is_waiting(entry.number):
            return
        to: Any = self.pid(target) if name is None else name
        found = self.find(to)
        ref = await self.actors[entry.number].do(lambda: exeunt.monitor(to))
        if found is None:
            entry.inbox.append(Down(ref, to, "noproc"))
        elif found != entry.number:
            self.monitors[ref] = Monitor(entry.number, found, to)

    async def demonitor(self, which: int, flush: bool) -> None:
        refs = [*self.monitors]
        refs += [one.ref for e in self.living.values() for one in e.inbox if isinstance(one, Down)]
        if not refs:
            return
        ref = refs[which % len(refs)]
        owner = next(
            entry
            for number, entry in self.living.items()
            if (ref in self.monitors and self.monitors[ref].watcher == number)
            or any(isinstance(one, Down) and one.ref is ref for one in entry.inbox)
        )
        if self.is_waiting(owner.number):
            return
        actor = self.actors[owner.number]
        was_active = await actor.do(lambda: exeunt.demonitor(ref, flush=flush))
        assert was_active == (ref in self.monitors)
        self.monitors.pop(ref, None)
        if flush and not was_active:
            owner.inbox = [m for m in owner.inbox if not (isinstance(m, Down) and m.ref is ref)]

    async def exit(self, one: int, other: int, reason: str) -> None:
        entry, target = self.pick_living(one), self.pick(other)
        if entry is None or target is None or self.is_waiting(entry.number):
            return
        actor = self.actors[entry.number]
        answer = actor.begin(lambda: exeunt.exit(self.pid(target), reason))
        self.exit_signal(entry.number, target, reason)
        await settle()
        assert answer.done.is_set() or entry.number not in self.living

    async def end(self, which: int, how: str) -> None:
        entry = self.pick_living(which)
        if entry is None or self.is_waiting(entry.number):
            return
        error = ValueError("by itself")

        def act() -> None:
            if how == "crash":
                raise Unhandled(error)
            raise exeunt.ProcessExit(how)

        self.actors[entry.number].begin(act)
        await settle()
        if how == "crash":
            self.stage.crash(ValueError, self.pid(entry.number))
        self.dies(entry.number, Crash(error) if how == "crash" else how)

    async def trap(self, which: int, on: bool) -> None:
        entry = self.pick_living(which)
        if entry is None or self.is_waiting(entry.number):
            return
        before = await self.actors[entry.number].do(lambda: exeunt.trap_exit(on))
        assert before == entry.traps
        entry.traps = on

    async def register(self, which: int, name: str) -> None:
        target = self.pick(which)
        if target is None:
            return
        entry = self.living.get(target)
        taken = self.find(name)
        try:
            exeunt.register(name, self.pid(target))
        except exeunt.NameTaken as error:
            assert taken is not None and error.pid is self.pid(taken)
        except exeunt.AlreadyNamed:
            assert entry is not None and entry.name is not None
        except NoProcess:
            assert entry is None
        else:
            assert entry is not None and taken is None and entry.name is None
            entry.name = name

    async def unregister(self, name: str) -> None:
        holder = self.find(name)
        try:
            exeunt.unregister(name)
        except exeunt.NotRegistered:
            assert holder is None
        else:
            assert holder is not None
            self.living[holder].name = None

    async def send(self, which: int, name: str | None, message: int) -> None:
        target = self.pick(which)
        if target is None:
            return
        to: Any = self.pid(target) if name is None else name
        found = self.find(to)
        try:
            exeunt.send(to, message)
        except exeunt.NotRegistered:
            assert name is not None and found is None
        else:
            assert name is None or found is not None
            if found is not None:
                self.living[found].inbox.append(message)

    async def receive(self, which: int) -> None:
        entry = self.pick_living(which)
        if entry is None or self.is_waiting(entry.number):
            return
        wanted = next((one for one in entry.inbox if isinstance(one, int)), None)
        try:
            got = await self.actors[entry.number].do(lambda: exeunt.receive_nowait(int))
        except trio.WouldBlock:
            assert wanted is None
        else:
            assert got == wanted
            entry.inbox.remove(got)

    async def timer(self, which: int, name: str | None, delay: float) -> None:
        target = self.pick(which)
        if target is None:
            return
        to: Any = self.pid(target) if name is None else name
        deadline = trio.current_time() + delay
        message = f"timer {len(self.exits)} {deadline}"
        ref = exeunt.send_after(delay, to, message)
        if name is not None or target in self.living:
            self.timers[ref] = (deadline, to, message)

    async def cancel(self, which: int) -> None:
        if self.timers:
            ref = list(self.timers)[which % len(self.timers)]
            deadline, *_ = self.timers.pop(ref)
            left = exeunt.cancel_timer(ref)
            assert left is not None and abs(left - (deadline - trio.current_time())) < 1e-6

    async def call(self, one: int, other: int) -> None:
        entry, target = self.pick_living(one), self.pick(other)
        if entry is None or target is None or self.is_waiting(entry.number):
            return
        request = f"request {entry.number} {len(self.exits)} {trio.current_time()}"
        answer = self.actors[entry.number].begin(lambda: exeunt.call(self.pid(target), request))
        await settle()
        # Follow who waits for whom: the actors take nothing from their mailboxes.
        step: int | None = target
        path = [entry.number]
        while step is not None and step != entry.number:
            path.append(step)
            step = next((server for caller, server, *_ in self.calls if caller == step), None)
        if target not in self.living:
            assert isinstance(answer.error, CallFailed) and answer.error.reason == "noproc"
        elif step == entry.number:
            assert isinstance(answer.error, CallFailed)
            assert answer.error.reason == CallCycle(tuple(self.pid(number) for number in path))
        else:
            assert not answer.done.is_set()
            self.calls.append((entry.number, target, answer, request))

    async def answer(self, which: int) -> None:
        """Answer a call from outside, without taking it out of the mailbox."""
        if not self.calls:
            return
        call = self.calls.pop(which % len(self.calls))
        _, server, answer, request = call
        info = process_info(self.pid(server))
        assert info is not None
        [pending] = [
            one
            for one in info.messages
            if isinstance(one, exeunt.Call) and one.request == request and one.is_pending
        ]
        exeunt.reply(pending, request)
        exeunt.reply(pending, "again")
        await settle()
        assert answer.value == request

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)


class Unhandled(BaseException):
    """Carries an exception past the actor's own handler, as if its body had raised it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Ticking(Actor):
    """An actor with a second task that ticks, so that it shows whether its code still runs."""

    def __init__(self, play: Play, number: int, traps: bool, spawned: Any = exeunt.spawn) -> None:
        self._play, self._number = play, number
        super().__init__(trap=traps, spawned=spawned)

    async def _live(self, *args: Any) -> None:
        async def tick() -> None:
            while True:
                self._play.ran[self._number] = self._play.ran.get(self._number, 0) + 1
                await trio.sleep(0.25)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick)
                await super()._live(*args)
        except* Unhandled as group:
            raised = group.exceptions[0]
            assert isinstance(raised, Unhandled)
            raise raised.error from None


class Processes(RuleBasedStateMachine):
    """Gathers the steps; they are played when all are there.

    A rule that ties processes together adds several steps at a time, for what is worth looking at
    happens to processes that have many ties.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, tuple[Any, ...]]] = []

    def add(self, step: str, *args: Any) -> None:
        self.steps.append((step, args))

    @initialize(traps=st.lists(st.booleans(), min_size=3, max_size=7), links=PAIRS, monitors=PAIRS)
    def begin(self, traps: list[bool], links: Pairs, monitors: Pairs) -> None:
        for each in traps:
            self.add("spawn", 0, each, "alone")
        self.link(links)
        self.monitor(monitors, None)

    @rule(parent=WHO, traps=st.booleans(), how=st.sampled_from(["alone", "link", "monitor"]))
    def spawn(self, parent: int, traps: bool, how: str) -> None:
        self.add("spawn", parent, traps, how)

    @rule(pairs=PAIRS)
    def link(self, pairs: Pairs) -> None:
        for one, other in pairs:
            self.add("link", one, other)

    @rule(one=WHO, other=WHO)
    def unlink(self, one: int, other: int) -> None:
        self.add("unlink", one, other)

    @rule(pairs=PAIRS, name=st.none() | NAMES)
    def monitor(self, pairs: Pairs, name: str | None) -> None:
        for one, other in pairs:
            self.add("monitor", one, other, name)

    @rule(which=WHO, flush=st.booleans())
    def demonitor(self, which: int, flush: bool) -> None:
        self.add("demonitor", which, flush)

    @rule(one=WHO, other=WHO, reason=REASONS)
    def exit(self, one: int, other: int, reason: str) -> None:
        self.add("exit", one, other, reason)

    @rule(one=WHO, other=WHO, reason=REASONS)
    def another_exit(self, one: int, other: int, reason: str) -> None:
        self.add("exit", one, other, reason)

    @rule(which=WHO, how=st.sampled_from(["normal", "bye", "kill", "crash"]))
    def end(self, which: int, how: str) -> None:
        self.add("end", which, how)

    @rule(which=WHO, on=st.booleans())
    def trap(self, which: int, on: bool) -> None:
        self.add("trap", which, on)

    @rule(which=WHO, name=NAMES)
    def register(self, which: int, name: str) -> None:
        self.add("register", which, name)

    @rule(name=NAMES)
    def unregister(self, name: str) -> None:
        self.add("unregister", name)

    @rule(which=WHO, name=st.none() | NAMES, message=st.integers())
    def send(self, which: int, name: str | None, message: int) -> None:
        self.add("send", which, name, message)

    @rule(which=WHO)
    def receive(self, which: int) -> None:
        self.add("receive", which)

    @rule(which=WHO, name=st.none() | NAMES, delay=st.sampled_from([0.5, 2.5, 7.5, 60.5]))
    def timer(self, which: int, name: str | None, delay: float) -> None:
        self.add("timer", which, name, delay)

    @rule(which=WHO)
    def cancel(self, which: int) -> None:
        self.add("cancel", which)

    @rule(pairs=PAIRS)
    def call(self, pairs: Pairs) -> None:
        for one, other in pairs:
            self.add("call", one, other)

    @rule(which=WHO)
    def answer(self, which: int) -> None:
        self.add("answer", which)

    @rule(seconds=st.sampled_from([1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.add("wait", seconds)

    def teardown(self) -> None:
        async def main() -> Node:
            async with node() as stage:
                play = Play(stage)
                for step, args in self.steps:
                    await getattr(play, step)(*args)
                    await play.look()
                for ref in list(play.timers):
                    exeunt.cancel_timer(ref)
            return stage.node

        if self.steps:
            run_on_virtual_clock(main)


TestProcesses = pytest.mark.slow(Processes.TestCase)
TestProcesses.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

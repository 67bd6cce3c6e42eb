"""Any number of processes that end well or badly, and any way to leave the block: the node closes.

Each process clings to life in its own way. Whatever they do to each other meanwhile, all code has
ended when `open_node` returns, within the time that the budgets allow, and what is raised is what
the block was left with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import exeunt
from exeunt import MainExited, Node, Pid, ProcessExit
from exeunt.kernel.events import CrashReport, ZombieFound, ZombieGone

from .nodes import idle, nothing_is_left, records, run_on_virtual_clock, settle

pytestmark = pytest.mark.slow

BUDGET, GRACE, LONGEST = 2.0, 1.0, 5.0


@dataclass(frozen=True)
class Kind:
    """How a process behaves when it is told to end."""

    traps: bool
    shielded: float
    last_act: str
    is_linked: bool
    children: int


KINDS = st.builds(
    Kind,
    traps=st.booleans(),
    shielded=st.sampled_from([0.0, 0.0, 0.5, 3.0, LONGEST]),
    last_act=st.sampled_from(
        ["nothing", "raise", "exit", "swallow", "spawn", "kill another", "call another", "receive"]
    ),
    is_linked=st.booleans(),
    children=st.integers(0, 2),
)
WAYS = st.sampled_from(["return", "raise", "cancel", "interrupt", "interrupt twice", "signal"])


class Wrong(Exception):
    pass


class Play:
    def __init__(self) -> None:
        self.running = 0
        self.pids: list[Pid] = []

    async def live(self, kind: Kind) -> None:
        self.running += 1
        exeunt.trap_exit(kind.traps)
        try:
            for _ in range(kind.children):
                self.start(Kind(kind.traps, kind.shielded, kind.last_act, kind.is_linked, 0))
            await trio.sleep_forever()
        finally:
            try:
                with trio.CancelScope(shield=True):
                    await trio.sleep(kind.shielded)
                await self.act(kind.last_act)
            finally:
                self.running -= 1

    async def act(self, what: str) -> None:
        another = self.pids[len(self.pids) // 2]
        match what:
            case "raise":
                raise Wrong("in the clean-up")
            case "exit":
                raise ProcessExit("in the clean-up")
            case "swallow":
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    pass
            case "spawn":
                try:
                    exeunt.spawn(idle)
                except (RuntimeError, exeunt.NotAProcess):
                    pass  # the node is closed, or this is a zombie
            case "kill another":
                try:
                    exeunt.exit(another, "kill")
                except exeunt.NotAProcess:
                    pass
            case "call another":
                with trio.move_on_after(LONGEST, shield=True):
                    try:
                        await exeunt.call(another, "still there?")
                    except exeunt.CallFailed:
                        pass
            case "receive":
                with trio.move_on_after(LONGEST, shield=True):
                    try:
                        await exeunt.receive()
                    except exeunt.NotAProcess:
                        pass
            case _:
                pass

    def start(self, kind: Kind) -> None:
        start = exeunt.spawn_link if kind.is_linked else exeunt.spawn
        self.pids.append(start(self.live, kind))


@hypothesis.settings(max_examples=120, deadline=None)
@given(kinds=st.lists(KINDS, min_size=1, max_size=6), way=WAYS)
def test_the_node_closes_whatever_its_processes_do(kinds: list[Kind], way: str) -> None:
    play = Play()
    opened: list[Node] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with exeunt.open_node(
                signals=False, shutdown=BUDGET, kill_grace=GRACE
            ) as the_node:
                opened.append(the_node)
                exeunt.trap_exit()
                for kind in kinds:
                    play.start(kind)
                await settle()
                await leave(the_node, scope)

    async def leave(the_node: Node, scope: trio.CancelScope) -> None:
        match way:
            case "raise":
                raise Wrong("in the block")
            case "cancel":
                scope.cancel()
                await trio.sleep_forever()
            case "interrupt":
                the_node.interrupt(KeyboardInterrupt())
                await trio.sleep_forever()
            case "interrupt twice":
                the_node.interrupt(KeyboardInterrupt())
                the_node.interrupt(KeyboardInterrupt())
                await trio.sleep_forever()
            case "signal":
                exeunt.exit(exeunt.self_pid(), "kill")
            case _:
                pass

    async def timed() -> None:
        start = trio.current_time()
        try:
            await main()
        finally:
            most = 1 + sum(1 + kind.children for kind in kinds)
            assert trio.current_time() - start <= most * (BUDGET + GRACE + 3 * LONGEST)

    expected: dict[str, Any] = {
        "raise": Wrong,
        "interrupt": KeyboardInterrupt,
        "interrupt twice": KeyboardInterrupt,
        "signal": MainExited,
    }
    with records() as log:
        for kind in (CrashReport, ZombieFound, ZombieGone):
            log.gathered[kind] = []
        if way in expected:
            with pytest.raises(expected[way]):
                run_on_virtual_clock(timed)
        else:
            run_on_virtual_clock(timed)
        assert log.texts() == []
        assert all(isinstance(one.exception, Wrong) for one in log.gathered[CrashReport])
    assert play.running == 0
    nothing_is_left(opened[0])

"""Pids and references: values that name processes, monitors and timers."""

from __future__ import annotations

import copy
import pickle

import pytest

import exeunt
from exeunt import Pid, Ref, spawn

from .nodes import idle, node

pytestmark = pytest.mark.usefixtures("autojump_clock")

# -- Pid


async def test_a_pid_prints_its_node_and_its_number() -> None:
    async with node() as stage:
        assert repr(exeunt.self_pid()) == f"<{stage.node.number}.0>"
        assert repr(spawn(idle)) == f"<{stage.node.number}.1>"


async def test_pids_are_numbered_in_the_order_of_creation() -> None:
    async with node():
        pids = [spawn(idle) for _ in range(20)]
        assert sorted([*pids[10:], *pids[:10]]) == pids
        assert [pid.number for pid in pids] == list(range(1, 21))


async def test_a_pid_is_equal_to_itself_alone_and_can_be_a_key() -> None:
    async with node():
        one, other = spawn(idle), spawn(idle)
        assert one == one and one != other
        assert one < other and other > one
        assert {one: 1, other: 2}[one] == 1
        assert one != repr(one)


async def test_pids_of_two_nodes_are_told_apart() -> None:
    async with node() as outer:
        first = spawn(idle)
        async with exeunt.open_node(signals=False) as inner:
            second = spawn(idle)
            assert inner.number == outer.node.number + 1
        assert first.number == second.number
        assert first != second and first < second


async def test_pid_and_ref_cannot_be_compared() -> None:
    async with node() as stage:
        pid, ref = exeunt.self_pid(), stage.node.make_ref()
        assert pid != ref
        for compare in (lambda: pid < ref, lambda: ref > pid, lambda: pid < 3):
            with pytest.raises(TypeError):
                compare()


async def test_copies_of_a_pid_are_the_pid() -> None:
    async with node():
        pid = spawn(idle)
        assert copy.copy(pid) is pid
        assert copy.deepcopy({"to": pid})["to"] is pid


async def test_a_pid_cannot_be_pickled_and_the_error_says_why() -> None:
    async with node():
        with pytest.raises(TypeError, match="within its running program only"):
            pickle.dumps(spawn(idle))


async def test_a_pid_outlives_its_process_as_a_value() -> None:
    async with node():
        pid = spawn(idle)
        exeunt.exit(pid, "done")
        await exeunt.wait_exit(pid)
        assert pid in {pid}
        assert repr(pid).startswith("<")


# -- Ref


async def test_references_are_unique_within_their_node() -> None:
    async with node() as stage:
        refs = [stage.node.make_ref() for _ in range(100)]
        assert len(set(refs)) == 100
        assert sorted(refs) == refs
        assert repr(refs[0]) == f"#Ref<{stage.node.number}.1>"


async def test_monitors_and_timers_are_named_by_references() -> None:
    async with node():
        pid = spawn(idle)
        for ref in (exeunt.monitor(pid), exeunt.send_after(9, pid, "x")):
            assert type(ref) is Ref
        assert type(pid) is Pid

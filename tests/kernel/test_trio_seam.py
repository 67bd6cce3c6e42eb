"""The seam to trio's private names: what is used is there, and a trio without it is told so."""

from __future__ import annotations

import pytest

import exeunt
from exeunt.kernel import trio_seam

from .nodes import node

pytestmark = pytest.mark.usefixtures("autojump_clock")


def test_this_trio_has_what_is_needed() -> None:
    assert trio_seam.CAN_REPEAT
    assert trio_seam.CAN_LEAVE_NURSERIES


async def test_a_node_without_a_seed_runs_on_any_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio_seam, "CAN_REPEAT", False)
    async with node():
        assert exeunt.processes() == [exeunt.self_pid()]


def test_a_run_with_a_seed_is_refused_on_a_trio_that_cannot_repeat_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr(trio_seam, "CAN_REPEAT", False)
    with pytest.raises(RuntimeError, match="cannot order its tasks by a seed"):
        exeunt.run(main, seed=1)

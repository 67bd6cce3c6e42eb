"""The counter."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

from examples.counter.__main__ import Counter
from exeunt import CallFailed, Crash, Node
from exeunt.testing import start_supervised
from tests.examples.programs import help_of, interrupt

MODULE = "examples.counter"


async def test_it_counts_with_one_digit(node: Node) -> None:
    counter = await Counter.start()
    assert [await Counter.add(counter, 4) for _ in range(2)] == [4, 8]


async def test_a_crash_reaches_the_caller_and_the_next_one_begins_anew(node: Node) -> None:
    await start_supervised(Counter.named("counter").child())
    assert await Counter.add("counter", 9) == 9
    with pytest.raises(CallFailed) as failed:
        await Counter.add("counter", 1)
    assert isinstance(failed.value.reason, Crash)
    assert isinstance(failed.value.reason.exception, OverflowError)
    await wait_all_tasks_blocked()
    assert await Counter.add("counter", 1) == 1


@pytest.mark.slow
def test_it_runs_until_ctrl_c() -> None:
    ended = interrupt(MODULE, after="the counter says 4")
    assert ended.status == 0
    assert ended.stdout.startswith("the counter says 2\n")
    assert ended.stderr == ""


@pytest.mark.slow
def test_it_says_what_it_is() -> None:
    assert "started anew by its supervisor" in " ".join(help_of(MODULE).split())

"""The job runner: how much at once, how much a second, and what is tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from examples.jobs import __main__ as jobs
from examples.jobs import bucket
from examples.jobs.bucket import Bucket, TooManyWait
from examples.jobs.runner import Plan, Record, run_jobs
from exeunt import Backoff, Crash, Node, Supervisor, exit, open_node, self_pid, spawn
from exeunt.testing import start_supervised
from tests.examples.programs import complaint_of, help_of, interrupt

MODULE = "examples.jobs"
PLAN = Plan(timeout=2.0, pause=Backoff(initial=0.5, jitter=0.0))


async def run(
    names: list[str],
    do: Callable[[str], Awaitable[object]],
    plan: Plan = PLAN,
    *,
    rate: float = 1000.0,
    burst: int = 1,
) -> dict[str, Record]:
    specs = jobs.children(rate, burst, plan.at_once)
    await Supervisor.start_link(specs, strategy="rest_for_one")
    return await run_jobs(names, do, plan)


# -- the bucket


async def test_a_full_bucket_gives_its_burst_at_once_and_then_its_rate(
    node: Node, autojump_clock: object
) -> None:
    tokens = await start_supervised(Bucket.child(4.0, 3))
    await trio.sleep(100.05)
    began = trio.current_time()
    times = []
    for _ in range(8):
        await Bucket.take(tokens)
        times.append(trio.current_time() - began)
    assert times == pytest.approx([0, 0, 0, 0.2, 0.45, 0.7, 0.95, 1.2])


async def test_who_comes_first_is_served_first_and_the_dead_take_nothing(
    node: Node, autojump_clock: object
) -> None:
    tokens = await start_supervised(Bucket.child(1.0, 1))
    await Bucket.take(tokens)
    served: list[tuple[str, float]] = []

    async def ask(name: str) -> None:
        await Bucket.take(tokens)
        served.append((name, trio.current_time() - began))

    began = trio.current_time()
    asking = []
    for name in ("ann", "bob", "eve"):
        asking.append(spawn(ask, name))
        await wait_all_tasks_blocked()
    exit(asking[1], "kill")
    await trio.sleep(10)
    assert [name for name, _ in served] == ["ann", "eve"]
    assert [at for _, at in served] == pytest.approx([1.0, 2.0])


async def test_no_more_callers_wait_than_there_is_room_for(
    node: Node, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "MOST_WAITING", 2)
    tokens = await start_supervised(Bucket.child(1.0, 1))
    await Bucket.take(tokens)
    spawn(Bucket.take, tokens)
    waiting = spawn(Bucket.take, tokens)
    await wait_all_tasks_blocked()
    with pytest.raises(TooManyWait):
        await Bucket.take(tokens)
    exit(waiting, "kill")
    await trio.sleep(0.1)
    with trio.fail_after(10):
        await Bucket.take(tokens)


# -- the runner


async def test_no_more_run_at_once_than_may(node: Node, autojump_clock: object) -> None:
    running, most = 0, 0

    async def do(job: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.1 * len(job))
        running -= 1

    records = await run([f"{'x' * size}{size}" for size in range(1, 10)], do, Plan(at_once=3))
    assert most == 3
    assert all(record.failure is None for record in records.values())


async def test_no_more_begin_in_a_second_than_may(node: Node, autojump_clock: object) -> None:
    begun: list[float] = []

    async def do(job: str) -> None:
        begun.append(trio.current_time())

    await run([str(number) for number in range(20)], do, Plan(at_once=8), rate=5.0, burst=2)
    assert len(begun) == 20
    for first, one in enumerate(begun):
        within = [other for other in begun[first:] if other - one < 1 - 1e-6]
        assert len(within) <= 5 + 2


async def test_what_fails_is_tried_again_after_a_pause_that_grows(
    node: Node, autojump_clock: object
) -> None:
    tried: list[float] = []

    async def do(job: str) -> str:
        tried.append(trio.current_time())
        if len(tried) < 3:
            raise ConnectionError("not yet")
        return "done"

    records = await run(["job"], do)
    assert records == {"job": Record(3, "done", None)}
    pauses = [two - one for one, two in pairwise(tried)]
    assert pauses == pytest.approx([0.5, 1.0], abs=0.01)


async def test_crashes_hangs_and_kills_of_some_are_no_matter_to_the_others(
    node: Node, autojump_clock: object
) -> None:
    tries: Counter[str] = Counter()

    async def do(job: str) -> str:
        tries[job] += 1
        await trio.sleep(0.1)
        if job == "crashes":
            raise ValueError("always")
        if job == "hangs":
            await trio.sleep_forever()
        if job == "is struck" and tries[job] == 1:
            exit(self_pid(), "kill")
        return job.upper()

    records = await run(["a", "crashes", "b", "hangs", "is struck", "c"], do, PLAN)
    assert tries == {"a": 1, "crashes": 3, "b": 1, "hangs": 3, "is struck": 2, "c": 1}
    assert {job: record.attempts for job, record in records.items()} == tries
    assert [records[job].result for job in "abc"] == ["A", "B", "C"]
    assert records["is struck"] == Record(2, "IS STRUCK", None)
    assert isinstance(records["crashes"].failure, Crash)
    assert records["hangs"].failure == "timeout"


# -- the program


async def test_the_summary(autojump_clock: object, capsys: pytest.CaptureFixture[str]) -> None:
    async with open_node(seed=1):
        await jobs.main(16, 5.0, 3, Plan())
    lines = capsys.readouterr().out.splitlines()
    [at] = [index for index, line in enumerate(lines) if " letters are sent, with " in line]
    given_up = lines[at + 1 :]
    assert lines[at].startswith(f"{16 - len(given_up)} of 16 letters are sent")
    assert "letter 4: given up after 3 attempts: ValueError: there is no address on it" in given_up
    attempts = sum(" begins" in line for line in lines)
    assert f"with {attempts} attempts" in lines[at]


@pytest.mark.slow
def test_it_runs_until_ctrl_c() -> None:
    ended = interrupt(MODULE, after="letter 5 begins")
    assert ended.status == 0
    assert ended.stdout.endswith("The letters that are left are not sent.\n")
    assert ended.stderr == ""


@pytest.mark.slow
def test_it_says_what_it_is() -> None:
    assert "--rate" in help_of(MODULE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "value"), [("--rate", "0"), ("--rate", "nan"), ("--burst", "0"), ("--at-once", "-1")]
)
def test_it_refuses_what_makes_no_sense(what: str, value: str) -> None:
    assert what in complaint_of(MODULE, what, value)

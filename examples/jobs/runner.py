"""The runner: runs jobs as supervised tasks, and those again that have failed.

Each attempt is a process of its own. It may raise, or hang until it is killed: to the runner that
is an outcome like any other, and no other job notices.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import trio

from examples.jobs.bucket import Bucket
from exeunt import Backoff, Exit, Ok, Reason, TaskSupervisor, current_node

say = partial(print, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to run jobs; times are in seconds."""

    at_once: int = 4
    attempts: int = 3
    timeout: float = 2.0
    """For one attempt, the wait for its token included."""
    pause: Backoff = field(default_factory=lambda: Backoff(initial=0.5, maximum=10.0))
    """Between one round and the next, in which those are tried again that have failed."""


@dataclass(slots=True)
class Record:
    """What came of one job: a result, or the reason why its last attempt ended."""

    attempts: int = 0
    result: object = None
    failure: Reason = None


async def run_jobs(
    jobs: Iterable[str], do: Callable[[str], Awaitable[object]], plan: Plan
) -> dict[str, Record]:
    """Run all jobs, in rounds, until each is done or was tried often enough."""

    async def attempt(job: str) -> object:
        await Bucket.take("bucket")
        say(f"{trio.current_time() - started:5.2f}  {job} begins")
        return await do(job)

    started = trio.current_time()
    records = {job: Record() for job in jobs}
    left = list(records)
    for number in range(plan.attempts):
        if number:
            delay = plan.pause.delay(number - 1, current_node().random)
            say(f"       {len(left)} jobs have failed, and are tried again in {delay:.1f} s")
            await trio.sleep(delay)
        stream = TaskSupervisor.async_stream_nolink(
            "tasks",
            left,
            attempt,
            max_concurrency=plan.at_once,
            timeout=plan.timeout,
            on_timeout="kill_task",
        )
        async with stream as outcomes:
            # The outcomes come in the order of the jobs.
            for job in left:
                record = records[job]
                record.attempts += 1
                match await anext(outcomes):
                    case Ok(result):
                        record.result, record.failure = result, None
                        say(f"         {job} is done: {result}")
                    case Exit(_, reason):
                        record.failure = reason
                        say(f"         {job} has failed: {reason}")
        left = [job for job in left if records[job].failure is not None]
        if not left:
            break
    return records

"""Send letters, but not too fast: `python -m examples.jobs`.

jobs (rest_for_one)
├─ bucket      gives out tokens: so many attempts may begin in a second
└─ tasks       a process for each attempt that runs: so many at once
"""

import argparse
import logging

import trio

from examples.jobs.bucket import Bucket
from examples.jobs.runner import Plan, run_jobs, say
from exeunt import ChildSpec, Supervisor, TaskSupervisor, current_node, run


async def send_letter(letter: str) -> str:
    """Do the work, which is up to somebody else: so it takes its time, or fails, or hangs."""
    random = current_node().random
    await trio.sleep(random.uniform(0.2, 0.9))
    if letter == "letter 4":
        raise ValueError("there is no address on it")
    if letter == "letter 7" and random.random() < 0.7:
        await trio.sleep_forever()
    if random.random() < 0.2:
        raise ConnectionError("the postbox is full")
    return "delivered"


def children(rate: float, burst: int, at_once: int) -> list[ChildSpec]:
    """Return the children of the supervisor, whose strategy is `rest_for_one`."""
    return [
        Bucket.named("bucket").child(rate, burst),
        TaskSupervisor.named("tasks").child(max_children=at_once),
    ]


async def main(letters: int, rate: float, burst: int, plan: Plan) -> None:
    """Send all letters, and tell what came of it."""
    await Supervisor.start_link(children(rate, burst, plan.at_once), strategy="rest_for_one")
    started = trio.current_time()
    jobs = [f"letter {number}" for number in range(1, letters + 1)]
    records = await run_jobs(jobs, send_letter, plan)
    seconds = trio.current_time() - started
    done = sum(record.failure is None for record in records.values())
    attempts = sum(record.attempts for record in records.values())
    say(f"{done} of {letters} letters are sent, with {attempts} attempts, in {seconds:.1f} s")
    for letter, record in records.items():
        if record.failure is not None:
            say(f"{letter}: given up after {record.attempts} attempts: {record.failure}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.jobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--letters", type=int, default=16, help="to be sent (%(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="a second (%(default)s)")
    parser.add_argument("--burst", type=int, default=3, help="after a pause (%(default)s)")
    parser.add_argument("--at-once", type=int, default=4, help="at most (%(default)s)")
    parser.add_argument("--attempts", type=int, default=3, help="for each letter (%(default)s)")
    parser.add_argument("--seed", type=int, help="chooses what fails")
    parser.add_argument("--verbose", action="store_true", help="show the crash reports too")
    arguments = parser.parse_args()
    if not 0 < arguments.rate <= 1000:
        parser.error("--rate is a number above 0, and up to 1000")
    if min(arguments.burst, arguments.at_once, arguments.attempts) < 1:
        parser.error("--burst, --at-once and --attempts are numbers from 1 up")
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.CRITICAL)
    plan = Plan(at_once=arguments.at_once, attempts=arguments.attempts)
    try:
        run(main, arguments.letters, arguments.rate, arguments.burst, plan, seed=arguments.seed)
    except KeyboardInterrupt:
        say("\nThe letters that are left are not sent.")

"""Crawl a flaky site on this machine: `python -m examples.crawler`.

crawler (one_for_one)
├─ site         the server to crawl; after an outage it is back in half a second
├─ frontier     which pages wait, and who is at work on which
└─ workers (one_for_one)
   ├─ worker 1  each crashes at any trouble, and is back after a while: 0.1 s, 0.2 s, 0.4 s …,
   ├─ worker 2  until it has worked for half a second without any
   └─ …
"""

import argparse
import logging

import trio

from examples.crawler.frontier import Frontier, Report, say
from examples.crawler.site import Site
from examples.crawler.worker import work
from exeunt import Backoff, ChildSpec, Supervisor, child, run
from exeunt.channels import Endpoint

BACKOFF = Backoff(initial=0.1, factor=2.0, maximum=2.0, reset_after=0.5)


def children(site: Site, workers: int, *, attempts: int = 4) -> list[ChildSpec]:
    """Return the children of the crawler's supervisor, whose strategy is `one_for_one`."""
    outage = Backoff(initial=0.5, maximum=5.0)
    names = [f"worker {number}" for number in range(1, workers + 1)]
    crew = [child(work, name, id=name).replace(backoff=BACKOFF) for name in names]
    return [
        Endpoint.named("site").child({}, port=0, pages=site.respond).replace(backoff=outage),
        Frontier.named("frontier").child("/", attempts),
        # To crash is what workers do, and their backoff keeps it slow: at most 10 times a second
        # each. What is allowed here is only to catch what would be a bug.
        Supervisor.named("workers").child(crew, max_restarts=20 * workers, max_seconds=1.0),
    ]


async def crawl(site: Site, workers: int) -> Report:
    """Crawl the whole site."""
    await Supervisor.start_link(children(site, workers), max_restarts=20, max_seconds=10.0)
    return await Frontier.end("frontier")


async def main(site: Site, workers: int) -> None:
    """Crawl, and tell what came of it."""
    started = trio.current_time()
    report = await crawl(site, workers)
    seconds = trio.current_time() - started
    crashes = ", ".join(f"{worker} {times}×" for worker, times in report.crashes.items())
    say(f"{len(report.found)} pages in {seconds:.1f} s; given up: {' '.join(report.given_up)}")
    say(f"crashes on the way: {crashes or 'none'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.crawler",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, default=4, help="(%(default)s)")
    parser.add_argument("--pages", type=int, default=25, help="size of the site (%(default)s)")
    parser.add_argument("--seed", type=int, help="chooses which requests come to trouble")
    parser.add_argument("--verbose", action="store_true", help="show the crash reports too")
    arguments = parser.parse_args()
    if arguments.workers < 1 or arguments.pages < 1:
        parser.error("there is at least one worker, and one page")
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.CRITICAL)
    try:
        run(main, Site(arguments.pages), arguments.workers, seed=arguments.seed)
    except KeyboardInterrupt:
        say("\nThe crawl is stopped.")

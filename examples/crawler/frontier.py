"""The frontier: which pages are known, which wait, and who is at work on which.

It gives out pages, and monitors whom it has given one. So nothing depends on the last words of a
worker: if one ends, by whatever way, its page waits again.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import trio

from exeunt import Call, Down, GenServer, NoReply, Ref, demonitor, monitor, on_call, reply

MOST_PAGES: Final = 10_000
"""Known pages; links to more are not followed."""

say = partial(print, flush=True)


@dataclass(slots=True)
class Report:
    """What came of a crawl: links by page, and those pages that were given up."""

    found: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    given_up: list[str] = field(default_factory=list[str])
    crashes: Counter[str] = field(default_factory=Counter[str])


class Frontier(GenServer):
    """Knows what is left to do, and when there is nothing left."""

    async def init(self, start: str, attempts: int) -> None:
        """Begin with one page; one at which so many workers crash is given up."""
        self.attempts = attempts
        self.report = Report()
        self.waiting = deque([start])
        self.failures = {start: 0}
        self.working: dict[Ref, tuple[str, str]] = {}
        self.away: dict[str, float] = {}
        # One call for each worker that has nothing to do, and for each who waits for the end.
        self.idle: deque[tuple[str, Call]] = deque()
        self.waiting_for_end: list[Call] = []

    @on_call
    async def next_page(self, worker: str) -> str | NoReply:
        """Give a page to the worker that asks, as soon as there is one."""
        if worker in self.away:
            say(f"    {worker} is back after {trio.current_time() - self.away.pop(worker):.2f} s")
        self.idle.append((worker, self.caller))
        self._give_out()
        return NoReply()

    @on_call
    async def done(self, page: str, links: list[str]) -> None:
        """Take what a worker has found."""
        for ref, (_, other) in list(self.working.items()):
            if other == page:
                demonitor(ref, flush=True)
                del self.working[ref]
        self.report.found[page] = links
        for link in links:
            if link not in self.failures and len(self.failures) < MOST_PAGES:
                self.failures[link] = 0
                self.waiting.append(link)
        self._give_out()

    @on_call
    async def end(self) -> Report | NoReply:
        """Wait until nothing is left to do."""
        self.waiting_for_end.append(self.caller)
        self._give_out()
        return NoReply()

    async def handle_info(self, message: Any) -> None:
        """Hear that a worker has ended, in the middle of a page."""
        match message:
            case Down(ref, _, reason) if ref in self.working:
                worker, page = self.working.pop(ref)
                self.away[worker] = trio.current_time()
                self.report.crashes[worker] += 1
                self.failures[page] += 1
                if self.failures[page] < self.attempts:
                    self.waiting.append(page)
                    say(f"    {worker} has crashed at {page} ({reason}); the page waits again")
                else:
                    self.report.given_up.append(page)
                    say(f"    {worker} has crashed at {page} ({reason}); the page is given up")
                self._give_out()
            case _:
                pass

    def _give_out(self) -> None:
        while self.waiting and self.idle:
            worker, call = self.idle.popleft()
            if call.is_pending and call.caller is not None:
                page = self.waiting.popleft()
                self.working[monitor(call.caller)] = (worker, page)
                reply(call, page)
        if not self.waiting and not self.working:
            for call in self.waiting_for_end:
                reply(call, self.report)
            self.waiting_for_end.clear()

"""What the tests of the observer look at: small servers, and pictures taken without an observer."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import trio

from exeunt import GenServer, Node, Pid, on_cast
from exeunt.observer.births import Births
from exeunt.observer.counting import Meter
from exeunt.observer.ledger import Ledger
from exeunt.observer.rows import Extent
from exeunt.observer.sampling import Picture, Rates, sample
from exeunt.observer.scanning import Sources


class Worker(GenServer):
    """Has a secret, and crashes when it is told to."""

    async def init(self, secret: str = "") -> None:
        self.secret = secret

    @on_cast
    async def crash(self, text: str = "boom") -> None:
        raise RuntimeError(text)

    async def handle_info(self, message: Any) -> None:
        pass


def sources_for(node: Node, own: Pid | None = None) -> Sources:
    births = Births()
    births.note(max(node.processes), trio.current_time())
    return Sources(Meter(), Ledger(), births, own=own)


async def picture_of(
    node: Node,
    sources: Sources | None = None,
    extent: Extent | None = None,
    rates: Rates | None = None,
) -> Picture:
    return await sample(
        node,
        sources_for(node) if sources is None else sources,
        now=trio.current_time(),
        rest=trio.lowlevel.checkpoint,
        extent=extent,
        rates=rates,
    )


def outline(picture: Picture) -> list[str]:
    """Write the tree as lines: depth, key, and what is left out."""
    processes = picture["process"]
    lines: list[str] = []

    def write(key: str, depth: int) -> None:
        row = processes[key]
        lines.append(f"{'  ' * depth}{row['id'] or row['name'] or row['label']} {row['status']}")
        for child in row["children"]:
            write(child, depth + 1)
        if row["more"]:
            lines.append(f"{'  ' * (depth + 1)}+{row['more']}")

    for root in picture["node"]["node"]["roots"]:
        write(root, 0)
    return lines


@contextmanager
def quiet() -> Generator[None]:
    """Leave the crashes that are meant out of the log."""
    logger = logging.getLogger("exeunt")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False

"""Draining: clients are told to go in rounds, so that they do not all come back at the same moment.

    Endpoint.child({"/socket": UserSocket}, draining=Draining(batch_size=500, interval=1.0))

Whoever is told so closes with code 1012, and connects anew to whatever listens then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from exeunt.channels.checks import check_number
from exeunt.channels.serving import Drain
from exeunt.channels.visits import report_drain
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import send
from exeunt.kernel.process import current_process

__all__ = ["Draining", "drain"]


@dataclass(frozen=True, slots=True)
class Draining:
    """How clients are sent away: `batch_size` of them in a round.

    `interval`: seconds between two rounds; each time they are varied at random by up to the share
    `jitter` of them, so that several servers that are drained together do not keep step. `within`:
    seconds that all rounds may take when the endpoint stops; whoever has not been told by then is
    told in one last round.

    Phoenix: there is no jitter there, and who is left in the end is closed with 1000, after which
    older clients do not come back; here it is 1012 for them too.
    """

    batch_size: int = 10_000
    interval: float = 2.0
    jitter: float = 0.1
    within: float = 30.0

    def __post_init__(self) -> None:
        size: object = self.batch_size
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"a batch is of 1 client or more, not {size!r}")
        check_number(self.interval, "the interval of rounds", least=0)
        if not math.isfinite(self.interval):
            raise ValueError(f"the interval of rounds comes to an end, not {self.interval!r}")
        check_number(self.jitter, "the jitter of rounds", least=0)
        if self.jitter > 1:
            raise ValueError(f"the jitter of rounds is from 0 to 1, not {self.jitter!r}")
        check_number(self.within, "the time for all rounds", least=0)


async def drain(socket: str, clients: Sequence[Pid], draining: Draining) -> None:
    """Tell these clients to go, in rounds; the rounds are over with the last one's word.

    `socket` is the name of what they are connected to.
    """
    dice = current_process().node.random
    size, total = draining.batch_size, len(clients)
    rounds = math.ceil(total / size)
    interval = draining.interval if rounds > 1 else 0.0
    for index in range(rounds):
        if index:
            vary = draining.jitter * (2 * dice.random() - 1)
            await trio.sleep(interval * (1 + vary))
        batch = clients[index * size : (index + 1) * size]
        report_drain(socket, len(batch), total, index=index + 1, rounds=rounds, interval=interval)
        for pid in batch:
            send(pid, Drain())

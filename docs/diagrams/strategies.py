"""Who is restarted with whom, recorded: of three children, the second crashes."""

from __future__ import annotations

from typing import Final, get_args

import trio
from trio.testing import wait_all_tasks_blocked

from docs.diagrams.recorder import Data
from exeunt import Pid, Supervisor, open_node, receive, register, send, whereis
from exeunt.otp.children import child
from exeunt.otp.supervision import Strategy

CHILDREN: Final = ("first", "second", "third")


def record() -> Data:
    """Crash the second child under each strategy; return who has another pid afterwards."""
    return {strategy: trio.run(_crash_second, strategy) for strategy in get_args(Strategy)}


async def _work(name: str) -> None:
    register(name)
    await receive()
    raise RuntimeError("on purpose")


async def _crash_second(strategy: Strategy) -> dict[str, bool]:
    async with open_node(signals=False):
        specs = [child(_work, name, id=name) for name in CHILDREN]
        await Supervisor.start_link(specs, strategy=strategy)
        await wait_all_tasks_blocked()
        before = _pids()
        send("second", "crash")
        await wait_all_tasks_blocked()
        after = _pids()
        return {name: before[name] != after[name] for name in CHILDREN}


def _pids() -> dict[str, Pid]:
    pids = {name: whereis(name) for name in CHILDREN}
    return {name: pid for name, pid in pids.items() if pid is not None}

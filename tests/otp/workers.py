"""Children for the tests of supervisors: they note what they do, and end as they are told to."""

from __future__ import annotations

from typing import Any

import trio

import exeunt
from exeunt import ChildSpec, GenServer, Pid, Stop, on_call, on_cast, trap_exit


class Worker(GenServer):
    """A child that notes its starts and stops: `("start", id)`, `("stop", id, reason)`.

    It traps exits, so that it is told to stop; its next starts fail as often as `failures` says.
    """

    async def init(
        self,
        label: str,
        log: list[Any],
        failures: dict[str, int] | None = None,
        seconds: float = 0,
    ) -> Stop | None:
        trap_exit()
        self.label, self.log, self.seconds = label, log, seconds
        self.ends_by_itself = False
        log.append(("start", label))
        if failures and failures.get(label, 0):
            failures[label] -= 1
            return Stop(f"{label} does not start")
        return None

    @on_call
    async def who(self) -> str:
        return self.label

    @on_cast
    async def finish(self, reason: object) -> Stop:
        """End by itself."""
        self.ends_by_itself = True
        return Stop(reason)

    async def handle_info(self, message: Any) -> None:
        if isinstance(message, BaseException):
            raise message

    async def terminate(self, reason: object) -> None:
        if self.seconds:
            await trio.sleep(self.seconds)
        if not self.ends_by_itself:
            self.log.append(("stop", self.label, reason))


def worker(label: str, log: list[Any], *rest: Any, **changes: Any) -> ChildSpec:
    """Return the specification of a worker under its label."""
    return Worker.child(label, log, *rest).replace(id=label, **changes)


async def children_of(supervisor: Any) -> dict[object, Any]:
    """Return the children of a supervisor: id to pid, None or "restarting"."""
    infos = await exeunt.Supervisor.which_children(supervisor)
    return {info.id: info.pid for info in infos}


async def child_of(supervisor: Any, id: object) -> Pid:
    """Return the pid of a child that runs."""
    pid = (await children_of(supervisor))[id]
    assert isinstance(pid, Pid), f"child {id!r} does not run, but is {pid!r}"
    return pid


async def end(pid: Pid, reason: object) -> None:
    """Have a worker end by itself, or be killed, and wait until it is dead."""
    if reason == "kill":
        exeunt.exit(pid, "kill")
    else:
        Worker.finish(pid, reason)
    await exeunt.wait_exit(pid)

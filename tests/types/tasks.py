"""A task is known to give what its function returns."""

from __future__ import annotations

from typing import assert_type

from exeunt.kernel.exits import Exit
from exeunt.kernel.ids import Pid
from exeunt.otp.pending import Ok
from exeunt.otp.task import Task
from exeunt.otp.task_supervisor import TaskSupervisor


async def f(a: int, b: str) -> float:
    return 1.0


async def g(a: int) -> str:
    return ""


async def main() -> None:
    t = Task.async_(f, 1, "x")
    assert_type(t, Task[float])
    assert_type(await t, float)
    assert_type(await t.yield_(), Ok[float] | Exit | None)
    assert_type(await Task.await_many([Task.async_(g, 1)]), list[str])
    Task.async_(f, "x", "y")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Task.async_(f, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    t2 = await TaskSupervisor.async_nolink("x", g, 3)
    assert_type(t2, Task[str])
    assert_type(await TaskSupervisor.start_child("x", g, 1, restart="transient"), Pid)
    await TaskSupervisor.start_child("x", g, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await TaskSupervisor.start_child("x", g, 1, restart="trans")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with Task.async_stream([1, 2], g, max_concurrency=2) as results:
        async for r in results:
            assert_type(r, Ok[str] | Exit)
    Task.async_stream(["a"], g, max_concurrency=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await TaskSupervisor.start_link(max_children=3)
    await TaskSupervisor.start_link(max_childen=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

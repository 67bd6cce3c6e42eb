"""Supervisors and the watcher."""

from __future__ import annotations

from typing import assert_type

import trio

from exeunt import (
    ChildCount,
    ChildInfo,
    ChildSpec,
    Departure,
    DynamicSupervisor,
    Pid,
    Supervisor,
    Watcher,
    child,
)


async def idle() -> None: ...


async def serve(port: int, *, task_status: trio.TaskStatus[int]) -> None: ...


# -- children that are plain functions, also such as say when they have started


def children() -> None:
    assert_type(child(idle), ChildSpec)
    assert_type(child(serve, 4000, id="server"), ChildSpec)


def wrong_children() -> None:
    child(serve, "4000")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child(idle, 4000)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- supervisors


async def supervisors(specs: list[ChildSpec]) -> None:
    top = await Supervisor.start_link(
        specs, strategy="rest_for_one", max_restarts=5, max_seconds=10
    )
    assert_type(top, Pid)
    assert_type(await Supervisor.start_child(top, child(idle)), Pid | None)
    assert_type(await Supervisor.restart_child(top, "id"), Pid | None)
    assert_type(await Supervisor.which_children("top"), list[ChildInfo])
    assert_type(await Supervisor.count_children(top), ChildCount)
    assert_type(await DynamicSupervisor.start_link(max_children=5), Pid)
    assert_type(await DynamicSupervisor.start_child(top, child(idle)), Pid | None)
    assert_type(Supervisor.named("top").child(specs, auto_shutdown="any_significant"), ChildSpec)


async def wrong_supervisors(pid: Pid) -> None:
    await Supervisor.start_link(child(idle))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Supervisor.start_link([idle])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await Supervisor.start_link([], strategy="one_for_two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Supervisor.start_link([], max_restart=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Supervisor.start_child(pid, idle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await DynamicSupervisor.start_link(max_children="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await DynamicSupervisor.terminate_child(pid, "id")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- the watcher: leave takes the pid, the reason, and the arguments that were given


async def goodbye(departure: Departure, room: str, count: int) -> None: ...


async def bare(departure: Departure) -> int:
    return 1


async def too_few() -> None: ...


def not_async(departure: Departure) -> None: ...


async def watches(watcher: Pid, pid: Pid) -> None:
    await Watcher.watch(watcher, pid, goodbye, "lobby", 5)
    await Watcher.watch("rooms", pid, bare)
    assert_type(await Watcher.unwatch(watcher, pid), bool)
    assert_type(await Watcher.watched(watcher), list[Pid])
    assert_type(Watcher.named("rooms").child(), ChildSpec)


async def wrong_watches(watcher: Pid, pid: Pid) -> None:
    await Watcher.watch(watcher, pid, goodbye, "lobby")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Watcher.watch(watcher, pid, goodbye, 5, "lobby")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Watcher.watch(watcher, pid, bare, "lobby")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Watcher.watch(watcher, pid, too_few)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Watcher.watch(watcher, pid, not_async)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Watcher.watch(watcher, "by name", bare)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Watcher.unwatch(watcher)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

"""Processes: spawning, messages, calls, links, monitors, timers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

import exeunt
from exeunt import Bound, Call, ChildSpec, Down, Exit, Node, Pid, ProcessInfo, Ref, Request, Timeout
from exeunt.kernel.events import Event, Exited, Spawned


@dataclass(frozen=True)
class Order:
    number: int


@dataclass(frozen=True)
class Price(Request[float]):
    item: str


async def worker(label: str, count: int) -> None: ...


async def idle() -> None: ...


async def optional(label: str = "") -> int:
    return 1


def plain(label: str) -> None: ...


# -- spawning: the arguments are those of the function


def spawns() -> None:
    assert_type(exeunt.spawn(worker, "a", 1), Pid)
    assert_type(exeunt.spawn_link(idle), Pid)
    assert_type(exeunt.spawn_monitor(worker, "a", 1), tuple[Pid, Ref])
    assert_type(exeunt.spawn(optional, "a", name="x", mailbox=Bound(5, "drop_oldest")), Pid)
    assert_type(exeunt.child(worker, "a", 1, id=5), ChildSpec)


def wrong_spawns() -> None:
    exeunt.spawn(worker)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.spawn(worker, 1, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.spawn_link(worker, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.spawn_monitor(idle, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.spawn(idle())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.spawn(plain, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.spawn(idle, name=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.child(worker, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.child(idle())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Bound(5, "drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- receive: the kind is what comes


async def receives() -> None:
    assert_type(await exeunt.receive(Order), Order)
    assert_type(await exeunt.receive(Order, lambda order: order.number > 5), Order)
    assert_type(await exeunt.receive(str), str)
    assert_type(await exeunt.receive(Down), Down)
    assert_type(await exeunt.receive(), Any)
    assert_type(exeunt.receive_nowait(Order), Order)
    assert_type(exeunt.receive_nowait(), Any)


async def wrong_receives() -> None:
    await exeunt.receive(Order, lambda order: order.nmuber > 5)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownLambdaType]
    text: str = await exeunt.receive(Order)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    print(text)


async def matches() -> None:
    match await exeunt.receive(object):
        case Exit(pid, reason):
            assert_type(pid, Pid)
            assert_type(reason, object)
        case Down(ref, _, reason):
            assert_type(ref, Ref)
        case Timeout(ref, message):
            assert_type(message, object)
        case Call() as call:
            assert_type(call.caller, Pid | None)
        case _:
            pass


# -- call: a request may say what its answer is


async def calls(pid: Pid) -> None:
    assert_type(await exeunt.call(pid, "anything"), Any)
    assert_type(await exeunt.call("by name", Price("tea")), float)


async def wrong_calls(pid: Pid) -> None:
    await exeunt.call(5, "anything")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    price = await exeunt.call(pid, Price("tea"))
    text: str = price  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text)


# -- signals, links, monitors, names


def signals(pid: Pid) -> None:
    assert_type(exeunt.monitor(pid), Ref)
    assert_type(exeunt.monitor("by name"), Ref)
    assert_type(exeunt.demonitor(exeunt.monitor(pid), flush=True), bool)
    assert_type(exeunt.trap_exit(), bool)
    assert_type(exeunt.whereis("x"), Pid | None)
    assert_type(exeunt.process_info(pid), ProcessInfo | None)
    assert_type(exeunt.processes(), list[Pid])
    exeunt.exit(pid, ("any", "reason"))
    exeunt.link(pid)


def wrong_signals(pid: Pid) -> None:
    exeunt.exit("by name", "bye")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.exit(pid)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    exeunt.link(exeunt.whereis("x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.send(exeunt.whereis("x"), "message")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.demonitor(pid)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.register(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- timers


def timers(pid: Pid) -> None:
    ref = exeunt.send_after(1, pid, "message")
    assert_type(ref, Ref)
    assert_type(exeunt.cancel_timer(ref), float | None)
    assert_type(exeunt.read_timer(ref), float | None)


def wrong_timers(pid: Pid) -> None:
    exeunt.send_after("1", pid, "message")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.exit_after(1, "by name", "bye")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    exeunt.cancel_timer(pid)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- nodes and events


async def main(number: int) -> str:
    return str(number)


async def nodes() -> None:
    assert_type(exeunt.run(main, 5, seed=1), str)
    async with exeunt.open_node(seed=1, shutdown=2.5) as node:
        assert_type(node, Node)


def told(event: Exited) -> None: ...


def told_any(event: Event) -> None: ...


def events(node: Node) -> None:
    node.events.subscribe(told, Exited)
    node.events.subscribe(told_any, Exited, Spawned)


def wrong_events(node: Node) -> None:
    node.events.subscribe(told, Spawned)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

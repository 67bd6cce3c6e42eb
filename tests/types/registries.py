"""Registries are typed by their keys and values."""

from __future__ import annotations

from typing import assert_type

from exeunt import GenServer, Pid, call, cast_to, on_call, send, stop
from exeunt.otp.registry import Entry, Registry


class Counter(GenServer):
    async def init(self, start: int = 0) -> None: ...
    @on_call
    async def add(self, n: int) -> int:
        return n


async def main() -> None:
    rooms = Registry[str, int].named("rooms")
    assert_type(rooms, Registry[str, int])
    assert_type(rooms.lookup("x"), list[Entry[str, int]])
    assert_type(rooms.lookup("x")[0].value, int)
    assert_type(rooms.keys(), list[str])
    assert_type(rooms.values("x"), list[int])
    assert_type(rooms.update_value("x", lambda n: n + 1), tuple[int, int] | None)
    rooms.dispatch("x", lambda entries: [send(e.pid, e.value + 1) for e in entries])  # type: ignore[func-returns-value]
    rooms.register("x", "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rooms.lookup(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rooms.register("x")
    rooms.child(keys="uniqe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    any_ = Registry.named("x")
    any_.register(3, "x")
    Registry.named("reg").child(keys="unique")
    Registry.lookup("rooms", "x")
    Registry.lookup(3, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Counter.named(Registry.via("reg", "k")).start_link(3)
    assert_type(await Counter.named(rooms.via("k")).start_link(3), Pid)
    await Counter.add(rooms.via("k"), 3)
    await call(Registry.via("reg", "k"), 3)
    cast_to(Registry.via("reg", "k"), 3)
    await stop(Registry.via("reg", "k"))
    send(Registry.via("reg", "k"), 3)

"""A program to be observed: a tree with something going on in it, and an observer beside it.

`python -m tests.e2e.observer_stage`; it prints the URL of the observer, and that of its own socket.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import trio

from exeunt import (
    ChildSpec,
    DynamicSupervisor,
    GenServer,
    Pid,
    Registry,
    Supervisor,
    child,
    on_call,
    on_cast,
    run,
    self_pid,
    send,
    send_interval,
    spawn,
)
from exeunt.channels import Channel, Endpoint, JoinResult, Ok, Socket
from exeunt.observer import Observer

ROOMS = Registry[str, None].named("keys")


class Store(GenServer):
    """Keeps numbers by name."""

    async def init(self) -> None:
        self.numbers: dict[str, int] = {}

    @on_call
    async def add(self, name: str) -> int:
        self.numbers[name] = self.numbers.get(name, 0) + 1
        return self.numbers[name]


class Ticker(GenServer):
    """Has the store count."""

    async def init(self, every: float) -> None:
        send_interval(every, self_pid(), "tick")

    async def handle_info(self, message: Any) -> None:
        await Store.add("store", "ticks")


class Room(GenServer):
    """Waits for somebody to come; a cast of `spoil` makes it crash."""

    async def init(self, name: str) -> None:
        self.room = name

    @on_cast
    async def spoil(self) -> None:
        raise RuntimeError(f"the {self.room} is spoilt")


class RoomChannel(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok()


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}
    log = False

    def id(self) -> str | None:
        return "user:ada"


async def sweep_the_floor() -> None:
    await trio.sleep_forever()


async def spoil_the_cellar(every: float) -> None:
    while True:
        await trio.sleep(every)
        Room.spoil("cellar")


def _room(name: str) -> ChildSpec:
    return Room.named(ROOMS.via(name)).child(name)


async def main(port: int, token: str | None, many: int, spoil: float, pile: int) -> None:
    specs = [
        Store.named("store").child(),
        Ticker.named("ticker").child(0.05),
        ROOMS.child(keys="unique"),
        DynamicSupervisor.named("rooms").child(),
        Supervisor.named("staff").child(
            [child(sweep_the_floor, id="sweeper"), Room.named("cellar").child("cellar")],
            strategy="one_for_all",
        ),
        Endpoint.named("endpoint").child({"/socket": UserSocket}, port=0),
        Observer.child(port=port, token=token, allow_kill=True).replace(id="observer"),
    ]
    tree = await Supervisor.named("house").start_link(specs, max_restarts=100)
    for name in ("foyer", "gallery", "garden"):
        await DynamicSupervisor.start_child("rooms", _room(name))
    for number in range(many):
        await DynamicSupervisor.start_child("rooms", _room(f"cell {number}"))
    if pile:
        idler = spawn(sweep_the_floor, name="idler")
        for number in range(pile):
            send(idler, number)
    if spoil:
        spawn(spoil_the_cellar, spoil, name="vandal")
    children = await Supervisor.which_children(tree)
    observer = next(one.pid for one in children if one.id == "observer")
    assert isinstance(observer, Pid)
    print(f"observer at {await Observer.url(observer)}")
    print(f"socket at {await Endpoint.url('endpoint')}/socket")
    sys.stdout.flush()
    await trio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token")
    parser.add_argument("--many", type=int, default=0, help="so many more rooms")
    parser.add_argument("--spoil", type=float, default=0.0, help="seconds from crash to crash")
    parser.add_argument("--pile", type=int, default=0, help="messages that nobody takes")
    given = parser.parse_args()
    try:
        run(main, given.port, given.token, given.many, given.spoil, given.pile)
    except KeyboardInterrupt:
        pass

"""What makes the library say each of the messages of the guide "When something goes wrong".

Each function does what the guide's reader has done; it is found by the heading under which the
message stands. What it logs, warns of or raises is what the reader sees.
"""

from __future__ import annotations

import gc
import socket as network
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

import exeunt
from exeunt import (
    Bound,
    GenServer,
    Registry,
    Supervisor,
    Watcher,
    child,
    exit,
    on_call,
    on_cast,
    open_node,
    receive,
    run,
    self_pid,
    send,
    spawn,
    spawn_link,
    stop,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt.channels import (
    Channel,
    ConnectInfo,
    Endpoint,
    InResult,
    JoinResult,
    Ok,
    Params,
    PubSub,
    Socket,
)
from exeunt.channels.client import connect
from exeunt.testing import connect as connect_in_test

PROVOCATIONS: dict[str, list[Callable[[], object]]] = {}


def under(heading: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Note that this leads to a message under that heading."""

    def note(provoke: Callable[[], object]) -> Callable[[], object]:
        PROVOCATIONS.setdefault(heading, []).append(provoke)
        return provoke

    return note


def in_a_program(main: Callable[[], Awaitable[object]]) -> Callable[[], object]:
    """Make a program of an async function."""
    return partial(run, main)


# -- starting


class Counter(GenServer):
    async def init(self) -> None:
        self.count = 0

    @on_call
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    @on_call
    async def divide_by(self, number: int) -> float:
        return 1 / number

    @on_call
    async def add_twice(self, amount: int) -> int:
        return await Counter.add(self.pid, 2 * amount)


@under("NotAProcess")
def no_process() -> None:
    async def main() -> None:
        await receive()

    trio.run(main)


@under("run in a program of trio")
def run_in_run() -> None:
    async def main() -> None:
        run(main)

    trio.run(main)


@under("AlreadyStarted")
@in_a_program
async def started_twice() -> None:
    await Counter.named("counter").start_link()
    await Counter.named("counter").start_link()


@under("StartFailed")
@in_a_program
async def did_not_start() -> None:
    class Store(GenServer):
        async def init(self) -> None:
            raise ConnectionRefusedError("no database")

    await Supervisor.start_link([Store.child()])


@under("The port is taken")
def port_taken() -> None:
    with network.create_server(("127.0.0.1", 0)) as taken:

        async def main() -> None:
            await Endpoint.start_link({"/socket": UserSocket}, port=taken.getsockname()[1])

        run(main)


@under("Two children have one id")
@in_a_program
async def same_id() -> None:
    await Supervisor.start_link([Counter.child(), Counter.child()])


@under("A server is started, not made")
def made() -> None:
    Counter(1)


# -- await, and no await


@under("Never awaited")
@in_a_program
async def never_awaited() -> None:
    counter = await Counter.start_link()
    Counter.add(counter, 1)  # type: ignore[unused-coroutine]
    receive()  # type: ignore[unused-coroutine]
    gc.collect()


@under("Awaited what is plain")
@in_a_program
async def awaited_send() -> None:
    await send(self_pid(), "hello")  # type: ignore[func-returns-value, misc]


@under("Awaited what is plain")
@in_a_program
async def awaited_push_of_the_kit() -> None:
    async with connect_in_test(UserSocket) as client:
        room = await client.join("room:hall")
        await room.push("sing")  # type: ignore[misc]


@under("A process that is no async function")
@in_a_program
async def plain_body() -> None:
    def worker() -> None:
        pass

    await wait_exit(spawn(worker))  # type: ignore[arg-type]


# -- messages and calls


@under("A call failed: noproc")
@in_a_program
async def noproc() -> None:
    await Counter.add("counter", 1)


@under("A call failed: noproc")
@in_a_program
async def dead() -> None:
    counter = await Counter.start()
    await stop(counter)
    await Counter.add(counter, 1)


@under("Asked of None")
@in_a_program
async def asked_of_none() -> None:
    await Counter.add(whereis("counter"), 1)  # type: ignore[arg-type]


@under("A call failed: the server crashed")
@in_a_program
async def call_failed() -> None:
    await Counter.divide_by(await Counter.start(), 0)


@under("A call failed: the process calls itself")
@in_a_program
async def calls_itself() -> None:
    await Counter.add_twice(await Counter.start(), 1)


@under("NotRegistered")
@in_a_program
async def not_registered() -> None:
    send("counter", "hello")


@under("NotRegistered")
@in_a_program
async def no_registry() -> None:
    await Counter.named(Registry[str, None].named("rooms").via("hall")).start_link()


@under("A pid has no such method")
@in_a_program
async def pid_as_object() -> None:
    counter: Any = await Counter.start()
    await counter.add(1)


@under("From another thread")
@in_a_program
async def another_thread() -> None:
    receiver = spawn(receive)
    await wait_all_tasks_blocked()
    await trio.to_thread.run_sync(send, receiver, "hello")


# -- ends and restarts


@under("MainExited")
@in_a_program
async def main_exited() -> None:
    async def worker() -> None:
        raise RuntimeError("a fault")

    spawn_link(worker)
    await trio.sleep_forever()


@under("A child ended: normal")
@in_a_program
async def permanent_returns() -> None:
    async def import_orders() -> None:
        pass

    supervisor = await Supervisor.start([child(import_orders)])
    await wait_exit(supervisor)


@under("A supervisor gives up")
@in_a_program
async def gives_up() -> None:
    async def worker() -> None:
        raise RuntimeError("a fault")

    supervisor = await Supervisor.named("shop").start([child(worker)])
    await wait_exit(supervisor)


async def watch_with(leave: Callable[..., Awaitable[object]], *args: object) -> None:
    with tempfile.TemporaryDirectory() as directory:
        await Watcher.named("watcher").start_link(file=Path(directory) / "roll")
        await Watcher.watch("watcher", spawn(receive), leave, *args)


async def say_goodbye(departure: object, what: object) -> None:
    raise AssertionError("nobody has left")


@under("RollError")
@in_a_program
async def partial_with_a_file() -> None:
    await watch_with(partial(say_goodbye), "ann")


@under("RollError")
@in_a_program
async def hub_with_a_file() -> None:
    await watch_with(say_goodbye, PubSub())


@under("A child did not shut down in order")
@in_a_program
async def not_in_time() -> None:
    class Closing(GenServer):
        async def init(self) -> None:
            trap_exit()

        async def terminate(self, reason: object) -> None:
            await trio.sleep_forever()

    supervisor = await Supervisor.start([Closing.child().replace(shutdown=0.05)])
    await stop(supervisor)


@under("The watchdog")
def blocked() -> None:
    async def busy() -> None:
        time.sleep(0.4)  # noqa: ASYNC251

    async def main() -> None:
        async with open_node(watchdog=0.1):
            await wait_exit(spawn(busy))

    trio.run(main)


@under("A zombie")
def zombie() -> None:
    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.3)

    async def main() -> None:
        async with open_node(kill_grace=0.05):
            pid = spawn(shielded)
            await wait_all_tasks_blocked()
            exit(pid, "kill")
            await wait_exit(pid)
            await trio.sleep(0.4)

    trio.run(main)


@under("A child ended: overflow")
@in_a_program
async def overflow() -> None:
    class Log(GenServer, mailbox=Bound(100)):
        @on_cast
        async def write(self, line: str) -> None:
            pass

    log = Log.named("log").child().replace(restart="temporary")
    await Supervisor.start([log])
    for _ in range(101):
        Log.write("log", "a line")
    await wait_all_tasks_blocked()


# -- channels


class Room(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        match params:
            case {"crash": _}:
                raise ZeroDivisionError("a fault")
            case {"dict": _}:
                return {"here": []}  # type: ignore[return-value]
            case {"other ok": _}:
                return exeunt.Ok()  # type: ignore[call-arg, return-value]
            case {"broadcast": _}:
                self.broadcast("entered", {})
                return Ok()
            case _:
                return Ok()

    async def handle_in(self, event: str, payload: Any) -> InResult:
        match event:
            case "add":
                return Ok({"set": {1, 2}})
            case "count":
                counter = await Counter.start_link()
                return Ok({"count": Counter.add(counter, 1)})
            case "crash":
                raise ZeroDivisionError("a fault")
        return None


class UserSocket(Socket):
    channels = {"room:*": Room}


class Guarded(UserSocket):
    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        return info.auth_token is not None


async def serve(socket: Any) -> str:
    server = await Endpoint.start_link({"/socket": socket}, port=0)
    return (await Endpoint.url(server)) + "/socket"


def at_a_server(
    client: Callable[[str], Awaitable[object]], socket: Any = UserSocket
) -> Callable[[], object]:
    async def main() -> None:
        await client(await serve(socket))

    return partial(run, main)


@under("The status 403")
@partial(at_a_server, socket=Guarded)
async def status_403(url: str) -> None:
    async with connect(url, auth_token="a token", reconnect=None):
        pass


@under("ConnectRefused")
@in_a_program
async def refused_in_a_test() -> None:
    async with connect_in_test(Guarded):
        pass


@under("The status 404")
@at_a_server
async def status_404(url: str) -> None:
    async with connect(url.replace("socket", "sokcet"), reconnect=None):
        pass


@under("Nothing listens there")
def nothing_listens() -> None:
    async def main() -> None:
        async with connect("ws://127.0.0.1:1/socket", reconnect=None):
            pass

    trio.run(main)


@under("Unmatched topic")
@at_a_server
async def unmatched(url: str) -> None:
    async with connect(url) as socket:
        await socket.join("rooms:hall")


@under("Join crashed")
@at_a_server
async def join_crashed(url: str) -> None:
    async with connect(url) as socket:
        await socket.join("room:hall", {"crash": True})


@under("BadReturnValue")
@at_a_server
async def bad_return(url: str) -> None:
    async with connect(url) as socket:
        await socket.join("room:hall", {"dict": True})


@under("BadReturnValue")
@at_a_server
async def ok_of_tasks(url: str) -> None:
    async with connect(url) as socket:
        await socket.join("room:hall", {"other ok": True})


@under("NotJoined")
@at_a_server
async def broadcast_in_join(url: str) -> None:
    async with connect(url) as socket:
        await socket.join("room:hall", {"broadcast": True})


@under("PayloadError")
@at_a_server
async def not_awaited(url: str) -> None:
    async with connect(url) as socket:
        room = await socket.join("room:hall")
        await room.push("count")


@under("PayloadError")
@at_a_server
async def not_json(url: str) -> None:
    async with connect(url) as socket:
        room = await socket.join("room:hall")
        await room.push("add")


@under("PushTimeout")
@at_a_server
async def push_timeout(url: str) -> None:
    async with connect(url) as socket:
        room = await socket.join("room:hall")
        await room.push("sing", within=0.2)


@under("ChannelCrashed")
@at_a_server
async def channel_crashed(url: str) -> None:
    async with connect(url) as socket:
        room = await socket.join("room:hall")
        await room.push("crash")


@under("Disconnected")
def disconnected() -> None:
    async def main() -> None:
        server = await Endpoint.start({"/socket": UserSocket}, port=0)
        url = (await Endpoint.url(server)) + "/socket"
        async with connect(url, reconnect=None) as socket:
            await socket.join("room:hall")
            spawn(partial(stop, server))
            await trio.sleep_forever()

    run(main)

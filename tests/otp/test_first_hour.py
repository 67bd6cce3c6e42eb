"""The mistakes of a first hour: each is answered by a message that says what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import exeunt
from exeunt import (
    CallFailed,
    GenServer,
    NotAProcess,
    Pid,
    StartFailed,
    Supervisor,
    link,
    on_call,
    on_cast,
    receive,
    send,
    spawn,
    spawn_link,
    trap_exit,
)
from exeunt.channels import Channel, Socket
from exeunt.kernel.events import CrashReport
from tests.kernel.nodes import node


class Counter(GenServer):
    async def init(self, start: int = 0) -> None:
        self.count = start

    @on_call
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    @on_call
    async def add_twice(self, amount: int) -> int:
        return await Counter.add(self.pid, amount)

    @on_cast
    async def reset(self) -> None:
        self.count = 0


async def body() -> None:
    await receive()


def misspelt_callback() -> None:
    class Server(GenServer):
        async def handle_inof(self, message: Any) -> None: ...


def misspelt_callback_of_a_channel() -> None:
    class Room(Channel):
        async def handle_inn(self, event: str, payload: Any) -> None: ...


def callback_without_async() -> None:
    class Server(GenServer):
        def handle_info(self, message: Any) -> None: ...  # type: ignore[override]


def join_without_async() -> None:
    class Room(Channel):
        def join(self, topic: str, params: Any) -> None: ...  # type: ignore[override]


def connect_without_async() -> None:
    class UserSocket(Socket):
        def connect(self, params: Any, info: Any) -> bool:  # type: ignore[override]
            return True


def attribute_of_phoenix() -> None:
    class Room(Channel):
        intercept = ("said",)


def misspelt_channels() -> None:
    class UserSocket(Socket):
        channel = {"room:*": Channel}


def join_without_params() -> None:
    class Room(Channel):
        async def join(self, topic: str) -> None: ...  # type: ignore[override]


def on_call_without_async() -> None:
    class Server(GenServer):
        @on_call  # type: ignore[arg-type]
        def add(self, amount: int) -> int:
            return amount


def on_cast_without_async() -> None:
    class Server(GenServer):
        @on_cast  # type: ignore[arg-type]
        def reset(self) -> None: ...


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (misspelt_callback, "did you mean 'handle_info'"),
        (misspelt_callback_of_a_channel, "did you mean 'handle_in'"),
        (callback_without_async, "handle_info is awaited: write `async def handle_info`"),
        (join_without_async, "write `async def join`"),
        (connect_without_async, "write `async def connect`"),
        (attribute_of_phoenix, "misspelt attribute: did you mean 'intercepts'"),
        (misspelt_channels, "misspelt attribute: did you mean 'channels'"),
        (join_without_params, r"join is called with \(self, topic, params\)"),
        (on_call_without_async, "an @on_call method, .*add, is awaited: write `async def add`"),
        (on_cast_without_async, "an @on_cast method, .*reset, is awaited: write `async def reset`"),
    ],
)
def test_a_class_with_a_mistake_is_refused(mistake: Callable[[], None], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        mistake()


def test_a_callback_may_be_decorated() -> None:
    from functools import wraps

    def logged(method: Callable[..., Awaitable[None]]) -> Any:
        @wraps(method)
        def wrapper(*args: Any) -> Awaitable[None]:
            return method(*args)

        return wrapper

    class Server(GenServer):
        @logged
        async def handle_info(self, message: Any) -> None: ...

    assert Server.handle_info is not GenServer.handle_info


async def forgets_await_of_start() -> None:
    counter: Any = Counter.start_link(1)
    await Counter.add(counter, 1)


async def sends_to_a_class() -> None:
    send(Counter, "hello")  # type: ignore[arg-type]


async def spawns_a_coroutine() -> None:
    spawn(body())  # type: ignore[arg-type]


async def spawn_links_a_coroutine() -> None:
    spawn_link(body())  # type: ignore[arg-type]


async def calls_nobody() -> None:
    await Counter.add("counter", 1)


async def calls_the_dead() -> None:
    counter = await Counter.start(1)
    await exeunt.stop(counter)
    await Counter.add(counter, 1)


async def calls_without_an_argument() -> None:
    counter = await Counter.start_link(1)
    await Counter.add(counter)  # type: ignore[call-arg]


async def names_by_keyword() -> None:
    await Counter.start_link(1, name="counter")  # type: ignore[call-arg]


async def two_of_one_id() -> None:
    await Supervisor.start_link([Counter.child(1), Counter.child(2)])


async def a_class_as_a_child() -> None:
    await Supervisor.start_link([Counter])  # type: ignore[list-item]


async def a_strategy_that_is_none() -> None:
    await Supervisor.start_link([], strategy="one_for_each")  # type: ignore[arg-type]


async def calls_itself() -> None:
    counter = await Counter.start(1)
    await Counter.add_twice(counter, 1)


@pytest.mark.parametrize(
    ("mistake", "error", "says"),
    [
        (forgets_await_of_start, TypeError, "is an `await` missing where it comes from"),
        (sends_to_a_class, TypeError, "given by its pid, its name"),
        (spawns_a_coroutine, TypeError, r"without calling it, .*: spawn\(body, …\)"),
        (spawn_links_a_coroutine, TypeError, r"without calling it"),
        (calls_nobody, CallFailed, "call to counter failed .*no process of that name"),
        (calls_the_dead, CallFailed, "there is no process any more"),
        (calls_without_an_argument, TypeError, "missing 1 required positional argument: 'amount'"),
        (names_by_keyword, TypeError, r"Counter\.named\('counter'\)\.start_link"),
        (
            two_of_one_id,
            StartFailed,
            r"two children have the id 'Counter': .*spec\.replace\(id=…\)",
        ),
        (a_class_as_a_child, StartFailed, r"given as a ChildSpec, from Server\.child\(…\)"),
        (a_strategy_that_is_none, StartFailed, "strategy is one of 'one_for_one'"),
        (calls_itself, CallFailed, "the process calls itself"),
    ],
)
async def test_a_mistake_in_a_process_is_explained(
    mistake: Callable[[], Awaitable[None]], error: type[Exception], says: str
) -> None:
    async with node() as stage:
        stage.gathers(CrashReport)
        trap_exit()
        with pytest.raises(error, match=says):
            await mistake()


@pytest.mark.parametrize("outside", [lambda: spawn(body), lambda: link(Pid(0, 1)), trap_exit])
async def test_what_is_for_processes_says_so_outside_of_them(outside: Callable[[], Any]) -> None:
    with pytest.raises(NotAProcess, match="do this within `async with open_node"):
        outside()


def test_run_takes_a_function() -> None:
    with pytest.raises(TypeError, match=r"without calling it: run\(body\)"):
        exeunt.run(body())  # type: ignore[arg-type]

"""The mistakes of a first hour: each is answered by a message that says what to do."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    CallFailed,
    DynamicSupervisor,
    GenServer,
    NotAProcess,
    NotRegistered,
    Pid,
    Registry,
    StartFailed,
    Supervisor,
    Watcher,
    call,
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
from exeunt.otp.reports import SupervisorReport
from tests.kernel.nodes import node, settle


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


def on_call_with_parentheses() -> None:
    class Server(GenServer):
        @on_call()  # type: ignore[call-overload]
        async def add(self, amount: int) -> int:
            return amount


def arguments_in_dunder_init() -> None:
    class Server(GenServer):
        def __init__(self, start: int) -> None:
            self.count = start


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (on_call_with_parentheses, r"@on_call is written without \(\)"),
        (arguments_in_dunder_init, r"__init__ is called without arguments: .*async def init\(self"),
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


async def asks_the_pid() -> None:
    counter: Any = await Counter.start_link(1)
    counter.add(1)


async def asks_without_a_server() -> None:
    await Counter.add(1)  # type: ignore[call-arg,arg-type]


async def asks_nobody_at_all() -> None:
    await Counter.add()  # type: ignore[call-arg]


async def casts_without_a_server() -> None:
    Counter.reset(Counter)  # type: ignore[arg-type]


async def asks_nobody_by_a_key() -> None:
    rooms = Registry[str, None].named("rooms")
    await rooms.start_link(keys="unique")
    await Counter.add(rooms.via("lobby"), 1)


async def looks_into_no_registry() -> None:
    Registry[str, None].named("rooms").lookup("lobby")


async def exits_by_name() -> None:
    exeunt.exit("counter", "shutdown")  # type: ignore[arg-type]


async def links_by_via() -> None:
    link(Registry[str, None].named("rooms").via("lobby"))  # type: ignore[arg-type]


async def runs_within_a_program() -> None:
    exeunt.run(body)


async def a_child_without_a_list() -> None:
    await Supervisor.start_link(Counter.child(1))  # type: ignore[arg-type]


async def a_named_class_as_a_child() -> None:
    await Supervisor.start_link([Counter.named("counter")])  # type: ignore[list-item]


async def a_supervisor_without_super() -> None:
    class House(Supervisor):
        async def init(self) -> None:  # type: ignore[override]
            self.rooms = 3

    await House.start_link()


async def a_dynamic_supervisor_without_super() -> None:
    class Rooms(DynamicSupervisor):
        async def init(self) -> None:  # type: ignore[override]
            trap_exit()

    await Rooms.start_link()


async def leave(departure: Any) -> None: ...


async def watches_with_too_much() -> None:
    watcher = await Watcher.start_link()
    await Watcher.watch(watcher, spawn(body), leave, "lobby")  # type: ignore[call-arg]


async def links_from_a_thread() -> None:
    await trio.to_thread.run_sync(link, spawn(body))


async def sends_from_a_thread() -> None:
    pid = spawn(body)
    await settle()
    await trio.to_thread.run_sync(send, pid, "hello")


async def asks_nobody_that_whereis_found() -> None:
    await Counter.add(exeunt.whereis("counter"), 1)  # type: ignore[arg-type]


async def starts_with_what_nobody_takes() -> None:
    class Bare(GenServer):
        pass

    await Bare.start_link(1, restart="transient")


async def starts_a_second_child_of_an_id() -> None:
    house = await Supervisor.start_link([Counter.child(1)])
    await Supervisor.start_child(house, Counter.child(2))


async def makes_a_server() -> None:
    Counter(1)  # type: ignore[call-arg]


async def calls_itself() -> None:
    counter = await Counter.start(1)
    await Counter.add_twice(counter, 1)


@pytest.mark.parametrize(
    ("mistake", "error", "says"),
    [
        (forgets_await_of_start, TypeError, r"is an `await` missing where it comes from\?$"),
        (sends_to_a_class, TypeError, "given by its pid, its name"),
        (spawns_a_coroutine, TypeError, r"without calling it, .*: spawn\(body, …\)"),
        (spawn_links_a_coroutine, TypeError, r"without calling it"),
        (calls_nobody, CallFailed, "call to 'counter' failed .*no process of that name"),
        (asks_the_pid, AttributeError, r"a pid has no 'add': .*`Server\.add\(<\d+\.\d+>, …\)`"),
        (asks_without_a_server, TypeError, r"not by 1\. Counter\.add\(server, …\) is a request"),
        (asks_nobody_at_all, TypeError, r"Counter\.add\(\) missing 1 .* argument: 'server'"),
        (casts_without_a_server, TypeError, r"in the server itself it is `self\.reset\(…\)`"),
        (
            asks_nobody_by_a_key,
            CallFailed,
            "call to 'lobby' in the registry 'rooms' failed .*no process of that name",
        ),
        (looks_into_no_registry, NotRegistered, "no registry 'rooms': start it before those"),
        (exits_by_name, TypeError, r"a pid is needed here, .*`whereis\('counter'\)` gives that"),
        (links_by_via, TypeError, r"a pid is needed here, .*its `whereis\(\)` gives that"),
        (runs_within_a_program, RuntimeError, r"`async with open_node\(\):` is a node within it"),
        (a_child_without_a_list, StartFailed, r"are a list: \[Counter\.child\(\), …\]"),
        (
            a_named_class_as_a_child,
            StartFailed,
            r"from Server\.child\(…\) .*, not Counter\.named\('counter'\)",
        ),
        (
            a_supervisor_without_super,
            StartFailed,
            r"House\.init has not called `await super\(\)\.init\(\[…\]\)`",
        ),
        (
            a_dynamic_supervisor_without_super,
            StartFailed,
            r"Rooms\.init has not called `await super\(\)\.init\(\)`",
        ),
        (watches_with_too_much, TypeError, r"leave is run as leave\(departure, …\).* too many"),
        (links_from_a_thread, NotAProcess, r"trio\.from_thread\.run_sync\(send, pid, message\)"),
        (sends_from_a_thread, NotAProcess, r"trio\.from_thread\.run_sync\(send, pid, message\)"),
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
        (asks_nobody_that_whereis_found, TypeError, r"not by None: has `whereis` found nobody\?$"),
        (starts_with_what_nobody_takes, StartFailed, "Bare takes no arguments: it has no init"),
        (
            starts_a_second_child_of_an_id,
            exeunt.AlreadyStarted,
            r"a child with the id 'Counter' already, <\d+\.\d+>: .* spec\.replace\(id=…\)",
        ),
        (makes_a_server, TypeError, r"not made: `await Counter\.start_link\(…\)`"),
        (calls_itself, CallFailed, r"calls itself: .*`self\.method\(…\)` is the plain method"),
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
    with pytest.raises(NotAProcess, match=r"`exeunt\.run\(main\)`, or within `async with"):
        outside()


def test_run_takes_a_function() -> None:
    with pytest.raises(TypeError, match=r"without calling it: run\(body\)"):
        exeunt.run(body())  # type: ignore[arg-type]


def not_async(log: list[str]) -> None:
    log.append("it ran")


async def test_a_plain_function_as_a_process_is_told_to_be_async() -> None:
    async with node() as stage:
        ref = exeunt.monitor(spawn(not_async, []))  # type: ignore[arg-type]
        down = await receive(exeunt.Down, lambda down: down.ref is ref)
        assert "not_async is the body of a process, and awaited" in str(down.reason)
        assert "has returned None; write `async def`" in str(down.reason)
        stage.crash(TypeError)


async def test_whatever_can_be_awaited_may_be_the_body_of_a_process() -> None:
    class Awaitable:
        def __await__(self) -> Any:
            yield from body_of_awaitable().__await__()

    ran: list[str] = []

    async def body_of_awaitable() -> None:
        await trio.lowlevel.checkpoint()
        ran.append("it ran")

    async with node():
        for make in (Awaitable, lambda: body_of_awaitable()):
            assert await exeunt.wait_exit(spawn(make)) == "normal"
    assert ran == ["it ran", "it ran"]


@pytest.mark.parametrize(
    ("forget", "name"),
    [
        (lambda: receive(), "receive"),
        (lambda: call("me", 1), "call"),
        (lambda: Counter.add("me", 1), "Counter.add"),
    ],
)
async def test_what_is_not_awaited_is_named_by_python_as_it_was_written(
    forget: Callable[[], Any], name: str
) -> None:
    async with node():
        exeunt.register("me")
        forgotten = forget()
        assert forgotten.__qualname__ == name
        forgotten.close()


def test_the_end_of_main_says_whose_signal_it_was_and_nothing_of_how_it_was_done() -> None:
    victims: list[Pid] = []

    async def main() -> None:
        victims.append(spawn_link(body))
        exeunt.exit(victims[0], "enough")
        await receive()

    with pytest.raises(exeunt.MainExited) as caught:
        exeunt.run(main)
    assert (
        str(caught.value) == f"the main process was ended by an exit signal of {victims[0]}: enough"
    )
    assert caught.value.by is victims[0]
    assert "Cancelled" not in "".join(traceback.format_exception(caught.value))


def test_the_crash_that_ended_main_is_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("by nought")

    async def main() -> None:
        spawn_link(fail)
        await receive()

    with pytest.raises(exeunt.MainExited) as caught:
        exeunt.run(main)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def once() -> None:
    """Return at once, as a permanent child must not."""


async def test_a_supervisor_says_why_it_starts_a_child_again_and_why_it_gives_up() -> None:
    async with node() as stage:
        trap_exit()
        stage.gathers(SupervisorReport)
        told = stage.events(SupervisorReport)
        house = await Supervisor.named("house").start_link([exeunt.child(once)], max_restarts=1)
        await exeunt.wait_exit(house)
    first, *_, last = map(str, told)
    assert first.endswith("ended: normal; it is permanent, so it is started again")
    assert last.endswith(
        "'house' gives up because of child 'once': reached_max_restart_intensity, "
        "more than 1 restart within 5 seconds, of all its children together"
    )


def test_requests_show_the_signature_of_their_methods() -> None:
    assert str(inspect.signature(Counter.add)) == "(server, amount: 'int') -> 'Awaitable[int]'"
    assert str(inspect.signature(Counter.reset)) == "(server) -> 'None'"
    shown = str(inspect.signature(Supervisor.start_child))
    assert shown == "(server, spec: 'ChildSpec') -> 'Awaitable[Pid | None]'"
    assert inspect.getdoc(Supervisor.start_child) is not None
    assert Counter.add.__qualname__ == "Counter.add"
    via: Any = Registry.via
    assert str(inspect.signature(via)).startswith("(name, key: 'K', value: 'V' = None)")
    assert via.__qualname__ == "Registry.via"
    assert "registered with `value`" in str(inspect.getdoc(via))


class Odd:
    def __repr__(self) -> str:
        raise ValueError("odd")


class Large:
    def __repr__(self) -> str:
        return "x" * 10_000


@pytest.mark.parametrize(
    ("key", "label"),
    [(Odd(), "Counter"), (Large(), f"Counter {'x' * 80}… (10000 characters)"), (7, "Counter 7")],
)
async def test_a_key_is_shown_in_short_whatever_it_is(key: object, label: str) -> None:
    rooms = Registry[object, None].named("rooms")
    async with node():
        await rooms.start_link(keys="unique")
        info = exeunt.process_info(await Counter.named(rooms.via(key)).start(1))
        assert info is not None and info.label == label


async def test_a_server_that_is_named_by_a_key_is_shown_with_it() -> None:
    rooms = Registry[str, None].named("rooms")
    async with node() as stage:
        await rooms.start_link(keys="unique")
        room = await Counter.named(rooms.via("lobby")).start(1)
        info = exeunt.process_info(room)
        assert info is not None and info.label == "Counter 'lobby'"
        send(room, ...)
        await settle()
        stage.logged("(Counter 'lobby') got a message that it has no handle_info for")


@pytest.mark.parametrize(
    ("base", "written", "meant"),
    [
        (GenServer, "inti", "init"),
        (GenServer, "initt", "init"),
        (GenServer, "int", "init"),
        (GenServer, "Init", "init"),
        (GenServer, "init_", "init"),
        (GenServer, "unit", None),
        (GenServer, "initial", None),
        (Channel, "jion", "join"),
        (Channel, "joins", "join"),
        (Channel, "handle_ni", "handle_in"),
        (Channel, "handle_im", None),
        (Channel, "coin", None),
        (Socket, "di", "id"),
        (Socket, "Id", "id"),
        (Socket, "ids", None),
    ],
)
def test_a_slip_in_a_short_callback_is_found_and_another_word_is_none(
    base: type, written: str, meant: str | None
) -> None:
    async def method(self: object) -> None: ...

    if meant is None:
        type("Mine", (base,), {written: method})
        return
    with pytest.raises(TypeError, match=f"Mine.{written} looks like .* did you mean '{meant}'"):
        type("Mine", (base,), {written: method})

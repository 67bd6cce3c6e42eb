"""The mistakes of a first hour with channels: each is answered by what to do."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import exeunt
from exeunt import StartFailed, Stop, on_call, open_node, send, trap_exit
from exeunt.channels import (
    Channel,
    Draining,
    Endpoint,
    JoinResult,
    Limits,
    LongPoll,
    Mount,
    Ok,
    PubSub,
    Request,
    Response,
    Route,
    Socket,
    reply,
)
from exeunt.channels.client import ConnectFailed, JoinRefused, JoinTimeout, PushTimeout, connect
from exeunt.channels.client.socket import ClientSocket
from exeunt.channels.static import StaticFiles
from tests.channels.memory import open_bench
from tests.faults.client import Client


class Room(Channel):
    """A channel as it should be."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok()


class User(Socket):
    channels = {"room:*": Room}


def leading_to(kind: Any) -> Any:
    """Return a class of sockets with one channel, for all topics."""
    return type("Leading", (Socket,), {"channels": {"*": kind}})


# -- a class that is wrong is refused where it is defined


def channels_in_a_list() -> None:
    class Sockets(Socket):
        channels = [Room]  # type: ignore[assignment]


def too_few_channels() -> None:
    class Sockets(Socket):
        max_channels = "5"  # type: ignore[assignment]


def an_async_id() -> None:
    class Sockets(Socket):
        async def id(self) -> str:  # type: ignore[override]
            return "user:1"


def assigns_of_a_class_of_sockets() -> None:
    class Sockets(Socket):
        assigns = {"role": "guest"}


def assigns_of_a_class_of_channels() -> None:
    class Lobby(Channel):
        assigns = {"role": "guest"}


def a_route_with_a_list() -> None:
    Route(Room, ["role"])  # type: ignore[arg-type]


def intercepts_that_are_no_names() -> None:
    class Lobby(Channel):
        intercepts = ("said", 7)  # type: ignore[assignment]


def intercepts_that_are_none() -> None:
    class Lobby(Channel):
        intercepts = None  # type: ignore[assignment]


def a_call_of_a_channel() -> None:
    class Lobby(Channel):
        @on_call
        async def who(self) -> str:
            return "ann"


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (channels_in_a_list, r"Sockets\.channels says .*\{'room:\*': RoomChannel\}, not \[<class"),
        (too_few_channels, r"Sockets\.max_channels is a number above 0, not '5'"),
        (an_async_id, r"Sockets\.id is called without await: write `def`"),
        (assigns_of_a_class_of_sockets, r"Sockets\.assigns would be one for all clients"),
        (assigns_of_a_class_of_channels, r"Lobby\.assigns would be one for all clients"),
        (a_route_with_a_list, r"the assigns of a route are values by name.*not \['role'\]"),
        (intercepts_that_are_no_names, r"intercepts is a tuple of events, not \('said', 7\)"),
        (intercepts_that_are_none, "intercepts is a tuple of events, not None"),
        (a_call_of_a_channel, r"Lobby\.who: @on_call is for servers; .* comes to handle_call"),
    ],
)
def test_a_class_with_a_mistake_is_refused(mistake: Callable[[], None], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        mistake()


# -- a socket that cannot work is refused where it is mounted


class NoJoin(Channel):
    async def on_join(self, topic: str, params: Any) -> JoinResult:
        return Ok()


class NeverCalled(Room):
    async def handle_out(self, event: str, payload: Any) -> None:
        self.push(event, payload)


class Narrowed(NeverCalled):
    intercepts = ("said",)


class Straight(Narrowed):
    intercepts = ()


class WithStore(Room):
    def __init__(self, store: object) -> None:
        self.store = store


class WithTokens(User):
    def __init__(self, tokens: object, *, strict: bool) -> None:
        self.tokens, self.strict = tokens, strict


async def makes_later() -> Socket:
    return User()


@pytest.mark.parametrize(
    ("socket", "says"),
    [
        (leading_to(NoJoin), r"NoJoin has no join: write `async def join\(self, topic, params\)`"),
        (leading_to(Channel), "Channel has no join"),
        (partial(leading_to(NoJoin)), "NoJoin has no join"),
        (leading_to(NeverCalled), r"handle_out is never called: name its events in `intercepts`"),
        (leading_to(WithStore), r"made without arguments, and needs store: .*Route\(WithStore,"),
        (User(), r"a mount is given a class of sockets, or a function that makes one, not <"),
        (None, "a mount is given a class of sockets"),
        (Mount, "a mount is given a class of sockets"),
        (Room, r"not the channel Room: .* channels = \{'room:\*': Room\}"),
        (makes_later, "what makes sockets is called without await"),
        (WithTokens, r"needs tokens, strict: give a mount partial\(WithTokens, tokens, strict=…\)"),
        (partial(WithTokens, "t"), r"WithTokens is called without arguments, and needs strict"),
    ],
)
def test_a_mount_of_what_can_make_no_socket_is_refused(socket: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        Mount(socket)


@pytest.mark.parametrize(
    "socket",
    [
        User,
        partial(WithTokens, "t", strict=True),
        lambda: User(),
        leading_to(Narrowed),
        leading_to(Straight),
        leading_to(Route(Room, {"role": "guest"})),
    ],
)
def test_a_mount_takes_whatever_makes_a_socket(socket: Any) -> None:
    assert isinstance(Mount(socket).socket(), Socket)


async def lets_in(origin: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeout": "60"}, "timeout of a mount is a number above 0, not '60'"),
        ({"timeout": None}, "timeout of a mount is a number above 0, not None"),
        ({"max_queued": True}, "max_queued of a mount is a number above 0, not True"),
        ({"close_within": "1"}, "close_within of a mount is a number from 0 up, not '1'"),
        ({"auth_token": "a secret"}, "auth_token of a mount is True or False, not 'a secret'"),
        ({"websocket": None}, "websocket of a mount is True or False"),
        ({"subprotocols": None}, "subprotocols of a mount is a tuple of strings, not None"),
        ({"check_origin": None}, "check_origin is True, False, 'conn', a function, or a list"),
        ({"check_origin": [443]}, r"an allowed origin is like 'https://a\.com'.*not 443"),
        # It would let every page in, as a coroutine is true.
        ({"check_origin": lets_in}, "check_origin is called without await"),
    ],
)
def test_an_option_of_a_mount_that_is_none_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        Mount(User, **options)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LongPoll(window="10"), "the window of a long poll, in seconds, is a number"),  # type: ignore[arg-type]
        (lambda: LongPoll(max_age=None), "max_age of long-polling, in seconds, is a number"),  # type: ignore[arg-type]
        (lambda: Draining(batch_size="5"), "a batch is of 1 client or more, not '5'"),  # type: ignore[arg-type]
        (lambda: Draining(interval="5"), "the interval of rounds is a number from 0 up"),  # type: ignore[arg-type]
    ],
)
def test_a_number_that_is_none_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


# -- an endpoint that cannot work does not start


def plain_pages(request: Request) -> Response:
    return Response.text(200, "hi")


async def pages_of_nothing() -> Response:
    return Response.text(200, "hi")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"port": "4000"}, r"port is a number from 0 \(any free one\) to 65535, not '4000'"),
        ({"port": 65536}, "to 65535, not 65536"),
        ({"port": -1}, "to 65535, not -1"),
        ({"port": True}, "to 65535, not True"),
        ({"port": 4000.0}, "to 65535, not 4000.0"),
        ({"host": 4000}, "host is a name, an address, or None for all of them, not 4000"),
        (
            {"pages": "static"},
            r"not 'static': for the files of a directory StaticFiles\('static'\)",
        ),
        ({"pages": StaticFiles}, r"pages is an async function of a request, or StaticFiles\(…\)"),
        ({"pages": {"/": "index.html"}}, "pages is an async function of a request"),
        ({"pages": plain_pages}, "pages is awaited: write `async def plain_pages`"),
        ({"pages": partial(plain_pages)}, "pages is awaited: write `async def plain_pages`"),
        ({"pages": pages_of_nothing}, r"it is called with \(request\), which <function"),
        ({"hub": PubSub}, r"hub is a PubSub\(\), not <class"),
        ({"limits": 5}, r"limits is Limits\(…\), not 5"),
        ({"max_connections": "5"}, "max_connections is a number from 0 up, not '5'"),
        ({"draining": 5}, r"draining is Draining\(…\), a function that returns it, or None, not 5"),
        ({"draining": dict}, r"draining is Draining\(…\), .* not \{\}"),
        ({"public_host": "https://a.com"}, "public_host is a name such as 'example.org'"),
    ],
)
async def test_an_option_of_an_endpoint_that_is_none_is_refused(
    options: dict[str, Any], says: str
) -> None:
    async with open_node(signals=False):
        trap_exit()
        with pytest.raises(StartFailed, match=says):
            await Endpoint.start_link({"/socket": User}, **{"port": 0, **options})


@asynccontextmanager
async def serving(to: Any = User, **options: Any) -> AsyncGenerator[str]:
    """Open a node with an endpoint; yield the URL of its socket."""
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link({"/socket": to}, port=0, **options)
        yield f"{await Endpoint.url(endpoint)}/socket"


async def test_a_pattern_that_is_never_reached_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    class Hiding(Socket):
        channels = {"room:*": Room, "lobby": Room, "room:vip": Room, "room:a:*": Room, "ro": Room}

    async with serving(Hiding):
        pass
    said = [one.getMessage() for one in caplog.records if "no topic comes" in one.getMessage()]
    assert len(said) == 2
    assert "no topic comes to 'room:vip', since 'room:*' is ahead of it" in said[0]
    assert "no topic comes to 'room:a:*', since 'room:*'" in said[1]


async def get(url: str, path: str) -> bytes:
    port = int(url.partition("//")[2].partition("/")[0].partition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        )
        got = b""
        with trio.fail_after(5):
            while data := await stream.receive_some():
                got += data
    return got


async def test_static_files_are_pages(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("welcome")
    async with serving(pages=StaticFiles(tmp_path), limits=Limits()) as url:
        answer = await get(url, "/")
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"welcome")
        assert (await get(url, "/nothing.html")).startswith(b"HTTP/1.1 404")


async def returns_text(request: Request) -> str:
    return "welcome"


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        (lambda request: Response(), "pages returned Response.* write it as `async def`"),
        (returns_text, "pages returned 'welcome': expected a Response"),
    ],
)
async def test_pages_that_return_something_else_say_so(
    pages: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(pages=pages) as url:
        assert (await get(url, "/")).startswith(b"HTTP/1.1 500")
    assert re.search(says, caplog.text)


# -- connecting


async def test_a_token_that_the_mount_does_not_take_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    says = "a client has sent an auth token, which the mount at '/socket' does not take"
    async with serving(Mount(User, longpoll=LongPoll())) as url:
        async with connect(url):
            pass
        assert says not in caplog.text
        for _ in range(2):
            async with connect(url, auth_token="a token"):
                pass
        port = int(url.partition("//")[2].partition("/")[0].partition(":")[2])
        async with await Client.connect(port):
            pass
    found = [one for one in caplog.records if says in one.getMessage()]
    assert [one.levelno for one in found] == [logging.WARNING]
    assert "Mount(…, auth_token=True)" in found[0].getMessage()
    assert "a token" not in found[0].getMessage()


async def test_a_token_of_a_client_that_polls_is_told_of_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Mount(User, longpoll=LongPoll())) as url:
        path = "/socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nX-Phoenix-AuthToken: t\r\nX-Rest:"
        assert (await get(url, path)).startswith(b"HTTP/1.1 200")
    assert "which the mount at '/socket' does not take" in caplog.text


async def test_a_token_that_is_taken_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Mount(User, auth_token=True)) as url, connect(url, auth_token="a token"):
        pass
    assert "auth token" not in caplog.text


async def test_assigns_are_there_without_the_init_of_the_base() -> None:
    class Greeting(Room):
        def __init__(self) -> None:
            self.greeting = "hi"

        async def join(self, topic: str, params: Any) -> JoinResult:
            return Ok({self.greeting: self.assigns})

    class Named(Socket):
        channels = {"room:*": Greeting}

        def __init__(self, name: str) -> None:
            self.assigns["name"] = name
            super().__init__()

    async with serving(partial(Named, "ann")) as url, connect(url) as socket:
        room = await socket.join("room:a")
        assert room.response == {"hi": {"name": "ann"}}
    # Each has its own.
    assert Named("ann").assigns is not Named("bob").assigns
    assert User().assigns == {} and vars(User()) == {}


async def test_a_server_that_failed_is_no_stranger(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(User):
        async def connect(self, params: Any, info: Any) -> bool:
            raise LookupError("no such user")

    async with serving(Failing) as url:
        with pytest.raises(ConnectFailed, match="500: the server has failed while it decided"):
            async with connect(url):
                pass
    assert "no such user" in caplog.text


async def test_what_makes_no_socket_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda: User) as url:
        with pytest.raises(ConnectFailed, match="500"):
            async with connect(url):
                pass
    assert "of a mount has made <class 'tests" in caplog.text


# -- joining and answering


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (exeunt.Ok({}), "that is exeunt.Ok, the outcome of a task: the Ok of channels is `from "),
        (exeunt.Reply({}), "that is exeunt.Reply, the answer of a server to a call: the Reply of"),
        (Ok, r"call it, Ok\(\)"),
        (exeunt.NoReply(), "not to answer a client, return None"),
        (exeunt.Refuse(ValueError()), r"return Error\(…\)"),
    ],
)
@pytest.mark.parametrize("callback", ["join", "handle_in", "stop"])
async def test_the_other_ok_is_told_from_that_of_channels(
    result: object, says: str, callback: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Mixed(Channel):
        async def join(self, topic: str, params: Any) -> Any:
            return result if callback == "join" else Ok()

        async def handle_in(self, event: str, payload: Any) -> Any:
            return Stop("normal", result) if callback == "stop" else result

    async with open_bench(leading_to(Mixed)()) as bench:
        answer = await bench.ask("1", "1", "room", "phx_join", {})
        if callback == "join":
            assert answer[4] == {"status": "error", "response": {"reason": "join crashed"}}
        else:
            assert (await bench.ask("1", "2", "room", "say", {}))[3] == "phx_error"
    where = "join" if callback == "join" else "handle_in"
    assert re.search(
        rf"Mixed\.{where} returned .*: expected None, Ok\(…\).*; .*{says}", caplog.text
    )


async def test_an_await_that_is_missing_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    coroutines: list[Any] = []

    class Forgetful(Room):
        async def handle_in(self, event: str, payload: Any) -> Any:
            coroutines.append(super().handle_in(event, payload))
            return coroutines[0]

    async with open_bench(leading_to(Forgetful)()) as bench:
        await bench.ask("1", "1", "room", "phx_join", {})
        await bench.ask("1", "2", "room", "say", {})
    coroutines[0].close()
    assert "is an `await` missing?" in caplog.text


@pytest.mark.parametrize("callback", ["handle_info", "handle_cast", "handle_call"])
async def test_an_answer_where_nobody_asked_names_the_callback_of_the_class(
    callback: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def answers(self: Channel, *args: Any) -> Any:
        return Ok()

    kind = type("Answering", (Room,), {callback: answers})
    async with open_bench(leading_to(kind)()) as bench:
        await bench.ask("1", "1", "room", "phx_join", {})
        [joined] = bench.session.topics()
        assert joined.pid is not None
        if callback == "handle_info":
            send(joined.pid, "hello")
        elif callback == "handle_cast":
            exeunt.cast_to(joined.pid, "hello")
        else:
            with pytest.raises(exeunt.CallFailed):
                await exeunt.call(joined.pid, "hello")
        await bench.take()
    assert f"Answering.{callback} returned Reply(status='ok'" in caplog.text
    expected = "exeunt.Reply(value), " if callback == "handle_call" else "a client is sent what is"
    assert expected in caplog.text


def test_a_late_answer_says_what_it_takes() -> None:
    with pytest.raises(TypeError, match=r"by the socket_ref\(\) of its message.*exeunt\.reply"):
        reply("ref", Ok())  # type: ignore[arg-type]


async def test_a_late_answer_with_the_other_ok_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    class Late(Room):
        async def handle_in(self, event: str, payload: Any) -> None:
            reply(self.socket_ref(), exeunt.Ok({}))  # type: ignore[arg-type]

    async with open_bench(leading_to(Late)()) as bench:
        await bench.ask("1", "1", "room", "phx_join", {})
        await bench.ask("1", "2", "room", "say", {})
    assert "not with Ok; that is exeunt.Ok" in caplog.text


async def test_what_needs_the_process_says_so_in_init(caplog: pytest.LogCaptureFixture) -> None:
    class Early(Room):
        def __init__(self) -> None:
            self.topic_at_first = self.topic

    async with open_bench(leading_to(Early)()) as bench:
        await bench.ask("1", "1", "room", "phx_join", {})
    assert "Early has no process yet: `__init__` is too early, do it in `join`" in caplog.text


# -- topics that nobody has


async def unmatched(socket: type[Socket], topic: str, event: str = "phx_join") -> str:
    """Return the words of the log on a message for this topic."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "unmatched" in record.getMessage():
                lines.append(record.getMessage())

    logger = logging.getLogger("exeunt.channels")
    handler = Lines()
    logger.addHandler(handler)
    try:
        async with open_bench(socket()) as bench:
            answer = await bench.ask("1", "1", topic, event, {})
    finally:
        logger.removeHandler(handler)
    assert answer[4] == {"status": "error", "response": {"reason": "unmatched topic"}}
    [line] = lines
    begin = f'Ignoring unmatched topic "{topic}" in {socket.__qualname__}'
    assert line.startswith(begin)
    return line.removeprefix(begin)


def with_channels(*patterns: str) -> type[Socket]:
    return type("Patterned", (Socket,), {"channels": dict.fromkeys(patterns, Room)})


@pytest.mark.parametrize(
    ("socket", "topic", "says"),
    [
        (User, "rooms:x", ", which has 'room:*'"),
        (Socket, "room:x", ", which has no `channels`"),
        (
            with_channels("lobby", "room:"),
            "room:x",
            ", which has 'lobby', 'room:'; 'room:' is this one topic, 'room:*' all that begin so",
        ),
        (
            with_channels("room"),
            "room:x",
            ", which has 'room'; 'room' is this one topic, 'room:*' all that begin so",
        ),
        (with_channels("room"), "rooms", ", which has 'room'"),
        (
            with_channels(*(f"{n}:*" for n in range(12))),
            "x",
            ", which has " + ", ".join(f"'{n}:*'" for n in range(10)) + " and 2 more",
        ),
    ],
)
async def test_an_unmatched_topic_is_told_with_what_there_is(
    socket: type[Socket], topic: str, says: str
) -> None:
    assert await unmatched(socket, topic) == says


async def test_a_topic_that_was_not_joined_is_told_from_one_that_is_not_there() -> None:
    assert await unmatched(User, "room:a", "say") == ", which this client has not joined"


# -- the client


async def test_a_push_that_nobody_answers_says_why_that_may_be() -> None:
    class Falls(Room):
        async def handle_in(self, event: str, payload: Any) -> None:
            match event:
                case "say":
                    raise AssertionError

    async with serving(leading_to(Falls)) as url, connect(url) as socket:
        room = await socket.join("room:a")
        with pytest.raises(PushTimeout) as failed:
            await room.push("add", within=0.05)
        assert failed.value.was_sent
        assert str(failed.value) == (
            "'add' on 'room:a' was not answered within 0.05 seconds "
            "(the handler may have returned None, which is no answer)"
        )
        room.state = "away"
        with pytest.raises(PushTimeout, match="it was not sent, as the channel was not joined"):
            await room.push("add", within=0.05, wait=True)
        room.state = "joined"


def test_one_second_is_no_plural() -> None:
    assert "within 1 second (" in str(PushTimeout("room:a", "add", 1))
    assert "within 1.5 seconds (" in str(PushTimeout("room:a", "add", 1.5))
    assert str(PushTimeout("phoenix", "heartbeat", 1.0)).endswith("within 1 second")
    assert str(JoinTimeout("room:a", 1.0)).endswith("within 1 second")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": User}, r"a client needs a URL such as .*sockets is exeunt\.testing\.connect"),
        ({"url": 4000}, "a client needs a URL such as ws://127.0.0.1:4000/socket, got 4000"),
        ({"reconnect": False}, r"reconnect must be Delays\(…\), or None for no new connection"),
        ({"reconnect": 5}, r"reconnect must be Delays\(…\)"),
        ({"rejoin": None}, r"rejoin must be Delays\(…\), got None"),
        ({"close_within": "1"}, "close_within must be a number of seconds from 0 up, got '1'"),
        ({"params": "token"}, "params must be a mapping or a function, got 'token'"),
        ({"auth_token": b"token"}, "auth_token must be a string, got bytes"),
        ({"headers": ["x-a"]}, r"headers are strings by name, got \['x-a'\]"),
        ({"headers": {"x-a": 1}}, "headers are strings by name"),
        ({"ssl_context": True}, r"ssl_context must be an ssl\.SSLContext, got True"),
    ],
)
async def test_an_option_of_the_client_that_is_none_is_refused(
    options: dict[str, Any], says: str
) -> None:
    url = options.pop("url", "wss://127.0.0.1:1/socket")
    with pytest.raises((TypeError, ValueError), match=says):
        async with connect(url, **options):
            pass


async def test_a_socket_of_the_client_says_join_first() -> None:
    async with serving() as url, connect(url) as socket:
        anything: Any = socket
        with pytest.raises(AttributeError, match=r"has no 'push': join first, `room = await"):
            await anything.push("say", {})
        with pytest.raises(AttributeError, match="no attribute 'psh'"):
            await anything.psh("say", {})
        assert not hasattr(socket, "cast") and not hasattr(ClientSocket, "cast")
        with pytest.raises(TypeError, match=r"presence must be a PresenceView\(\), got"):
            await anything.join("room:a", presence={})
        with pytest.raises(ValueError, match="max_events must be at least 1, got '5'"):
            await anything.join("room:a", max_events="5")
        with pytest.raises(JoinRefused):
            await socket.join("nowhere")
        await socket.join("room:a")

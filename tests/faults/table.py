"""The table of disconnects: every way to leave, and what has to come of it.

A row says what is done, with which reason the watcher then sees the channel end, whether
`terminate` is called, which frames the client gets, and how its connection ends. `observe` has a row
happen on a real server and reports what did come of it; the test compares the two, and
`python -m tests.faults` prints what was observed.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import trio
import trio.testing

from exeunt import (
    Continue,
    Crash,
    Exit,
    Pid,
    ProcessExit,
    Reason,
    Shutdown,
    Stop,
    Supervisor,
    call,
    cast_to,
    is_alive,
    link,
    processes,
    spawn,
    stop,
    trap_exit,
)
from exeunt import exit as exit_signal
from exeunt.channels import Error, Ok, PayloadError, ProtocolError
from exeunt.otp.results import BadReturnValue, UnexpectedRequest

from .client import BINARY, PING, TEXT, Client, Closed, Frame, Gone, close_frame, frame, text
from .world import OTHER_ROOM, ROOM, Deed, Options, Witness, World, open_world, until

IDLE: Final = 0.4
"""The idle time-out of the rows that wait for it, in seconds."""


# -- what is expected -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CrashOf:
    """Stands for a `Crash` with an exception of this type."""

    kind: type[BaseException]

    def fits(self, reason: Reason) -> bool:
        return isinstance(reason, Crash) and type(reason.exception) is self.kind


@dataclass(frozen=True, slots=True)
class Deserializing:
    """Stands for `Shutdown(("deserializing", detail))`, whatever the detail."""

    def fits(self, reason: Reason) -> bool:
        match reason:
            case Shutdown(("deserializing", str())):
                return True
            case _:
                return False


LIVES: Final = object()
"""In the place of a reason: the channel is still there."""

Act: TypeAlias = "Callable[[Visit], Awaitable[None]]"

REPLY_OK: Final = ["1", "2", ROOM, "phx_reply", {"status": "ok", "response": {}}]
CLOSE: Final = ["1", "1", ROOM, "phx_close", {}]
ERROR: Final = ["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]
JOINED: Final = ["1", "1", ROOM, "phx_reply", {"status": "ok", "response": {}}]
JOINED_ANEW: Final = ["9", "9", ROOM, "phx_reply", {"status": "ok", "response": {}}]
JOIN_REFUSED: Final = ["1", "1", ROOM, "phx_reply", {"status": "error", "response": {"no": 1}}]
REFUSED_ANEW: Final = ["9", "9", ROOM, "phx_reply", {"status": "error", "response": {"no": 1}}]
JOIN_CRASHED: Final = [
    "1",
    "1",
    ROOM,
    "phx_reply",
    {"status": "error", "response": {"reason": "join crashed"}},
]

UNSEEN: Final = "unseen"
"""In the place of the end: the client has gone itself, and cannot see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A way to leave, and what is to come of it."""

    name: str
    act: Act
    reason: object
    terminate: bool
    frames: tuple[Frame, ...] = ()
    # How the connection ends; None: it does not.
    end: Closed | Gone | str | None = None
    # Whether the client joins beforehand, with what, and whether there is one at all.
    joins: bool = True
    connects: bool = True
    params: dict[str, object] = field(default_factory=dict[str, object])
    # Frames that may come before the end, or not: two things happen at once.
    maybe: tuple[Frame, ...] = ()
    options: Options = field(default_factory=Options)
    # Whether the row takes the whole server with it.
    stops_server: bool = False
    slow: bool = False


@dataclass(slots=True)
class Observed:
    """What came of a row."""

    reasons: list[Reason]
    terminated: list[Reason]
    frames: list[Frame]
    end: Closed | Gone | str | None
    # The reasons once the client has gone too.
    in_the_end: list[Reason]


class Visit:
    """What an act has at hand."""

    def __init__(self, world: World, client: Client | None) -> None:
        self.world = world
        self._client = client

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    @property
    def channel(self) -> Pid:
        return self.world.channels["ada"]

    @property
    def connection(self) -> Pid:
        return self.world.connections["ada"]

    async def run(self, deed: Deed) -> None:
        """Have the channel do a deed in `handle_in`."""
        self.world.deed = deed
        await self.client.say("1", "2", ROOM, "run", {})


# -- making a row happen --------------------------------------------------------------------------


async def observe(row: Row) -> Observed:
    """Have a row happen, next to a bystander that must not notice."""
    with trio.fail_after(15):
        async with (
            open_world(row.options) as world,
            await world.join("bystander", OTHER_ROOM) as bystander,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_stay, bystander)
            observed = await _observe(row, world, bystander)
            nursery.cancel_scope.cancel()
        return observed
    raise AssertionError("nothing here swallows an exception")


async def _stay(client: Client) -> None:
    """Give a sign of life now and then, until the server has gone."""
    try:
        while True:
            await trio.sleep(IDLE / 3)
            await client.send(frame(PING))
    except OSError:
        await trio.sleep_forever()


async def _observe(row: Row, world: World, bystander: Client) -> Observed:
    before = await world.snapshot()
    children = await Supervisor.which_children(world.endpoint)
    client = await world.connect() if row.connects else None
    try:
        if client is not None and row.joins:
            await client.join(ROOM, row.params)
        await row.act(Visit(world, client))
        frames, end = await _read(row, client)
        if row.reason is not LIVES:
            await world.until_left("ada")
        observed = Observed(
            world.reasons_of("ada"), world.terminated_of("ada"), frames, end, in_the_end=[]
        )
    finally:
        if client is not None:
            client.close()
    if row.stops_server:
        await until(lambda: not is_alive(world.endpoint), "the endpoint to end")
        await until(lambda: len(processes()) == 2, "all but the block and the watcher to end")
    else:
        await world.settle(before)
        assert await Supervisor.which_children(world.endpoint) == children
        assert await bystander.ask("1", OTHER_ROOM, "echo", {"still": "here"}) == {
            "status": "ok",
            "response": {"still": "here"},
        }
        assert world.reasons_of("bystander") == []
        await world.check_untouched()
        await world.settle(before)
    if row.reason is LIVES:
        await world.until_left("ada")
    observed.in_the_end = world.reasons_of("ada")
    return observed


async def _read(row: Row, client: Client | None) -> tuple[list[Frame], Closed | Gone | str | None]:
    if client is None or row.end == UNSEEN:
        return [], UNSEEN
    if row.end is None:
        # The server has done its part of the row when it has answered, so long as it goes on to
        # take what came before in order; what comes of it may take one turn more.
        frames = await client.sync()
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked(0.001)
            frames += await client.sync()
        return frames, None
    *frames, end = await client.receive_until_end()
    assert isinstance(end, (Closed, Gone))
    return frames, end


# -- acts -----------------------------------------------------------------------------------------


def says(*message: object) -> Act:
    async def act(visit: Visit) -> None:
        await visit.client.say(*message)

    return act


def sends(data: bytes) -> Act:
    async def act(visit: Visit) -> None:
        await visit.client.send(data)

    return act


def runs(deed: Deed) -> Act:
    """Have the channel do a deed in `handle_in`."""

    async def act(visit: Visit) -> None:
        await visit.run(deed)

    return act


def told(deed: Deed) -> Act:
    """Have the channel do a deed in `handle_info`."""

    async def act(visit: Visit) -> None:
        visit.world.deed = deed
        visit.world.tell("ada")

    return act


def returns(value: object) -> Deed:
    async def deed(_: Witness) -> object:
        return value

    return deed


def raises(error: BaseException) -> Deed:
    async def deed(_: Witness) -> object:
        raise error

    return deed


def signals(reason: Reason) -> Act:
    """Send the channel an exit signal, from outside."""

    async def act(visit: Visit) -> None:
        exit_signal(visit.channel, reason)

    return act


def signals_connection(reason: Reason) -> Act:
    async def act(visit: Visit) -> None:
        exit_signal(visit.connection, reason)

    return act


async def ends_with(reason: Reason) -> None:
    raise ProcessExit(reason)


def links_to_one_that_ends(reason: Reason) -> Deed:
    async def deed(_: Witness) -> None:
        link(spawn(ends_with, reason))

    return deed


async def client_fin(visit: Visit) -> None:
    visit.client.fin()


async def client_reset(visit: Visit) -> None:
    visit.client.reset()


async def client_killed(visit: Visit) -> None:
    """Have another program connect and join, and kill it."""
    victim = await trio.lowlevel.open_process(
        [sys.executable, "-I", "-S", "-c", VICTIM, str(visit.world.port), ROOM],
        stdin=-3,
        stdout=-1,
    )
    try:
        assert victim.stdout is not None
        with trio.fail_after(5):
            assert (await victim.stdout.receive_some(64)).startswith(b"joined")
        assert is_alive(visit.channel)
    finally:
        victim.kill()
        await victim.wait()
        if victim.stdout is not None:
            await victim.stdout.aclose()


VICTIM: Final = """
import socket, sys
port, topic = int(sys.argv[1]), sys.argv[2]
sock = socket.create_connection(("127.0.0.1", port))
sock.sendall(
    b"GET /socket/websocket?vsn=2.0.0&who=ada HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n"
    b"Connection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
    b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==\\r\\n\\r\\n"
)
received = b""
while b"\\r\\n\\r\\n" not in received:
    received += sock.recv(65536)
message = b'["1","1","%s","phx_join",{}]' % topic.encode()
sock.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
while b"phx_reply" not in received:
    received += sock.recv(65536)
print("joined", flush=True)
while sock.recv(65536):
    pass
"""


async def silence(visit: Visit) -> None:
    """Say nothing; but the server goes on to push, which must not count."""
    for n in range(4):
        await trio.sleep(IDLE / 4)
        if is_alive(visit.channel):
            visit.world.deed = _pushes({"n": n})
            visit.world.tell("ada")


def _pushes(payload: object) -> Deed:
    async def deed(channel: Witness) -> None:
        channel.push("said", payload)

    return deed


def says_now_and_then(piece: bytes, times: int) -> Act:
    """Send something a few times, with less than the idle time-out in between."""

    async def act(visit: Visit) -> None:
        for _ in range(times):
            await trio.sleep(IDLE * 0.5)
            await visit.client.send(piece)

    return act


async def partial_frame_then_silence(visit: Visit) -> None:
    """Send a frame byte by byte: any byte is a sign of life; then stop in the middle of it."""
    data = text(["1", "2", ROOM, "echo", {}])
    for n in range(3):
        await trio.sleep(IDLE * 0.5)
        await visit.client.send(data[n : n + 1])
    assert is_alive(visit.channel)


async def disconnect(visit: Visit) -> None:
    visit.world.hub.broadcast("user:ada", "disconnect", {})


async def other_event_on_id(visit: Visit) -> None:
    visit.world.hub.broadcast("user:ada", "poke", {})
    visit.world.hub.broadcast(ROOM, "disconnect", {})


async def handle_out_raises(visit: Visit) -> None:
    visit.world.deed = raises(RuntimeError("on purpose"))
    visit.world.hub.broadcast(ROOM, "run", {})


async def handle_out_stops(visit: Visit) -> None:
    visit.world.deed = returns(Stop(Shutdown("detail")))
    visit.world.hub.broadcast(ROOM, "run", {})


async def handle_cast_raises(visit: Visit) -> None:
    visit.world.deed = raises(RuntimeError("on purpose"))
    cast_to(visit.channel, "run")


async def handle_cast_stops(visit: Visit) -> None:
    visit.world.deed = returns(Stop("normal"))
    cast_to(visit.channel, "run")


async def handle_call_raises(visit: Visit) -> None:
    visit.world.deed = raises(RuntimeError("on purpose"))
    spawn(_asks, visit.channel)


async def handle_call_stops(visit: Visit) -> None:
    visit.world.deed = returns(Stop("normal", reply=7))
    assert await call(visit.channel, "run") == 7


async def _asks(channel: Pid) -> None:
    try:
        await call(channel, "run")
    except Exception:
        return
    raise AssertionError("the call was answered")


async def handle_continue_raises(visit: Visit) -> None:
    async def deed(channel: Witness) -> object:
        channel.world.deed = raises(RuntimeError("on purpose"))
        return Continue(None)

    visit.world.deed = deed
    visit.world.tell("ada")


async def stops_in_its_sleep(channel: Witness) -> object:
    """Crash in a nursery of its own: a group with one leaf counts as the leaf."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise RuntimeError("on purpose")


async def overflow(visit: Visit) -> None:
    """Have more sent to a client than it takes."""

    async def deed(channel: Witness) -> None:
        for n in range(4000):
            channel.push("said", {"n": n, "text": "x" * 4000})

    visit.world.deed = deed
    visit.world.tell("ada")
    await visit.world.until_left("ada")


async def overflow_without_reading(visit: Visit) -> None:
    """Do the same with a client whose buffer is small."""
    small = await visit.world.join("ada", buffer=4096)
    try:
        await overflow(visit)
    finally:
        small.close()


def busy_then(leave: Act, *, expect: Callable[[World], bool] | None = None) -> Act:
    """Leave while `handle_in` runs, which has to come to its end first."""

    async def act(visit: Visit) -> None:
        finished: list[str] = []

        async def deed(channel: Witness) -> object:
            await channel.world.hold(channel)
            finished.append("handle_in")
            return Ok()

        await visit.run(deed)
        await visit.world.busy.wait()
        await leave(visit)
        await until(lambda: not is_alive(visit.connection), "the connection to end")
        await trio.testing.wait_all_tasks_blocked()
        assert is_alive(visit.channel)
        assert visit.world.reasons_of("ada") == []
        visit.world.gate.set()
        await visit.world.until_left("ada")
        assert finished == ["handle_in"]

    return act


def joining_then(leave: Act) -> Act:
    """Leave while `join` runs, which has to come to its end first."""

    async def act(visit: Visit) -> None:
        finished: list[str] = []

        async def deed(channel: Witness) -> None:
            await channel.world.hold(channel)
            finished.append("join")

        visit.world.join_deed = deed
        await visit.client.say("1", "1", ROOM, "phx_join", {"run": True})
        await visit.world.busy.wait()
        await leave(visit)
        await until(lambda: not is_alive(visit.connection), "the connection to end")
        await trio.testing.wait_all_tasks_blocked()
        assert is_alive(visit.channel)
        assert visit.world.reasons_of("ada") == []
        visit.world.gate.set()
        await visit.world.until_left("ada")
        assert finished == ["join"]

    return act


def joins_with(deed: Deed) -> Act:
    async def act(visit: Visit) -> None:
        visit.world.join_deed = deed
        await visit.client.say("1", "1", ROOM, "phx_join", {"run": True})

    return act


async def killed_while_joining(visit: Visit) -> None:
    visit.world.join_deed = visit.world.hold
    await visit.client.say("1", "1", ROOM, "phx_join", {"run": True})
    await visit.world.busy.wait()
    exit_signal(visit.channel, "kill")


def joins_anew(params: dict[str, object], *, join_ref: str = "9") -> Act:
    """Join the topic a second time, as somebody whose leave is not counted."""

    async def act(visit: Visit) -> None:
        old = visit.channel
        await visit.client.say(join_ref, join_ref, ROOM, "phx_join", {"who": "ada again", **params})
        await visit.world.until_left("ada")
        assert not is_alive(old)

    return act


async def joins_anew_while_busy(visit: Visit) -> None:
    """Join a second time while `handle_in` runs: it is cut short."""
    await visit.run(visit.world.hold)
    await visit.world.busy.wait()
    await joins_anew({})(visit)


async def joins_anew_and_is_refused(visit: Visit) -> None:
    visit.world.join_deed = returns(Error({"no": 1}))
    await joins_anew({"run": True})(visit)


async def joins_anew_over_one_that_obeys(visit: Visit) -> None:
    """Join a second time where the first channel traps exits, and stops as it is told."""

    async def deed(channel: Witness) -> None:
        trap_exit()
        channel.world.busy.set()

    async def obey(message: Any) -> Any:
        match message:
            case Exit(_, reason):
                return Stop(reason)
            case _:
                return None

    async def set_up(channel: Witness) -> None:
        await deed(channel)
        channel.handle_info = obey  # type: ignore[method-assign]

    await visit.run(set_up)
    await visit.world.busy.wait()
    await joins_anew({})(visit)


async def stop_server(visit: Visit) -> None:
    await stop(visit.world.endpoint, "shutdown")


async def stop_busy_server(visit: Visit) -> None:
    await visit.run(visit.world.hold)
    await visit.world.busy.wait()
    await stop_server(visit)


async def stop_server_that_is_busy_for_a_while(visit: Visit) -> None:
    """Stop the server while a channel that traps exits is busy, but not for long."""

    async def deed(channel: Witness) -> None:
        trap_exit()
        channel.world.busy.set()
        await trio.sleep(0.1)

    await visit.run(deed)
    await visit.world.busy.wait()
    await stop_server(visit)


async def stop_server_during_a_join(visit: Visit) -> None:
    visit.world.join_deed = visit.world.hold
    await visit.client.say("1", "1", ROOM, "phx_join", {"run": True})
    await visit.world.busy.wait()
    await stop_server(visit)


async def stop_server_over_a_slow_terminate(visit: Visit) -> None:
    """Stop the server while a channel takes its time to clean up: it is cut short."""

    async def deed(channel: Witness) -> object:
        terminate = channel.terminate

        async def slow(reason: Reason) -> None:
            await terminate(reason)
            await trio.sleep_forever()

        channel.terminate = slow  # type: ignore[method-assign]
        return Ok("set")

    visit.world.deed = deed
    assert (await visit.client.ask("1", ROOM, "run"))["response"] == "set"
    await stop_server(visit)


async def two_messages_in_one_packet(visit: Visit) -> None:
    """Leave and close in one go: the leave was first."""
    leave = text(["1", "2", ROOM, "phx_leave", {}])
    await visit.client.send(leave + close_frame(1000))


async def kill_and_close(visit: Visit) -> None:
    """Kill the channel in the very moment in which its client closes."""
    await visit.client.send(close_frame(1001))
    exit_signal(visit.channel, "kill")


async def sends_garbage_while_busy(visit: Visit) -> None:
    """Send what is no message while `handle_in` runs, which comes to its end first."""
    await busy_then(sends(text("junk")))(visit)


def terminate_raises(act: Act) -> Act:
    """Let `terminate` fail, whatever it is called for."""

    async def with_failure(visit: Visit) -> None:
        async def deed(channel: Witness) -> object:
            terminate = channel.terminate

            async def fails(reason: Reason) -> None:
                await terminate(reason)
                raise LookupError("terminate, on purpose")

            channel.terminate = fails  # type: ignore[method-assign]
            return Ok("set")

        visit.world.deed = deed
        assert (await visit.client.ask("1", ROOM, "run"))["response"] == "set"
        await act(visit)

    return with_failure


# -- the table ------------------------------------------------------------------------------------

LEAVE: Final = says("1", "2", ROOM, "phx_leave", {})
REASONS: Final[tuple[tuple[str, Reason], ...]] = (
    ("normal", "normal"),
    ("shutdown", "shutdown"),
    ("Shutdown(detail)", Shutdown("detail")),
    ("other", "other"),
)

SAID = [["1", None, ROOM, "said", {"n": n}] for n in range(4)]

# RFC 6455, section 7.4; what Bandit answers 1000 to, and what 1002.
GOOD_CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999)
OTHER_CODES: Final = (1012, 1013)
BAD_CODES: Final = (0, 999, 1004, 1005, 1006, 1014, 1015, 2000, 2999)

MALFORMED: Final = {
    "text that is no JSON": text("junk"),
    "empty text": text(""),
    "JSON that is cut off": text('["1","2","room:a","echo",'),
    "a JSON number": text("42"),
    "a JSON null": text("null"),
    "a JSON object": text({"topic": ROOM, "event": "echo", "payload": {}, "ref": "2"}),
    "an empty array": text([]),
    "an array of four": text(["1", "2", ROOM, "echo"]),
    "NaN": text('["1","2","room:a","echo",NaN]'),
    "nesting beyond measure": text("[" * 2000 + "]" * 2000),
    "a join of an object": text(["1", "2", {"a": 1}, "phx_join", {}]),
    "an empty binary message": frame(BINARY),
    "binary junk": frame(BINARY, bytes(range(7, 90))),
    "a binary message of another kind": frame(BINARY, b"\x01\x01\x01\x06\x0412room:aecho"),
    "binary sizes beyond the frame": frame(BINARY, b"\x00\xff\xff\xff\xffabc"),
    "binary fields that are not UTF-8": frame(BINARY, b"\x00\x01\x01\x01\x01\xff\xff\xff\xff"),
}

VIOLATIONS: Final = {
    "no mask": frame(TEXT, b"[]", mask=False),
    "an RSV bit": frame(TEXT, b"[]", rsv=4),
    "an opcode that is none": frame(0x3, b"[]"),
    "a continuation of nothing": frame(0x0, b"[]"),
    "a message within a message": frame(TEXT, b"[", fin=False) + frame(TEXT, b"]"),
    "a ping in fragments": frame(PING, b"p", fin=False),
    "a ping of 126 bytes": frame(PING, b"p" * 126),
}

SHORT = Options(timeout=IDLE)


def rows() -> list[Row]:
    """Return the whole table."""
    return [
        *_rows_of_the_client(),
        *_rows_of_silence(),
        *_rows_of_bad_input(),
        *_rows_of_callbacks(),
        *_rows_of_signals(),
        *_rows_of_joins(),
        *_rows_of_the_server(),
    ]


def _rows_of_the_client() -> list[Row]:
    gone = {"reason": Shutdown("local_closed"), "terminate": True}
    lost = {"reason": Shutdown("peer_closed"), "terminate": True}
    table = [
        Row(
            name="leave",
            act=LEAVE,
            reason=Shutdown("left"),
            terminate=True,
            frames=(REPLY_OK, CLOSE),
        ),
        Row(
            name="leave with another join's ref",
            act=says("0", "2", ROOM, "phx_leave", {}),
            reason=LIVES,
            terminate=False,
        ),
        Row(
            name="leave with a join ref of null",
            act=says(None, "2", ROOM, "phx_leave", {}),
            reason=Shutdown("left"),
            terminate=True,
            frames=(REPLY_OK, CLOSE),
        ),
        Row(
            name="leave and close in one packet",
            act=two_messages_in_one_packet,
            reason=Shutdown("left"),
            terminate=True,
            maybe=(REPLY_OK, CLOSE),
            end=Closed(1000),
        ),
        Row(
            name="leave, and terminate raises",
            act=terminate_raises(says("1", "2", ROOM, "phx_leave", {})),
            reason=CrashOf(LookupError),
            terminate=True,
            frames=(REPLY_OK, CLOSE),
        ),
        *(
            Row(name=f"close frame: {code}", act=sends(close_frame(code)), end=Closed(1000), **gone)
            for code in GOOD_CODES
        ),
        *(
            Row(name=f"close frame: {code}", act=sends(close_frame(code)), end=Closed(1002), **gone)
            for code in OTHER_CODES
        ),
        Row(
            name="close frame: without a code",
            act=sends(close_frame(None)),
            end=Closed(1000),
            **gone,
        ),
        *(
            Row(
                name=f"close frame that must not be sent: {code}",
                act=sends(close_frame(code)),
                end=Closed(1002),
                **gone,
            )
            for code in BAD_CODES
        ),
        Row(
            name="close frame that must not be sent: half a code",
            act=sends(frame(0x8, b"\x03")),
            end=Closed(1002),
            **gone,
        ),
        Row(
            name="close frame, then at once a reset",
            act=_close_and_reset,
            end=UNSEEN,
            reason=(Shutdown("local_closed"), Shutdown("peer_closed")),
            terminate=True,
        ),
        Row(
            name="close frame, and terminate raises",
            act=terminate_raises(sends(close_frame(1001))),
            reason=CrashOf(LookupError),
            terminate=True,
            end=Closed(1000),
        ),
        Row(name="FIN without a close frame", act=client_fin, end=Gone("eof"), **lost),
        Row(name="RST", act=client_reset, end=UNSEEN, **lost),
        Row(
            name="RST with unread frames on the way",
            act=_reset_under_fire,
            end=UNSEEN,
            **lost,
        ),
        Row(name="half a frame, then FIN", act=_half_a_frame_and_fin, end=Gone("eof"), **lost),
        Row(name="client killed (SIGKILL)", act=client_killed, connects=False, end=UNSEEN, **lost),
        Row(
            name="close frame while handle_in runs",
            act=busy_then(sends(close_frame(1000))),
            end=Closed(1000),
            **gone,
        ),
        Row(name="FIN while handle_in runs", act=busy_then(client_fin), end=Gone("eof"), **lost),
        Row(name="RST while handle_in runs", act=busy_then(client_reset), end=UNSEEN, **lost),
        Row(
            name="close frame while join runs",
            act=joining_then(sends(close_frame(1000))),
            joins=False,
            end=Closed(1000),
            **gone,
        ),
        Row(
            name="FIN while join runs",
            act=joining_then(client_fin),
            joins=False,
            end=Gone("eof"),
            **lost,
        ),
        Row(
            name="RST while join runs",
            act=joining_then(client_reset),
            joins=False,
            end=UNSEEN,
            **lost,
        ),
        Row(
            name="more is sent than it reads",
            act=overflow_without_reading,
            connects=False,
            end=UNSEEN,
            reason=Shutdown("slow_consumer"),
            terminate=True,
            slow=True,
        ),
    ]
    return table


async def _close_and_reset(visit: Visit) -> None:
    await visit.client.send(close_frame(1000))
    visit.client.reset()


async def _reset_under_fire(visit: Visit) -> None:
    async def deed(channel: Witness) -> None:
        for n in range(20):
            channel.push("said", {"n": n})

    await visit.run(deed)
    await visit.client.receive()
    visit.client.reset()
    visit.world.tell("ada")


async def _half_a_frame_and_fin(visit: Visit) -> None:
    await visit.client.send(text(["1", "2", ROOM, "echo", {}])[:9])
    visit.client.fin()


def _rows_of_silence() -> list[Row]:
    return [
        Row(
            name="silence, while the server pushes",
            act=silence,
            reason=Shutdown("read_timeout"),
            terminate=True,
            frames=tuple(SAID[:3]),
            end=Closed(1002),
            options=SHORT,
            slow=True,
        ),
        Row(
            name="silence in the middle of a frame",
            act=partial_frame_then_silence,
            reason=Shutdown("read_timeout"),
            terminate=True,
            end=Closed(1002),
            options=SHORT,
            slow=True,
        ),
        Row(
            name="nothing but pings",
            act=says_now_and_then(frame(PING, b"!"), 3),
            reason=LIVES,
            terminate=False,
            options=SHORT,
            slow=True,
        ),
        Row(
            name="nothing but pongs",
            act=says_now_and_then(frame(0xA), 3),
            reason=LIVES,
            terminate=False,
            options=SHORT,
            slow=True,
        ),
    ]


def _rows_of_bad_input() -> list[Row]:
    malformed = {"reason": CrashOf(ProtocolError), "terminate": True, "end": Closed(1011)}
    oversized = {
        "reason": Shutdown(("deserializing", "max_frame_size_exceeded")),
        "terminate": True,
        "end": Closed(1009),
    }
    not_utf8 = {
        "reason": "received a text frame that is not UTF-8",
        "terminate": True,
        "end": Closed(1007),
    }
    large = text(["1", "2", ROOM, "echo", {"x": "y" * 5000}])
    return [
        *(
            Row(name=f"malformed: {what}", act=sends(data), **malformed)
            for what, data in MALFORMED.items()
        ),
        Row(name="malformed, while handle_in runs", act=sends_garbage_while_busy, **malformed),
        Row(name="a frame that is too large", act=sends(large), **oversized),
        Row(name="the head of a frame that is too large", act=sends(large[:8]), **oversized),
        Row(
            name="fragments that are too large together",
            act=sends(
                frame(TEXT, b"[" + b" " * 3000, fin=False) + frame(0x0, b" " * 3000, fin=False)
            ),
            **oversized,
        ),
        Row(name="text that is not UTF-8", act=sends(frame(TEXT, b'["\xff\xfe"]')), **not_utf8),
        Row(
            name="text that ends within a character",
            act=sends(frame(TEXT, '["é'.encode()[:-1])),
            **not_utf8,
        ),
        *(
            Row(
                name=f"against RFC 6455: {what}",
                act=sends(data),
                reason=Deserializing(),
                terminate=True,
                end=Closed(1002),
            )
            for what, data in VIOLATIONS.items()
        ),
    ]


def _rows_of_callbacks() -> list[Row]:
    boom = RuntimeError("on purpose")
    crash = {"reason": CrashOf(RuntimeError), "terminate": True, "frames": (ERROR,)}
    bad = {"reason": CrashOf(BadReturnValue), "terminate": True, "frames": (ERROR,)}
    unknown = {"reason": CrashOf(UnexpectedRequest), "terminate": True, "frames": (ERROR,)}
    unsendable = {"reason": CrashOf(PayloadError), "terminate": True, "frames": (ERROR,)}
    table = [
        Row(name="handle_in raises", act=runs(raises(boom)), **crash),
        Row(name="handle_info raises", act=told(raises(boom)), **crash),
        Row(name="handle_out raises", act=handle_out_raises, **crash),
        Row(name="handle_cast raises", act=handle_cast_raises, **crash),
        Row(name="handle_call raises", act=handle_call_raises, **crash),
        Row(name="handle_continue raises", act=handle_continue_raises, **crash),
        Row(name="a nursery in handle_in raises", act=runs(stops_in_its_sleep), **crash),
        Row(
            name="handle_in raises, and so does terminate",
            act=terminate_raises(runs(raises(boom))),
            reason=CrashOf(LookupError),
            terminate=True,
            frames=(ERROR,),
        ),
        Row(name="an event without a handler", act=says("1", "2", ROOM, "what", {}), **unknown),
        Row(name="a phx_close of the client", act=says("1", "2", ROOM, "phx_close", {}), **unknown),
        Row(
            name="an event that is no string",
            act=says("1", "2", ROOM, 7, {}),
            reason=CrashOf(TypeError),
            terminate=True,
            frames=(ERROR,),
        ),
        Row(name="handle_in returns nonsense", act=runs(returns("nonsense")), **bad),
        Row(name="handle_info returns nonsense", act=told(returns("nonsense")), **bad),
        Row(name="handle_info returns a reply", act=told(returns(Ok())), **bad),
        Row(
            name="handle_in stops with a reply that is none",
            act=runs(returns(Stop("normal", reply="nonsense"))),
            **bad,
        ),
        Row(name="a push of no object", act=runs(_pushes([1])), **unsendable),
        Row(name="a push of what JSON lacks", act=runs(_pushes({"x": {1, 2}})), **unsendable),
        Row(name="a reply of what JSON lacks", act=runs(returns(Ok(float("nan")))), **unsendable),
    ]
    for name, reason in REASONS:
        told_of = ERROR if reason == "other" else CLOSE
        common = {"reason": reason, "terminate": True}
        table += [
            Row(
                name=f"handle_in stops: {name}",
                act=runs(returns(Stop(reason))),
                frames=(told_of,),
                **common,
            ),
            Row(
                name=f"handle_in stops with a reply: {name}",
                act=runs(returns(Stop(reason, reply=Ok()))),
                frames=(REPLY_OK, told_of),
                **common,
            ),
            Row(
                name=f"handle_info stops: {name}",
                act=told(returns(Stop(reason))),
                frames=(told_of,),
                **common,
            ),
            Row(
                name=f"ProcessExit in handle_in: {name}",
                act=runs(raises(ProcessExit(reason))),
                frames=(ERROR,),
                **common,
            ),
            Row(
                name=f"ProcessExit in handle_info: {name}",
                act=told(raises(ProcessExit(reason))),
                frames=(ERROR,),
                **common,
            ),
        ]
    table += [
        Row(
            name="handle_out stops: Shutdown(detail)",
            act=handle_out_stops,
            reason=Shutdown("detail"),
            terminate=True,
            frames=(CLOSE,),
        ),
        Row(
            name="handle_cast stops: normal",
            act=handle_cast_stops,
            reason="normal",
            terminate=True,
            frames=(CLOSE,),
        ),
        Row(
            name="handle_call stops: normal",
            act=handle_call_stops,
            reason="normal",
            terminate=True,
            frames=(CLOSE,),
        ),
    ]
    return table


def _rows_of_signals() -> list[Row]:
    cut = {"terminate": False, "frames": (ERROR,)}
    stays = {"reason": LIVES, "terminate": False}
    trapping = {"traps": True}
    return [
        Row(
            name="linked process ends: boom",
            act=runs(links_to_one_that_ends("boom")),
            reason="boom",
            **cut,
        ),
        Row(
            name="linked process ends: shutdown",
            act=runs(links_to_one_that_ends("shutdown")),
            reason="shutdown",
            **cut,
        ),
        Row(
            name="linked process crashes",
            act=runs(_links_to_one_that_crashes),
            reason=CrashOf(ZeroDivisionError),
            **cut,
        ),
        Row(
            name="linked process ends: normal", act=runs(links_to_one_that_ends("normal")), **stays
        ),
        Row(
            name="linked process ends, exits trapped: boom",
            act=runs(links_to_one_that_ends("boom")),
            params=trapping,
            **stays,
        ),
        Row(name="channel killed", act=signals("kill"), reason="killed", **cut),
        Row(
            name="channel killed, exits trapped",
            act=signals("kill"),
            params=trapping,
            reason="killed",
            **cut,
        ),
        Row(name="channel sent shutdown", act=signals("shutdown"), reason="shutdown", **cut),
        Row(name="channel sent boom", act=signals("boom"), reason="boom", **cut),
        Row(
            name="channel sent boom while handle_in runs",
            act=_signalled_while_busy,
            reason="boom",
            **cut,
        ),
        Row(name="channel sent normal", act=signals("normal"), **stays),
        Row(
            name="channel sent boom, exits trapped",
            act=signals("boom"),
            params=trapping,
            **stays,
        ),
        Row(
            name="connection killed",
            act=signals_connection("kill"),
            reason="killed",
            terminate=True,
            end=Gone("eof"),
        ),
        Row(
            name="connection killed while handle_in runs",
            act=busy_then(signals_connection("kill")),
            reason="killed",
            terminate=True,
            end=Gone("eof"),
        ),
        *(
            Row(name=f"connection sent {reason}", act=signals_connection(reason), **stays)
            for reason in ("normal", "shutdown", "boom", "killed")
        ),
        Row(
            name="channel killed as the client closes",
            act=kill_and_close,
            reason=("killed",),
            terminate=False,
            end=Closed(1000),
            maybe=(ERROR,),
        ),
    ]


async def _links_to_one_that_crashes(_: Witness) -> None:
    async def crashes() -> None:
        raise ZeroDivisionError("on purpose")

    link(spawn(crashes))


async def _signalled_while_busy(visit: Visit) -> None:
    await visit.run(visit.world.hold)
    await visit.world.busy.wait()
    exit_signal(visit.channel, "boom")


def _rows_of_joins() -> list[Row]:
    replaced = {"reason": Shutdown("duplicate_join"), "terminate": False}
    fails = {"joins": False, "terminate": False}
    return [
        Row(
            name="joined anew",
            act=joins_anew({}),
            frames=(JOINED_ANEW, CLOSE),
            **replaced,
        ),
        Row(
            name="joined anew with the same ref",
            act=joins_anew({}, join_ref="1"),
            frames=(JOINED, CLOSE),
            **replaced,
        ),
        Row(
            name="joined anew while handle_in runs",
            act=joins_anew_while_busy,
            frames=(JOINED_ANEW, CLOSE),
            **replaced,
        ),
        Row(
            name="joined anew, and that is refused",
            act=joins_anew_and_is_refused,
            frames=(REFUSED_ANEW, CLOSE),
            **replaced,
        ),
        Row(
            name="joined anew, exits trapped and ignored",
            act=joins_anew({}),
            params={"traps": True},
            reason="killed",
            terminate=False,
            frames=(JOINED_ANEW, CLOSE),
        ),
        Row(
            name="joined anew, exits trapped and obeyed",
            act=joins_anew_over_one_that_obeys,
            reason=Shutdown("duplicate_join"),
            terminate=True,
            frames=(JOINED_ANEW, CLOSE),
        ),
        Row(
            name="join refused",
            act=joins_with(returns(Error({"no": 1}))),
            joins=False,
            reason="shutdown",
            terminate=True,
            frames=(JOIN_REFUSED,),
        ),
        Row(
            name="join raises",
            act=joins_with(raises(RuntimeError("on purpose"))),
            reason=CrashOf(RuntimeError),
            frames=(JOIN_CRASHED,),
            **fails,
        ),
        Row(
            name="join returns nonsense",
            act=joins_with(returns("nonsense")),
            reason=CrashOf(BadReturnValue),
            frames=(JOIN_CRASHED,),
            **fails,
        ),
        *(
            Row(
                name=f"ProcessExit in join: {reason}",
                act=joins_with(raises(ProcessExit(reason))),
                reason=reason,
                frames=(JOIN_CRASHED,),
                **fails,
            )
            for reason in ("normal", "shutdown", "other")
        ),
        Row(
            name="join answers what JSON lacks",
            act=joins_with(returns(Ok({"x": object()}))),
            reason=CrashOf(PayloadError),
            frames=(JOIN_CRASHED,),
            **fails,
        ),
        Row(
            name="join pushes too early",
            act=joins_with(_pushes({})),
            reason=CrashOf(_not_joined()),
            frames=(JOIN_CRASHED,),
            **fails,
        ),
        Row(
            name="killed while join runs",
            act=killed_while_joining,
            reason="killed",
            frames=(JOIN_CRASHED,),
            **fails,
        ),
    ]


def _not_joined() -> type[BaseException]:
    from exeunt.channels.channel import NotJoined

    return NotJoined


def _rows_of_the_server() -> list[Row]:
    stops = {"stops_server": True, "end": Closed(1012)}
    return [
        Row(
            name="disconnected by its id",
            act=disconnect,
            reason=Shutdown("disconnected"),
            terminate=True,
            end=Closed(1001),
        ),
        Row(
            name="disconnected by its id while handle_in runs",
            act=busy_then(disconnect),
            reason=Shutdown("disconnected"),
            terminate=True,
            end=Closed(1001),
        ),
        Row(
            name="other events on its id, disconnect on its topic",
            act=other_event_on_id,
            reason=LIVES,
            terminate=False,
            frames=([None, None, ROOM, "disconnect", {}],),
        ),
        Row(
            name="server stops, channel idle",
            act=stop_server,
            reason=Shutdown("draining"),
            terminate=True,
            **stops,
        ),
        Row(
            name="server stops, channel busy",
            act=stop_busy_server,
            reason="shutdown",
            terminate=False,
            **stops,
        ),
        Row(
            name="server stops while join runs",
            act=stop_server_during_a_join,
            joins=False,
            reason="shutdown",
            terminate=False,
            **stops,
        ),
        Row(
            name="server stops, terminate takes its time",
            act=stop_server_over_a_slow_terminate,
            reason="shutdown",
            terminate=True,
            **stops,
        ),
        Row(
            name="server stops, channel busy for a while, exits trapped",
            act=stop_server_that_is_busy_for_a_while,
            reason=Shutdown("draining"),
            terminate=True,
            **stops,
        ),
    ]


def fits(expected: object, reason: Reason) -> bool:
    """Tell whether a reason is the one expected, or one of several."""
    if isinstance(expected, tuple):
        return any(fits(one, reason) for one in expected)
    if isinstance(expected, (CrashOf, Deserializing)):
        return expected.fits(reason)
    return type(reason) is type(expected) and reason == expected


__all__ = ["LIVES", "UNSEEN", "Observed", "Row", "fits", "observe", "rows"]

"""What is done in the rows of the table of disconnects: by a client, in a channel, to a process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Final

import trio
import trio.testing

from exeunt import (
    Continue,
    Exit,
    Pid,
    ProcessExit,
    Reason,
    Shutdown,
    Stop,
    call,
    cast_to,
    is_alive,
    link,
    spawn,
    stop,
    trap_exit,
)
from exeunt import exit as exit_signal
from exeunt.channels import Error, Ok

from .client import close_frame, text
from .row import IDLE, Act, Visit
from .world import ROOM, Deed, Witness, until


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
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
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
            visit.world.deed = pushes({"n": n})
            visit.world.tell("ada")


def pushes(payload: object) -> Deed:
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


def busy_then(leave: Act) -> Act:
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


async def close_and_reset(visit: Visit) -> None:
    await visit.client.send(close_frame(1000))
    visit.client.reset()


async def reset_under_fire(visit: Visit) -> None:
    async def deed(channel: Witness) -> None:
        for n in range(20):
            channel.push("said", {"n": n})

    await visit.run(deed)
    await visit.client.receive()
    visit.client.reset()
    visit.world.tell("ada")


async def half_a_frame_and_fin(visit: Visit) -> None:
    await visit.client.send(text(["1", "2", ROOM, "echo", {}])[:9])
    visit.client.fin()


async def links_to_one_that_crashes(_: Witness) -> None:
    async def crashes() -> None:
        raise ZeroDivisionError("on purpose")

    link(spawn(crashes))


async def signalled_while_busy(visit: Visit) -> None:
    await visit.run(visit.world.hold)
    await visit.world.busy.wait()
    exit_signal(visit.channel, "boom")

"""What strangers do to an open port: nothing that they send, or leave out, does any harm."""

from __future__ import annotations

import logging
import os
import random
import resource

import pytest
import trio
import trio.testing

from exeunt import Shutdown, Supervisor, is_alive, stop
from exeunt.channels import (
    ConnectInfo,
    Limits,
    Params,
    Refused,
    Request,
    Response,
)

from .client import (
    BINARY,
    TEXT,
    Client,
    Closed,
    Gone,
    Refusal,
    close_frame,
    frame,
    text,
    upgrade_request,
)
from .world import ROOM, Options, User, complaints, open_world, until

QUICK = Limits(head_seconds=0.2, body_seconds=0.2, idle_seconds=0.2, linger_seconds=0.1)


async def ends_within(client: Client, within: float) -> bytes:
    """Read until the server has ended the connection; return what it said."""
    said = b""
    with trio.fail_after(within):
        try:
            while data := await client.sock.recv(65536):
                said += data
        except OSError:
            pass
    return said


# -- before there is a WebSocket


async def test_a_connect_and_close_holds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with open_world() as world:
        before = await world.snapshot()
        for number in range(50):
            client = await Client.dial(world.port)
            if number % 2:
                client.reset()
            else:
                client.close()
        await world.settle(before, within=3)
        await world.check_untouched()
    assert complaints(caplog.records) == []


async def test_one_who_connects_and_says_nothing_is_let_go_when_its_time_is_over() -> None:
    async with open_world(Options(limits=QUICK)) as world:
        before = await world.snapshot()
        async with await Client.dial(world.port) as client:
            started = trio.current_time()
            assert await ends_within(client, 2) == b""
            assert trio.current_time() - started < 3
        await world.settle(before)


async def test_a_head_that_trickles_in_is_answered_408_when_its_time_is_over() -> None:
    async with open_world(Options(limits=QUICK)) as world:
        before = await world.snapshot()
        async with await Client.dial(world.port) as client, trio.open_nursery() as nursery:

            async def trickle() -> None:
                for byte in upgrade_request(who="ada"):
                    try:
                        await client.send(bytes((byte,)))
                    except OSError:
                        return
                    await trio.sleep(0.02)

            nursery.start_soon(trickle)
            started = trio.current_time()
            said = await ends_within(client, 2)
            assert said.startswith(b"HTTP/1.1 408 ")
            assert trio.current_time() - started < 3
            nursery.cancel_scope.cancel()
        await world.settle(before)
        await world.check_untouched()


@pytest.mark.parametrize("end", ["fin", "reset"])
async def test_half_a_request_and_then_the_end_holds_nothing(end: str) -> None:
    async with open_world() as world:
        before = await world.snapshot()
        request = upgrade_request(who="ada")
        for size in range(1, len(request), 17):
            client = await Client.dial(world.port)
            await client.send(request[:size])
            if end == "fin":
                client.close()
            else:
                client.reset()
        await world.settle(before, within=3)


async def test_a_reset_right_behind_the_upgrade_holds_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_world() as world:
        before = await world.snapshot()
        for number in range(30):
            client = await Client.dial(world.port)
            await client.send(upgrade_request(who="ada"))
            if number % 3 == 1:
                await client.send(text(["1", "1", ROOM, "phx_join", {}]))
            if number % 3 == 2:
                await trio.testing.wait_all_tasks_blocked()
            client.reset()
        await world.settle(before, within=2)
        assert len(world.left) == len(set(world.left)) <= 30
        await world.check_untouched()
    assert complaints(caplog.records) == []


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # the begin of TLS
        b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        frame(TEXT, b"[]"),
    ],
    ids=lambda junk: repr(junk[:12]),
)
async def test_what_is_no_request_is_answered_or_cut(junk: bytes) -> None:
    async with open_world(Options(limits=QUICK)) as world:
        before = await world.snapshot()
        async with await Client.dial(world.port) as client:
            await client.send(junk)
            said = await ends_within(client, 2)
            assert said == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
        await world.settle(before)
        await world.check_untouched()


@pytest.mark.slow
async def test_random_bytes_at_every_stage_hurt_nobody() -> None:
    dice = random.Random(7)
    async with open_world(Options(limits=QUICK)) as world:
        before = await world.snapshot()
        for number in range(60):
            async with await Client.dial(world.port) as client:
                try:
                    if number % 3:
                        await client.send(upgrade_request(who="ada"))
                        await client.response()
                    if number % 3 == 2:
                        await client.join(ROOM)
                    await client.send(dice.randbytes(dice.randint(1, 3000)))
                except OSError:
                    pass
        await world.settle(before)
        assert len(world.reasons_of("ada")) == 20
        await world.check_untouched()


# -- handlers that raise


class Troubled(User):
    """A socket that fails in whatever way its client asks for."""

    async def connect(self, params: Params, info: ConnectInfo) -> bool | Refused:  # type: ignore[override]
        match params.get("trouble"):
            case "connect":
                raise RuntimeError("connect, on purpose")
            case "nonsense":
                return "yes"  # type: ignore[return-value]
            case "no":
                return False
            case "refused":
                return Refused(429, b"later")
            case "hang":
                self.assigns["world"].busy.set()
                await trio.sleep_forever()
            case trouble:
                self.trouble = trouble
        return await super().connect(params, info)

    def id(self) -> str:
        match self.trouble:
            case "id":
                raise RuntimeError("id, on purpose")
            case "strange id":
                return 7  # type: ignore[return-value]
            case _:
                return super().id()


async def pages(request: Request) -> Response:
    if request.path == "/crash":
        raise RuntimeError("a page, on purpose")
    return Response.text(200, "a page\n")


TROUBLED = Options(kind=Troubled, pages=pages, limits=QUICK)


@pytest.mark.parametrize(
    ("trouble", "status", "is_logged"),
    [
        ("connect", 500, True),
        ("nonsense", 500, True),
        ("id", 500, True),
        ("strange id", 403, False),
        ("no", 403, False),
        ("refused", 429, False),
    ],
)
async def test_a_socket_that_does_not_connect_costs_its_client_alone(
    trouble: str, status: int, is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_world(TROUBLED) as world, await world.join("bystander") as bystander:
        before = await world.snapshot()
        with pytest.raises(Refusal) as refused:
            await world.connect("ada", trouble=trouble)
        assert refused.value.status == status
        assert refused.value.body == (b"later" if status == 429 else b"")
        errors = [one for one in caplog.records if one.levelno >= logging.ERROR]
        assert len(errors) == (1 if is_logged else 0)
        await world.settle(before)
        assert await bystander.sync() == []
        await world.check_untouched()


async def test_a_page_that_raises_costs_its_request_alone() -> None:
    async with open_world(TROUBLED) as world, await world.join("bystander") as bystander:
        before = await world.snapshot()
        async with await Client.dial(world.port) as client:
            await client.send(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
            status, _, _ = await client.response()
            assert status == 500
        async with await Client.dial(world.port) as client:
            await client.send(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
            status, _, body = await client.response()
            assert (status, body) == (200, b"a page\n")
        await world.settle(before)
        assert await bystander.sync() == []


async def test_one_whose_connect_hangs_does_not_hold_up_the_stop() -> None:
    async with open_world(TROUBLED) as world, trio.open_nursery() as nursery:

        async def connect() -> None:
            with pytest.raises((EOFError, OSError)):
                await world.connect("ada", trouble="hang")

        nursery.start_soon(connect)
        await world.busy.wait()
        await world.check_untouched()
        started = trio.current_time()
        await stop(world.endpoint, "shutdown")
        assert trio.current_time() - started < 2


# -- more than it takes


async def test_more_connections_than_are_allowed_are_answered_503() -> None:
    async with open_world(Options(max_connections=3)) as world:
        clients = [await world.join(f"user{number}") for number in range(3)]
        for _ in range(3):
            with pytest.raises(Refusal) as refused:
                await world.connect("late")
            assert refused.value.status == 503
            assert "retry-after: 5" in refused.value.head.lower()
        for client in clients:
            assert await client.sync() == []
        clients.pop().close()
        await until(lambda: len(world.left) == 1, "one to leave")
        await trio.testing.wait_all_tasks_blocked(0.01)
        clients.append(await world.join("late"))
        for client in clients:
            client.close()


@pytest.mark.slow
async def test_a_crowd_before_a_full_house_is_turned_away_and_holds_nothing() -> None:
    """Those who say nothing, and do not even read that there is no place, are let go as well."""
    async with open_world(Options(max_connections=1)) as world:
        first = await world.join()
        before = await world.snapshot()
        crowd = [await Client.dial(world.port) for _ in range(150)]
        for client in crowd[::3]:
            client.reset()
        said = [await ends_within(client, 5) for client in crowd if client.sock.fileno() != -1]
        # Each was told, or cut off where too many were being told.
        assert {one[:13] for one in said} <= {b"HTTP/1.1 503 ", b""}
        assert b"HTTP/1.1 503 " in {one[:13] for one in said}
        for client in crowd:
            client.close()
        await world.settle(before)
        assert await first.sync() == []
        first.close()
        await world.until_left("ada")
        await trio.testing.wait_all_tasks_blocked(0.01)
        await world.check_untouched()


@pytest.mark.slow
async def test_when_files_run_out_clients_wait_and_are_served_later() -> None:
    """Accepting fails for want of file descriptors, and is tried again."""
    async with open_world() as world:
        before = await world.snapshot()
        waiting = [trio.socket.socket() for _ in range(6)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        hogs: list[int] = []
        clients = [Client(sock) for sock in waiting]
        try:
            highest = max(int(one) for one in os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
            try:
                while True:
                    hogs.append(os.dup(0))
            except OSError:
                pass
            for _ in range(2):
                os.close(hogs.pop())
            for sock in waiting:
                await sock.connect(("127.0.0.1", world.port))
            for client in clients:
                await client.send(upgrade_request(who="ada"))
            # Two are accepted; the others wait in the backlog.
            served = [clients[0], clients[1]]
            for client in served:
                assert (await client.response())[0] == 101
            await trio.sleep(0.15)
            assert len(world.served()) == 2
        finally:
            for hog in hogs:
                os.close(hog)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients[2:]:
            assert (await client.response())[0] == 101
        for client in clients:
            await client.join(ROOM)
            client.close()
        await world.settle(before)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1])
async def test_a_message_of_endless_fragments_is_refused(size: int) -> None:
    """Each fragment takes memory, even an empty one."""
    async with open_world(Options(max_frame_size=2000)) as world, await world.join() as client:
        await client.send(frame(TEXT, b"[", fin=False))
        pieces = frame(0x0, b" " * size, fin=False) * 100
        sent = 0
        ended = trio.Event()

        async def read() -> None:
            assert await client.receive_until_end() == [Closed(1009)]
            ended.set()

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                while not ended.is_set() and sent < 20_000:
                    try:
                        await client.send(pieces)
                    except OSError:
                        break
                    sent += 100
                    await trio.lowlevel.checkpoint()
                with trio.move_on_after(1):
                    await ended.wait()
                nursery.cancel_scope.cancel()
        assert sent < 20_000, "it took twenty thousand fragments"
        await world.until_left("ada")


# -- ends that the client does not take part in


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (text("junk"), 1011),
        (frame(TEXT, b"x" * 5000), 1009),
        (frame(TEXT, b"x" * 5000)[:8], 1009),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"[]", mask=False), 1002),
        (frame(BINARY, b"\xff"), 1011),
        (close_frame(1000), 1000),
    ],
    ids=[
        "junk",
        "too large",
        "a head that is too large",
        "bad UTF-8",
        "no mask",
        "binary",
        "close",
    ],
)
async def test_one_who_does_not_answer_the_close_is_cut_off_soon(what: bytes, code: int) -> None:
    async with open_world() as world:
        before = await world.snapshot()
        async with await world.join() as client:
            connection = world.connections["ada"]
            await client.send(what)
            assert await client.receive() == Closed(code)
            # Neither a close frame nor the end of TCP comes from this client.
            started = trio.current_time()
            await until(lambda: not is_alive(connection), "the connection to end")
            assert trio.current_time() - started < 1
            assert isinstance(await client.receive(), Gone)
            # It was told to all at once, not only when the connection had been seen off.
            assert len(world.reasons_of("ada")) == 1
        await world.settle(before)


async def test_one_who_goes_on_talking_after_the_close_is_cut_off_soon() -> None:
    async with open_world() as world:
        before = await world.snapshot()
        async with await world.join() as client:
            connection = world.connections["ada"]
            world.hub.broadcast("user:ada", "disconnect", {})
            number = 0
            with trio.fail_after(2):
                try:
                    while is_alive(connection):
                        await client.say("1", f"e{number}", ROOM, "echo", {})
                        number += 1
                        await trio.sleep(0.002)
                except OSError:
                    pass
            await until(lambda: not is_alive(connection), "the connection to end", 3)
        await world.settle(before)
        assert world.reasons_of("ada") == [Shutdown("disconnected")]


async def test_the_leave_is_told_before_a_silent_client_is_seen_off() -> None:
    """To wait for the answer to a close frame keeps nobody from hearing of the end."""
    async with open_world(Options(close_within=3)) as world, await world.join() as client:
        started = trio.current_time()
        world.hub.broadcast("user:ada", "disconnect", {})
        await world.until_left("ada")
        assert trio.current_time() - started < 2
        assert is_alive(world.connections["ada"])
        client.reset()


# -- the tree above


@pytest.mark.slow
async def test_nothing_that_clients_do_restarts_a_part_of_the_endpoint() -> None:
    async with open_world(TROUBLED) as world:
        children = await Supervisor.which_children(world.endpoint)
        before = await world.snapshot()
        for number in range(20):
            async with await world.join("ada") as client:
                await client.say("1", "2", ROOM, "what", {})
                await client.sync()
                await client.send(text("junk"))
                await client.receive_until_end()
            async with await Client.dial(world.port) as client:
                await client.send(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
                await client.response()
            await world.until_left("ada", number + 1)
        assert await Supervisor.which_children(world.endpoint) == children
        await world.settle(before)

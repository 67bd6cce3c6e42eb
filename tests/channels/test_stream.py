"""The stream beneath HTTP and WebSocket: its out-queue, its reader, and every way it can end."""

from __future__ import annotations

import random
import socket

import pytest
import trio
import trio.testing

from exeunt.channels.stream import ByteStream

from .sockets import stream_and_peer, tcp_pair

FRAME = b"0123456789abcdef" * 64  # 1 KiB


def fill(stream: ByteStream) -> int:
    """Put frames until the socket takes no more, and return how many bytes were put."""
    size = 0
    while not stream.queued_bytes:
        stream.put(FRAME)
        size += len(FRAME)
    return size


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.02)


# -- writing


async def test_what_is_put_arrives_whole_and_in_order() -> None:
    async with stream_and_peer() as (stream, peer):
        for word in (b"one ", b"", b"two ", b"three"):
            stream.put(word)
        assert await peer.receive_exactly(13) == b"one two three"
        assert stream.queued_bytes == 0


async def test_a_stream_that_keeps_up_needs_no_writer() -> None:
    async with stream_and_peer() as (stream, peer):
        asked: list[str] = []
        stream.start_writer = lambda: asked.append("writer")
        for _ in range(100):
            stream.put(FRAME)
            await peer.receive_exactly(len(FRAME))
        assert asked == []


async def test_a_backlog_asks_for_one_writer_which_ends_when_it_is_gone() -> None:
    async with stream_and_peer(buffer=4096) as (stream, peer), trio.open_nursery() as nursery:
        asked: list[str] = []

        def start_writer() -> None:
            asked.append("writer")
            nursery.start_soon(stream.run_writer)

        stream.start_writer = start_writer
        size = fill(stream)
        for _ in range(50):
            stream.put(FRAME)
            size += len(FRAME)
        assert asked == ["writer"]
        await settle()
        assert asked == ["writer"]
        assert stream.queued_bytes > 0
        assert await peer.receive_exactly(size) == FRAME * (size // len(FRAME))
        await settle()
        assert stream.queued_bytes == 0
        assert not nursery.child_tasks
        fill(stream)
        assert asked == ["writer", "writer"]
        nursery.cancel_scope.cancel()


async def test_frames_that_have_gathered_go_out_in_one_write() -> None:
    writes: list[int] = []

    class CountingSocket(socket.socket):
        def sendmsg(self, buffers, *args):  # type: ignore[no-untyped-def]
            done = super().sendmsg(buffers, *args)
            writes.append(done)
            return done

    with tcp_pair() as (sock, other):
        stream = ByteStream(CountingSocket(fileno=sock.detach()))
        size = fill(stream)
        for _ in range(300):
            stream.put(b"x" * 100)
        other.setblocking(False)
        received = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.drain)
            while received < size + 30_000:
                await trio.lowlevel.wait_readable(other)
                received += len(other.recv(1 << 20))
        assert len(writes) < 100
        stream.abort()


async def test_a_put_never_waits_for_a_peer_that_does_not_read() -> None:
    async with stream_and_peer(buffer=4096, max_queued=10_000) as (stream, _):
        fill(stream)
        stream.put(b"more")
        assert stream.state == "open"
        assert stream.queued_bytes <= 10_000


async def test_a_queue_over_its_bound_overflows_once_and_is_dropped() -> None:
    async with stream_and_peer(buffer=4096, max_queued=10_000) as (stream, _):
        overflows: list[int] = []
        stream.on_overflow = lambda: overflows.append(stream.queued_bytes)
        fill(stream)
        queued = stream.queued_bytes
        stream.put(b"x" * (10_000 - queued))
        assert (stream.state, stream.queued_bytes) == ("open", 10_000)
        stream.put(b"y")
        assert (stream.state, stream.queued_bytes, overflows) == ("overflowed", 0, [0])
        stream.put(FRAME)
        stream.put(FRAME)
        assert overflows == [0]
        assert stream.statistics().dropped_puts == 2
        with pytest.raises(trio.BrokenResourceError, match="overflowed"):
            await stream.send_all(b"z")
        with trio.fail_after(1):
            await stream.drain()


async def test_a_writer_that_waits_ends_when_the_queue_overflows_and_is_aborted() -> None:
    async with stream_and_peer(buffer=4096, max_queued=10_000) as (stream, _):
        stream.on_overflow = stream.abort
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                fill(stream)
                nursery.start_soon(stream.run_writer)
                nursery.start_soon(stream.drain)
                await settle()
                stream.put(b"x" * 10_000)
        assert stream.state == "closed"


async def test_a_put_to_a_peer_that_is_gone_breaks_the_stream_and_raises_nothing() -> None:
    async with stream_and_peer() as (stream, peer):
        peer.reset()
        with trio.fail_after(1):
            while stream.state == "open":
                stream.put(FRAME)
                await trio.lowlevel.checkpoint()
        assert stream.state == "broken"
        stream.put(FRAME)
        assert isinstance(stream.broken_by, OSError)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(FRAME)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.drain()


async def test_send_all_is_either_sent_whole_or_cancelled_before() -> None:
    async with stream_and_peer() as (stream, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.send_all(b"never")
        assert scope.cancelled_caught
        await stream.send_all(bytearray(b"sent"))
        await stream.wait_send_all_might_not_block()
        assert await peer.receive_exactly(4) == b"sent"


async def test_cancelled_writers_leave_the_bytes_whole_and_in_order() -> None:
    dice = random.Random(7)
    async with stream_and_peer(buffer=4096) as (stream, peer):
        sent = bytearray()
        received = bytearray()

        async def read() -> None:
            while len(received) < 400_000:
                received.extend(await peer.stream.receive_some(dice.randrange(1, 20_000)))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                while len(sent) < 400_000:
                    frame = dice.randbytes(min(dice.randrange(1, 30_000), 400_000 - len(sent)))
                    sent += frame
                    stream.put(frame)
                    with trio.move_on_after(dice.random() * 0.002):
                        await stream.drain()
                await stream.drain()
        assert stream.state == "open"
        assert received == sent


async def test_a_drain_takes_over_when_the_writer_is_cancelled() -> None:
    async with stream_and_peer(buffer=4096) as (stream, peer), trio.open_nursery() as nursery:
        size = fill(stream)
        scope = trio.CancelScope()

        async def writer() -> None:
            with scope:
                await stream.run_writer()

        nursery.start_soon(writer)
        await settle()
        nursery.start_soon(stream.drain)
        await settle()
        scope.cancel()
        assert await peer.receive_exactly(size) == FRAME * (size // len(FRAME))


# -- reading


async def test_reading_notes_when_bytes_last_came() -> None:
    async with stream_and_peer() as (stream, peer):
        before = stream.last_received
        await trio.sleep(0.02)
        await peer.send(b"hello")
        assert await stream.receive_some() == b"hello"
        assert stream.last_received >= before + 0.02
        noted = stream.last_received
        await trio.sleep(0.02)
        stream.unread(b"again")
        assert await stream.receive_some() == b"again"
        assert stream.last_received == noted


async def test_what_is_pushed_back_is_replayed_first_and_in_order() -> None:
    async with stream_and_peer() as (stream, peer):
        await peer.send(b"later")
        stream.unread(b"second")
        stream.unread(b"first ")
        assert await stream.receive_some(6) == b"first "
        assert await stream.receive_some(3) == b"sec"
        assert await stream.receive_some() == b"ond"
        assert await stream.receive_some() == b"later"


async def test_one_read_is_bounded() -> None:
    async with stream_and_peer() as (stream, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, b"x" * 500_000)
        total = 0
        while total < 500_000:
            data = await stream.receive_some(1_000_000)
            assert 0 < len(data) <= 65536
            total += len(data)
        await peer.send(b"abcdef")
        assert await stream.receive_some(1) == b"a"
        with pytest.raises(ValueError, match="at least 1"):
            await stream.receive_some(0)


async def test_an_end_reads_as_empty_and_a_reset_as_broken() -> None:
    async with stream_and_peer() as (stream, peer):
        await peer.send(b"last words")
        peer.fin()
        ends = [stream.has_ended]
        assert await stream.receive_some() == b"last words"
        ends.append(stream.has_ended)
        assert await stream.receive_some() == b""
        assert await stream.receive_some() == b""
        assert [*ends, stream.has_ended] == [False, False, True]
        stream.put(b"the other way is still open")
        assert await peer.receive() == b"the other way is still open"
    async with stream_and_peer() as (stream, peer):
        peer.reset()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert stream.state == "broken"


async def test_a_cancelled_read_loses_nothing() -> None:
    async with stream_and_peer() as (stream, peer):
        with trio.move_on_after(0.01) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        await peer.send(b"kept")
        await settle()
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive_some()
        assert scope.cancelled_caught
        assert await stream.receive_some() == b"kept"


async def test_every_read_lets_others_run() -> None:
    async with stream_and_peer() as (stream, peer):
        await peer.send(b"abc")
        stream.unread(b"xyz")
        for _ in range(6):
            with trio.testing.assert_checkpoints():
                await stream.receive_some(1)
        peer.fin()
        await settle()
        with trio.testing.assert_checkpoints():
            await stream.receive_some(1)
        with trio.testing.assert_checkpoints():
            await stream.drain()
        with trio.testing.assert_checkpoints():
            await stream.send_all(b"x")
        with trio.testing.assert_checkpoints():
            await stream.aclose()


# -- closing


async def test_closing_wakes_a_reader_and_ends_a_writer() -> None:
    async with stream_and_peer(buffer=4096) as (stream, _):
        woken: list[str] = []

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()
            woken.append("reader")

        async def write() -> None:
            await stream.run_writer()
            woken.append("writer")

        async def drain() -> None:
            await stream.drain()
            woken.append("drain")

        fill(stream)
        async with trio.open_nursery() as nursery:
            for task in (read, write, drain):
                nursery.start_soon(task)
            await settle()
            await stream.aclose()
        assert sorted(woken) == ["drain", "reader", "writer"]


async def test_a_closed_stream_drops_puts_and_refuses_the_rest() -> None:
    async with stream_and_peer() as (stream, peer):
        stream.unread(b"forgotten")
        stream.abort()
        stream.abort()
        await stream.aclose()
        stream.put(b"dropped")
        assert stream.state == "closed"
        for call in (stream.receive_some, lambda: stream.send_all(b"x")):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        await stream.drain()
        await stream.close_after_drain(1)
        assert await peer.receive() == b""


async def test_close_after_drain_delivers_the_queue_and_then_the_end() -> None:
    async with stream_and_peer(buffer=4096) as (stream, peer), trio.open_nursery() as nursery:
        size = fill(stream)
        nursery.start_soon(stream.close_after_drain, 5)
        assert await peer.receive_all() == FRAME * (size // len(FRAME))
    assert stream.state == "closed"


async def test_close_after_drain_gives_up_on_a_peer_that_does_not_read() -> None:
    async with stream_and_peer(buffer=4096) as (stream, _):
        fill(stream)
        start = trio.current_time()
        await stream.close_after_drain(0.1, linger=True)
        assert 0.1 <= trio.current_time() - start < 1
        assert stream.state == "closed"


async def test_lingering_lets_a_peer_that_is_still_sending_read_the_last_word() -> None:
    async with stream_and_peer() as (stream, peer), trio.open_nursery() as nursery:
        await peer.send(b"x" * 100_000)
        stream.put(b"too much")
        nursery.start_soon(lambda: stream.close_after_drain(2, linger=True))
        await peer.send(b"x" * 100_000)
        assert await peer.receive_all() == b"too much"
        peer.close()


async def test_lingering_ends_with_its_deadline_when_the_peer_never_ends() -> None:
    async with stream_and_peer() as (stream, peer), trio.open_nursery() as nursery:

        async def babble() -> None:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await peer.send(FRAME)

        nursery.start_soon(babble)
        start = trio.current_time()
        await stream.close_after_drain(0.1, linger=True)
        assert trio.current_time() - start < 1


async def test_a_cancelled_close_closes_all_the_same() -> None:
    async with stream_and_peer(buffer=4096) as (stream, _):
        fill(stream)
        with trio.move_on_after(0.02):
            await stream.close_after_drain(10)
        assert stream.state == "closed"


# -- the rest


async def test_the_delay_of_small_packets_is_off_and_the_peer_is_known() -> None:
    with tcp_pair() as (sock, other):
        stream = ByteStream(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not sock.getblocking()
        assert stream.peer == other.getsockname()
        stream.abort()


async def test_a_socket_without_addresses_serves_as_well() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = ByteStream(ours)
        stream.put(b"hi")
        assert theirs.recv(10) == b"hi"
        assert stream.peer is None
        assert "open" in repr(stream)
        stream.abort()


async def test_statistics_tell_what_went_through() -> None:
    async with stream_and_peer(buffer=4096) as (stream, peer):
        stream.put(b"12345")
        await peer.send(b"123")
        await stream.receive_some()
        statistics = stream.statistics()
        assert (statistics.state, statistics.sent, statistics.received) == ("open", 5, 3)
        assert (statistics.queued, statistics.dropped_puts) == (0, 0)
        assert statistics.last_received == stream.last_received
        size = fill(stream)
        statistics = stream.statistics()
        assert statistics.sent + statistics.queued == size + 5


async def test_a_bound_below_one_byte_is_a_mistake() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ValueError, match="max_queued"):
        ByteStream(ours, max_queued=0)

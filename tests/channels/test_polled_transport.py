"""The transport of a client that polls: what waits, who gets it, and what is never lost."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exeunt.channels.errors import Closed, Lost, ProtocolError
from exeunt.channels.transports.longpoll import PolledTransport
from exeunt.channels.wire import Encoded


def message(text: str) -> Encoded:
    return Encoded(text.encode())


async def poll(transport: PolledTransport, within: float = 1.0) -> list[str]:
    """Poll as a client does that stays."""
    found = await transport.poll(within, lambda: False)
    return [one.data.decode() for one in found]


class Noted:
    """Runs something in a task, and keeps what it returns."""

    def __init__(self, nursery: trio.Nursery, run: Callable[[], Awaitable[Any]]) -> None:
        self.result: Any = None
        self.is_done = False
        self.scope = trio.CancelScope()
        self._body = run
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self.scope:
            self.result = await self._body()
            self.is_done = True


# -- polls


async def test_what_waits_is_taken_at_once_and_in_order() -> None:
    transport = PolledTransport(1000)
    for text in ("a", "b", "c"):
        transport.send(message(text))
    assert transport.queued_bytes > 3
    assert await poll(transport) == ["a", "b", "c"]
    assert transport.queued_bytes == 0


async def test_a_poll_waits_no_longer_than_its_window(autojump_clock: MockClock) -> None:
    transport = PolledTransport(1000)
    started = trio.current_time()
    assert await poll(transport, within=10) == []
    assert trio.current_time() - started == 10


async def test_a_poll_that_waits_is_woken_and_gets_all_that_was_sent_in_one_go() -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:
        waiting = Noted(nursery, lambda: poll(transport))
        await wait_all_tasks_blocked()
        transport.send(message("a"))
        transport.send(message("b"))
    assert waiting.result == ["a", "b"]


async def test_of_several_polls_the_latest_gets_the_messages_and_the_others_wait_on(
    autojump_clock: MockClock,
) -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:
        polls = []
        for _ in range(3):
            polls.append(Noted(nursery, lambda: poll(transport, within=5)))
            await wait_all_tasks_blocked()
        transport.send(message("a"))
        await wait_all_tasks_blocked()
        assert [one.is_done for one in polls] == [False, False, True]
        transport.send(message("b"))
        await wait_all_tasks_blocked()
        assert [one.is_done for one in polls] == [False, True, True]
    assert [one.result for one in polls] == [[], ["b"], ["a"]]
    assert trio.current_time() == pytest.approx(transport.unpolled_since)


async def test_when_the_latest_poll_goes_the_one_before_it_gets_the_messages() -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:
        first = Noted(nursery, lambda: poll(transport))
        await wait_all_tasks_blocked()
        second = Noted(nursery, lambda: poll(transport))
        await wait_all_tasks_blocked()
        second.scope.cancel()
        await wait_all_tasks_blocked()
        transport.send(message("a"))
    assert (first.result, second.is_done) == (["a"], False)


async def test_a_poll_whose_client_is_gone_takes_nothing_and_passes_it_on() -> None:
    transport = PolledTransport(1000)
    is_gone = False
    async with trio.open_nursery() as nursery:
        first = Noted(nursery, lambda: poll(transport))
        await wait_all_tasks_blocked()
        second = Noted(nursery, lambda: transport.poll(1, lambda: is_gone))
        await wait_all_tasks_blocked()
        is_gone = True
        transport.send(message("a"))
    assert (first.result, second.result) == (["a"], [])
    transport.send(message("b"))
    assert await transport.poll(1, lambda: True) == []
    assert await poll(transport) == ["b"]


async def test_nothing_is_lost_or_doubled_however_polls_come_and_go(
    autojump_clock: MockClock,
) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        transport = PolledTransport(1_000_000)
        got: list[str] = []

        async def one_poll(
            chance: random.Random = chance,
            transport: PolledTransport = transport,
            got: list[str] = got,
        ) -> None:
            gone_after = chance.choice([0.0, 0.1, 0.5, 9.0])
            began = trio.current_time()
            with trio.move_on_after(gone_after if chance.random() < 0.5 else 9.0):
                found = await transport.poll(
                    chance.random(), lambda: trio.current_time() - began > gone_after
                )
                got += [one.data.decode() for one in found]

        async with trio.open_nursery() as nursery:
            for number in range(200):
                transport.send(message(str(number)))
                if chance.random() < 0.4:
                    nursery.start_soon(one_poll)
                await trio.sleep(chance.choice([0, 0, 0.1, 0.3]))
        assert got, seed
        while rest := await poll(transport, within=1):
            got += rest
        assert got == [str(number) for number in range(200)], seed


async def test_since_when_a_client_has_not_polled(autojump_clock: MockClock) -> None:
    transport = PolledTransport(1000)
    began = trio.current_time()
    await trio.sleep(1)
    assert transport.unpolled_since == began
    async with trio.open_nursery() as nursery:
        Noted(nursery, lambda: poll(transport, within=2))
        await wait_all_tasks_blocked()
        assert transport.unpolled_since is None
    assert transport.unpolled_since == began + 3
    await trio.sleep(1)
    transport.send(message("a"))
    await poll(transport)
    assert transport.unpolled_since == began + 4


# -- too much


async def test_more_than_may_wait_ends_it_once(autojump_clock: MockClock) -> None:
    transport = PolledTransport(300)
    overflows: list[bool] = []
    transport.on_overflow = lambda: overflows.append(transport.is_closing)
    sent = 0
    while not overflows:
        transport.send(message("x"))
        sent += 1
    # A message counts for more than its one byte, since it takes more.
    assert 3 <= sent < 30
    transport.send(message("y"))
    assert overflows == [True]
    assert transport.queued_bytes == 0
    assert await poll(transport) == []
    with pytest.raises(Lost) as lost:
        await transport.receive()
    assert lost.value.how == "overflow"


async def test_a_client_that_polls_in_time_may_be_sent_any_amount() -> None:
    transport = PolledTransport(300)
    for number in range(100):
        transport.send(message("x" * 200))
        assert await poll(transport) == ["x" * 200], number
    assert not transport.is_closing


# -- what the client posts


async def test_a_message_is_dealt_with_when_the_next_one_is_asked_for() -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:
        first = Noted(nursery, lambda: transport.deliver(b"a"))
        second = Noted(nursery, lambda: transport.deliver(b"\x00b", is_binary=True))
        await wait_all_tasks_blocked()
        got = {await transport.receive()}
        await wait_all_tasks_blocked()
        assert (first.is_done, second.is_done) == (False, False)
        got.add(await transport.receive())
        await wait_all_tasks_blocked()
        assert first.is_done != second.is_done
        Noted(nursery, transport.receive)
        await wait_all_tasks_blocked()
        assert (first.result, second.result) == (True, True)
        nursery.cancel_scope.cancel()
    assert got == {"a", b"\x00b"}


async def test_messages_of_one_request_come_in_order() -> None:
    transport = PolledTransport(1000)
    got: list[Any] = []

    async def post() -> None:
        for number in range(50):
            assert await transport.deliver(str(number).encode())

    async def take() -> None:
        while True:
            got.append(await transport.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await post()
        nursery.cancel_scope.cancel()
    assert got == [str(number) for number in range(50)]


async def test_a_request_that_gives_up_takes_back_what_was_not_taken() -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:
        taken = Noted(nursery, lambda: transport.deliver(b"taken"))
        await wait_all_tasks_blocked()
        assert await transport.receive() == "taken"
        late = Noted(nursery, lambda: transport.deliver(b"late"))
        await wait_all_tasks_blocked()
        for one in (taken, late):
            one.scope.cancel()
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            raise AssertionError(await transport.receive())


async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.01):
            await transport.receive()
        posted = Noted(nursery, lambda: transport.deliver(b"a"))
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.receive()
        assert await transport.receive() == "a"
        Noted(nursery, transport.receive)
        await wait_all_tasks_blocked()
        assert posted.result is True
        nursery.cancel_scope.cancel()


async def test_text_that_is_not_utf_8_is_no_message_but_bytes_may_be_anything() -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: transport.deliver(b"\xff", is_binary=True))
        assert await transport.receive() == b"\xff"
        nursery.start_soon(lambda: transport.deliver(b"[\xff]"))
        await wait_all_tasks_blocked()
        with pytest.raises(ProtocolError, match="not UTF-8"):
            await transport.receive()
        transport.abort()


# -- the end


@pytest.mark.parametrize("how", ["abort", "close", "overflow", "drain"])
async def test_at_the_end_no_delivery_waits_and_a_poll_waits_on_unless_all_are_sent_away(
    how: str, autojump_clock: MockClock
) -> None:
    transport = PolledTransport(300)
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        polls = [Noted(nursery, lambda: poll(transport, within=60)) for _ in range(3)]
        taken = Noted(nursery, lambda: transport.deliver(b"taken"))
        assert await transport.receive() == "taken"
        waiting = Noted(nursery, lambda: transport.deliver(b"waiting"))
        await wait_all_tasks_blocked()
        match how:
            case "abort":
                transport.abort()
            case "close":
                await transport.close(1001)
            case "drain":
                await transport.close(1012)
            case _:
                # Larger than may wait, also for one who is there.
                transport.send(message("x" * 400))
        await wait_all_tasks_blocked()
        assert (taken.result, waiting.result) == (False, False)
        assert {one.is_done for one in polls} == {how == "drain"}
    assert [one.result for one in polls] == [[], [], []]
    waited = 0 if how == "drain" else 60
    assert trio.current_time() - started == waited
    assert transport.is_closing
    assert transport.is_sent_away == (how == "drain")
    assert await transport.deliver(b"late") is False
    assert await poll(transport, within=60) == []
    assert trio.current_time() - started == 2 * waited
    transport.send(message("late"))
    assert transport.queued_bytes == 0


async def test_a_poll_that_waits_after_the_end_is_given_up_when_its_client_is_gone(
    autojump_clock: MockClock,
) -> None:
    transport = PolledTransport(300)
    async with trio.open_nursery() as nursery:
        waiting = Noted(nursery, lambda: poll(transport, within=60))
        await wait_all_tasks_blocked()
        transport.abort()
        await trio.sleep(1)
        waiting.scope.cancel()
        await wait_all_tasks_blocked()
        assert trio.current_time() == transport.unpolled_since


async def test_the_end_that_came_first_is_the_one_that_is_received() -> None:
    transport = PolledTransport(1000)
    await transport.close(1012)
    transport.abort()
    for _ in range(2):
        with pytest.raises(Closed) as closed:
            await transport.receive()
        assert (closed.value.code, closed.value.by) == (1012, "local")
    assert "closed by local" in repr(transport)


async def test_a_receiver_that_waits_hears_of_the_end() -> None:
    transport = PolledTransport(1000)
    async with trio.open_nursery() as nursery:

        async def receive() -> str:
            with pytest.raises(Lost) as lost:
                await transport.receive()
            return lost.value.how

        waiting = Noted(nursery, receive)
        await wait_all_tasks_blocked()
        transport.abort()
    assert waiting.result == "aborted"

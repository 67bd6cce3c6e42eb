"""Looking into running servers: get_state, replace_state, suspend, resume."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    Call,
    CallFailed,
    GenServer,
    Reply,
    call,
    get_state,
    replace_state,
    resume,
    send,
    stop,
    suspend,
    trap_exit,
    wait_exit,
)
from tests.kernel.nodes import Actor, idle, messages, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Counter(GenServer):
    async def init(self, *, trap: bool = False) -> None:
        trap_exit(trap)
        self.seen: list[Any] = []
        self.ended: list[Any] = []

    async def handle_call(self, request: Any, caller: Call) -> Reply[int]:
        self.seen.append(request)
        return Reply(len(self.seen))

    async def handle_info(self, message: Any) -> None:
        self.seen.append(message)


# -- get_state and replace_state


async def test_get_state_gives_the_attributes_in_turn_with_the_messages() -> None:
    async with node():
        pid = await Counter.named("counter").start()
        send(pid, 1)
        assert await get_state("counter") == {"seen": [1], "ended": []}


async def test_get_state_is_a_copy() -> None:
    async with node():
        pid = await Counter.start()
        state = await get_state(pid)
        state["added"] = 1
        assert "added" not in await get_state(pid)


async def test_replace_state_puts_what_the_function_returns_in_place() -> None:
    async with node():
        pid = await Counter.start()
        new = await replace_state(pid, lambda state: {**state, "seen": [1, 2, 3]})
        assert new["seen"] == [1, 2, 3]
        assert await call(pid, "x") == 4
        assert await replace_state(pid, lambda state: {"seen": []}) == {"seen": []}
        assert "ended" not in await get_state(pid)


@pytest.mark.parametrize("change", [lambda state: 1 / 0, lambda state: 5, lambda state: None])
async def test_a_change_that_fails_leaves_the_state_and_is_raised_in_the_caller(
    change: Any,
) -> None:
    async with node():
        pid = await Counter.start()
        send(pid, 1)
        with pytest.raises((ZeroDivisionError, TypeError)):
            await replace_state(pid, change)
        assert (await get_state(pid))["seen"] == [1]


# -- suspend and resume


async def test_a_suspended_server_lets_messages_wait_in_order() -> None:
    async with node():
        pid = await Counter.start()
        await suspend(pid)
        actor = Actor()
        send(pid, 1)
        answer = actor.begin(lambda: call(pid, 2))
        await settle()
        send(pid, 3)
        await trio.sleep(100)
        assert (await get_state(pid))["seen"] == []
        assert len(messages(pid)) == 3
        await resume(pid)
        await answer.done.wait()
        assert answer.value == 2
        assert (await get_state(pid))["seen"] == [1, 2, 3]


async def test_to_suspend_or_resume_twice_is_harmless() -> None:
    async with node():
        pid = await Counter.start()
        await resume(pid)
        await suspend(pid)
        await suspend(pid)
        await resume(pid)
        assert await call(pid, "x") == 1


async def test_a_suspended_server_can_be_stopped_and_terminates() -> None:
    ended: list[Any] = []

    class Notes(GenServer):
        async def terminate(self, reason: object) -> None:
            ended.append(reason)

    async with node():
        pid = await Notes.start()
        await suspend(pid)
        await stop(pid, "shutdown")
        assert ended == ["shutdown"]


async def test_a_suspended_server_heeds_its_parents_exit_only() -> None:
    async with node():
        parent, other = Actor(), Actor()
        pid = await parent.do(lambda: Counter.start_link(trap=True))
        await suspend(pid)
        await other.do(lambda: exeunt.exit(pid, "from another"))
        await settle()
        assert exeunt.is_alive(pid)
        exeunt.exit(parent.pid, "shutdown")
        assert await wait_exit(pid) == "shutdown"


async def test_a_suspended_server_can_be_killed() -> None:
    async with node():
        pid = await Counter.start(trap=True)
        await suspend(pid)
        exeunt.exit(pid, "kill")
        assert await wait_exit(pid) == "killed"


async def test_a_timeout_rests_while_the_server_is_suspended() -> None:
    class Waits(GenServer):
        async def init(self) -> exeunt.TimeoutAfter:
            self.times = 0
            return exeunt.TimeoutAfter(3)

        async def handle_info(self, message: Any) -> None:
            self.times += 1

    async with node():
        pid = await Waits.start()
        await suspend(pid)
        await trio.sleep(50)
        assert (await get_state(pid))["times"] == 0
        await resume(pid)
        await trio.sleep(2.9)
        assert exeunt.process_info(pid) is not None
        await trio.sleep(0.2)
        assert (await get_state(pid))["times"] == 1


# -- failures


@pytest.mark.parametrize("ask", [get_state, suspend, resume])
async def test_all_fail_as_calls_do(ask: Any) -> None:
    async with node():
        pid = await Counter.start()
        await stop(pid)
        for server in (pid, "nobody"):
            with pytest.raises(CallFailed) as caught:
                await ask(server)
            assert caught.value.reason == "noproc"


async def test_a_plain_process_cannot_be_looked_into() -> None:
    async with node():
        pid = exeunt.spawn(idle)
        with trio.move_on_after(1) as scope:
            await get_state(pid)
        assert scope.cancelled_caught

"""Agent: a value in a process, and the functions that run on it there."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from exeunt import (
    AlreadyStarted,
    BadReturnValue,
    CallFailed,
    Crash,
    NoReply,
    Pid,
    StartFailed,
    Stop,
    Supervisor,
    exit,
    get_state,
    is_alive,
    process_info,
    self_pid,
    trap_exit,
    unlink,
    whereis,
)
from exeunt.otp import agent
from exeunt.otp.agent import Agent
from exeunt.otp.registry import Registry
from tests.kernel.nodes import drain, node, settle
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")


def add(state: int, amount: int) -> int:
    return state + amount


def fail(state: object) -> Any:
    raise ValueError("it failed")


def pid_of(one: Agent[Any]) -> Pid:
    assert isinstance(one.server, Pid)
    return one.server


async def test_the_example_of_the_module_runs() -> None:
    async with node():
        await run_listings(agent)


async def test_functions_run_in_the_agent() -> None:
    async with node():
        one = await Agent.start_link(self_pid)
        pid = pid_of(one)
        assert pid is not self_pid()
        assert await one.get(lambda _: self_pid()) is pid
        assert await one.get(lambda first: first) is pid


async def test_functions_may_be_given_arguments() -> None:
    async with node():
        one = await Agent.start_link(add, 40, 1)
        await one.update(add, 1)
        assert await one.get(add, 100) == 142
        one.cast(add, 8)
        assert await one.get_and_update(lambda state, by: (state, by), 7) == 50
        assert await one.get(lambda state: state) == 7


async def test_updates_of_many_lose_nothing() -> None:
    async with node():
        one = await Agent.start_link(int)

        async def count() -> None:
            for _ in range(100):
                await one.update(add, 1)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(count)
        assert await one.get(lambda state: state) == 1000


async def test_a_value_that_looks_like_a_result_is_a_value() -> None:
    async with node():
        one = await Agent.start_link(lambda: Stop("not at all"))
        assert await one.get(lambda state: state) == Stop("not at all")
        assert await one.get_and_update(lambda state: (NoReply(), Stop(state))) == NoReply()
        assert await one.get(lambda state: state) == Stop(Stop("not at all"))


@pytest.mark.parametrize("ask", ["get", "update", "get_and_update"])
async def test_a_function_that_raises_ends_the_agent_and_fails_its_caller(ask: str) -> None:
    async with node() as stage:
        one = await Agent.start(int)
        with pytest.raises(CallFailed) as caught:
            await getattr(one, ask)(fail)
        assert isinstance(caught.value.reason, Crash)
        assert isinstance(caught.value.reason.exception, ValueError)
        assert not is_alive(pid_of(one))
        stage.crash(ValueError)


async def test_a_cast_that_raises_ends_the_agent_and_nobody_else() -> None:
    async with node() as stage:
        one = await Agent.start(int)
        one.cast(fail)
        await settle()
        assert not is_alive(pid_of(one))
        stage.crash(ValueError)
        one.cast(fail)


async def test_no_pair_is_a_bad_return_value() -> None:
    async with node() as stage:
        one = await Agent.start(int)

        def no_pair(state: int) -> Any:
            return state

        with pytest.raises(CallFailed) as caught:
            await one.get_and_update(no_pair)
        assert isinstance(caught.value.reason, Crash)
        assert isinstance(caught.value.reason.exception, BadReturnValue)
        assert "expected a pair" in str(caught.value.reason)
        stage.crash(BadReturnValue)


async def test_an_async_function_is_refused_and_the_agent_lives() -> None:
    async def wait(state: int) -> int:
        raise AssertionError("never runs")

    async with node():
        one = await Agent.start_link(int)
        given: Any = wait

        def hidden(state: int) -> Any:
            return wait(state)

        for function in (given, hidden):
            for ask in (one.get, one.update, one.get_and_update):
                with pytest.raises(TypeError, match="is async"):
                    await ask(function)
        with pytest.raises(TypeError, match="is async"):
            one.cast(given)
        with pytest.raises(TypeError, match="is async"):
            await Agent.start_link(given)
        nothing: Any = None
        with pytest.raises(TypeError, match="not None"):
            await one.get(nothing)
        assert await one.get(lambda state: state) == 0


async def test_an_agent_whose_first_function_raises_does_not_start() -> None:
    async with node() as stage:
        trap_exit()
        with pytest.raises(StartFailed, match="it failed"):
            await Agent.start_link(fail, 1)
        stage.crash(ValueError)
        assert drain() == []


async def test_start_link_links_and_start_does_not() -> None:
    async with node():
        linked, alone = await Agent.start_link(int), await Agent.start(int)
        info = process_info(self_pid())
        assert info is not None and info.links == (linked.server,)
        unlink(pid_of(linked))
        assert alone != linked
        assert Agent[int](linked.server) == linked
        assert len({linked, alone, Agent[int](linked.server)}) == 2
        assert repr(Agent[int]("hits")) == "Agent('hits')"


async def test_an_agent_stops_after_what_it_was_asked_before() -> None:
    async with node():
        one = await Agent.start_link(list[str])

        def note(state: list[str], what: str) -> list[str]:
            return [*state, what]

        def all_of(state: list[str]) -> list[str]:
            return state

        one.cast(note, "first")
        seen = await one.get(all_of)
        await one.stop()
        assert seen == ["first"]
        assert not is_alive(pid_of(one))
        with pytest.raises(CallFailed):
            await one.get(all_of)
        with pytest.raises(CallFailed):
            await one.stop()


async def test_an_agent_has_a_name_or_a_key() -> None:
    async with node():
        await Agent.named("hits").start_link(lambda: 1)
        assert await Agent[int]("hits").get(add, 1) == 2
        with pytest.raises(AlreadyStarted):
            await Agent.named("hits").start(int)
        await Registry.named("agents").start_link(keys="unique")
        via = Registry.via("agents", "hits")
        await Agent.named(via).start(lambda: 2)
        assert await Agent[int](via).get(add, 1) == 3


async def test_an_agent_is_restarted_by_its_supervisor_with_its_first_value() -> None:
    async with node() as stage:
        keyed = Registry.named("agents")
        await Supervisor.start_link(
            [
                keyed.child(keys="unique"),
                Agent.named("hits").child(lambda: 1),
                Agent.child(int),
                Agent.named(keyed.via("other")).child(int).replace(id="other"),
            ]
        )
        hits = Agent[int]("hits")
        await hits.update(add, 5)
        pid = whereis("hits")
        assert pid is not None
        exit(pid, "kill")
        await settle()
        assert await hits.get(add, 0) == 1
        stage.logged("child 'hits'")


async def test_the_state_of_an_agent_can_be_looked_at() -> None:
    async with node():
        one = await Agent.start_link(lambda: 7)
        assert (await get_state(one.server))["state"] == 7

"""Children with a backoff: supervisors restart them after a delay that grows."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from exeunt import (
    ChildCount,
    ChildError,
    ChildSpec,
    DynamicSupervisor,
    GenServer,
    MaxChildren,
    Pid,
    StartFailed,
    Supervisor,
    exit,
    get_state,
    is_alive,
    run,
    spawn_link,
    stop,
    suspend,
    trap_exit,
    wait_exit,
)
from exeunt import resume as resume_server
from exeunt.otp.backoff import Backoff
from exeunt.otp.supervision import RestartType
from tests.kernel.nodes import Stage, idle, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")

STEADY = Backoff(initial=1.0, factor=2.0, maximum=8.0, jitter=0.0, reset_after=100.0)

# So many that they do not run out.
MANY: dict[str, Any] = {"max_restarts": 1000, "max_seconds": 1.0}


class Child:
    """A child that notes when it is started, and fails to when it is told to."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.starts: list[float] = []
        self.pid: Pid
        self.failures = 0

    async def start(self) -> Pid:
        self.starts.append(trio.current_time())
        if self.failures:
            self.failures -= 1
            raise StartFailed(self.id, "not now")
        self.pid = spawn_link(idle)
        return self.pid

    def spec(
        self, backoff: Backoff | None = STEADY, restart: RestartType = "permanent"
    ) -> ChildSpec:
        return ChildSpec(id=self.id, start=self.start, restart=restart, backoff=backoff)

    async def end(self, reason: object = "boom") -> float:
        """End it; return the time."""
        exit(self.pid, reason)
        await wait_exit(self.pid)
        await settle()
        return trio.current_time()

    def is_up(self) -> bool:
        return is_alive(self.pid)


def forgive(stage: Stage) -> None:
    """Claim all that supervisors tell of children that ended or did not start."""
    for text, _ in list(stage.log.unclaimed):
        assert "ended: " in text or "could not be started: not now" in text, text
    stage.log.unclaimed.clear()


async def states(supervisor: Pid) -> dict[object, object]:
    return {info.id: info.pid for info in await Supervisor.which_children(supervisor)}


# -- supervisors ----------------------------------------------------------------------------------


async def test_without_a_backoff_a_child_is_restarted_at_once() -> None:
    child = Child("a")
    async with node() as stage:
        await Supervisor.start_link([child.spec(None)])
        ended = await child.end()
        assert child.starts[1:] == [ended]
        forgive(stage)


async def test_each_restart_waits_longer_up_to_the_maximum() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec()], **MANY)
        waits: list[float] = []
        for _ in range(6):
            ended = await child.end()
            assert await states(supervisor) == {"a": "restarting"}
            await trio.sleep(20)
            assert await states(supervisor) == {"a": child.pid}
            waits.append(child.starts[-1] - ended)
        assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
        forgive(stage)


async def test_after_running_long_enough_the_delays_begin_anew() -> None:
    child = Child("a")
    async with node() as stage:
        await Supervisor.start_link([child.spec()], **MANY)
        waits: list[float] = []
        for lived in (0.0, 0.0, 99.0, 100.0, 0.0):
            await trio.sleep_until(child.starts[-1] + lived)
            ended = await child.end()
            await trio.sleep(5)
            waits.append(child.starts[-1] - ended)
        assert waits == [1.0, 2.0, 4.0, 1.0, 2.0]
        forgive(stage)


async def test_a_start_that_fails_waits_too_and_counts() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec()], **MANY)
        child.failures = 3
        began = await child.end()
        await trio.sleep(100)
        assert [start - began for start in child.starts[1:]] == [1.0, 3.0, 7.0, 15.0]
        assert child.is_up()
        assert await states(supervisor) == {"a": child.pid}
        forgive(stage)


async def test_the_intensity_counts_each_of_them() -> None:
    child = Child("a")
    fast = Backoff(initial=0.1, factor=1.0, maximum=0.1, jitter=0.0)
    async with node() as stage:
        trap_exit()
        supervisor = await Supervisor.start_link([child.spec(fast)], max_restarts=2, max_seconds=60)
        for _ in range(2):
            await child.end()
            await trio.sleep(1)
        exit(child.pid, "boom")
        assert await wait_exit(supervisor) == "shutdown"
        stage.logged("gives up because of child 'a': reached_max_restart_intensity")
        forgive(stage)


async def test_a_delay_keeps_a_child_within_the_intensity_that_it_would_exceed() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec()], max_restarts=1, max_seconds=1.5)
        for _ in range(10):
            await child.end()
            await trio.sleep(10)
        assert is_alive(supervisor)
        forgive(stage)


@pytest.mark.parametrize(("restart", "reason"), [("transient", "shutdown"), ("temporary", "boom")])
async def test_a_child_that_is_not_restarted_does_not_wait(
    restart: RestartType, reason: str
) -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec(restart=restart)])
        await child.end(reason)
        expected = {"a": None} if restart == "transient" else {}
        assert await states(supervisor) == expected
        assert len(stage.node.timers) == 0
        forgive(stage)


async def test_while_it_waits_it_is_restarting_for_all_requests() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec()])
        await child.end()
        for ask in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildError) as refused:
                await ask(supervisor, "a")
            assert refused.value.condition == "restarting"
        with pytest.raises(ChildError) as refused:
            await Supervisor.start_child(supervisor, child.spec())
        assert refused.value.condition == "already_present"
        counted = await Supervisor.count_children(supervisor)
        assert counted == ChildCount(specs=1, active=0, supervisors=0, workers=1)
        forgive(stage)


async def test_terminate_child_ends_the_waiting() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec()])
        await child.end()
        assert len(stage.node.timers) == 1
        await Supervisor.terminate_child(supervisor, "a")
        assert len(stage.node.timers) == 0
        assert await states(supervisor) == {"a": None}
        await trio.sleep(10)
        assert len(child.starts) == 1
        # It can be started by hand, and its next restart waits longer than the last.
        assert await Supervisor.restart_child(supervisor, "a") is child.pid
        ended = await child.end()
        await trio.sleep(10)
        assert child.starts[-1] - ended == 2.0
        forgive(stage)


async def test_terminate_child_ends_the_waiting_also_when_it_is_over_but_not_yet_noticed() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec()])
        await child.end()
        await suspend(supervisor)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor.terminate_child, supervisor, "a")
            await trio.sleep(5)
            await resume_server(supervisor)
        await trio.sleep(10)
        assert len(child.starts) == 1
        assert await states(supervisor) == {"a": None}
        forgive(stage)


async def test_a_supervisor_can_be_stopped_while_a_child_waits() -> None:
    child, other = Child("a"), Child("b")
    async with node() as stage:
        supervisor = await Supervisor.start_link([child.spec(), other.spec(None)])
        await child.end()
        began = trio.current_time()
        await stop(supervisor)
        assert trio.current_time() == began
        assert not other.is_up()
        assert len(stage.node.timers) == 0
        forgive(stage)


async def test_one_for_one_leaves_the_others_alone_meanwhile() -> None:
    first, second = Child("a"), Child("b")
    async with node() as stage:
        await Supervisor.start_link([first.spec(), second.spec(None)], **MANY)
        pid = second.pid
        await first.end()
        await trio.sleep(0.5)
        ended = await second.end()
        assert second.starts[-1] == ended and second.pid is not pid
        assert not first.is_up()
        await trio.sleep(1)
        assert first.is_up()
        forgive(stage)


async def test_one_for_all_shuts_the_others_down_and_starts_all_when_the_delay_is_over() -> None:
    children = [Child("a"), Child("b"), Child("c")]
    specs = [child.spec(STEADY if child.id == "b" else None) for child in children]
    async with node() as stage:
        supervisor = await Supervisor.start_link(specs, strategy="one_for_all", **MANY)
        ended = await children[1].end()
        assert not any(child.is_up() for child in children)
        assert await states(supervisor) == dict.fromkeys("abc", "restarting")
        await trio.sleep(0.9)
        assert not any(child.is_up() for child in children)
        await trio.sleep(0.2)
        assert all(child.is_up() for child in children)
        assert [child.starts[1:] for child in children] == [[ended + 1.0]] * 3
        # One without a backoff is started at once, and all others with it.
        ended = await children[0].end()
        assert [child.starts[2:] for child in children] == [[ended]] * 3
        forgive(stage)


async def test_rest_for_one_waits_with_those_that_come_after() -> None:
    children = [Child("a"), Child("b"), Child("c")]
    specs = [child.spec(STEADY if child.id == "b" else None) for child in children]
    async with node() as stage:
        await Supervisor.start_link(specs, strategy="rest_for_one", **MANY)
        ended = await children[1].end()
        assert [child.is_up() for child in children] == [True, False, False]
        await trio.sleep(2)
        assert [child.is_up() for child in children] == [True, True, True]
        assert [child.starts[1:] for child in children] == [[], [ended + 1.0], [ended + 1.0]]
        forgive(stage)


async def test_the_restart_of_an_earlier_one_takes_one_that_waits_along() -> None:
    children = [Child("a"), Child("b"), Child("c")]
    specs = [child.spec(STEADY if child.id == "b" else None) for child in children]
    async with node() as stage:
        supervisor = await Supervisor.start_link(specs, strategy="rest_for_one", **MANY)
        await children[1].end()
        await trio.sleep(0.5)
        ended = await children[0].end()
        assert [child.starts[1:] for child in children] == [[ended]] * 3
        assert len(stage.node.timers) == 0
        # What it waited for is over, and does not start it once more.
        await trio.sleep(5)
        assert [len(child.starts) for child in children] == [2, 2, 2]
        ended = await children[1].end()
        await trio.sleep(5)
        assert children[1].starts[-1] == ended + 2.0
        assert await states(supervisor) == {child.id: child.pid for child in children}
        forgive(stage)


async def test_a_sibling_that_waits_is_restarting_too() -> None:
    children = [Child("a"), Child("b")]
    specs = [child.spec(STEADY if child.id == "a" else None) for child in children]
    async with node() as stage:
        supervisor = await Supervisor.start_link(specs, strategy="one_for_all", **MANY)
        await children[0].end()
        for asking in (Supervisor.restart_child, Supervisor.delete_child):
            with pytest.raises(ChildError) as refused:
                await asking(supervisor, "b")
            assert refused.value.condition == "restarting"
        await trio.sleep(2)
        assert all(child.is_up() for child in children)
        forgive(stage)


async def test_a_sibling_waits_no_longer_when_the_one_it_waits_for_is_terminated() -> None:
    children = [Child("a"), Child("b")]
    specs = [child.spec(STEADY if child.id == "a" else None) for child in children]
    async with node() as stage:
        supervisor = await Supervisor.start_link(specs, strategy="one_for_all", **MANY)
        await children[0].end()
        await Supervisor.terminate_child(supervisor, "a")
        assert [child.is_up() for child in children] == [False, True]
        await trio.sleep(2)
        assert [child.is_up() for child in children] == [False, True]
        forgive(stage)


async def test_a_significant_sibling_that_waits_keeps_its_supervisor() -> None:
    a, b, c = Child("a"), Child("b"), Child("c")
    async with node() as stage:
        supervisor = await Supervisor.start_link(
            [
                a.spec().replace(backoff=None, restart="transient", significant=True),
                b.spec(STEADY),
                c.spec().replace(backoff=None, restart="transient", significant=True),
            ],
            strategy="rest_for_one",
            auto_shutdown="all_significant",
            **MANY,
        )
        await b.end()
        await a.end("shutdown")
        assert is_alive(supervisor)
        await trio.sleep(2)
        assert [child.is_up() for child in (a, b, c)] == [False, True, True]
        forgive(stage)


async def test_a_sibling_that_does_not_start_again_is_tried_by_its_own_backoff() -> None:
    children = [Child("a"), Child("b")]
    async with node() as stage:
        await Supervisor.start_link(
            [child.spec() for child in children], strategy="one_for_all", **MANY
        )
        children[1].failures = 1
        ended = await children[0].end()
        await trio.sleep(10)
        assert [start - ended for start in children[0].starts[1:]] == [1.0, 2.0]
        assert [start - ended for start in children[1].starts[1:]] == [1.0, 2.0]
        assert all(child.is_up() for child in children)
        forgive(stage)


async def test_a_second_message_to_try_again_does_not_disturb_the_waiting() -> None:
    class Slow(Child):
        async def start(self) -> Pid:
            await trio.sleep(1 if self.failures else 0)
            return await super().start()

    first, second = Child("a"), Slow("b")
    async with node() as stage:
        supervisor = await Supervisor.start_link(
            [first.spec(None), second.spec()], strategy="one_for_all", **MANY
        )
        second.failures = 2
        ended = await first.end()
        # While the second one is being started, and fails, the first one ends again: so the
        # supervisor tells itself twice to try the second one again.
        await trio.sleep(0.5)
        exit(first.pid, "boom")
        await trio.sleep(20)
        assert [start - ended for start in second.starts[1:]] == [1.0, 2.0, 3.0]
        assert await states(supervisor) == {"a": first.pid, "b": second.pid}
        forgive(stage)


async def test_a_temporary_sibling_of_one_for_all_is_gone() -> None:
    first, second = Child("a"), Child("b")
    async with node() as stage:
        supervisor = await Supervisor.start_link(
            [first.spec(), second.spec(None, "temporary")], strategy="one_for_all"
        )
        await first.end()
        assert await states(supervisor) == {"a": "restarting"}
        await trio.sleep(2)
        assert await states(supervisor) == {"a": first.pid}
        forgive(stage)


async def test_a_significant_child_that_waits_still_counts_as_there() -> None:
    first, second = Child("a"), Child("b")
    async with node() as stage:
        supervisor = await Supervisor.start_link(
            [
                first.spec(restart="transient").replace(significant=True),
                second.spec(None, "transient").replace(significant=True),
            ],
            auto_shutdown="all_significant",
        )
        await first.end()
        await second.end("shutdown")
        assert is_alive(supervisor)
        await trio.sleep(2)
        assert first.is_up()
        await stop(supervisor)
        forgive(stage)


# -- dynamic supervisors --------------------------------------------------------------------------


async def test_a_dynamic_supervisor_waits_with_each_child_by_itself() -> None:
    first, second = Child("a"), Child("b")
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link(**MANY)
        for child in (first, second):
            await DynamicSupervisor.start_child(supervisor, child.spec())
        ended = await first.end()
        infos = await DynamicSupervisor.which_children(supervisor)
        assert {info.pid for info in infos} == {second.pid, "restarting"}
        await trio.sleep(0.5)
        later = await second.end()
        await trio.sleep(20)
        assert first.starts[1:] == [ended + 1.0]
        assert second.starts[1:] == [later + 1.0]
        ended = await first.end()
        await trio.sleep(20)
        assert first.starts[2:] == [ended + 2.0]
        assert len(stage.node.timers) == 0
        forgive(stage)


async def test_a_dynamic_child_whose_start_fails_waits_longer_each_time() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link(**MANY)
        await DynamicSupervisor.start_child(supervisor, child.spec())
        child.failures = 2
        ended = await child.end()
        await trio.sleep(100)
        assert [start - ended for start in child.starts[1:]] == [1.0, 3.0, 7.0]
        ended = await child.end()
        await trio.sleep(100)
        assert child.starts[-1] - ended == 8.0
        forgive(stage)


async def test_a_waiting_child_counts_against_max_children() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link(max_children=1)
        await DynamicSupervisor.start_child(supervisor, child.spec())
        await child.end()
        with pytest.raises(MaxChildren):
            await DynamicSupervisor.start_child(supervisor, Child("b").spec())
        counted = await DynamicSupervisor.count_children(supervisor)
        assert counted == ChildCount(specs=1, active=0, supervisors=0, workers=1)
        forgive(stage)


async def test_a_waiting_dynamic_child_is_terminated_by_the_pid_that_it_had() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link()
        await DynamicSupervisor.start_child(supervisor, child.spec())
        await child.end()
        await DynamicSupervisor.terminate_child(supervisor, child.pid)
        assert await DynamicSupervisor.which_children(supervisor) == []
        assert len(stage.node.timers) == 0
        await trio.sleep(10)
        assert len(child.starts) == 1
        with pytest.raises(ChildError):
            await DynamicSupervisor.terminate_child(supervisor, child.pid)
        forgive(stage)


async def test_it_can_be_terminated_also_when_the_delay_is_over_but_not_yet_noticed() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link()
        await DynamicSupervisor.start_child(supervisor, child.spec())
        await child.end()
        await suspend(supervisor)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(DynamicSupervisor.terminate_child, supervisor, child.pid)
            await trio.sleep(5)
            await resume_server(supervisor)
        await trio.sleep(10)
        assert len(child.starts) == 1
        assert await DynamicSupervisor.which_children(supervisor) == []
        forgive(stage)


async def test_the_delays_of_a_dynamic_child_begin_anew_as_well() -> None:
    child = Child("a")
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link(**MANY)
        await DynamicSupervisor.start_child(supervisor, child.spec())
        waits: list[float] = []
        for lived in (0.0, 0.0, 100.0):
            await trio.sleep_until(child.starts[-1] + lived)
            ended = await child.end()
            await trio.sleep(5)
            waits.append(child.starts[-1] - ended)
        assert waits == [1.0, 2.0, 1.0]
        forgive(stage)


async def test_a_dynamic_supervisor_forgets_what_it_knew_of_children_that_are_gone() -> None:
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link(**MANY)
        before = await get_state(supervisor)
        sizes = {key: len(value) for key, value in before.items() if isinstance(value, dict)}
        for restart in ("temporary", "transient", "permanent"):
            child = Child("a")
            await DynamicSupervisor.start_child(supervisor, child.spec(restart=restart))
            await child.end("shutdown")
            await trio.sleep(5)
            if restart == "permanent":
                await DynamicSupervisor.terminate_child(supervisor, child.pid)
        after = await get_state(supervisor)
        assert {key: len(after[key]) for key in sizes} == sizes
        forgive(stage)


async def test_a_dynamic_supervisor_can_be_stopped_while_children_wait() -> None:
    first, second = Child("a"), Child("b")
    async with node() as stage:
        supervisor = await DynamicSupervisor.start_link()
        for child in (first, second):
            await DynamicSupervisor.start_child(supervisor, child.spec())
        await first.end()
        await stop(supervisor)
        assert not second.is_up()
        assert len(stage.node.timers) == 0
        forgive(stage)


async def test_the_intensity_of_a_dynamic_supervisor_counts_each_of_them() -> None:
    child = Child("a")
    async with node() as stage:
        trap_exit()
        supervisor = await DynamicSupervisor.start_link(max_restarts=1, max_seconds=60)
        await DynamicSupervisor.start_child(supervisor, child.spec())
        await child.end()
        await trio.sleep(2)
        exit(child.pid, "boom")
        assert await wait_exit(supervisor) == "shutdown"
        stage.logged("reached_max_restart_intensity")
        forgive(stage)


# -- both -----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_restarts() -> None:
    async def program() -> list[float]:
        child = Child("a")
        backoff = Backoff(initial=1.0, maximum=60.0, jitter=0.5)
        await Supervisor.start_link([child.spec(backoff)], **MANY)
        for _ in range(5):
            await child.end()
            await trio.sleep(100)
        return [start - child.starts[0] for start in child.starts]

    def once(seed: int) -> list[float]:
        return run(program, seed=seed, clock=trio.testing.MockClock(autojump_threshold=0))

    first, again, other = once(1), once(1), once(2)
    assert first == again
    assert first != other


def test_a_backoff_is_one_or_none() -> None:
    class Server(GenServer):
        pass

    assert Server.child().backoff is None
    assert Server.child().replace(backoff=STEADY).backoff is STEADY
    with pytest.raises(TypeError, match=r"the backoff of child 'Server' is a Backoff\(…\) or None"):
        Server.child().replace(backoff=5.0)  # type: ignore[arg-type]

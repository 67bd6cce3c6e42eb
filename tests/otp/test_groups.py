"""Groups: who is in, and the news of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from exeunt import (
    AlreadyStarted,
    Down,
    Exit,
    NoProcess,
    NotRegistered,
    Pid,
    Supervisor,
    exit,
    is_alive,
    monitor,
    receive,
    self_pid,
    spawn,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt.otp import groups
from exeunt.otp.groups import Groups, Joined, Left
from tests.kernel.nodes import Actor, drain, idle, node, settle
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")

players = Groups[Any].named("players")


def tables_are_empty() -> bool:
    table: Any = groups._table_of("players")
    return all(not held for key, held in vars(table).items() if key != "_numbers")


async def test_the_example_of_the_module_runs() -> None:
    async with node():
        await run_listings(groups)


async def test_members_are_the_newest_first_as_often_as_they_have_joined() -> None:
    async with node():
        await players.start_link()
        one, two = spawn(idle), spawn(idle)
        players.join("chess", one)
        players.join("chess", two)
        players.join("chess", one)
        players.join("chess", [two, one])
        assert players.members("chess") == [two, one, one, two, one]
        assert players.leave("chess", one) is True
        assert players.members("chess") == [two, one, two, one]


async def test_a_process_joins_and_leaves_by_itself_if_nobody_is_named() -> None:
    async with node():
        await players.start_link()
        players.join("chess")
        assert players.members("chess") == [self_pid()]
        assert players.leave("chess") is True
        assert players.leave("chess") is False
        assert players.members("chess") == []
        assert tables_are_empty()


async def test_a_group_without_members_is_none() -> None:
    async with node():
        await players.start_link()
        players.join("chess")
        players.join(("go", 19))
        assert players.which_groups() == ["chess", ("go", 19)]
        players.leave("chess")
        assert players.which_groups() == [("go", 19)]
        players.join("empty", [])
        assert players.which_groups() == [("go", 19)]


async def test_leave_takes_those_who_are_members() -> None:
    async with node():
        await players.start_link()
        one, two = spawn(idle), spawn(idle)
        players.join("chess", one)
        ref, _ = players.monitor("chess")
        assert players.leave("chess", [one, two, one]) is True
        assert drain() == [Left(ref, "chess", (one,))]


async def test_a_process_leaves_all_its_groups_in_the_step_in_which_it_dies() -> None:
    async with node():
        await players.start_link()
        one, two = spawn(idle), spawn(idle)
        for pid in (one, two, one):
            players.join("chess", pid)
            players.join("go", pid)
        monitor(one)
        exit(one, "kill")
        await receive(Down)
        assert players.members("chess") == players.members("go") == [two]
        exit(two, "kill")
        await wait_exit(two)
        assert players.which_groups() == []
        assert tables_are_empty()


async def test_the_dead_cannot_join_and_then_nobody_does() -> None:
    async with node():
        await players.start_link()
        one, dead = spawn(idle), spawn(idle)
        exit(dead, "kill")
        await wait_exit(dead)
        with pytest.raises(NoProcess):
            players.join("chess", [one, dead])
        assert players.members("chess") == []
        assert players.leave("chess", dead) is False


async def test_a_group_that_cannot_be_one_is_refused_and_leaves_nothing() -> None:
    async with node():
        await players.start_link()
        for ask in (players.join, players.monitor):
            with pytest.raises(TypeError, match="unhashable"):
                ask(["chess"])
        assert tables_are_empty()


# -- news -----------------------------------------------------------------------------------------


async def test_a_monitor_gets_the_members_now_and_every_change_after() -> None:
    async with node():
        await players.start_link()
        one, two = spawn(idle), spawn(idle)
        players.join("chess", one)
        ref, there = players.monitor("chess")
        assert there == [one]
        players.join("chess", [two, one])
        players.join("go", two)
        players.leave("chess", two)
        assert drain() == [Joined(ref, "chess", (two, one)), Left(ref, "chess", (two,))]


async def test_a_death_is_news_before_the_down_of_the_same_process() -> None:
    async with node():
        await players.start_link()
        one = spawn(idle)
        for group in ("chess", "go", "chess"):
            players.join(group, one)
        down = monitor(one)
        chess, _ = players.monitor("chess")
        go, _ = players.monitor("go")
        exit(one, "kill")
        await wait_exit(one)
        assert drain() == [
            Left(chess, "chess", (one,)),
            Left(go, "go", (one,)),
            Left(chess, "chess", (one,)),
            Down(down, one, "killed"),
        ]


async def test_a_monitor_of_the_scope_hears_of_all_groups() -> None:
    async with node():
        await players.start_link()
        one = spawn(idle)
        players.join("chess", one)
        ref, there = players.monitor_scope()
        assert there == {"chess": [one]}
        players.join("go", one)
        players.leave("chess", one)
        assert drain() == [Joined(ref, "go", (one,)), Left(ref, "chess", (one,))]


async def test_each_monitor_is_one_of_its_own_and_ends_by_itself() -> None:
    async with node():
        await players.start_link()
        first, _ = players.monitor("chess")
        second, _ = players.monitor("chess")
        one = spawn(idle)
        players.join("chess", one)
        assert drain() == [Joined(first, "chess", (one,)), Joined(second, "chess", (one,))]
        assert players.demonitor(first) is True
        assert players.demonitor(first) is False
        players.leave("chess", one)
        assert drain() == [Left(second, "chess", (one,))]


async def test_demonitor_takes_the_messages_that_wait() -> None:
    async with node():
        await players.start_link()
        keep, _ = players.monitor("chess")
        drop, _ = players.monitor_scope()
        players.join("chess")
        assert players.demonitor(drop) is True
        assert drain() == [Joined(keep, "chess", (self_pid(),))]


async def test_a_monitor_of_another_process_cannot_be_taken_away() -> None:
    async with node():
        await players.start_link()
        ref, _ = players.monitor("chess")
        other = Actor()
        assert await other.do(lambda: players.demonitor(ref)) is False
        players.join("chess")
        assert len(drain()) == 1


async def test_a_monitor_ends_with_its_process() -> None:
    async with node():
        await players.start_link()
        other = Actor()
        await other.do(lambda: players.monitor("chess"))
        await other.do(lambda: players.monitor_scope())
        await other.do(lambda: players.join("chess"))
        exit(other.pid, "kill")
        await wait_exit(other.pid)
        assert tables_are_empty()


# -- the scope ------------------------------------------------------------------------------------


async def test_members_outlive_their_scope_and_a_new_one_is_empty() -> None:
    async with node():
        trap_exit()
        scope = await players.start_link()
        one = spawn(idle)
        players.join("chess", one)
        players.monitor("chess")
        exit(scope, "kill")
        assert await receive(Exit) == Exit(scope, "killed")
        assert is_alive(one)
        with pytest.raises(NotRegistered, match="'players'"):
            players.members("chess")
        await players.start_link()
        assert players.members("chess") == []


async def test_a_scope_is_a_child_like_any_other() -> None:
    async with node() as stage:
        await Supervisor.start_link([players.child()])
        players.join("chess")
        first = whereis("players")
        assert first is not None
        exit(first, "kill")
        await settle()
        assert players.members("chess") == []
        stage.logged("child 'players'")


async def test_a_scope_is_started_once_and_a_stranger_is_no_scope() -> None:
    async with node():
        await players.start_link()
        with pytest.raises(AlreadyStarted):
            await players.start_link()
        spawn(idle, name="stranger")
        with pytest.raises(TypeError, match="no scope of groups"):
            Groups.members("stranger", "chess")


async def test_both_faces_do_the_same() -> None:
    async with node():
        await players.start_link()
        Groups.join("players", "chess")
        assert Groups.members("players", "chess") == players.members("chess") == [self_pid()]
        assert Groups.which_groups("players") == ["chess"]
        assert Groups.leave("players", "chess") is True


# -- in random order ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
async def test_the_news_always_give_the_groups_as_they_are(seed: int) -> None:
    async with node():
        await players.start_link()
        choice = random.Random(seed)
        model: dict[str, list[Pid]] = {}
        _, there = players.monitor_scope()
        told: dict[str, list[Pid]] = dict(there)
        alive = [spawn(idle) for _ in range(6)]
        for _ in range(150):
            group, pid = choice.choice("abc"), choice.choice(alive)
            match choice.choice(["join", "join", "leave", "die"]):
                case "join":
                    players.join(group, pid)
                    model.setdefault(group, []).insert(0, pid)
                case "leave":
                    was_in = pid in model.get(group, [])
                    assert players.leave(group, pid) is was_in
                    if was_in:
                        model[group].remove(pid)
                case _:
                    exit(pid, "kill")
                    await wait_exit(pid)
                    for pids in model.values():
                        pids[:] = [one for one in pids if one is not pid]
                    alive[alive.index(pid)] = spawn(idle)
            for message in drain():
                match message:
                    case Joined(_, group, came):
                        told.setdefault(group, [])[:0] = came
                    case Left(_, group, went):
                        for one in went:
                            told[group].remove(one)
                    case _:
                        raise AssertionError(message)
            model = {key: pids for key, pids in model.items() if pids}
            told = {key: pids for key, pids in told.items() if pids}
            assert told == model
            assert {one: players.members(one) for one in players.which_groups()} == model
        for pid in alive:
            exit(pid, "kill")
        await trio.testing.wait_all_tasks_blocked()
        drain()
        ref = players.monitor_scope()[0]
        assert players.which_groups() == []
        players.demonitor(ref)

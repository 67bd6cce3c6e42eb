"""Names: one at most for a process, one process for a name; and `Via`, names kept elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    AlreadyNamed,
    Down,
    GenServer,
    NameTaken,
    NoProcess,
    NotRegistered,
    Pid,
    call,
    register,
    registered,
    self_pid,
    send,
    spawn,
    spawn_monitor,
    unregister,
    wait_exit,
    whereis,
)

from .nodes import Actor, collect, echo, idle, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def slow_end() -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)


# -- register and unregister


async def test_a_process_is_found_by_its_name() -> None:
    async with node():
        pid = spawn(idle)
        register("store", pid)
        assert whereis("store") is pid
        assert registered() == ["store"]
        info = exeunt.process_info(pid)
        assert info is not None and info.name == "store"


async def test_a_process_may_register_itself() -> None:
    async with node():
        register("main")
        assert whereis("main") is self_pid()
        unregister("main")
        assert whereis("main") is None


async def test_a_process_is_registered_before_it_runs() -> None:
    found: list[Pid | None] = []

    async def body() -> None:
        found.append(whereis("early"))

    async with node():
        pid = spawn(body, name="early")
        assert whereis("early") is pid
        await wait_exit(pid)
        assert found == [pid]


async def test_a_name_is_taken_once() -> None:
    async with node():
        pid, other = spawn(idle), spawn(idle)
        register("store", pid)
        with pytest.raises(NameTaken) as caught:
            register("store", other)
        assert caught.value.pid is pid and caught.value.name == "store"
        assert f"the name 'store' is taken by {pid}" in str(caught.value)
        with pytest.raises(NameTaken):
            register("store", pid)


async def test_a_process_has_one_name_at_most() -> None:
    async with node():
        pid = spawn(idle, name="first")
        with pytest.raises(AlreadyNamed, match="'first' already"):
            register("second", pid)
        unregister("first")
        register("second", pid)
        assert registered() == ["second"]


async def test_the_dead_cannot_be_named() -> None:
    async with node():
        pid = spawn(idle)
        exeunt.exit(pid, "bye")
        with pytest.raises(NoProcess, match=str(pid)):
            register("exiting", pid)
        await wait_exit(pid)
        with pytest.raises(NoProcess, match="it is dead"):
            register("dead", pid)
        assert registered() == []


async def test_a_name_that_nobody_has_cannot_be_freed() -> None:
    async with node():
        with pytest.raises(NotRegistered, match="'nobody'"):
            unregister("nobody")


async def test_anyone_may_unregister_a_name() -> None:
    async with node():
        pid = spawn(idle, name="store")
        actor = Actor()
        await actor.do(lambda: unregister("store"))
        assert whereis("store") is None
        assert exeunt.is_alive(pid)


async def test_a_name_is_not_empty() -> None:
    async with node():
        with pytest.raises(ValueError, match="non-empty string"):
            register("")


@pytest.mark.parametrize("name", [None, 5, b"bytes", ("a", "b")])
async def test_a_name_is_a_string(name: Any) -> None:
    async with node():
        with pytest.raises((TypeError, ValueError)):
            register(name)
        assert registered() == []


async def test_registered_lists_the_oldest_first() -> None:
    async with node():
        for name in ("c", "a", "b"):
            spawn(idle, name=name)
        assert registered() == ["c", "a", "b"]


# -- spawning under a name that is taken


@pytest.mark.parametrize("way", [spawn, exeunt.spawn_link, exeunt.spawn_monitor])
async def test_nothing_is_started_under_a_name_that_is_taken(way: Any) -> None:
    async with node() as stage:
        spawn(idle, name="store")
        seen = stage.events(exeunt.kernel.events.Spawned, exeunt.kernel.events.Exited)
        before = exeunt.processes()
        with pytest.raises(NameTaken):
            way(idle, name="store")
        await settle()
        assert exeunt.processes() == before
        assert seen == []
        info = exeunt.process_info(self_pid())
        assert info is not None and info.links == () and info.monitors == ()


# -- the end of a process


async def test_a_name_is_free_when_anybody_hears_of_the_end() -> None:
    async with node():
        pid, _ = spawn_monitor(idle, name="store")
        exeunt.exit(pid, "bye")
        await exeunt.receive(Down)
        register("store", spawn(idle))


async def test_an_exiting_process_is_not_found_but_keeps_its_name_until_it_is_dead() -> None:
    async with node():
        pid = spawn(slow_end, name="store")
        await settle()
        exeunt.exit(pid, "bye")
        assert whereis("store") is None
        with pytest.raises(NotRegistered):
            send("store", "lost")
        with pytest.raises(NameTaken) as caught:
            spawn(idle, name="store")
        assert caught.value.pid is pid
        await wait_exit(pid)
        successor = spawn(idle, name="store")
        assert whereis("store") is successor


async def test_names_come_and_go_in_any_number() -> None:
    async with node():
        for round_ in range(20):
            pids = [spawn(idle, name=f"worker {number}") for number in range(20)]
            assert len(registered()) == 20
            for pid in pids:
                exeunt.exit(pid, round_)
            for pid in pids:
                await wait_exit(pid)
            assert registered() == []


# -- sending to a name


async def test_a_message_to_a_name_reaches_who_has_it_now() -> None:
    async with node():
        first: list[Any] = []
        second: list[Any] = []
        pid = spawn(collect, first, name="store")
        send("store", 1)
        await settle()
        unregister("store")
        register("store", spawn(collect, second))
        send("store", 2)
        await settle()
        assert (first, second) == ([1], [2])
        exeunt.exit(pid, "bye")


async def test_a_message_to_a_name_that_nobody_has_is_an_error() -> None:
    async with node():
        with pytest.raises(NotRegistered, match="no process is registered as 'nobody'"):
            send("nobody", "lost")


@pytest.mark.parametrize("target", [None, 5, object()])
async def test_what_is_no_destination_is_refused_with_a_hint(target: Any) -> None:
    async with node() as stage:
        hint = "a process is given by its pid, its name, or a Via"
        with pytest.raises(TypeError, match=hint):
            send(target, "lost")
        with pytest.raises(TypeError, match=hint):
            exeunt.cast_to(target, "lost")
        with pytest.raises(TypeError, match=hint):
            exeunt.send_after(1, target, "lost")
        with pytest.raises(TypeError, match=hint):
            exeunt.monitor(target)
        assert len(stage.node.timers) == 0


@pytest.mark.parametrize("target", [None, "a name", 5])
async def test_what_is_no_pid_is_refused_where_a_pid_is_needed(target: Any) -> None:
    async with node():
        uses = [
            lambda: exeunt.link(target),
            lambda: exeunt.unlink(target),
            lambda: exeunt.exit(target, "bye"),
            lambda: exeunt.exit_after(1, target, "bye"),
            lambda: exeunt.is_alive(target),
            lambda: exeunt.process_info(target),
        ]
        for use in uses:
            with pytest.raises(TypeError, match="a pid is needed here"):
                use()
        with pytest.raises(TypeError, match="a pid is needed here"):
            await wait_exit(target)


# -- Via


class Locker:
    """A name kept in a dict of its own."""

    def __init__(self, table: dict[str, Pid], key: str) -> None:
        self.table = table
        self.key = key

    def whereis(self) -> Pid | None:
        pid = self.table.get(self.key)
        return pid if pid is not None and exeunt.is_alive(pid) else None

    def register(self, pid: Pid) -> bool:
        if self.whereis() is not None:
            return False
        self.table[self.key] = pid
        return True


class Broken:
    def whereis(self) -> Pid | None:
        raise OSError("the registry is down")

    def register(self, pid: Pid) -> bool:
        raise OSError("the registry is down")


class Echo(GenServer):
    async def handle_call(self, request: Any, caller: exeunt.Call) -> exeunt.Reply[Any]:
        return exeunt.Reply(request)


def test_a_via_is_whatever_has_its_two_methods() -> None:
    assert isinstance(Locker({}, "x"), exeunt.Via)
    assert not isinstance(object(), exeunt.Via)


async def test_a_via_stands_wherever_a_destination_is_meant() -> None:
    async with node():
        via = Locker({}, "echo")
        got: list[Any] = []
        via.register(spawn(echo))
        assert await call(via, "question") == "question"
        collector = Locker(via.table, "collector")
        collector.register(spawn(collect, got))
        send(collector, "message")
        exeunt.send_after(1, collector, "later")
        await trio.sleep(2)
        assert got == ["message", "later"]


async def test_a_process_can_be_monitored_by_a_via() -> None:
    async with node():
        via = Locker({}, "worker")
        pid = spawn(idle)
        via.register(pid)
        ref = exeunt.monitor(via)
        await settle()
        exeunt.exit(pid, "bye")
        down = await exeunt.receive(Down)
        assert (down.ref, down.process, down.reason) == (ref, via, "bye")


async def test_a_via_that_finds_nobody_is_like_a_name_that_nobody_has() -> None:
    async with node():
        via = Locker({}, "nobody")
        with pytest.raises(NotRegistered):
            send(via, "lost")
        exeunt.cast_to(via, "lost")
        with pytest.raises(exeunt.CallFailed, match="noproc"):
            await call(via, "question")
        exeunt.monitor(via)
        assert (await exeunt.receive(Down)).reason == "noproc"


async def test_a_server_is_started_under_a_via() -> None:
    async with node():
        via = Locker({}, "echo")
        pid = await Echo.named(via).start_link()
        assert via.whereis() is pid
        assert await call(via, 1) == 1
        with pytest.raises(exeunt.AlreadyStarted) as caught:
            await Echo.named(via).start_link()
        assert caught.value.pid is pid
        await settle()
        assert exeunt.processes() == [self_pid(), pid]


async def test_a_via_that_fails_at_registration_leaves_no_server_behind() -> None:
    async with node():
        for start in (Echo.named(Broken()).start, Echo.named(Broken()).start_link):
            with pytest.raises(OSError, match="the registry is down"):
                await start()
            await settle()
            assert exeunt.processes() == [self_pid()]


async def test_a_via_that_fails_when_a_timer_fires_harms_nobody() -> None:
    class Moody(Broken):
        calls = 0

        def whereis(self) -> Pid | None:
            self.calls += 1
            return None if self.calls == 1 else super().whereis()

    async with node() as stage:
        exeunt.send_after(1, Moody(), "lost")
        exeunt.send_after(2, self_pid(), "still there")
        assert await exeunt.receive() == "still there"
        stage.logged("timer")


# -- several nodes


async def test_each_node_has_names_of_its_own() -> None:
    async with node():
        spawn(idle, name="store")
        async with exeunt.open_node(signals=False):
            assert whereis("store") is None
            inner = spawn(idle, name="store")
            assert whereis("store") is inner
        assert whereis("store") is not None


async def test_a_process_of_another_node_cannot_be_registered() -> None:
    async with node():
        stranger = spawn(idle)
        async with exeunt.open_node(signals=False):
            with pytest.raises(ValueError, match="another node"):
                register("stranger", stranger)
            assert registered() == []
        exeunt.exit(stranger, "bye")
        assert await wait_exit(stranger) == "bye"

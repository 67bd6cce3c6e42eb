"""tree(): all processes of a node as data and as text, without asking any of them."""

from __future__ import annotations

import dataclasses
from contextvars import Context
from typing import Any

import pytest
import trio

import exeunt
from exeunt import (
    ChildSpec,
    DynamicSupervisor,
    GenServer,
    NotAProcess,
    Pid,
    StartFailed,
    Supervisor,
    child,
    exit,
    get_state,
    on_call,
    on_cast,
    register,
    resume,
    self_pid,
    spawn,
    spawn_link,
    stop,
    suspend,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt.kernel.events import Spawned
from exeunt.otp.tree import Branch, Tree, tree
from tests.kernel.nodes import idle, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Worker(GenServer):
    """Does nothing unless it is told to."""

    @on_cast
    async def work(self) -> None:
        await trio.sleep(10)

    @on_call
    async def spawn_other(self) -> Pid:
        return spawn_link(idle)


def shape(branch: Branch) -> Any:
    """Return a branch as nested pairs of label or id, and what is below."""
    return (
        branch.label if branch.id is None else branch.id,
        [shape(one) for one in branch.children],
    )


def branch_of(process: Pid | str) -> Branch:
    found = tree().find(process)
    assert found is not None
    return found


async def start_app() -> Pid:
    """Start a supervisor with a worker, a dynamic supervisor of two, and a function."""
    app = await Supervisor.named("app").start_link(
        [
            Worker.named("store").child(),
            DynamicSupervisor.named("rooms").child(),
            child(idle).replace(restart="transient"),
        ]
    )
    for _ in range(2):
        await DynamicSupervisor.start_child("rooms", Worker.child().replace(restart="temporary"))
    return app


# -- data -----------------------------------------------------------------------------------------


async def test_a_supervisors_children_stand_below_it_in_order_of_start() -> None:
    async with node():
        await start_app()
        (root,) = tree().roots
        assert shape(root) == (
            "main",
            [
                (
                    "Supervisor",
                    [("store", []), ("rooms", [("Worker", []), ("Worker", [])]), ("idle", [])],
                )
            ],
        )


async def test_a_branch_says_what_its_process_is() -> None:
    async with node():
        app = await start_app()
        await settle()
        assert branch_of("store") == Branch(
            pid=whereis("store"),
            name="store",
            label="Worker",
            type="worker",
            status="waiting",
            id="store",
            restart="permanent",
        )
        rooms = branch_of("rooms")
        assert (rooms.type, rooms.restart, rooms.id) == ("supervisor", "permanent", "rooms")
        room = rooms.children[0]
        assert (room.type, room.restart, room.id, room.name) == ("worker", "temporary", None, None)
        top = branch_of(app)
        assert (top.type, top.restart, top.id, top.name) == ("supervisor", None, None, "app")
        function = top.children[-1]
        assert (function.label, function.restart, function.status) == (
            "idle",
            "transient",
            "running",
        )


async def test_other_processes_stand_below_the_one_that_spawned_them() -> None:
    async with node():
        app = await Supervisor.start_link([Worker.named("w").child()])
        other = await Worker.spawn_other("w")
        plain = spawn(idle)
        (root,) = tree().roots
        assert [one.pid for one in root.children] == [app, plain]
        assert [one.pid for one in branch_of("w").children] == [other]
        assert branch_of(other).restart is None


async def test_a_supervisors_children_come_before_what_else_it_has_spawned() -> None:
    class Spawning(Supervisor):
        async def init(self, *args: Any, **kwargs: Any) -> Any:
            self.helper = spawn_link(idle)
            return await super().init(*args, **kwargs)

    async with node():
        pid = await Spawning.start_link([Worker.child()])
        assert [one.label for one in branch_of(pid).children] == ["Worker", "idle"]


async def test_a_child_that_somebody_else_has_spawned_stands_below_its_supervisor() -> None:
    async with node():
        foreign = spawn(idle)

        async def adopt() -> Pid:
            exeunt.link(foreign)
            return foreign

        pid = await Supervisor.start_link([ChildSpec(id="adopted", start=adopt)])
        (root,) = tree().roots
        assert [one.pid for one in root.children] == [pid]
        assert [one.pid for one in branch_of(pid).children] == [foreign]


async def test_processes_whose_parent_is_gone_are_roots_of_their_own() -> None:
    orphans: list[Pid] = []

    async def parent() -> None:
        orphans.append(spawn(idle))
        orphans.append(spawn(idle))

    async with node():
        await wait_exit(spawn(parent))
        assert [one.pid for one in tree().roots] == [self_pid(), *orphans]


async def test_the_tree_can_be_asked_for_where_no_process_runs() -> None:
    async with node() as stage:
        await start_app()
        seen: list[Tree] = []

        async def outside() -> None:
            with pytest.raises(NotAProcess):
                tree()
            seen.append(tree(stage.node))

        trio.lowlevel.spawn_system_task(outside, context=Context())
        await settle()
        assert seen == [tree()]


async def test_a_tree_is_frozen() -> None:
    async with node():
        with pytest.raises(dataclasses.FrozenInstanceError):
            tree().roots = ()  # type: ignore[misc]
        with pytest.raises(dataclasses.FrozenInstanceError):
            tree().roots[0].name = "x"  # type: ignore[misc]


async def test_find_goes_by_pid_or_name_and_iterating_gives_all_from_the_top_down() -> None:
    async with node():
        await start_app()
        seen = tree()
        assert [one.label for one in seen] == [
            "main",
            "Supervisor",
            "Worker",
            "DynamicSupervisor",
            "Worker",
            "Worker",
            "idle",
        ]
        assert seen.find("rooms") is list(seen)[3]
        assert seen.find("nobody") is None
        gone = spawn(idle)
        assert seen.find(gone) is None


# -- what cannot hold it up -----------------------------------------------------------------------


async def test_a_busy_and_a_suspended_supervisor_are_shown_like_any_other() -> None:
    async with node():
        app = await start_app()
        await suspend("rooms")

        async def slow() -> Pid:
            await trio.sleep(60)
            return spawn_link(idle)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor.start_child, app, ChildSpec(id="slow", start=slow))
            await settle()
            began = trio.current_time()
            before = tree()
            assert trio.current_time() == began
            assert branch_of(app).status == "running"
            assert branch_of("rooms").status == "suspended"
            assert len(branch_of(app).children) == 3
            assert len(branch_of("rooms").children) == 2
            assert before == tree()
        await resume("rooms")


async def test_a_supervisor_that_is_starting_its_first_children_is_shown() -> None:
    async with node():

        async def slow() -> Pid:
            await trio.sleep(60)
            return spawn_link(idle)

        specs = [Worker.child(), ChildSpec(id="slow", start=slow)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Supervisor.named("app").start_link, specs)
            await settle()
            app = branch_of("app")
            assert [(one.id, one.status) for one in app.children] == [
                ("Worker", "waiting"),
                ("slow", "stopped"),
            ]


async def test_a_server_that_has_not_begun_is_shown() -> None:
    async with node() as stage:
        seen: list[Tree] = []
        stage.node.events.subscribe(lambda _: seen.append(tree()), Spawned)
        await Supervisor.start_link([])
        assert [shape(root) for root in seen[0].roots] == [("main", [("Supervisor", [])])]
        assert seen[0].roots[0].children[0].status == "running"


# -- states ---------------------------------------------------------------------------------------


async def test_the_status_tells_how_a_process_is() -> None:
    async with node():
        worker = await Worker.start_link()
        await settle()
        assert branch_of(worker).status == "waiting"
        Worker.work(worker)
        await settle()
        assert branch_of(worker).status == "running"
        await trio.sleep(20)
        await suspend(worker)
        assert branch_of(worker).status == "suspended"

        async def slow_end() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)

        ending = spawn(slow_end)
        await settle()
        exit(ending, "shutdown")
        assert branch_of(ending).status == "exiting"


async def test_zombies_are_shown_where_they_were() -> None:
    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    async def parent() -> None:
        register("parent")
        trap_exit()
        spawn_link(shielded)
        await trio.sleep_forever()

    async with node(kill_grace=5.0) as stage:
        above = spawn(parent)
        await settle()
        (hanging,) = branch_of("parent").children
        assert hanging.pid is not None
        exit(hanging.pid, "kill")
        assert branch_of(hanging.pid).status == "exiting"
        await trio.sleep(6)
        (zombie,) = branch_of("parent").children
        assert zombie.pid is hanging.pid
        assert zombie.status == "zombie"
        assert "zombie" in str(tree())
        exit(above, "kill")
        await wait_exit(above)
        # When its parent is gone too it stands by itself.
        assert [one.status for one in tree().roots] == ["running", "zombie"]
        await trio.sleep(60)
        assert "zombie" not in str(tree())
        stage.logged("was killed but does not stop")
        stage.logged("has stopped")


async def test_a_child_that_does_not_run_says_why() -> None:
    async with node() as stage:
        starts = 0

        async def flaky() -> Pid:
            nonlocal starts
            starts += 1
            if starts == 2:
                raise StartFailed("flaky", "not now")
            return spawn_link(idle)

        app = await Supervisor.start_link(
            [ChildSpec(id="flaky", start=flaky), Worker.named("w").child()]
        )
        await Supervisor.terminate_child(app, "w")
        (first, second) = branch_of(app).children
        assert (second.id, second.pid, second.status, second.type) == (
            "w",
            None,
            "stopped",
            "worker",
        )
        assert first.pid is not None
        await suspend(app)
        exit(first.pid, "gone")
        await wait_exit(first.pid)
        (first, _) = branch_of(app).children
        assert (first.status, first.pid is None) == ("dead", False)
        await resume(app)
        await settle()
        assert starts == 3
        assert branch_of(app).children[0].status == "running"
        stage.logged("'flaky'")
        stage.logged("not now")


async def test_a_child_whose_restart_is_to_be_tried_again_is_restarting() -> None:
    async with node() as stage:
        fails = 0

        async def start() -> Pid:
            nonlocal fails
            await trio.sleep(1)
            if fails:
                fails -= 1
                raise StartFailed("flaky", "not now")
            return spawn_link(idle)

        spec = ChildSpec(id="flaky", start=start)
        fixed = await Supervisor.start_link([spec])
        dynamic = await DynamicSupervisor.start_link()
        await DynamicSupervisor.start_child(dynamic, spec)
        for supervisor, id in ((fixed, "flaky"), (dynamic, None)):
            fails = 1
            (running,) = branch_of(supervisor).children
            assert running.pid is not None
            exit(running.pid, "gone")
            await settle()
            # Before the message by which the supervisor tells itself to try again.
            await suspend(supervisor)
            (flaky,) = branch_of(supervisor).children
            assert flaky == Branch(None, None, "", "worker", "restarting", id, "permanent")
            await resume(supervisor)
            await trio.sleep(2)
            assert [one.status for one in branch_of(supervisor).children] == ["running"]
            stage.logged("ended: gone")
            stage.logged("could not be started: not now")


# -- strange things -------------------------------------------------------------------------------


async def test_a_supervisor_that_was_told_a_process_above_it_is_its_child_is_shown_once() -> None:
    async with node() as stage:
        trap_exit()
        above: list[Pid] = []

        class Outer(Supervisor):
            pass

        async def wrong() -> Pid:
            return above[0]

        outer = await Outer.start_link([])
        above.append(outer)
        spec = Supervisor.child([ChildSpec(id="wrong", start=wrong)])
        inner = await Supervisor.start_child(outer, spec)
        assert isinstance(inner, Pid)
        seen = tree()
        assert {one.pid for one in seen} == {self_pid(), outer, inner}
        assert len(list(seen)) == 4
        assert str(seen)
        exit(outer, "kill")
        await wait_exit(inner)
        stage.logged("did not shut down in order: noproc")
        stage.crash(pid=inner)


async def test_a_long_chain_of_processes_is_no_trouble() -> None:
    bottom = trio.Event()

    async def chain(left: int) -> None:
        if left:
            spawn_link(chain, left - 1)
        else:
            bottom.set()
        await trio.sleep_forever()

    async with node():
        top = spawn(chain, 3000)
        await bottom.wait()
        seen = tree()
        assert len(list(seen)) == 3002
        assert str(seen).count("\n") == 3001
        assert "3002 branches" in repr(seen)
        assert repr(seen.roots[0]).startswith("<Branch <0.") or "main" in repr(seen.roots[0])
        exit(top, "shutdown")


async def test_ids_and_names_of_any_kind_stay_within_their_line() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class Long:
        def __repr__(self) -> str:
            return "x\n" * 200

    async with node():
        app = await Supervisor.start_link(
            [
                child(idle, id=Rude()),
                child(idle, id=Long()),
                child(idle, id="line\nbreak\x1b[31m"),
            ]
        )
        spawn(idle, name="two\nlines")
        lines = str(tree()).splitlines()
        assert len(lines) == 6
        assert all(line.isprintable() for line in lines)
        assert "<Rude, whose repr() failed: RuntimeError>" in lines[2]
        assert "…" in lines[3]
        assert r"'line\nbreak\x1b[31m'" in lines[4]
        assert r"'two\nlines'" in lines[5]
        assert app is not None


# -- text -----------------------------------------------------------------------------------------


async def test_the_text_draws_the_tree() -> None:
    async with node():
        await start_app()
        rooms = branch_of("rooms").children
        assert rooms[1].pid is not None
        await suspend(rooms[1].pid)
        await Supervisor.terminate_child("app", "idle")
        orphaned = spawn(idle, name="apart")
        await settle()
        n = self_pid().node
        assert str(tree()) == "\n".join(
            [
                f"<{n}.0> main, running",
                f"├── <{n}.1> 'app' Supervisor, waiting",
                f"│   ├── 'store': <{n}.2> 'store' Worker, permanent, waiting",
                f"│   ├── 'rooms': <{n}.3> 'rooms' DynamicSupervisor, permanent, waiting",
                f"│   │   ├── <{n}.5> Worker, temporary, waiting",
                f"│   │   └── <{n}.6> Worker, temporary, suspended",
                "│   └── 'idle': not running, transient, stopped",
                f"└── {orphaned} 'apart' idle, running",
            ]
        )


async def test_of_many_only_some_may_be_drawn() -> None:
    async with node():
        await start_app()
        await settle()
        n = self_pid().node
        assert tree().render(most=1) == "\n".join(
            [
                f"<{n}.0> main, running",
                f"└── <{n}.1> 'app' Supervisor, waiting",
                f"    ├── 'store': <{n}.2> 'store' Worker, permanent, waiting",
                "    └── … and 2 more",
            ]
        )
        assert tree().render(most=3) == str(tree())
        assert tree().render(most=0) == f"<{n}.0> main, running\n└── … and 1 more"


async def test_a_class_of_supervisors_of_ones_own_is_a_supervisor() -> None:
    class Rooms(DynamicSupervisor):
        pass

    async with node():
        rooms = await Rooms.start_link()
        room = await Rooms.start_child(rooms, Worker.child())
        assert isinstance(room, Pid)
        assert branch_of(rooms).type == "supervisor"
        assert [one.pid for one in branch_of(rooms).children] == [room]
        assert await get_state(room) == {}
        await stop(rooms)

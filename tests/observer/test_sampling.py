"""Pictures of a node: what is in them, what never is, and that they stay small."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from exeunt import (
    Backoff,
    DynamicSupervisor,
    Supervisor,
    call,
    exit,
    link,
    monitor,
    open_node,
    receive,
    self_pid,
    send,
    spawn,
    suspend,
    tree,
    wait_exit,
)
from exeunt.observer.rows import Extent
from exeunt.observer.sampling import Rates, sample
from exeunt.observer.web import detail_of

from .nodes import Worker, outline, picture_of, quiet, sources_for

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def wait_for_a_message() -> None:
    await receive()


async def test_the_tree_is_that_of_the_node() -> None:
    async with open_node(signals=False) as node:
        await Supervisor.named("top").start_link(
            [
                Worker.named("one").child(),
                DynamicSupervisor.named("many").child(),
                Supervisor.named("inner").child([Worker.child().replace(id=("a", 1))]),
            ]
        )
        for _ in range(3):
            await DynamicSupervisor.start_child("many", Worker.child())
        spawn(wait_for_a_message, name="loose")
        await trio.sleep(1)
        await suspend("one")
        picture = await picture_of(node)
        assert outline(picture) == [
            "main running",
            "  top waiting",
            "    one suspended",
            "    many waiting",
            "      Worker waiting",
            "      Worker waiting",
            "      Worker waiting",
            "    inner waiting",
            "      ('a', 1) waiting",
            "  loose waiting",
        ]
        # The same as the tree of exeunt.otp, which shows all there is.
        assert {row["pid"] for row in picture["process"].values()} == {
            repr(branch.pid) for branch in tree(node)
        }


async def test_a_row_tells_of_its_process() -> None:
    async with open_node(signals=False) as node:
        top = await Supervisor.start_link([Worker.named("one").child()])

        async def busy() -> None:
            link(self_pid())
            monitor("one")
            monitor(top)
            await trio.sleep_forever()

        pid = spawn(busy, name="busy")
        await trio.sleep(0.1)
        for number in range(3):
            send(pid, number)
        row = (await picture_of(node))["process"][repr(pid)]
        assert row["pid"] == repr(pid)
        assert (row["name"], row["mailbox"], row["links"], row["monitors"]) == ("busy", 3, 0, 2)
        assert row["kind"] == "worker"
        line = test_a_row_tells_of_its_process.__code__.co_firstlineno
        where, _, number_of_line = row["line"].rpartition(":")
        assert where.endswith(f"busy at {__name__}")
        assert line < int(number_of_line) < line + 15


async def test_a_place_is_the_users_own_if_there_is_one() -> None:
    async def inner() -> None:
        await call("server", "anything")

    class Slow(Worker):
        async def handle_call(self, request: Any, caller: Any) -> Any:
            await trio.sleep_forever()

    async with open_node(signals=False) as node:
        server = await Slow.named("server").start_link()
        caller = spawn(inner)
        await trio.sleep(0.1)
        processes = (await picture_of(node))["process"]
        assert "Slow.handle_call at tests." in processes[repr(server)]["line"]
        assert "inner at tests." in processes[repr(caller)]["line"]


async def test_children_that_do_not_run_are_shown_as_their_supervisor_knows_them() -> None:
    async with open_node(signals=False) as node:
        with quiet():
            slow = Backoff(initial=100.0, maximum=100.0)
            top = await Supervisor.start_link(
                [
                    Worker.named("late").child().replace(backoff=slow),
                    Worker.named("stopped").child(),
                ]
            )
            await Supervisor.terminate_child(top, "stopped")
            Worker.crash("late")
            await trio.sleep(1)
            picture = await picture_of(node)
            assert outline(picture)[2:] == ["    late restarting", "    stopped stopped"]
            row = picture["process"][f"{top}/late"]
            assert row["pid"] == "" and row["mailbox"] == 0


async def test_so_many_are_shown_under_each_and_how_many_more_there_are() -> None:
    async with open_node(signals=False) as node:
        await DynamicSupervisor.named("many").start_link()
        for _ in range(12):
            await DynamicSupervisor.start_child("many", Worker.child())
        for _ in range(7):
            spawn(wait_for_a_message)
        picture = await picture_of(node, extent=Extent(children=5))
        assert picture["node"]["node"]["processes"] == 21
        lines = outline(picture)
        assert lines.count("    Worker waiting") == 5
        assert "    +7" in lines
        assert lines[-1] == "  +3"


async def test_all_together_are_bounded_too_and_the_deepest_give_way() -> None:
    async with open_node(signals=False) as node:
        for _ in range(4):
            parent = await DynamicSupervisor.start_link()
            for _ in range(4):
                await DynamicSupervisor.start_child(parent, Worker.child())
        picture = await picture_of(node, extent=Extent(processes=7))
        assert len(picture["process"]) == 7
        shown = sum(len(row["children"]) for row in picture["process"].values())
        more = sum(row["more"] for row in picture["process"].values())
        assert shown + more + 1 == len(node.processes)


async def test_processes_whose_parent_is_gone_are_roots() -> None:
    async with open_node(signals=False) as node:

        async def parent() -> None:
            spawn(wait_for_a_message, name="orphan")

        await wait_exit(spawn(parent))
        picture = await picture_of(node)
        roots = picture["node"]["node"]["roots"]
        assert [picture["process"][one]["label"] for one in roots] == ["main", "wait_for_a_message"]


async def test_a_zombie_is_shown_with_where_it_hangs() -> None:
    async def hang() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    with quiet():
        async with open_node(signals=False, kill_grace=1.0) as node:
            pid = spawn(hang)
            await trio.sleep(1)
            exit(pid, "kill")
            await trio.sleep(2)
            picture = await picture_of(node)
            row = picture["process"][repr(pid)]
            assert (row["status"], row["label"]) == ("zombie", hang.__qualname__)
            assert "hang at tests." in row["line"]
            assert picture["node"]["node"]["zombies"] == 1


async def test_a_chain_of_processes_may_be_long() -> None:
    async with open_node(signals=False) as node:

        async def step(left: int) -> None:
            if left:
                spawn(step, left - 1)
            await receive()

        spawn(step, 1200)
        await trio.sleep(1)
        picture = await picture_of(node)
        assert len(picture["process"]) == 1202


async def test_the_key_of_a_child_stays_when_it_is_restarted() -> None:
    async with open_node(signals=False) as node:
        with quiet():
            inner = Supervisor.named("inner").child([Worker.named("w").child()])
            await Supervisor.named("top").start_link([inner])
            before = await picture_of(node)
            Worker.crash("w")
            await trio.sleep(1)
            after = await picture_of(node)
            assert list(before["process"]) == list(after["process"])
            [key] = [key for key, row in after["process"].items() if row["name"] == "w"]
            assert before["process"][key]["pid"] != after["process"][key]["pid"]


async def test_a_picture_holds_no_state_and_no_message() -> None:
    async with open_node(signals=False) as node:
        server = await Worker.named("w").start_link("hunter2")
        pid = spawn(trio.sleep_forever)
        send(pid, {"password": "hunter2"})
        sources = sources_for(node)
        picture = await picture_of(node, sources)
        process = node.processes[pid.number]
        detail = detail_of(process, sources)
        assert detail["waiting"] == {"dict": 1}
        server_detail = detail_of(node.processes[server.number], sources)
        text = msgspec.json.encode([picture, detail, server_detail])
        assert b"hunter2" not in text
        assert b"password" not in text


async def test_control_characters_and_long_texts_are_cut() -> None:
    async with open_node(signals=False) as node:
        spawn(wait_for_a_message, name="a\x1b[31m\n" + "b" * 500)
        picture = await picture_of(node)
        [name] = [row["name"] for row in picture["process"].values() if row["name"]]
        assert name.isprintable()
        assert len(name) <= 120


async def test_an_id_whose_repr_fails_is_shown_all_the_same() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError

    async with open_node(signals=False) as node:
        await Supervisor.start_link([Worker.child().replace(id=Odd())])
        assert "    <Odd, whose repr() failed: ValueError> waiting" in outline(
            await picture_of(node)
        )


async def test_the_longest_mailboxes_are_listed_wherever_they_are() -> None:
    async with open_node(signals=False) as node:
        await DynamicSupervisor.named("many").start_link()
        pids = [spawn(trio.sleep_forever) for _ in range(30)]
        for length, pid in enumerate(pids):
            for _ in range(length):
                send(pid, "secret")
        picture = await picture_of(node, extent=Extent(children=2))
        assert repr(pids[29]) not in picture["process"]
        assert [(row["pid"], row["mailbox"]) for row in picture["mailbox"].values()] == [
            (repr(pids[length]), length) for length in range(29, 21, -1)
        ]
        for pid in pids[10:]:
            exit(pid, "kill")
            await wait_exit(pid)
        assert (await picture_of(node))["mailbox"] == {}, "nine messages are not many"


async def test_an_id_whose_repr_takes_long_is_written_once() -> None:
    class Slow:
        times = 0

        def __repr__(self) -> str:
            Slow.times += 1
            return "slow"

    async with open_node(signals=False) as node:
        await Supervisor.start_link([Worker.child().replace(id=Slow())])
        sources = sources_for(node)
        Slow.times = 0
        for _ in range(3):
            assert "    slow waiting" in outline(await picture_of(node, sources))
        assert Slow.times == 1


async def test_messages_a_second_are_those_since_the_last_picture() -> None:
    async with open_node(signals=False) as node:
        pid = await Worker.start_link()
        sources = sources_for(node)
        sources.meter.start(node)
        rates = Rates()
        await picture_of(node, sources, rates=rates)
        for _ in range(30):
            send(pid, "x")
        await trio.sleep(2.0)
        picture = await picture_of(node, sources, rates=rates)
        assert picture["process"][repr(pid)]["rate"] == 15.0
        assert picture["node"]["node"]["messages"] == 15.0
        await trio.sleep(1.0)
        picture = await picture_of(node, sources, rates=rates)
        assert picture["process"][repr(pid)]["rate"] == 0.0
        sources.meter.stop()


async def test_the_others_run_while_a_large_node_is_looked_at() -> None:
    async with open_node(signals=False) as node:
        for _ in range(3000):
            spawn(wait_for_a_message)
        rests = 0

        async def rest() -> None:
            nonlocal rests
            rests += 1
            await trio.lowlevel.checkpoint()
            # Whoever ends meanwhile does no harm.
            exit(node.processes[100 + rests].pid, "kill")

        await sample(node, sources_for(node), now=0.0, rest=rest)
        assert rests >= 12

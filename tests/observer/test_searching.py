"""What is found of a node's processes by a name or a key, and in which order."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from exeunt import (
    DynamicSupervisor,
    Node,
    Pid,
    Registry,
    Supervisor,
    open_node,
    receive,
    self_pid,
    spawn,
)
from exeunt.observer.searching import LONGEST, MOST_FOUND, search

from .nodes import Worker, sources_for

pytestmark = pytest.mark.usefixtures("autojump_clock")

ROOMS = Registry[Any, None].named("keys")


async def find(node: Node, text: str, own: Pid | None = None) -> tuple[list[str], int]:
    answer = await search(node, text, sources_for(node, own), trio.lowlevel.checkpoint)
    rows = answer["found"]
    return [one["id"] or one["name"] or one["label"] for one in rows], answer["total"]


async def enter(*keys: object) -> None:
    await ROOMS.start_link(keys="unique")
    await DynamicSupervisor.named("houses").start_link()
    for key in keys:
        await DynamicSupervisor.start_child("houses", Worker.named(ROOMS.via(key)).child())


async def test_a_process_is_found_by_its_key_whatever_the_case() -> None:
    async with open_node(signals=False) as node:
        await enter("smith", "jones", ("a", 17))
        for text in ("smith", "SMITH", "mit", " smith ", "worker 'smith'"):
            assert await find(node, text) == (["Worker 'smith'"], 1), text
        assert await find(node, "17") == (["Worker ('a', 17)"], 1)
        assert await find(node, "Worker") == (
            ["Worker 'smith'", "Worker 'jones'", "Worker ('a', 17)"],
            3,
        )
        for text in ("smyth", "", "   "):
            assert await find(node, text) == ([], 0)


async def test_the_best_comes_first_and_then_the_oldest() -> None:
    async with open_node(signals=False) as node:
        await enter("old hall", "hall of fame", "hall", "HALL 2")
        assert await find(node, "hall") == (
            ["Worker 'hall'", "Worker 'hall of fame'", "Worker 'HALL 2'", "Worker 'old hall'"],
            4,
        )


async def test_it_is_found_by_the_name_and_by_the_id_that_its_supervisor_has() -> None:
    async with open_node(signals=False) as node:
        specs = [Worker.named("till").child(), Worker.child().replace(id=("desk", 3))]
        await Supervisor.named("shop").start_link(specs)
        spawn(receive, name="Tiller")
        assert await find(node, "till") == (["till", "Tiller"], 2)
        assert await find(node, "desk") == (["('desk', 3)"], 1)


async def test_the_processes_of_the_observer_come_last() -> None:
    async with open_node(signals=False) as node:
        own: list[Pid] = []

        async def observer() -> None:
            own.append(self_pid())
            spawn(receive, name="thing 1")
            await receive()

        spawn(observer)
        await trio.sleep(1)
        spawn(receive, name="thing 2")
        assert await find(node, "thing", own[0]) == (["thing 2", "thing 1"], 2)


async def test_of_very_many_the_first_are_listed_and_others_run_meanwhile() -> None:
    async with open_node(signals=False) as node:
        for number in range(600):
            spawn(receive, name=f"thing {number}")
        spawn(receive, name="thing")
        rests = 0

        async def rest() -> None:
            nonlocal rests
            rests += 1
            await trio.lowlevel.checkpoint()

        answer = await search(node, "thing", sources_for(node), rest)
        assert len(answer["found"]) == MOST_FOUND
        assert answer["found"][0]["name"] == "thing"
        assert (answer["total"], rests) == (601, 2)


async def test_a_text_that_is_too_long_is_cut() -> None:
    async with open_node(signals=False) as node:
        spawn(receive, name="x" * LONGEST)
        assert (await find(node, "x" * 16_000))[1] == 1

"""The channels of the observer, through the test kit: who is let in, and what they get."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio

from exeunt import (
    DynamicSupervisor,
    Node,
    Pid,
    Registry,
    Supervisor,
    exit,
    is_alive,
    link,
    open_node,
    processes,
    self_pid,
    spawn,
    whereis,
)
from exeunt.channels import Channel, JoinResult, Ok, PubSub, Socket
from exeunt.kernel.events import Spawned
from exeunt.kernel.mailbox import Mailbox
from exeunt.observer import sampler as sampler_module
from exeunt.observer.counting import meter_of
from exeunt.observer.sampler import TOPIC, Sampler
from exeunt.observer.view import View
from exeunt.observer.web import Access, ObserverSocket
from exeunt.testing import Client, ConnectRefused, JoinRefused, connect, satisfying

from .nodes import Worker, quiet

pytestmark = pytest.mark.usefixtures("autojump_clock")

TOKEN = "a token for nothing but tests"


@dataclass(frozen=True, slots=True)
class Stage:
    node: Node
    hub: PubSub
    access: Access

    def connect(self, token: str | None = TOKEN, **options: Any) -> Any:
        socket = partial(ObserverSocket, self.access)
        return connect(socket, hub=self.hub, auth_token=token, **options)

    async def viewers(self) -> int:
        return await Sampler.viewers(self.access.sampler)


@asynccontextmanager
async def stage(*, allow_kill: bool = False, token: str | None = TOKEN) -> AsyncGenerator[Stage]:
    with quiet():
        async with open_node(signals=False) as node:
            hub = PubSub()
            own = await Supervisor.start_link()
            spec = Sampler.child(hub, own=own)
            sampler = await Supervisor.start_child(own, spec)
            assert isinstance(sampler, Pid)
            yield Stage(node, hub, Access(token, sampler, own, allow_kill, 0.5))


async def begin(client: Client) -> tuple[Any, View]:
    channel = await client.join(TOPIC)
    view = View()
    view.begin(channel.response)
    return channel, view


def row(view: View, name: str) -> dict[str, Any]:
    [found] = [one for one in view.picture["process"].values() if one["name"] == name]
    return found


# -- who is let in


async def test_the_token_lets_in() -> None:
    async with stage() as here, here.connect() as client:
        channel, view = await begin(client)
        assert view.node["number"] == here.node.number
        assert channel.response["allow_kill"] is False


@pytest.mark.parametrize("token", [None, "", TOKEN[:-1], TOKEN + "x", "ä" * 20])
async def test_without_the_token_nobody_is_let_in(token: str | None) -> None:
    async with stage() as here:
        with pytest.raises(ConnectRefused):
            async with here.connect(token):
                pass
        assert await here.viewers() == 0


@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [
        ("127.0.0.1:4040", True),
        ("localhost:4040", True),
        ("[::1]:4040", True),
        ("evil.example:4040", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
async def test_without_a_token_only_a_name_of_this_machine_leads_in(
    host: str, is_let_in: bool
) -> None:
    # Otherwise a page from elsewhere could watch, whose name leads here.
    async with stage(token=None) as here:
        try:
            async with here.connect(None, headers=[("host", host)]):
                assert is_let_in
        except ConnectRefused:
            assert not is_let_in


# -- the picture


async def test_after_the_join_comes_what_changes() -> None:
    async with stage() as here, here.connect() as client:
        await Supervisor.named("top").start_link([Worker.named("w").child()])
        channel, view = await begin(client)
        first = row(view, "w")
        Worker.crash("w")
        for _ in range(3):
            assert view.take(await channel.assert_push("changed"))
        second = row(view, "w")
        assert second["pid"] == repr(whereis("w")) != first["pid"]
        assert (second["restarts"], second["crash"]) == (1, "RuntimeError: boom")
        assert [one["name"] for one in view.picture["crash"].values()] == ["w"]
        assert view.node["crashes"] == 1


async def test_all_viewers_have_the_same_picture_whenever_they_came() -> None:
    async with stage() as here, here.connect() as one, here.connect() as other:
        first, view = await begin(one)
        for number in range(4):
            spawn(trio.sleep_forever, name=f"p{number}")
            assert view.take(await first.assert_push("changed"))
        second, late = await begin(other)
        assert late.version == view.version
        assert late.picture == view.picture
        assert list(late.history) == list(view.history)
        for number in range(4):
            spawn(trio.sleep_forever, name=f"q{number}")
            for channel, its in ((first, view), (second, late)):
                assert its.take(await channel.assert_push("changed"))
        assert late.picture == view.picture
        assert row(late, "q3")["status"] == "running"


async def test_nothing_is_looked_at_while_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []
    sample = sampler_module.sample

    async def noted(*args: Any, **options: Any) -> Any:
        taken.append(trio.current_time())
        return await sample(*args, **options)

    monkeypatch.setattr(sampler_module, "sample", noted)
    async with stage() as here:
        before = len(processes())
        pid = spawn(trio.sleep_forever, name="subject")
        process = here.node.processes[pid.number]
        await trio.sleep(20)
        assert taken == []
        assert not here.node.events.wants(Spawned)
        assert type(process.mailbox) is Mailbox
        async with here.connect() as client:
            await begin(client)
            await trio.sleep(2.2)
            assert len(taken) == 5
            assert type(process.mailbox) is not Mailbox
            assert await here.viewers() == 1
        await trio.sleep(1)
        assert await here.viewers() == 0
        seen = len(taken)
        await trio.sleep(20)
        assert len(taken) == seen
        assert not here.node.events.wants(Spawned)
        process.deliver("one")
        assert type(process.mailbox) is Mailbox
        assert len(processes()) == before + 1


async def test_a_sampler_that_is_killed_leaves_nothing_switched_on() -> None:
    async with stage() as here, here.connect() as client:
        await begin(client)
        meter = meter_of(here.node)
        assert meter.is_on
        sampler = here.access.sampler
        assert isinstance(sampler, Pid)
        exit(sampler, "kill")
        await trio.sleep(1)
        assert not is_alive(sampler)
        assert not meter.is_on


async def test_a_picture_takes_only_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampler_module, "SHARE", 1e-6)
    async with stage() as here, here.connect() as client:
        channel, _ = await begin(client)
        await channel.refute_push("changed", within=2.0)


# -- one process


async def test_a_process_is_shown_closely_and_its_end_is_told() -> None:
    async with stage() as here, here.connect() as client:
        await Supervisor.named("top").start_link([Worker.named("w").child()])
        channel = await client.join("observer:process:w")
        detail = channel.response
        assert (detail["name"], detail["label"], detail["status"]) == ("w", "Worker", "waiting")
        assert detail["parent"].endswith(" top")
        assert detail["links"] == [detail["parent"]]
        assert any("ServerLoop._serve" in line for line in detail["stack"])
        process = here.node.processes[whereis("w").number]  # type: ignore[union-attr]
        process.traps = True
        await channel.assert_push("detail", satisfying(lambda one: one["traps_exits"]))
        await channel.refute_push("detail", within=3.0)
        Worker.crash("w")
        await channel.assert_push("ended", {"reason": "RuntimeError: boom"})


@pytest.mark.parametrize(
    "subject", ["<0.99999>", "nobody", "", "<9999999.0>", "<0.1", "<0.0.0>", "*", "<0.-1>"]
)
async def test_of_nobody_there_is_nothing_to_show(subject: str) -> None:
    async with stage() as here, here.connect() as client:
        with pytest.raises(JoinRefused):
            await client.join(f"observer:process:{subject}")


async def test_a_process_with_a_thousand_links_is_shown_with_some_of_them() -> None:
    async with stage() as here, here.connect() as client:

        async def linked(to: Pid) -> None:
            link(to)
            await trio.sleep_forever()

        star = spawn(trio.sleep_forever, name="star")
        for _ in range(1000):
            spawn(linked, star)
        await trio.sleep(1)
        detail = (await client.join("observer:process:star")).response
        assert (len(detail["links"]), detail["link_count"]) == (100, 1000)


# -- finding


async def test_a_process_is_found_by_its_key_and_by_its_pid() -> None:
    async with stage() as here, here.connect() as client:
        rooms = Registry[str, None].named("keys")
        await rooms.start_link(keys="unique")
        pid = await Worker.named(rooms.via("hall")).start()
        channel, _ = await begin(client)
        row = {"id": "", "name": "", "label": "Worker 'hall'", "socket": "", "status": "waiting"}
        for text in ("HALL", repr(pid), repr(pid)[1:-1], f" {pid} "):
            ref = channel.push("find", {"text": text})
            found = {"found": [{"pid": repr(pid), **row}], "total": 1}
            await channel.assert_reply(ref, "ok", found)
        for text in ("nobody", "<0.99999>", "", "x" * 10_000):
            ref = channel.push("find", {"text": text})
            await channel.assert_reply(ref, "ok", {"found": [], "total": 0})


async def test_a_channel_is_found_by_the_id_of_its_socket_and_shows_it() -> None:
    async with stage() as here, here.connect() as client:

        class Lobby(Channel):
            async def join(self, topic: str, params: Any) -> JoinResult:
                return Ok()

        class UserSocket(Socket):
            channels = {"room:*": Lobby}

            def id(self) -> str:
                return "user:bob"

        channel, _ = await begin(client)
        async with connect(UserSocket) as other:
            await other.join("room:lobby")
            reply = await channel.assert_reply(channel.push("find", {"text": "BOB"}), "ok")
            [found] = reply["found"]
            assert (found["label"][-12:], found["socket"]) == ("'room:lobby'", "user:bob")
            detail = (await client.join(f"observer:process:{found['pid']}")).response
            assert detail["socket"] == "user:bob"


@pytest.mark.parametrize("payload", [None, 7, [], {}, {"text": None}, {"text": ["x"]}, "x"])
async def test_a_search_for_nothing_is_answered_with_an_error(payload: Any) -> None:
    async with stage() as here, here.connect() as client:
        channel, _ = await begin(client)
        ref = channel.push("find", payload)
        await channel.assert_reply(ref, "error", {"reason": satisfying(bool)})


# -- killing


async def test_a_kill_is_refused_unless_it_is_allowed() -> None:
    async with stage() as here, here.connect() as client:
        pid = spawn(trio.sleep_forever)
        await trio.sleep(1)
        channel, _ = await begin(client)
        ref = channel.push("kill", {"pid": repr(pid)})
        await channel.assert_reply(ref, "error")
        assert is_alive(pid)


async def test_a_kill_that_is_allowed_kills_and_the_supervisor_restarts() -> None:
    async with stage(allow_kill=True) as here, here.connect() as client:
        await DynamicSupervisor.named("many").start_link()
        await DynamicSupervisor.start_child("many", Worker.named("w").child())
        channel, view = await begin(client)
        assert channel.response["allow_kill"] is True
        pid = row(view, "w")["pid"]
        ref = channel.push("kill", {"pid": pid})
        await channel.assert_reply(ref, "ok", {})
        for _ in range(3):
            view.take(await channel.assert_push("changed"))
        after = row(view, "w")
        assert after["pid"] != pid
        assert (after["restarts"], after["crash"]) == (1, "killed")


@pytest.mark.parametrize("payload", [None, 7, [], {}, {"pid": None}, {"pid": "<0.77777>"}, "x"])
async def test_a_kill_of_nobody_is_answered_with_an_error(payload: Any) -> None:
    async with stage(allow_kill=True) as here, here.connect() as client:
        channel, _ = await begin(client)
        ref = channel.push("kill", payload)
        await channel.assert_reply(ref, "error", {"reason": satisfying(bool)})
        ref = channel.push("other", payload)
        await channel.assert_reply(ref, "error", {"reason": "unknown event"})


async def test_neither_the_main_process_nor_the_observer_is_killed() -> None:
    async with stage(allow_kill=True) as here, here.connect() as client:
        channel, _ = await begin(client)
        for pid in (self_pid(), here.access.own, here.access.sampler):
            ref = channel.push("kill", {"pid": repr(pid)})
            await channel.assert_reply(ref, "error", {"reason": satisfying(bool)})
            assert isinstance(pid, Pid)
            assert is_alive(pid)

"""Registry: keys of processes, unique or not, that end with them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import trio

from exeunt import (
    AlreadyStarted,
    CallFailed,
    Down,
    Exit,
    GenServer,
    NoProcess,
    NotRegistered,
    Pid,
    StartFailed,
    Supervisor,
    call,
    cast_to,
    exit,
    is_alive,
    link,
    monitor,
    on_call,
    process_info,
    receive,
    self_pid,
    send,
    send_after,
    spawn,
    stop,
    trap_exit,
    unlink,
    wait_exit,
    whereis,
)
from exeunt import register as register_name
from exeunt.otp import registry
from exeunt.otp.registry import (
    AlreadyRegistered,
    Entry,
    Registered,
    Registry,
    RegistryVia,
    Unregistered,
)
from exeunt.otp.registry_table import tables
from tests.kernel.nodes import Actor, drain, idle, node, settle
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")

rooms = Registry[Any, Any].named("rooms")
topics = Registry[Any, Any].named("topics")


async def unique() -> Pid:
    return await rooms.start_link(keys="unique")


async def duplicate() -> Pid:
    return await topics.start_link(keys="duplicate")


class Counter(GenServer):
    async def init(self, start: int = 0) -> None:
        self.count = start

    @on_call
    async def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    async def handle_cast(self, request: Any) -> None:
        self.count = request

    async def handle_info(self, message: Any) -> None:
        self.count = message


def links(pid: Pid) -> tuple[Pid, ...]:
    info = process_info(pid)
    assert info is not None
    return info.links


async def test_the_example_of_the_module_runs() -> None:
    async with node():
        await run_listings(registry, Sequence=Sequence)


# -- unique ---------------------------------------------------------------------------------------


async def test_a_unique_key_belongs_to_one_process() -> None:
    async with node():
        await unique()
        rooms.register("lobby", 1)
        assert rooms.lookup("lobby") == [Entry("lobby", self_pid(), 1)]
        other = Actor()
        with pytest.raises(
            AlreadyRegistered, match="'lobby' of the registry 'rooms' belongs"
        ) as by:
            await other.do(lambda: rooms.register("lobby", 2))
        assert (by.value.key, by.value.pid) == ("lobby", self_pid())
        with pytest.raises(AlreadyRegistered):
            rooms.register("lobby", 3)
        assert rooms.count() == 1


async def test_a_key_is_free_in_the_step_in_which_its_process_dies() -> None:
    async with node():
        await unique()
        other = Actor()
        await other.do(lambda: rooms.register("lobby"))
        monitor(other.pid)
        exit(other.pid, "shutdown")
        await receive(Down)
        rooms.register("lobby", "mine")
        assert rooms.lookup("lobby") == [Entry("lobby", self_pid(), "mine")]


async def test_a_process_that_still_unwinds_keeps_its_key_and_is_not_found_by_via() -> None:
    async with node():
        await unique()
        release = trio.Event()

        async def slow() -> None:
            rooms.register("lobby")
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await release.wait()

        pid = spawn(slow)
        await settle()
        assert rooms.via("lobby").whereis() is pid
        exit(pid, "shutdown")
        await settle()
        with pytest.raises(AlreadyRegistered):
            rooms.register("lobby")
        assert rooms.via("lobby").whereis() is None
        with pytest.raises(NotRegistered):
            send(rooms.via("lobby"), "hello")
        release.set()
        await wait_exit(pid)
        rooms.register("lobby")


async def test_unregister_is_right_whether_there_is_a_key_or_not() -> None:
    async with node():
        await unique()
        rooms.unregister("lobby")
        other = Actor()
        await other.do(lambda: rooms.register("lobby"))
        rooms.unregister("lobby")
        assert [one.pid for one in rooms.lookup("lobby")] == [other.pid]
        await other.do(lambda: rooms.unregister("lobby"))
        assert rooms.lookup("lobby") == []
        assert rooms.keys(other.pid) == []


async def test_a_process_has_any_number_of_keys() -> None:
    async with node():
        await unique()
        for number in range(3):
            rooms.register(("room", number), number)
        assert rooms.keys() == [("room", 0), ("room", 1), ("room", 2)]
        assert rooms.values(("room", 1)) == [1]
        rooms.unregister(("room", 1))
        assert rooms.keys(self_pid()) == [("room", 0), ("room", 2)]
        assert rooms.count() == 2


async def test_a_value_is_updated_by_its_process_alone() -> None:
    async with node():
        await unique()
        rooms.register("lobby", 1)
        assert rooms.update_value("lobby", lambda value: value + 1) == (2, 1)
        assert rooms.values("lobby") == [2]
        other = Actor()
        assert await other.do(lambda: rooms.update_value("lobby", lambda value: 0)) is None
        assert rooms.update_value("nobody's", lambda value: value) is None
        assert rooms.lookup("lobby") == [Entry("lobby", self_pid(), 2)]


async def test_an_update_that_gives_up_the_key_changes_nothing() -> None:
    async with node():
        await unique()
        rooms.register("lobby", 1)

        def give_up(value: int) -> int:
            rooms.unregister("lobby")
            return value

        assert rooms.update_value("lobby", give_up) is None
        assert rooms.lookup("lobby") == [] and rooms.keys() == []


async def test_a_key_that_cannot_be_one_is_refused_and_leaves_nothing() -> None:
    async with node():
        await unique()
        with pytest.raises(TypeError, match="unhashable"):
            rooms.register(["lobby"])
        assert rooms.count() == 0 and rooms.keys() == []


async def test_a_process_that_is_ending_cannot_register() -> None:
    async with node():
        await unique()
        found: list[str] = []

        async def late() -> None:
            try:
                await trio.sleep_forever()
            finally:
                try:
                    rooms.register("lobby")
                except NoProcess:
                    found.append("refused")

        pid = spawn(late)
        await settle()
        exit(pid, "shutdown")
        await wait_exit(pid)
        assert found == ["refused"] and rooms.count() == 0


# -- duplicate ------------------------------------------------------------------------------------


async def test_a_duplicate_key_has_many_entries_also_of_one_process() -> None:
    async with node():
        await duplicate()
        other = Actor()
        topics.register("news", 1)
        await other.do(lambda: topics.register("news", 2))
        topics.register("news", 3)
        me = self_pid()
        assert topics.lookup("news") == [
            Entry("news", me, 1),
            Entry("news", other.pid, 2),
            Entry("news", me, 3),
        ]
        assert topics.keys() == ["news", "news"]
        assert topics.values("news") == [1, 3]
        topics.unregister("news")
        assert topics.lookup("news") == [Entry("news", other.pid, 2)]


async def test_unregister_match_takes_the_values_that_match() -> None:
    async with node():
        await duplicate()
        for number in range(4):
            topics.register("news", number)
        topics.unregister_match("news", lambda value: value % 2 == 0)
        assert topics.values("news") == [1, 3]
        topics.unregister_match("news", lambda value: value > 5)
        assert topics.values("news") == [1, 3]


async def test_dispatch_hands_all_entries_to_a_function_once() -> None:
    async with node():
        await duplicate()
        actors = [Actor() for _ in range(3)]
        for number, actor in enumerate(actors):
            await actor.do(partial(topics.register, "news", number))
        calls: list[int] = []

        def tell(entries: Sequence[Entry[Any, Any]]) -> None:
            calls.append(len(entries))
            for entry in entries:
                send(entry.pid, ("news", entry.value))

        topics.dispatch("news", tell)
        topics.dispatch("sports", tell)
        assert calls == [3]
        assert [actor.messages for actor in actors] == [[("news", 0)], [("news", 1)], [("news", 2)]]


async def test_dispatch_may_change_the_registry_as_it_goes() -> None:
    async with node():
        await duplicate()
        topics.register("news")

        def leave(entries: Sequence[Entry[Any, Any]]) -> None:
            for entry in entries:
                topics.unregister(entry.key)
                topics.register("old news")

        topics.dispatch("news", leave)
        assert topics.keys() == ["old news"]


async def test_dispatch_refuses_a_function_that_would_have_to_wait() -> None:
    async with node():
        await duplicate()
        topics.register("news")

        async def tell(entries: Sequence[Entry[Any, Any]]) -> None:
            raise AssertionError("never runs")

        with pytest.raises(TypeError, match="cannot wait"):
            topics.dispatch("news", tell)


async def test_match_looks_at_the_values_of_a_key_and_select_at_all_entries() -> None:
    async with node():
        await duplicate()
        topics.register("news", ("extra", 1))
        topics.register("news", ("weather", 2))
        topics.register("sports", ("extra", 3))
        me = self_pid()
        assert topics.match("news", lambda value: value[0] == "extra") == [
            Entry("news", me, ("extra", 1))
        ]
        assert [one.value[1] for one in topics.select()] == [1, 2, 3]
        found: list[int] = []
        for entry in topics.select(lambda entry: entry.key == "sports"):
            match entry:
                case Entry("sports", _, ("extra", number)):
                    found.append(number)
                case _:
                    raise AssertionError(entry)
        assert found == [3]


# -- links ----------------------------------------------------------------------------------------


async def test_who_registers_is_linked_to_the_registry_until_it_has_no_key() -> None:
    async with node():
        pid = await unique()
        other = Actor()
        await other.do(lambda: rooms.register("lobby"))
        await other.do(lambda: rooms.register("kitchen"))
        assert links(other.pid) == (pid,)
        await other.do(lambda: rooms.unregister("lobby"))
        assert links(other.pid) == (pid,)
        await other.do(lambda: rooms.unregister("kitchen"))
        assert links(other.pid) == ()


async def test_a_link_that_was_there_before_stays() -> None:
    async with node():
        pid = await unique()
        rooms.register("lobby")
        rooms.unregister("lobby")
        assert links(self_pid()) == (pid,)
        other = Actor()
        await other.do(lambda: link(pid))
        await other.do(lambda: rooms.register("lobby"))
        await other.do(lambda: rooms.unregister("lobby"))
        assert links(other.pid) == (pid,)


async def test_a_registry_that_dies_takes_all_those_registered_along() -> None:
    async with node():
        pid = await unique()
        unlink(pid)
        one, two, stranger = Actor(), Actor(), Actor()
        await one.do(lambda: rooms.register("lobby"))
        await two.do(lambda: rooms.register("kitchen"))
        exit(pid, "kill")
        assert await wait_exit(one.pid) == "killed"
        await settle()
        assert not is_alive(two.pid)
        assert is_alive(stranger.pid)
        with pytest.raises(NotRegistered):
            rooms.lookup("lobby")


async def test_who_traps_exits_outlives_its_registry_and_may_register_anew() -> None:
    async with node():
        trap_exit()
        pid = await unique()
        rooms.register("lobby")
        exit(pid, "kill")
        assert await receive(Exit) == Exit(pid, "killed")
        await unique()
        assert rooms.lookup("lobby") == []
        rooms.register("lobby")
        assert rooms.count() == 1


async def test_those_registered_may_die_in_any_number_without_harm() -> None:
    async with node():
        pid = await duplicate()

        async def subscriber() -> None:
            topics.register("news")
            await trio.sleep(1)

        for _ in range(300):
            spawn(subscriber)
        await trio.sleep(0.5)
        assert topics.count() == 300
        await trio.sleep(1)
        assert topics.count() == 0 and topics.lookup("news") == []
        await settle()
        info = process_info(pid)
        assert info is not None and info.message_queue_len == 0 and links(pid) == (self_pid(),)


# -- via ------------------------------------------------------------------------------------------


async def test_a_key_is_a_name_to_start_send_call_cast_and_stop() -> None:
    async with node():
        await unique()
        via = Registry.via("rooms", "counter")
        pid = await Counter.named(via).start_link(40)
        assert rooms.lookup("counter") == [Entry("counter", pid, None)]
        assert await Counter.add(via, 2) == 42
        send(via, 7)
        assert await Counter.add(via, 0) == 7
        cast_to(via, 8)
        assert await Counter.add(via, 0) == 8
        await stop(via)
        assert rooms.lookup("counter") == []
        assert not is_alive(pid)


async def test_a_via_registers_with_its_value() -> None:
    async with node():
        await unique()
        pid = await Counter.named(rooms.via("counter", "a value")).start_link()
        assert rooms.lookup("counter") == [Entry("counter", pid, "a value")]
        assert rooms.via("counter") == rooms.via("counter", "a value")


async def test_a_key_that_is_taken_is_a_server_already_started() -> None:
    async with node():
        await unique()
        via = rooms.via("counter")
        pid = await Counter.named(via).start_link()
        with pytest.raises(AlreadyStarted) as caught:
            await Counter.named(via).start_link()
        assert caught.value.pid is pid
        await settle()
        assert rooms.count() == 1


async def test_a_key_that_nobody_has_is_like_a_name_that_nobody_has() -> None:
    async with node():
        await unique()
        via = rooms.via("nobody's")
        with pytest.raises(NotRegistered):
            send(via, "hello")
        cast_to(via, "hello")
        with pytest.raises(CallFailed) as caught:
            await call(via, "hello")
        assert caught.value.reason == "noproc"
        with pytest.raises(CallFailed):
            await stop(via)


async def test_a_via_of_a_registry_that_does_not_run_finds_nobody() -> None:
    async with node():
        via = Registry.via("nothing", "key")
        cast_to(via, "hello")
        with pytest.raises(CallFailed):
            await call(via, "hello")
        assert RegistryVia("nothing", "key").whereis() is None


async def test_nothing_is_started_under_a_key_of_a_registry_that_does_not_run() -> None:
    async with node() as stage:
        before = len(stage.node.processes)
        with pytest.raises(NotRegistered, match="'nothing'"):
            await Counter.named(Registry.via("nothing", "key")).start()
        await settle()
        assert len(stage.node.processes) == before


async def test_a_timer_looks_the_key_up_when_it_fires() -> None:
    async with node():
        await unique()
        send_after(1, rooms.via("lobby"), "too early")
        send_after(3, rooms.via("lobby"), "in time")
        await trio.sleep(2)
        rooms.register("lobby")
        await trio.sleep(2)
        assert drain() == ["in time"]


async def test_a_via_of_a_duplicate_registry_is_refused() -> None:
    async with node():
        await duplicate()
        via = topics.via("news")
        with pytest.raises(ValueError, match="via is for unique registries"):
            send(via, "hello")
        with pytest.raises(ValueError, match="update_value is for unique registries"):
            topics.update_value("news", lambda value: value)


async def test_a_supervisor_restarts_a_server_under_its_key() -> None:
    async with node() as stage:
        via = rooms.via("counter")
        await Supervisor.start_link(
            [rooms.child(keys="unique"), Counter.named(via).child(1)], strategy="rest_for_one"
        )
        first = via.whereis()
        assert first is not None
        exit(first, "kill")
        await settle()
        second = via.whereis()
        assert second is not None and second is not first
        assert await Counter.add(via, 0) == 1
        stage.logged("child 'Counter'")


async def test_a_supervisor_restarts_a_registry_with_those_after_it() -> None:
    async with node() as stage:
        via = rooms.via("counter")
        await Supervisor.start_link(
            [rooms.child(keys="unique"), Counter.named(via).child(1)], strategy="rest_for_one"
        )
        pid = pid_of("rooms")
        exit(pid, "kill")
        await settle()
        assert await Counter.add(via, 1) == 2
        assert pid_of("rooms") is not pid
        stage.logged("child 'rooms'")
        # It was linked to the registry, and so was dead before it was told to shut down.
        stage.logged("child 'Counter'")


def pid_of(name: str) -> Pid:
    pid = whereis(name)
    assert pid is not None
    return pid


# -- listeners and meta ---------------------------------------------------------------------------


async def test_listeners_hear_of_keys_that_are_taken_and_given_up_but_not_of_deaths() -> None:
    async with node():
        register_name("listener")
        await topics.start_link(keys="duplicate", listeners=["listener", "nobody"])
        me = self_pid()
        topics.register("news", 1)
        topics.unregister("news")
        topics.unregister("news")
        assert drain() == [
            Registered("topics", "news", me, 1),
            Unregistered("topics", "news", me),
        ]
        other = Actor()
        await other.do(lambda: topics.register("news", 2))
        exit(other.pid, "kill")
        await wait_exit(other.pid)
        assert drain() == [Registered("topics", "news", other.pid, 2)]


async def test_listeners_hear_of_names_too() -> None:
    async with node():
        register_name("listener")
        await rooms.start_link(keys="unique", listeners=["listener"])
        pid = await Counter.named(rooms.via("counter", 1)).start_link()
        assert drain() == [Registered("rooms", "counter", pid, 1)]


async def test_a_single_name_is_no_list_of_listeners() -> None:
    async with node() as stage:
        trap_exit()
        with pytest.raises(StartFailed, match="list of names"):
            await rooms.start_link(keys="unique", listeners="listener")
        stage.crash(TypeError)


async def test_a_registry_keeps_what_it_is_given_to_keep() -> None:
    async with node():
        await rooms.start_link(keys="unique", meta={"color": "red"})
        assert rooms.meta("color") == "red"
        rooms.put_meta("color", "blue")
        assert Registry.meta("rooms", "color") == "blue"
        rooms.delete_meta("color")
        rooms.delete_meta("color")
        assert rooms.meta("color") is None
        assert rooms.meta("color", "none") == "none"


# -- wrong use ------------------------------------------------------------------------------------


async def test_keys_are_unique_or_duplicate() -> None:
    async with node():
        wrong: Any = "uniqe"
        with pytest.raises(ValueError, match="'unique', 'duplicate', not 'uniqe'"):
            rooms.child(keys=wrong)


async def test_a_registry_that_does_not_run_is_named_in_the_error() -> None:
    async with node():
        with pytest.raises(NotRegistered, match="'rooms'"):
            rooms.register("lobby")
        with pytest.raises(NotRegistered, match="'rooms'"):
            Registry.lookup("rooms", "lobby")


async def test_a_process_that_is_no_registry_is_named_in_the_error() -> None:
    async with node():
        spawn(idle, name="rooms")
        with pytest.raises(TypeError, match="'rooms' is no registry"):
            rooms.lookup("lobby")


async def test_a_stray_message_to_a_registry_is_logged() -> None:
    async with node() as stage:
        pid = await unique()
        send(pid, "hello")
        await settle()
        stage.logged("'hello'")


async def test_a_name_that_is_taken_is_a_registry_already_started() -> None:
    async with node():
        pid = await unique()
        with pytest.raises(AlreadyStarted) as caught:
            await unique()
        assert caught.value.pid is pid


async def test_both_faces_do_the_same() -> None:
    async with node():
        await unique()
        Registry.register("rooms", "lobby", 1)
        assert rooms.lookup("lobby") == Registry.lookup("rooms", "lobby")
        assert Registry.count("rooms") == 1
        assert Registry.keys("rooms") == ["lobby"]
        assert Registry[str, int].lookup("rooms", "lobby") == rooms.lookup("lobby")
        assert rooms == Registry.named("rooms") == Registry("rooms")


async def test_registries_of_the_same_name_on_two_nodes_know_nothing_of_each_other() -> None:
    async with node():
        await unique()
        rooms.register("lobby")
        async with node():
            await unique()
            assert rooms.count() == 0


async def test_no_table_outlives_its_registry() -> None:
    async with node():
        await unique()
        await duplicate()
        rooms.register("lobby")
    assert vars(tables) == {"_tables": {}}

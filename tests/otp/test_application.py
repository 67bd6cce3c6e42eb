"""Application: started in order, stopped in reverse, and an end that nobody wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from exeunt import (
    AlreadyStarted,
    BadReturnValue,
    Crash,
    Exit,
    GenServer,
    Pid,
    ProcessExit,
    Reason,
    StartFailed,
    Supervisor,
    exit,
    is_alive,
    link,
    open_node,
    process_info,
    receive,
    self_pid,
    send,
    spawn,
    stop,
    trap_exit,
    wait_exit,
    whereis,
)
from exeunt.otp import application
from exeunt.otp.agent import Agent
from exeunt.otp.application import (
    Application,
    ApplicationEnded,
    ApplicationExited,
    ApplicationInfo,
    NotStarted,
    ensure_all_started,
    start_application,
    stop_application,
    which_applications,
)
from exeunt.otp.supervision import RestartType
from exeunt.otp.task import Task
from tests.kernel.nodes import idle, node, settle
from tests.otp.examples import run_listings

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Part(GenServer):
    """A server that says in a diary when it ends."""

    async def init(self, diary: list[str], name: str, slow: float = 0) -> None:
        trap_exit()
        self.diary = diary
        self.name = name
        self.slow = slow

    async def terminate(self, reason: Reason) -> None:
        await trio.sleep(self.slow)
        self.diary.append(f"{self.name} ended")


class App(Application):
    """An application that keeps a diary."""

    def __init__(
        self,
        name: str,
        diary: list[str] | None = None,
        needs: Sequence[Application] = (),
        slow: float = 0,
    ) -> None:
        self.name = name
        self.diary = [] if diary is None else diary
        self.applications = needs
        self.slow = slow

    async def start(self) -> Pid:
        self.diary.append(f"{self.name} starts")
        return await Supervisor.start_link(
            [Part.child(self.diary, self.name, self.slow).replace(shutdown="infinity")]
        )

    async def prep_stop(self) -> None:
        self.diary.append(f"{self.name} prepares")

    async def stop(self) -> None:
        self.diary.append(f"{self.name} stopped")


def names() -> list[str]:
    return [one.name for one in which_applications()]


async def test_the_example_of_the_module_runs() -> None:
    async with node():
        await run_listings(application, Agent=Agent)


# -- starting -------------------------------------------------------------------------------------


async def test_an_application_runs_in_a_process_of_its_own_linked_to_its_tree() -> None:
    async with node():
        top = await start_application(App("store"), "transient")
        assert which_applications() == [ApplicationInfo("store", "transient", top)]
        info = process_info(top)
        assert info is not None
        (master,) = info.links[:1]
        assert info.parent is master and master is not self_pid()
        about = process_info(master)
        assert about is not None and about.label == "application store"


async def test_no_application_runs_where_none_was_started() -> None:
    async with node():
        assert which_applications() == []


async def test_an_application_is_started_once() -> None:
    async with node():
        top = await start_application(App("store"))
        with pytest.raises(AlreadyStarted) as caught:
            await start_application(App("store"))
        assert (caught.value.name, caught.value.pid) == ("store", top)


async def test_two_that_start_the_same_at_once_get_the_same() -> None:
    async with node():
        diary: list[str] = []

        class Slow(App):
            async def start(self) -> Pid:
                await trio.sleep(1)
                return await super().start()

        tops: list[Pid] = []

        async def begin() -> None:
            tops.append(await start_application(Slow("store", diary)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin)
            nursery.start_soon(begin)
        assert len(set(tops)) == 1
        assert diary == ["store starts"]


async def test_an_application_is_refused_while_one_that_it_needs_does_not_run() -> None:
    async with node():
        chat = App("chat", needs=[App("store")])
        with pytest.raises(NotStarted, match="'chat' needs 'store', which is not started"):
            await start_application(chat)
        await start_application(App("store"))
        await start_application(chat)
        assert names() == ["store", "chat"]


async def test_all_that_is_needed_is_started_before_in_order() -> None:
    async with node():
        diary: list[str] = []
        log = App("log", diary)
        store = App("store", diary, [log])
        web = App("web", diary, [log])
        chat = App("chat", diary, [store, web])
        assert await ensure_all_started(web) == ["log", "web"]
        assert await ensure_all_started(chat) == ["store", "chat"]
        assert await ensure_all_started(chat) == []
        assert diary == ["log starts", "web starts", "store starts", "chat starts"]


async def test_applications_that_need_each_other_are_refused() -> None:
    async with node():
        store = App("store")
        chat = App("chat", needs=[App("web", needs=[store])])
        store.applications = [chat]
        with pytest.raises(ValueError, match="chat -> web -> store -> chat"):
            await ensure_all_started(chat)
        assert names() == []


async def test_what_was_started_is_stopped_again_if_the_rest_does_not_start() -> None:
    class Broken(App):
        async def start(self) -> Pid:
            raise ValueError("it is broken")

    async with node():
        diary: list[str] = []
        log, store = App("log", diary), App("store", diary)
        await start_application(log)
        with pytest.raises(StartFailed, match="broken did not start: ValueError: it is broken"):
            await ensure_all_started(App("chat", diary, [log, store, Broken("broken")]))
        assert names() == ["log"]
        assert diary[1:] == ["store starts", "store prepares", "store ended", "store stopped"]


async def test_a_start_that_fails_leaves_nothing_of_what_it_had_started() -> None:
    started: list[Pid] = []
    diary: list[str] = []

    class Half(App):
        async def start(self) -> Pid:
            started.append(await super().start())
            started.append(spawn(idle))
            raise ProcessExit("half way")

    async with node():
        with pytest.raises(StartFailed) as caught:
            await start_application(Half("half", diary))
        assert caught.value.reason == "half way"
        assert not any(is_alive(pid) for pid in started)
        assert diary == ["half starts", "half ended"]
        assert names() == []


async def test_a_tree_that_does_not_start_is_a_start_that_fails() -> None:
    class Broken(App):
        async def start(self) -> Pid:
            async def fail() -> Pid:
                raise ValueError("it is broken")

            spec = Part.child([], "x").replace(id="x")
            object.__setattr__(spec, "start", fail)
            return await Supervisor.start_link([spec])

    async with node() as stage:
        with pytest.raises(StartFailed, match="it is broken"):
            await start_application(Broken("broken"))
        stage.logged("could not be started")
        assert names() == []


@pytest.mark.parametrize("wrong", [None, "top"])
async def test_start_returns_the_pid_of_a_supervisor(wrong: Any) -> None:
    class Wrong(App):
        async def start(self) -> Pid:
            return wrong  # type: ignore[no-any-return]

    async with node():
        with pytest.raises(StartFailed) as caught:
            await start_application(Wrong("wrong"))
        assert isinstance(caught.value.reason, Crash)
        assert isinstance(caught.value.reason.exception, BadReturnValue)


async def test_a_start_goes_on_though_nobody_waits_for_it() -> None:
    class Slow(App):
        async def start(self) -> Pid:
            await trio.sleep(2)
            return await super().start()

    async with node():
        with trio.move_on_after(1):
            await start_application(Slow("store"))
        assert names() == []
        with pytest.raises(NotStarted):
            await stop_application("store")
        await trio.sleep(2)
        assert names() == ["store"]


async def test_the_first_to_start_an_application_may_die_without_harm() -> None:
    async with node():

        async def first() -> None:
            await start_application(App("store"))
            raise ProcessExit("done")

        await wait_exit(spawn(first))
        await settle()
        assert names() == ["store"]


async def test_stray_messages_do_no_harm() -> None:
    async with node() as stage:
        top = await start_application(App("store"))
        info = process_info(top)
        assert info is not None and info.parent is not None
        send(info.parent, "hello")
        send("application_controller", "hello")
        await stop_application("store")
        assert not is_alive(top)
        stage.logged("'hello'")


# -- stopping -------------------------------------------------------------------------------------


async def test_an_application_is_stopped_from_the_top_however_long_it_takes() -> None:
    async with node():
        diary: list[str] = []
        store = App("store", diary, slow=1000)
        top = await start_application(store)
        started = trio.current_time()
        await stop_application(store)
        assert trio.current_time() == started + 1000
        assert diary == ["store starts", "store prepares", "store ended", "store stopped"]
        assert not is_alive(top)
        assert names() == []
        await start_application(store)
        assert names() == ["store"]


async def test_what_an_application_has_started_outside_of_its_tree_is_killed() -> None:
    strays: list[Pid] = []

    class Careless(App):
        async def start(self) -> Pid:
            strays.append(spawn(self.stray))
            strays.append(Task.start(self.stray))
            return await super().start()

        async def stray(self) -> None:
            trap_exit()
            strays.append(spawn(idle))
            await trio.sleep_forever()

        async def stop(self) -> None:
            await super().stop()
            strays.append(spawn(idle))

    async with node():
        other = spawn(idle)
        await start_application(Careless("careless"))
        await settle()
        assert len(strays) == 4 and all(map(is_alive, strays))
        await stop_application("careless")
        assert len(strays) == 5 and not any(map(is_alive, strays))
        assert is_alive(other)


async def test_the_failure_of_a_callback_is_logged_and_stops_nothing() -> None:
    class Clumsy(App):
        async def prep_stop(self) -> None:
            raise ValueError("not prepared")

        async def stop(self) -> None:
            raise ProcessExit("not stopped")

    async with node() as stage:
        top = await start_application(Clumsy("clumsy"))
        await stop_application("clumsy")
        assert not is_alive(top)
        stage.logged("Clumsy.prep_stop failed")
        stage.logged("Clumsy.stop failed")


async def test_what_does_not_run_cannot_be_stopped() -> None:
    async with node():
        with pytest.raises(NotStarted, match="the application 'store' is not started"):
            await stop_application("store")


async def test_two_that_stop_the_same_wait_for_the_same_end() -> None:
    async with node():
        diary: list[str] = []
        await start_application(App("store", diary, slow=3))
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_application, "store")
            nursery.start_soon(stop_application, "store")
        assert trio.current_time() == started + 3
        assert diary.count("store stopped") == 1


async def test_an_application_that_is_stopping_does_not_count_as_started() -> None:
    async with node():
        store = App("store", slow=3)
        await start_application(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_application, store)
            await trio.sleep(1)
            with pytest.raises(NotStarted):
                await start_application(App("chat", needs=[store]))


async def test_the_node_stops_its_applications_in_the_reverse_order_of_their_start() -> None:
    diary: list[str] = []
    async with node():
        log = App("log", diary, slow=10)
        chat = App("chat", diary, [App("store", diary, [log], slow=10)], slow=10)
        await ensure_all_started(chat)
        diary.clear()
    assert diary == [
        f"{name} {what}"
        for name in ("chat", "store", "log")
        for what in ("prepares", "ended", "stopped")
    ]


async def test_a_node_that_closes_ends_an_application_in_the_middle_of_its_start() -> None:
    class Slow(App):
        async def start(self) -> Pid:
            await super().start()
            await trio.sleep(1000)
            raise AssertionError

    diary: list[str] = []
    async with node():
        with trio.move_on_after(1):
            await start_application(Slow("slow", diary))
        closing = trio.current_time()
    assert trio.current_time() < closing + 10
    assert diary == ["slow starts", "slow ended"]


# -- an end that nobody wanted --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "reason", "ends"),
    [
        ("permanent", "normal", True),
        ("permanent", "own", True),
        ("transient", "normal", False),
        ("transient", "shutdown", True),
        ("transient", "own", True),
        ("temporary", "normal", False),
        ("temporary", "own", False),
    ],
)
async def test_the_end_of_a_tree_ends_the_node_or_not(
    restart: RestartType, reason: str, ends: bool
) -> None:
    diary: list[str] = []
    went_on = False
    try:
        async with open_node(signals=False):
            await start_application(App("log", diary))
            top = await start_application(App("store", diary), restart)
            await stop(top, reason)
            await trio.sleep(1)
            went_on = True
            assert names() == ["log"]
    except ApplicationEnded as error:
        assert (error.name, error.reason) == ("store", reason)
        assert ends
    assert went_on is not ends
    assert diary[-6:] == [
        "store ended",
        "store prepares",
        "store stopped",
        "log prepares",
        "log ended",
        "log stopped",
    ]


async def test_the_end_of_a_temporary_application_is_logged() -> None:
    async with node() as stage:
        top = await start_application(App("store"))
        await stop(top)
        await settle()
        stage.logged("the temporary application 'store' has ended: normal")


async def test_a_crash_that_ends_the_node_is_the_cause_of_its_error() -> None:
    class Loose(App):
        async def start(self) -> Pid:
            return spawn(self.crash)

        async def crash(self) -> None:
            await trio.sleep(1)
            raise KeyError("lost")

    with pytest.raises(ApplicationEnded, match="'loose' has ended") as caught:
        async with open_node(signals=False):
            await start_application(Loose("loose"), "permanent")
            await trio.sleep_forever()
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_permanent_application_that_ends_as_the_node_closes_does_not_tear_it_down() -> None:
    diary: list[str] = []
    ended: list[ApplicationExited] = []

    class Held(App):
        """Its tree ends with a process that the node ends first."""

        async def start(self) -> Pid:
            return spawn(self.wait)

        async def wait(self) -> None:
            trap_exit()
            link(held[0])
            await receive(Exit)

    async def slow() -> None:
        trap_exit()
        await receive(Exit)
        await trio.sleep(3)

    held: list[Pid] = []
    async with open_node(signals=False) as opened:
        await start_application(App("log", diary, slow=10), "permanent")
        # Between the end of the one and that of the controller, so that it hears of it.
        spawn(slow)
        held.append(spawn(idle))
        await start_application(Held("held", diary), "permanent")
        await settle()
        opened.events.subscribe(ended.append, ApplicationExited)
    assert diary == [
        "log starts",
        "held prepares",
        "held stopped",
        "log prepares",
        "log ended",
        "log stopped",
    ]
    assert [(one.name, one.reason) for one in ended] == [("held", "normal")]


async def test_a_process_that_is_linked_to_an_application_but_not_of_it_outlives_it() -> None:
    class Linked(App):
        async def start(self) -> Pid:
            link(other)
            return await super().start()

    async with node():
        other = spawn(idle)
        await start_application(Linked("linked"))
        await stop_application("linked")
        assert is_alive(other)


async def test_a_controller_that_is_killed_lets_its_applications_end_in_order() -> None:
    async with node():
        diary: list[str] = []
        await start_application(App("store", diary))
        controller = whereis("application_controller")
        assert controller is not None
        exit(controller, "kill")
        await settle()
        assert diary == ["store starts", "store prepares", "store ended", "store stopped"]
        assert which_applications() == []
        await start_application(App("store", diary))
        assert names() == ["store"]


# -- the class ------------------------------------------------------------------------------------


async def test_an_application_is_named_after_its_class_unless_it_says_otherwise() -> None:
    class Store(Application):
        pass

    class Other(Application):
        name = "another"

    assert (Store().name, Other().name) == ("Store", "another")
    async with node():
        with pytest.raises(StartFailed, match="Store has no `start`"):
            await start_application(Store())


def test_a_misspelt_callback_is_refused_when_the_class_is_defined() -> None:
    async def prepstop(self: object) -> None: ...

    with pytest.raises(TypeError, match="did you mean 'prep_stop'"):
        type("Wrong", (Application,), {"prepstop": prepstop})


async def test_a_wrong_restart_type_is_refused_where_it_is_given() -> None:
    async with node():
        wrong: Any = "always"
        with pytest.raises(ValueError, match="'temporary', not 'always'"):
            await start_application(App("store"), wrong)

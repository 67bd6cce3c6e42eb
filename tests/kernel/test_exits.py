"""Exit reasons: what a process's end is called, whatever the way it came to it."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

import pytest
import trio

import exeunt
from exeunt import Crash, Down, ProcessExit, Shutdown, is_orderly, spawn, spawn_monitor, wait_exit

from .nodes import Stage, idle, node, settle

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def reason_of(body: Callable[[], Awaitable[object]]) -> object:
    pid = spawn(body)
    return await wait_exit(pid)


# -- the outcome of the body


async def test_a_body_that_returns_ends_with_normal_whatever_it_returns() -> None:
    async def body() -> str:
        return "a value that nobody sees"

    async with node():
        assert await reason_of(body) == "normal"


async def test_an_exception_that_nobody_caught_is_a_crash_with_its_traceback() -> None:
    error = ValueError("wrong")

    async def body() -> None:
        raise error

    async with node() as stage:
        reason = await reason_of(body)
        assert isinstance(reason, Crash)
        assert reason.exception is error
        frames = traceback.extract_tb(error.__traceback__)
        assert frames[-1].name == "body"
        assert str(reason) == "ValueError: wrong"
        assert stage.crash(ValueError).exception is error


@pytest.mark.parametrize(
    "reason", ["normal", "shutdown", Shutdown("moved"), "bye", "kill", "killed", "noproc", 17, None]
)
async def test_process_exit_gives_any_reason_and_is_no_crash(reason: object) -> None:
    async def body() -> None:
        raise ProcessExit(reason)

    async with node():
        assert await reason_of(body) == reason


async def test_process_exit_is_normal_by_default() -> None:
    assert ProcessExit().reason == "normal"


async def test_finally_blocks_run_on_the_way_of_a_process_exit() -> None:
    seen: list[str] = []

    async def body() -> None:
        try:
            raise ProcessExit("done")
        except Exception:
            seen.append("swallowed")
        finally:
            seen.append("cleaned up")

    async with node():
        assert await reason_of(body) == "done"
    assert seen == ["cleaned up"]


async def test_a_base_exception_is_a_crash_as_well() -> None:
    class Odd(BaseException):
        pass

    async def body() -> None:
        raise Odd

    async with node() as stage:
        reason = await reason_of(body)
        assert isinstance(reason, Crash) and isinstance(reason.exception, Odd)
        stage.crash(Odd)


async def test_generator_exit_is_a_crash_as_well() -> None:
    async def body() -> None:
        raise GeneratorExit

    async with node() as stage:
        reason = await reason_of(body)
        assert isinstance(reason, Crash)
        stage.crash(GeneratorExit)


# -- nurseries in a process


async def fail(error: BaseException) -> None:
    raise error


async def test_a_single_failure_in_a_nursery_is_the_reason_itself() -> None:
    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(idle)
            nursery.start_soon(fail, KeyError("inner"))

    async with node() as stage:
        reason = await reason_of(body)
        assert isinstance(reason, Crash) and isinstance(reason.exception, KeyError)
        stage.crash(KeyError)


async def test_a_single_failure_in_nurseries_within_nurseries_is_the_reason_itself() -> None:
    async def inner() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(idle)
            nursery.start_soon(fail, KeyError("innermost"))

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner)
            nursery.start_soon(idle)

    async with node() as stage:
        reason = await reason_of(body)
        assert isinstance(reason, Crash) and isinstance(reason.exception, KeyError)
        stage.crash(KeyError)


async def test_two_failures_in_a_nursery_are_a_group() -> None:
    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, KeyError("one"))
            nursery.start_soon(fail, OSError("two"))

    async with node() as stage:
        reason = await reason_of(body)
        assert isinstance(reason, Crash)
        assert isinstance(reason.exception, ExceptionGroup)
        assert len(reason.exception.exceptions) == 2
        stage.crash(ExceptionGroup)


async def test_process_exit_in_a_nursery_ends_the_process_with_its_reason() -> None:
    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(idle)
            nursery.start_soon(fail, ProcessExit("enough"))

    async with node():
        assert await reason_of(body) == "enough"


async def test_a_failure_beside_a_process_exit_is_not_lost() -> None:
    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ProcessExit("enough"))
            nursery.start_soon(fail, OSError("two"))

    async with node() as stage:
        reason = await reason_of(body)
        assert isinstance(reason, Crash)
        group = stage.crash(BaseExceptionGroup).exception
        assert isinstance(group, BaseExceptionGroup)
        assert group.subgroup(OSError) is not None


# -- a signal beats the outcome


async def test_the_reason_is_that_of_the_signal_though_the_body_returns() -> None:
    async def body() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            pass  # swallowed against the rules

    async with node():
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "told to")
        assert await wait_exit(pid) == "told to"


async def test_the_reason_is_that_of_the_signal_though_the_clean_up_fails() -> None:
    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("clean-up")

    async with node() as stage:
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "told to")
        assert await wait_exit(pid) == "told to"
        report = stage.crash(OSError)
        assert report.while_exiting == "told to"
        assert "failed to clean up while it ended for told to" in str(report)


async def test_a_process_exit_in_the_clean_up_does_not_change_the_reason() -> None:
    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ProcessExit("another")

    async with node():
        pid = spawn(body)
        await settle()
        exeunt.exit(pid, "told to")
        assert await wait_exit(pid) == "told to"


async def test_the_clean_up_runs_before_anybody_hears_of_the_end() -> None:
    seen: list[str] = []

    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            seen.append("cleaned up")

    async with node():
        pid, _ = spawn_monitor(body)
        await settle()
        exeunt.exit(pid, "told to")
        down = await exeunt.receive(Down)
        assert seen == ["cleaned up"]
        assert down.reason == "told to"


async def test_a_cancellation_by_the_bodys_own_scope_ends_nothing() -> None:
    async def body() -> None:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        raise ProcessExit("went on")

    async with node():
        assert await reason_of(body) == "went on"


# -- is_orderly


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown(None), Shutdown("x")])
def test_orderly_reasons(reason: object) -> None:
    assert is_orderly(reason)


@pytest.mark.parametrize(
    "reason",
    ["kill", "killed", "noproc", "", None, 0, Crash(ValueError()), ("shutdown", 1), "Normal"],
)
def test_reasons_that_are_not_orderly(reason: object) -> None:
    assert not is_orderly(reason)


def test_is_orderly_asks_no_foreign_equality() -> None:
    class Contrary:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("asked")

    assert not is_orderly(Contrary())


# -- what they look like


def test_reasons_can_be_matched() -> None:
    def kind(reason: object) -> str:
        match reason:
            case "normal" | "shutdown":
                return "orderly"
            case Shutdown(detail):
                return f"orderly: {detail}"
            case Crash(OSError() as error):
                return f"system: {error}"
            case _:
                return "other"

    assert kind("shutdown") == "orderly"
    assert kind(Shutdown("moved")) == "orderly: moved"
    assert kind(Crash(OSError("disk"))) == "system: disk"
    assert kind(Crash(ValueError())) == "other"


def test_reasons_read_well() -> None:
    assert str(Shutdown("moved")) == "shutdown: moved"
    assert str(Crash(ValueError("x"))) == "ValueError: x"


# -- reports of plain processes


async def test_an_exception_in_a_plain_process_is_logged_once_with_its_traceback() -> None:
    async def body() -> None:
        raise ValueError("wrong")

    async with node() as stage:
        pid = spawn(body, name="worker")
        await wait_exit(pid)
        text, record = stage.log.unclaimed[0]
        assert f"{pid} 'worker'" in text and "ValueError: wrong" in text
        assert f"ancestors: {exeunt.self_pid()}" in text
        assert record.levelname == "ERROR"
        assert record.exc_info is not None and record.exc_info[0] is ValueError
        assert len(stage.log.unclaimed) == 1
        stage.crash()


async def test_an_exit_reason_or_a_signal_in_a_plain_process_is_not_logged() -> None:
    async def body() -> None:
        raise ProcessExit("with a reason")

    async with node():
        await reason_of(body)
        for reason in ("bad", "kill", Crash(ValueError("from outside"))):
            pid = spawn(idle)
            await settle()
            exeunt.exit(pid, reason)
            await wait_exit(pid)


async def test_a_reason_that_cannot_be_shown_harms_nobody() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    async def body() -> None:
        raise Unprintable

    async with node() as stage:
        await exits_and_is_reported(stage, body)


async def exits_and_is_reported(stage: Stage, body: Callable[[], Awaitable[object]]) -> None:
    pid, _ = spawn_monitor(body)
    assert (await exeunt.receive(Down)).process is pid
    assert "str() failed" in str(stage.crash())


async def test_a_very_long_reason_is_cut_in_the_log() -> None:
    async def body() -> None:
        raise ValueError("x" * 100_000)

    async with node() as stage:
        await reason_of(body)
        text = str(stage.crash())
        assert len(text) < 1_000 and "(100012 characters)" in text


async def test_ancestors_are_listed_from_the_nearest() -> None:
    async def fails() -> None:
        raise ValueError

    async def parent() -> None:
        await wait_exit(spawn(fails))

    async with node() as stage:
        pid = spawn(parent)
        await wait_exit(pid)
        assert stage.crash().ancestors == (pid, exeunt.self_pid())

"""The mistakes of a first hour with the kit: each is answered by a message that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from exeunt import open_node
from exeunt.channels import Channel, JoinResult, Ok, PubSub, Socket
from exeunt.testing import connect
from tests.testing.channels import UserSocket

pytest_plugins = ["pytester"]

ANN = {"name": "ann"}


class WithoutJoin(Socket):
    channels = {"room:*": Channel}


class Silent(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok()

    async def handle_in(self, event: str, payload: Any) -> None:
        return None


class SilentSocket(Socket):
    channels = {"room:*": Silent}


@pytest.mark.parametrize(
    ("socket", "options", "says"),
    [
        (UserSocket(), {}, "a mount is given a class of sockets"),
        (UserSocket(), {"assigns": {}}, "a mount is given a class of sockets"),
        (WithoutJoin, {}, "Channel has no join: write `async def join"),
        (WithoutJoin, {"assigns": {}}, "Channel has no join: write `async def join"),
        ("ws://127.0.0.1:4000/socket", {}, r"takes a URL is exeunt\.channels\.client\.connect"),
        (UserSocket, {"hub": PubSub}, r"hub is a PubSub\(\), not <class"),
        (UserSocket, {"assigns": ["name"]}, "the assigns of a client are values by name"),
    ],
)
async def test_what_cannot_be_connected_to_is_refused(
    socket: Any, options: dict[str, Any], says: str
) -> None:
    async with open_node(signals=False):
        with pytest.raises(TypeError, match=says):
            async with connect(socket, **options):
                pass


async def test_headers_may_be_given_by_name() -> None:
    async with open_node(signals=False), connect(UserSocket, ANN, headers={"X-A": "b"}) as ann:
        assert isinstance(ann.socket, UserSocket)
        assert ann.socket.info.x_headers == (("x-a", "b"),)


async def test_a_client_says_join_first() -> None:
    async with open_node(signals=False), connect(UserSocket, ANN) as ann:
        anything: Any = ann
        for name in ("push", "assert_push", "assert_reply", "leave"):
            with pytest.raises(
                AttributeError, match=f"no '{name}': join first, .*use `room.{name}`"
            ):
                getattr(anything, name)
        with pytest.raises(AttributeError, match="'Client' object has no attribute 'psh'"):
            anything.psh("say", {})


async def test_a_reply_that_does_not_come_says_why_that_may_be() -> None:
    async with open_node(signals=False), connect(SilentSocket) as ann:
        room = await ann.join("room:a")
        ref = room.push("add")
        with pytest.raises(AssertionError) as failed:
            await room.assert_reply(ref, "ok", within=0.01)
        assert "no reply to 'add' (ref 2) has come within 0.01 s (the handler may have" in str(
            failed.value
        )


@pytest.mark.parametrize("joins_again", [False, True])
async def test_a_push_after_the_leave_does_not_pass_silently(joins_again: bool) -> None:
    async with open_node(signals=False):
        with pytest.raises(AssertionError, match="'echo' was pushed on 'room:a' after its leave, "):
            async with connect(UserSocket, ANN) as ann:
                room = await ann.join("room:a")
                await room.leave()
                if joins_again:
                    await ann.join("room:a")
                room.push("echo")


async def test_a_push_after_the_leave_whose_answer_is_asserted_is_no_mistake() -> None:
    async with open_node(signals=False), connect(UserSocket, ANN) as ann:
        room = await ann.join("room:a")
        await room.leave()
        await room.assert_reply(room.push("echo"), "error", {"reason": "unmatched topic"})
        await room.refute_reply(room.push("echo"), "ok")
        await room.leave()


async def test_what_the_block_raises_goes_before_a_push_after_the_leave() -> None:
    async with open_node(signals=False):
        with pytest.raises(LookupError):
            async with connect(UserSocket, ANN) as ann:
                room = await ann.join("room:a")
                await room.leave()
                room.push("echo")
                raise LookupError


TESTS = """
    from exeunt import Node

    async def test_on_trio(node: Node) -> None:
        assert node.main.pid

    def test_plain(node):
        raise AssertionError
"""


@pytest.mark.parametrize("is_on", [False, True])
def test_the_fixture_says_what_it_needs(pytester: pytest.Pytester, is_on: bool) -> None:
    pytester.makeconftest('pytest_plugins = ["exeunt.testing.plugin"]')
    if is_on:
        pytester.makeini("[pytest]\ntrio_mode = true")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=int(is_on), errors=1 if is_on else 2)
    needs_mode = "*test_on_trio asks for the fixture `node`, so it has to run on trio: have*"
    if is_on:
        result.stdout.no_fnmatch_line(needs_mode)
    else:
        result.stdout.fnmatch_lines([needs_mode])
    result.stdout.fnmatch_lines(["*so it is an async function: `async def test_plain`*"])


def test_without_trio_the_fixture_names_the_package(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["exeunt.testing.plugin"]')
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:trio")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*which needs pytest-trio: `pip install pytest-trio`*"])


def test_a_fixture_of_ones_own_of_that_name_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["exeunt.testing.plugin"]')
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def node():
            return 1

        def test_plain(node):
            assert node == 1
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)

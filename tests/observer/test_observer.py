"""The observer as it is used: started in a node or in a tree, reached through its own endpoint."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.request import urlopen

import pytest
import trio

from exeunt import (
    Pid,
    StartFailed,
    Supervisor,
    exit,
    get_status,
    open_node,
    processes,
    spawn,
    stop,
    wait_exit,
    whereis,
)
from exeunt.channels import Channel, Endpoint, JoinResult, Ok, PubSub, Socket
from exeunt.channels.client import ConnectFailed, connect
from exeunt.observer import Extent, Observer, observe
from exeunt.observer.sampler import TOPIC

from .nodes import Worker, quiet

TOKEN = "a-token-for-nothing-but-tests"


def address_of(url: str) -> tuple[str, str]:
    base, _, token = url.partition("#token=")
    return f"{base}socket", token


@asynccontextmanager
async def watching(url: str) -> AsyncGenerator[Any]:
    where, token = address_of(url)
    async with connect(where, auth_token=token) as socket:
        yield await socket.join(TOPIC)


async def test_a_node_is_observed_while_the_block_runs() -> None:
    async with open_node() as node:
        before = processes()
        async with observe() as observation:
            assert observation.url.startswith("http://127.0.0.1:")
            async with watching(observation.url) as channel:
                picture = channel.response["picture"]
                assert picture["node"]["node"]["number"] == node.number
                assert picture["node"]["node"]["processes"] == len(before)
                own = [row for row in picture["process"].values() if row["is_own"]]
                assert len(own) == len(processes()) - len(before)
        assert processes() == before


async def test_what_the_block_raises_comes_out_and_the_observer_ends() -> None:
    async with open_node():
        before = processes()
        with pytest.raises(KeyError):
            async with observe():
                raise KeyError
        with trio.move_on_after(0.1):
            async with observe():
                await trio.sleep_forever()
        assert processes() == before


async def test_a_task_that_is_no_process_can_observe_a_node() -> None:
    async with trio.open_nursery() as nursery, open_node() as node:

        async def outside() -> None:
            async with observe(node) as observation, watching(observation.url) as channel:
                assert channel.response["picture"]["node"]["node"]["number"] == node.number
            done.set()

        done = trio.Event()
        nursery.start_soon(outside)
        await done.wait()


async def test_an_observer_that_fails_takes_nobody_along() -> None:
    with quiet():
        async with open_node():
            async with observe() as observation:
                exit(observation.pid, "kill")
                await wait_exit(observation.pid)
                await trio.sleep(0.1)
            assert len(processes()) == 1


async def test_in_a_tree_it_keeps_its_token_over_a_restart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "exeunt.observer")
    spec = Observer.child(port=0).replace(id="observer")
    with quiet():
        async with open_node():
            supervisor = await Supervisor.start_link([spec], max_restarts=1)
            [info] = await Supervisor.which_children(supervisor)
            assert isinstance(info.pid, Pid)
            url = await Observer.url(info.pid)
            assert [record.message for record in caplog.records] == [
                f"observing node {info.pid.node} at {url}"
            ]
            async with watching(url):
                pass
            assert spec.backoff is not None, "so it does not use up what its supervisor allows"
            # A second one beside it has another port, and the same token.
            beside = await spec.start()
            other = await Observer.url(beside)
            assert address_of(other)[0] != address_of(url)[0]
            assert address_of(other)[1] == address_of(url)[1]
            await stop(beside)


async def test_in_a_tree_it_keeps_any_free_port_over_a_restart() -> None:
    async with open_node():
        spec = Observer.child(port=0).replace(id="observer")
        supervisor = await Supervisor.start_link([spec])
        [info] = await Supervisor.which_children(supervisor)
        assert isinstance(info.pid, Pid)
        url = await Observer.url(info.pid)
        for _ in range(2):
            await Supervisor.terminate_child(supervisor, "observer")
            again = await Supervisor.restart_child(supervisor, "observer")
            assert isinstance(again, Pid)
            assert await Observer.url(again) == url
        # Meanwhile somebody else has taken it: then it is another one, after one failure.
        await Supervisor.terminate_child(supervisor, "observer")
        port = int(url.split(":")[2].partition("/")[0])
        with socket.create_server(("127.0.0.1", port)):
            with quiet(), pytest.raises(StartFailed):
                await Supervisor.restart_child(supervisor, "observer")
            again = await Supervisor.restart_child(supervisor, "observer")
            assert isinstance(again, Pid)
            assert address_of(await Observer.url(again))[0] != address_of(url)[0]


@pytest.mark.parametrize("has_logging", [False, True])
def test_a_program_without_logging_gets_the_url_on_the_standard_error(has_logging: bool) -> None:
    program = (
        "import logging, sys\n"
        "from exeunt import Supervisor, run\n"
        "from exeunt.observer import Observer\n"
        "if sys.argv[1:] == ['logging']: logging.basicConfig(level=logging.WARNING)\n"
        "async def main():\n"
        "    await Supervisor.start_link([Observer.child(port=0)])\n"
        "run(main)\n"
    )
    words = ["logging"] if has_logging else []
    ran = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 0 and ran.stdout == ""
    told = re.fullmatch(r"observing node 0 at http://127\.0\.0\.1:\d+/#token=\S+\n", ran.stderr)
    # Who has set a level has said what is wanted.
    assert ran.stderr == "" if has_logging else told is not None, ran.stderr


@pytest.mark.parametrize("token", ["", "wrong", None])
async def test_the_socket_is_refused_without_the_token(token: str | None) -> None:
    async with open_node(), observe(token=TOKEN) as observation:
        where, right = address_of(observation.url)
        assert right == TOKEN
        with pytest.raises(ConnectFailed) as failed:
            async with connect(where, auth_token=token):
                pass
        assert failed.value.status == 403


async def test_a_page_of_another_origin_is_refused_though_it_has_the_token() -> None:
    async with open_node(), observe() as observation:
        where, token = address_of(observation.url)
        with pytest.raises(ConnectFailed) as failed:
            async with connect(
                where, auth_token=token, headers={"origin": "http://elsewhere.example"}
            ):
                pass
        assert failed.value.status == 403


async def test_the_page_and_its_files_are_served_and_forbid_what_comes_from_elsewhere() -> None:
    async with open_node(), observe() as observation:
        base = observation.url.partition("#")[0]

        def get(path: str) -> tuple[str, str, bytes]:
            with urlopen(base + path, timeout=5) as answer:
                return (
                    answer.headers["Content-Type"],
                    answer.headers["Content-Security-Policy"],
                    answer.read(),
                )

        kind, policy, page = await trio.to_thread.run_sync(get, "")
        assert kind == "text/html; charset=utf-8"
        assert "default-src 'self'" in policy
        assert b"http:" not in page and b"https:" not in page
        for name in ("observer.js", "observer.css", "vendor/phoenix-1.8.16/phoenix.min.js"):
            assert name.encode() in page
            _, _, body = await trio.to_thread.run_sync(get, name)
            assert body
        _, _, licence = await trio.to_thread.run_sync(get, "vendor/phoenix-1.8.16/LICENSE.md")
        assert b"MIT" in licence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": False, "host": "0.0.0.0"}, "loopback only"),
        ({"token": False, "host": None}, "loopback only"),
        ({"token": False, "host": "example.org"}, "loopback only"),
        ({"token": "short"}, "at least 16"),
        ({"token": "a token with spaces in it"}, "letters, digits and signs"),
        ({"interval": 0.0}, "0.05"),
        ({"interval": float("nan")}, "0.05"),
    ],
)
async def test_options_that_would_leave_it_open_are_refused(
    options: dict[str, Any], words: str
) -> None:
    with quiet():
        async with open_node():
            with pytest.raises(StartFailed, match=words):
                async with observe(**options):
                    pass
            assert len(processes()) == 1


def test_limits_are_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least one of the children"):
        Extent(children=0)


async def test_without_a_token_the_url_has_none() -> None:
    async with open_node(), observe(token=False) as observation:
        assert "#" not in observation.url
        async with connect(f"{observation.url}socket") as socket:
            await socket.join(TOPIC)


async def test_neither_its_status_nor_its_specification_shows_the_token() -> None:
    assert TOKEN not in repr(Observer.child(token=TOKEN))
    async with open_node(), observe(token=TOKEN) as observation:
        assert TOKEN not in str(await get_status(observation.pid))
        for info in await Supervisor.which_children(observation.pid):
            assert isinstance(info.pid, Pid)
            assert TOKEN not in str(await get_status(info.pid))
        assert TOKEN in await Observer.url(observation.pid)


async def test_two_observers_of_one_node_do_not_disturb_each_other() -> None:
    async with open_node(), observe() as one, observe() as other:
        await Worker.named("w").start_link()
        pid = whereis("w")
        assert pid is not None
        async with watching(one.url) as first:
            async with watching(other.url) as second:
                for channel in (first, second):
                    rows = channel.response["picture"]["process"]
                    assert rows[repr(pid)]["name"] == "w"
            process = pid._process
            assert process is not None
            for _ in range(50):
                process.deliver("x")
            with trio.fail_after(5):
                while True:
                    event = await first.receive()
                    rates = event.payload["change"].get("process", {}).get("change", {})
                    if rates.get(repr(pid), {}).get("rate", 0) > 0:
                        break


# -- who is connected


class RoomChannel(Channel):
    async def join(self, topic: str, params: Any) -> JoinResult:
        return Ok()


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}

    def id(self) -> str | None:
        return "user:ann"


async def test_sockets_and_topics_are_shown_with_their_members() -> None:
    hub = PubSub()
    async with open_node():
        endpoint = await Endpoint.start_link({"/socket": UserSocket}, port=0)
        url = await Endpoint.url(endpoint)

        async def listener() -> None:
            hub.subscribe("news")
            await trio.sleep_forever()

        pid = spawn(listener, name="reader")
        async with connect(f"{url}/socket") as ann, connect(f"{url}/socket"):
            for room in ("a", "b"):
                await ann.join(f"room:{room}")
            async with observe(hub=hub) as observation, watching(observation.url) as channel:
                picture = channel.response["picture"]
        sockets = list(picture["socket"].values())
        assert [row["id"] for row in sockets] == ["user:ann", "user:ann"]
        assert [row["topics"] for row in sockets] == [["room:a", "room:b"], []]
        assert {row["socket"] for row in sockets} == {"UserSocket"}
        assert {row["transport"] for row in sockets} == {"websocket"}
        topics = {row["topic"]: row for row in picture["topic"].values()}
        assert list(topics) == ["news", "user:ann", "room:a", "room:b"]
        assert topics["news"]["members"] == [[repr(pid), "reader", ""]]
        assert topics["user:ann"]["member_count"] == 2
        [[_, label, user]] = topics["room:a"]["members"]
        assert (label, user) == ("RoomChannel 'room:a'", "user:ann")
        assert picture["node"]["node"]["connections"] == 2
        assert picture["node"]["node"]["topics"] == 4


async def test_a_connection_that_has_said_nothing_is_no_socket() -> None:
    async with open_node():
        endpoint = await Endpoint.start_link({"/socket": UserSocket}, port=0)
        url = await Endpoint.url(endpoint)
        port = int(url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port):
            await trio.sleep(0.1)
            async with observe() as observation, watching(observation.url) as channel:
                picture = channel.response["picture"]
        assert picture["socket"] == {}
        assert picture["node"]["node"]["connections"] == 1


# -- where Rich is missing


def test_without_rich_the_terminal_says_how_to_get_it() -> None:
    program = (
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'rich' else find(name)\n"
        "sys.argv = ['observer', 'http://127.0.0.1:1/']\n"
        "runpy.run_module('exeunt.observer', run_name='__main__')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 2
    assert "pip install 'exeunt[observer]'" in run.stderr


def test_the_observer_needs_rich_in_the_terminal_only() -> None:
    program = "import sys, exeunt.observer; print('rich' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr

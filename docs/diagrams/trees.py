"""Supervision trees, recorded: the programs are started, and asked with `exeunt.tree()`."""

from __future__ import annotations

import importlib
import io
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import trio
from trio.testing import wait_all_tasks_blocked

from docs.diagrams.connections import ROOM, User
from docs.diagrams.recorder import Data, eventually, replaced
from examples.chat import __main__ as chat_program
from examples.chat.people import sign_in
from exeunt import Node, open_node, tree, whereis
from exeunt.channels import Endpoint, LongPoll, Mount, Tokens
from exeunt.channels.client import connect
from exeunt.kernel.process import current_process
from exeunt.otp.supervisor import Supervisor
from exeunt.otp.tree import Branch, Tree, _loop_of
from exeunt.scaffold import create
from tests.faults.client import Client

PROGRAMS: Final = Path(__file__).parents[1] / "tutorial" / "programs"
SECRET: Final = "a secret of twenty letters or more"

Program = Callable[[], Awaitable[Data]]


def record() -> Data:
    """Start every program; return the tree of each as it is when there is something to be seen."""
    programs: dict[str, Program] = {
        "chat": _chat,
        "endpoint": _endpoint,
        "chapter11": _chapter11,
        "chapter12": _chapter12,
        "chapter13": _chapter13,
        "project": _project,
    }
    return {name: trio.run(_run, program) for name, program in programs.items()}


async def _run(program: Program) -> Data:
    with redirect_stdout(io.StringIO()):
        async with open_node(signals=False, seed=1):
            return await program()
    raise AssertionError("open_node does not swallow exceptions")


# -- the programs ---------------------------------------------------------------------------------


async def _chat() -> Data:
    """The chat of the examples, with one person in its lobby."""
    _, token = sign_in(Tokens(SECRET), "Ada")
    async with (
        _served_by(chat_program, "--secret", SECRET) as url,
        connect(url, auth_token=token) as client,
    ):
        await client.join("room:lobby")
        await _settle()
        return _data(tree())


async def _endpoint() -> Data:
    """An endpoint by itself: one client on a WebSocket, with two topics, and one that polls."""
    mount = Mount(User, longpoll=LongPoll())
    endpoint = await Endpoint.named("endpoint").start_link({"/socket": mount}, port=0)
    port = int((await Endpoint.url(endpoint)).rpartition(":")[2])
    async with await Client.connect(port) as client, await Client.dial(port) as other:
        await client.join(ROOM)
        await client.join("room:b")
        await other.send(b"GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await other.response()
        return _data(tree())


async def _chapter11() -> Data:
    """The house of chapter 11, at the moment in which the program itself shows its tree."""
    with _modules("chapter11", PROGRAMS) as chapter:
        seen: list[Data] = []

        def looking() -> Tree:
            seen.append(_data(tree()))
            return tree()

        with replaced(chapter, tree=looking):
            await chapter.main()
        return seen[0]


async def _chapter12() -> Data:
    """The chat of chapter 12, when ann sees that bob is there too."""
    with _modules("chapter12", PROGRAMS) as chapter:
        seen: list[Data] = []

        def printing(*words: object) -> None:
            if not seen and "here now: ann, bob" in str(words[0]):
                seen.append(_data(tree()))

        chapter.print = printing
        await chapter.main()
        return seen[0]


async def _chapter13() -> Data:
    """The chat of chapter 13, when its client has joined that is to be killed."""
    with _modules("chapter13", PROGRAMS) as chapter:
        joined = trio.Event()
        chapter.print = lambda *words, **options: joined.set()
        url = await chapter.serve(chapter.TOKENS)
        await chapter.open_room("lobby")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chapter.visit, url, "joe", "is a program of its own, and is killed")
            await joined.wait()
            await _settle()
            data = _data(tree())
            nursery.cancel_scope.cancel()
        return data


async def _project() -> Data:
    """A new project, as `python -m exeunt new` writes it, with one visitor."""
    with tempfile.TemporaryDirectory() as where:
        create("visits", Path(where))
        with _modules("visits.__main__", Path(where) / "visits") as project:
            async with _served_by(project) as url, connect(url) as client:
                await client.join("lobby", {"name": "ann"})
                await _settle()
                return _data(tree())


# -- how they are looked at -----------------------------------------------------------------------


@asynccontextmanager
async def _served_by(program: ModuleType, *words: str) -> AsyncGenerator[str]:
    """Run a program of the command line, in this process; give the block the URL of its socket."""
    given: list[Any] = []
    with (
        replaced(program, run=lambda *what: given.extend(what)),
        replaced(sys, argv=[program.__name__, "--port", "0", *words]),
    ):
        program.main()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(*given)
        await eventually(lambda: whereis("endpoint") is not None)
        yield (await Endpoint.url("endpoint")).replace("http", "ws") + "/socket"
        nursery.cancel_scope.cancel()


async def _settle() -> None:
    """Let everybody finish what they do."""
    await wait_all_tasks_blocked(0.02)


@contextmanager
def _modules(name: str, where: Path) -> Generator[Any]:
    """Import a program's module from its own directory, and forget it and its parts afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(where))
    try:
        module: ModuleType = importlib.import_module(name)
        yield module
    finally:
        sys.path.remove(str(where))
        for new in set(sys.modules) - before:
            file = getattr(sys.modules[new], "__file__", None)
            if file is not None and Path(file).is_relative_to(where):
                del sys.modules[new]


def _data(seen: Tree) -> Data:
    """Return a tree as data, from the main process down."""
    node = current_process().node
    return _branch(seen.roots[0], node)


def _branch(branch: Branch, node: Node) -> Data:
    data: Data = {"label": branch.label, "type": branch.type}
    for key, value in (("name", branch.name), ("id", branch.id), ("restart", branch.restart)):
        if value is not None:
            data[key] = str(value)
    process = None if branch.pid is None else node.processes.get(branch.pid.number)
    loop = None if process is None else _loop_of(process)
    if loop is not None and isinstance(loop.server, Supervisor):
        data["strategy"] = loop.server._strategy
    if branch.children:
        data["children"] = [_branch(one, node) for one in branch.children]
    return data

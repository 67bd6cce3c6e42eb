"""The supervision tree: who goes down with whom, and that the page is served."""

from urllib.request import urlopen

import trio
from my_app.tree import lobby

from exeunt import Node, Pid, exit, whereis
from exeunt.channels import Endpoint
from exeunt.testing import start_supervised


def find(name: str) -> Pid:
    """Return the process that has the name."""
    pid = whereis(name)
    assert pid is not None
    return pid


async def replaced(name: str, before: Pid) -> None:
    """Wait until another process has the name."""
    for _ in range(500):
        if whereis(name) not in (None, before):
            return
        await trio.sleep(0.01)
    raise AssertionError(f"nobody has taken the place of {name}")


async def test_when_the_visitors_are_killed_those_below_start_anew_too(node: Node) -> None:
    await start_supervised(lobby())
    before = {name: find(name) for name in ("visitors", "watcher", "endpoint")}
    exit(before["visitors"], "kill")
    for name, pid in before.items():
        await replaced(name, pid)


async def test_when_the_endpoint_is_killed_the_others_stay(node: Node) -> None:
    await start_supervised(lobby())
    visitors, endpoint = find("visitors"), find("endpoint")
    exit(endpoint, "kill")
    await replaced("endpoint", endpoint)
    assert find("visitors") is visitors


async def test_the_page_is_served(node: Node) -> None:
    await start_supervised(lobby())
    url = await Endpoint.url("endpoint")

    def fetch() -> bytes:
        with urlopen(f"{url}/", timeout=5) as answer:
            body: bytes = answer.read()
        return body

    assert b"<title>The lobby</title>" in await trio.to_thread.run_sync(fetch)

"""The lobby, with clients that need no network."""

import pytest
from my_app.visitors import Visitors
from my_app.web import HUB, VisitorSocket

from exeunt import Node, Watcher
from exeunt.testing import JoinRefused, connect, start_supervised


async def start() -> None:
    await start_supervised(Visitors.named("visitors").child())
    await start_supervised(Watcher.named("watcher").child())


async def test_visitors_see_each_other_come_and_go(node: Node) -> None:
    await start()
    async with connect(VisitorSocket, hub=HUB) as ada:
        lobby = await ada.join("lobby", {"name": "Ada"})
        assert lobby.response == {"here": ["Ada"]}
        async with connect(VisitorSocket, hub=HUB) as bob:
            await bob.join("lobby", {"name": "Bob"})
            await lobby.assert_push("entered", {"name": "Bob", "here": ["Ada", "Bob"]})
        await lobby.assert_push("left", {"name": "Bob", "here": ["Ada"]})


async def test_a_wave_reaches_everybody(node: Node) -> None:
    await start()
    async with connect(VisitorSocket, hub=HUB) as ada:
        lobby = await ada.join("lobby", {"name": "Ada"})
        await lobby.assert_reply(lobby.push("wave", {}), "ok")
        await lobby.assert_push("waved", {"name": "Ada"})


@pytest.mark.parametrize("params", [{}, {"name": ""}, {"name": 7}, {"name": "x" * 41}])
async def test_who_says_no_name_is_not_let_in(node: Node, params: object) -> None:
    await start()
    async with connect(VisitorSocket, hub=HUB) as client:
        with pytest.raises(JoinRefused, match="name"):
            await client.join("lobby", params)

"""A pytest plugin with one fixture, for those who test with pytest-trio.

In conftest.py, `pytest_plugins = ["exeunt.testing.plugin"]`; then a test that asks for `node` runs
in one, as its main process:

    async def test_the_lobby(node: Node) -> None:
        async with connect(UserSocket) as ann:
            ...

Nothing else of `exeunt.testing` needs pytest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from exeunt.kernel.node import Node, open_node


@pytest.fixture
async def node() -> AsyncGenerator[Node, None]:
    """Open a node for one test, and shut it down at its end; signals stay with pytest."""
    async with open_node(signals=False) as opened:
        yield opened

"""A pytest plugin with one fixture, for those who test with pytest-trio.

In conftest.py, `pytest_plugins = ["exeunt.testing.plugin"]`; then a test that asks for `node` runs
in one, as its main process:

    async def test_the_lobby(node: Node) -> None:
        async with connect(UserSocket) as ann:
            ...

Nothing else of `exeunt.testing` needs pytest.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator

import pytest

from exeunt.kernel.node import Node, open_node


@pytest.fixture
async def node() -> AsyncGenerator[Node, None]:
    """Open a node for one test, and shut it down at its end; signals stay with pytest."""
    async with open_node(signals=False) as opened:
        yield opened


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say what is missing to a test that asks for `node` and would not run on trio."""
    if not isinstance(item, pytest.Function) or "node" not in item.fixturenames:
        return
    found = item.session._fixturemanager.getfixturedefs("node", item)
    if not found or found[-1].func.__module__ != __name__:
        return
    if any(item.get_closest_marker(name) is not None for name in ("trio", "anyio")):
        return
    test = getattr(getattr(item.obj, "hypothesis", None), "inner_test", item.obj)
    if not inspect.iscoroutinefunction(test):
        mend = f"so it is an async function: `async def {item.originalname}`"
    elif not item.config.pluginmanager.hasplugin("trio"):
        mend = "which needs pytest-trio: `pip install pytest-trio`"
    else:
        mend = (
            "so it has to run on trio: have `trio_mode = true` in the configuration of pytest "
            "([tool.pytest.ini_options] in pyproject.toml, [pytest] in pytest.ini)"
        )
    pytest.fail(f"{item.name} asks for the fixture `node`, {mend}", pytrace=False)

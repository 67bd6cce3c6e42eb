"""What all tests of the observer share."""

from __future__ import annotations

import pytest

from tests.kernel.nodes import use_virtual_clock


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    use_virtual_clock(items)

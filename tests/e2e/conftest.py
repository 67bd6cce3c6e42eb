"""What the end-to-end tests share: a guard against processes that survive their tests."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Generator

import pytest

from tests.e2e.programs import marked, survivors


@pytest.fixture(scope="module", autouse=True)
def no_survivors() -> Generator[None]:
    """Fail a module whose tests have left a server, a Node or a browser running, and kill those."""
    name = uuid.uuid4().hex
    with marked(name):
        yield
    # A browser's helpers end a moment after the browser.
    deadline = time.monotonic() + 5.0
    while (left := survivors(name)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid, _ in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"processes survived their tests: {left}"

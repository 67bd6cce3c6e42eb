"""phoenix.js comes back after every close code, as the reference says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.close_codes import ENDINGS
from tests.docs.closing import closing_with
from tests.e2e.phoenix_js import open_client

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("node", "phoenix")]

CODES = sorted({one.code for one in ENDINGS})


async def test_it_connects_anew_after_every_code(part: Callable[[str], Path]) -> None:
    async with open_client(part("node")) as js:
        for code in CODES:
            async with closing_with(code) as url:
                options = {"reconnectAfterMs": 20}
                mount = url.removeprefix(url.removesuffix("/socket"))
                socket = await js.connect(url.removesuffix(mount), mount=mount, options=options)
                assert (await socket.next("close"))["code"] == code
                await socket.next("open")
                await socket.disconnect()

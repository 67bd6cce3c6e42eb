"""The official client in a real browser, polling a server that its page did not come from.

A browser asks the server before it sends such requests, and shows the page an answer only if the
server allows it; a client in Node knows nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.browser import open_browser
from tests.e2e.programs import Program

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("chromium", "phoenix")]

TALK = """
([url, options]) => new Promise((resolve) => {
  const socket = new Phoenix.Socket(`${url.replace("http", "ws")}/socket`, {
    ...options,
    transport: Phoenix.LongPoll,
  });
  const told = [];
  socket.onError((error) => told.push(["error", String(error)]));
  socket.onClose(({code}) => told.push(["close", code]));
  socket.connect();
  const channel = socket.channel("echo:a", {});
  channel.join().receive("ok", () => {
    const asked = ["connect_info", "whoami", "params"].map((event) => new Promise((answered) =>
      channel.push(event, {}).receive("ok", answered)));
    const bytes = new Uint8Array([91, 0, 255]).buffer;
    const binary = socket.channel("binary:a", {});
    asked.push(new Promise((answered) => binary.join().receive("ok", () =>
      binary.push("info", bytes).receive("ok", answered))));
    Promise.all(asked).then((answers) => {
      resolve({answers, told: [...told]});
      socket.disconnect();
    });
  });
})
"""


@pytest.fixture
def page(part: Callable[[str], Path]) -> Generator[Page]:
    with (
        sync_playwright() as playwright,
        open_browser(playwright, part("chromium")) as browser,
        Program("tests.contract_server", "--port", "0") as other,
    ):
        page = browser.new_page()
        # A page of another origin: another port is enough.
        page.goto(other.line("ready at (http://.*)")[1] + "/health")
        page.add_script_tag(path=part("phoenix") / "priv" / "static" / "phoenix.js")
        yield page


def test_a_page_of_another_origin_polls_where_it_may(page: Page) -> None:
    with Program("tests.contract_server", "--port", "0") as server:
        url = server.line("ready at (http://.*)")[1]
        found: dict[str, Any] = page.evaluate(TALK, [url, {"authToken": "s3cret+/tok"}])
    assert found["told"] == []
    info, whoami, params, binary = found["answers"]
    assert info["auth_token"] == "s3cret+/tok"
    assert "Mozilla" in info["user_agent"]
    assert whoami["transport"] == "longpoll"
    assert params["vsn"] == "2.0.0"
    assert binary == {"size": 3, "sum": 346}


def test_where_it_may_not_it_can_read_that_it_was_refused(page: Page) -> None:
    with Program("tests.contract_server", "--port", "0") as server:
        url = server.line("ready at (http://.*)")[1]
        ask = "(url) => fetch(url).then((answer) => answer.json())"
        assert page.evaluate(ask, f"{url}/socket_origin/longpoll?vsn=2.0.0") == {"status": 403}

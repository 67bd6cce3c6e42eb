"""The crawler: what a flaky site comes to, and who is back when."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from examples.crawler import __main__ as crawler
from examples.crawler.frontier import Frontier
from examples.crawler.site import BROKEN, Fate, Site
from examples.crawler.worker import Unusable, fetch
from exeunt import Node, exit, process_info, run, spawn, wait_exit, whereis
from exeunt.channels import Endpoint, Request, Response
from exeunt.testing import start_supervised
from tests.examples.programs import complaint_of, help_of, interrupt

MODULE = "examples.crawler"
CALM = Site(7, refused=0, hanging=0, outages=0)


# -- the frontier


async def worker_at(name: str, frontier: str = "frontier") -> None:
    """Take a page, and never bring it back."""
    await Frontier.next_page(frontier, name)
    await trio.sleep_forever()


async def test_the_page_of_a_worker_that_dies_waits_again(
    node: Node, autojump_clock: object
) -> None:
    await start_supervised(Frontier.named("frontier").child("/", 3))
    first = spawn(worker_at, "one")
    await trio.sleep(1)
    exit(first, "kill")
    with trio.fail_after(1):
        assert await Frontier.next_page("frontier", "two") == "/"


async def test_a_page_at_which_too_many_die_is_given_up(node: Node, autojump_clock: object) -> None:
    await start_supervised(Frontier.named("frontier").child("/", 3))
    for _ in range(3):
        pid = spawn(worker_at, "one")
        await trio.sleep(1)
        exit(pid, "kill")
        await wait_exit(pid)
    with trio.fail_after(1):
        report = await Frontier.end("frontier")
    assert (report.found, report.given_up, report.crashes) == ({}, ["/"], {"one": 3})


async def test_a_worker_that_dies_while_it_waits_is_given_nothing(
    node: Node, autojump_clock: object
) -> None:
    await start_supervised(Frontier.named("frontier").child("/", 1))
    assert await Frontier.next_page("frontier", "me") == "/"
    idle = spawn(worker_at, "one")
    await trio.sleep(1)
    exit(idle, "kill")
    await wait_exit(idle)
    await Frontier.done("frontier", "/", ["/", "/a"])
    with trio.fail_after(1):
        assert await Frontier.next_page("frontier", "me") == "/a"


async def test_the_end_is_when_nothing_waits_and_nobody_works(
    node: Node, autojump_clock: object
) -> None:
    frontier = await start_supervised(Frontier.named("frontier").child("/", 3))
    assert await Frontier.next_page("frontier", "me") == "/"
    with trio.move_on_after(5) as waiting:
        await Frontier.end("frontier")
    assert waiting.cancelled_caught
    await Frontier.done("frontier", "/", ["/"])
    with trio.fail_after(1):
        assert (await Frontier.end("frontier")).found == {"/": ["/"]}
    info = process_info(frontier)
    assert info is not None and info.monitors == ()


# -- fetching


async def test_a_fetch_returns_a_page_or_raises(node: Node) -> None:
    async def pages(request: Request) -> Response:
        match request.path:
            case "/large":
                return Response.text(200, "x" * 1_500_000)
            case "/gone":
                return Response.text(404, "")
            case _:
                return Response.text(200, f"this is {request.path}")

    await start_supervised(Endpoint.named("site").child({}, port=0, pages=pages))
    url = await Endpoint.url("site")
    assert await fetch(url, "/a") == "this is /a"
    with pytest.raises(Unusable, match="404"):
        await fetch(url, "/gone")
    with pytest.raises(Unusable, match="more than"):
        await fetch(url, "/large")


# -- the whole


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_a_site_that_hangs_up_is_said_to_have_done_so(said: bytes) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, [listener])
        with pytest.raises(Unusable, match="the site has hung up"):
            await fetch(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", "/")
        nursery.cancel_scope.cancel()


async def test_a_site_without_trouble_is_found_whole(node: Node) -> None:
    report = await crawler.crawl(CALM, 4)
    assert sorted(report.found) == ["/", "/1", "/2", "/3", "/4", "/5", "/6"]
    assert report.found["/1"] == ["/", "/3", "/4"]
    assert report.given_up == [BROKEN]
    assert report.crashes.total() == 4


class Trouble(Site):
    """A site of 9 pages, in which the first request for each of some pages comes to trouble."""

    def __init__(self, fate: Fate, *paths: str) -> None:
        super().__init__(9)
        self.planned = dict.fromkeys(paths, fate)

    def fate(self, path: str) -> Fate:
        return "refused" if path == BROKEN else self.planned.pop(path, "answered")


ALL = ["/", *(f"/{number}" for number in range(1, 9))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "site",
    [Trouble("refused", *ALL), Trouble("hanging", "/", "/3", "/4"), Trouble("outage", "/5")],
    ids=["refused", "hanging", "outage"],
)
async def test_a_site_with_trouble_is_found_all_the_same(site: Trouble, node: Node) -> None:
    troubles = len(site.planned)
    with trio.fail_after(60):
        report = await crawler.crawl(site, 6)
    assert not site.planned
    assert sorted(report.found) == ALL
    assert report.given_up == [BROKEN]
    assert report.crashes.total() >= troubles + 4
    # The supervisors have borne all of it.
    assert whereis("workers") is not None


def test_chance_decides_as_often_as_it_is_told() -> None:
    async def draw() -> Counter[Fate]:
        site = Site(refused=20, hanging=10, outages=5)
        return Counter(site.fate("/") for _ in range(10_000))

    drawn = run(draw, seed=1)
    shares = {fate: round(number / 100) for fate, number in drawn.items()}
    assert shares == pytest.approx(
        {"refused": 20, "hanging": 10, "outage": 5, "answered": 65}, abs=2
    )


@pytest.mark.slow
def test_it_runs_until_ctrl_c() -> None:
    ended = interrupt(MODULE, after="has crashed at")
    assert ended.status == 0
    assert ended.stdout.endswith("The crawl is stopped.\n")
    assert ended.stderr == ""


@pytest.mark.slow
def test_it_says_what_it_is() -> None:
    assert "after an outage" in help_of(MODULE)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["--workers", "--pages"])
def test_it_refuses_what_makes_no_sense(what: str) -> None:
    assert "at least one" in complaint_of(MODULE, what, "0")

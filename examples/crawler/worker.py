"""The worker: takes a page, fetches it, and crashes at whatever goes wrong.

There is no `try` in it. What a time-out, a refusal, a lost connection or an answer that makes no
sense have in common is that the worker can do nothing about it; what is to be done is the same each
time, and done by others: the frontier has the page wait again, and the supervisor starts the worker
again, after a while that grows for as long as it keeps crashing.
"""

from typing import Final
from urllib.parse import urlsplit

import h11
import trio

from examples.crawler.frontier import Frontier, say
from exeunt.channels import Endpoint

PATIENCE: Final = 0.5
"""Seconds that a page may take."""

LARGEST: Final = 1_000_000
"""Bytes that a page may have."""


class Unusable(Exception):
    """A page that is there, but not as it should be."""


async def work(worker: str) -> None:
    """Fetch one page after the other, for ever."""
    while True:
        # By name, and each time: after an outage the site is at another port. And before there is
        # a page to fetch, so that an outage is held against none.
        url = await Endpoint.url("site")
        page = await Frontier.next_page("frontier", worker)
        with trio.fail_after(PATIENCE):
            text = await fetch(url, page)
        links = text.split()
        say(f"{worker}: {page} links to {' '.join(links)}")
        await Frontier.done("frontier", page, links)


async def fetch(url: str, path: str) -> str:
    """Return a page."""
    address = urlsplit(url)
    http = h11.Connection(h11.CLIENT)
    asked = h11.Request(
        method="GET", target=path, headers=[("Host", address.netloc), ("Connection", "close")]
    )
    body = bytearray()
    async with await trio.open_tcp_stream(str(address.hostname), address.port or 80) as stream:
        await stream.send_all(http.send(asked) + http.send(h11.EndOfMessage()))
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = await stream.receive_some(65_536)
                if not data and http.their_state is h11.SEND_RESPONSE:
                    raise Unusable("the site has hung up")
                http.receive_data(data)
            elif isinstance(event, h11.Response) and event.status_code != 200:
                raise Unusable(f"the site answers {event.status_code}")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LARGEST:
                    raise Unusable(f"more than {LARGEST} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return body.decode()

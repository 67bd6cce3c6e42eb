"""An endpoint on a free port, for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from exeunt import open_node, stop, trap_exit
from exeunt.channels import Endpoint, Mount, PubSub, Socket


@asynccontextmanager
async def open_endpoint(
    sockets: Mapping[str, Callable[[], Socket] | Mount], *, hub: PubSub | None = None
) -> AsyncGenerator[int]:
    """Run an endpoint in a node of its own; yield its port."""
    async with open_node(signals=False):
        trap_exit()
        endpoint = await Endpoint.start_link(sockets, port=0, hub=hub)
        yield int((await Endpoint.url(endpoint)).rpartition(":")[2])
        await stop(endpoint, "shutdown")

"""The server of the contract as one list of children, for a program or for a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from exeunt import ChildSpec, Supervisor, Watcher, open_node
from exeunt.channels import Endpoint, LongPoll, Mount, Presence, PubSub, Tokens

from .channels import PRESENCE, PRESENCE_WITH_USERS, LimitedSocket, PresenceWithUsers, UserSocket
from .control import ENDPOINT as ENDPOINT
from .control import Control
from .records import LEAVE_WATCHER, RECORDS, WATCHER, Records

SECRET = "a secret for nothing but tests"


def mounts(tokens: Tokens) -> dict[str, Mount]:
    """Return what is at which path."""
    # Only the first mount is one whose clients learn what the server knows of them.
    user, limited = partial(UserSocket, tokens), partial(LimitedSocket, tokens)
    return {
        "/socket": Mount(
            partial(UserSocket, tokens, knows_clients=True),
            auth_token=True,
            max_frame_size=65_536,
            check_origin=False,
            longpoll=LongPoll(window=1.0),
        ),
        "/socket_idle": Mount(user, timeout=0.7, check_origin=False),
        "/socket_origin": Mount(user, check_origin=["//allowed.example"], longpoll=LongPoll()),
        "/socket_plain": Mount(user, check_origin=False),
        "/socket_limited": Mount(limited, check_origin=False),
    }


def children(port: int) -> list[ChildSpec]:
    """Return the children of the server, which listens on loopback, on `port` (0: any)."""
    hub, tokens = PubSub(), Tokens(SECRET)
    return [
        Records.named(RECORDS).child(),
        Watcher.named(WATCHER).child(),
        Watcher.named(LEAVE_WATCHER).child(),
        Presence.named(PRESENCE).child(hub),
        PresenceWithUsers.named(PRESENCE_WITH_USERS).child(hub),
        Endpoint.named(ENDPOINT).child(
            mounts(tokens), port=port, hub=hub, pages=Control(hub, tokens).respond
        ),
    ]


@asynccontextmanager
async def open_server(port: int = 0) -> AsyncGenerator[str]:
    """Run the server in a node of its own; yield its URL."""
    async with open_node(signals=False):
        await Supervisor.start_link(children(port), strategy="rest_for_one")
        yield await Endpoint.url(ENDPOINT)

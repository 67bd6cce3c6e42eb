"""A room for two: whoever comes third is refused."""

from functools import partial
from typing import Any

from chapter12 import RoomChannel, UserSocket

from exeunt import Supervisor, Watcher, run
from exeunt.channels import Endpoint, Error, JoinResult, Presence, PubSub, Tokens
from exeunt.channels.client import JoinRefused, connect


class SmallRoomChannel(RoomChannel):
    """A room with two chairs."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        if len(await Presence.list("presence", topic)) >= 2:
            return Error({"reason": "both chairs are taken"})
        return await super().join(topic, params)


class SmallSocket(UserSocket):
    """A socket whose rooms are small."""

    channels = {"room:*": SmallRoomChannel}


async def main() -> None:
    tokens, hub = Tokens("a secret of twenty letters or more"), PubSub()
    await Supervisor.start_link(
        [
            Watcher.named("watcher").child(),
            Presence.named("presence").child(hub),
            Endpoint.named("endpoint").child(
                {"/socket": partial(SmallSocket, tokens, hub)}, port=0, hub=hub
            ),
        ],
        strategy="rest_for_one",
    )
    url = (await Endpoint.url("endpoint")) + "/socket"
    ann, bob, eve = (
        connect(url, params={"token": tokens.sign("user", who)}) for who in ("ann", "bob", "eve")
    )
    async with ann as first, bob as second, eve as third:
        for who, socket in (("ann", first), ("bob", second), ("eve", third)):
            try:
                await socket.join("room:lobby")
                print(f"{who} is in")
            except JoinRefused as refused:
                print(f"{who} is not: {refused.response['reason']}")


if __name__ == "__main__":
    run(main, seed=1)

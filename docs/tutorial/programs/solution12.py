"""A room for two: whoever comes third is refused, until a chair is free."""

from typing import Any

import trio
from chapter08 import Room
from chapter12 import RoomChannel, UserSocket, serve

from exeunt import DynamicSupervisor, Pid, Refuse, on_call, run
from exeunt.channels import Error, JoinResult, Tokens
from exeunt.channels.client import ClientSocket, JoinRefused, connect


class Full(Exception):
    """There is no chair left."""


class SmallRoom(Room):
    """A room with two chairs."""

    @on_call
    async def enter(self, who: str, member: Pid) -> list[str] | Refuse:
        """Give somebody a chair, if there is one."""
        if len(self.members) == 2:
            return Refuse(Full("both chairs are taken"))
        return await super().enter(who, member)


class SmallRoomChannel(RoomChannel):
    """A member who may find the room full."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        try:
            return await super().join(topic, params)
        except Full as full:
            return Error({"reason": str(full)})


class SmallSocket(UserSocket):
    """A socket whose lobby is small."""

    channels = {"room:lobby": SmallRoomChannel}


async def enter(socket: ClientSocket, who: str) -> None:
    try:
        await socket.join("room:lobby")
        print(f"{who}: come in")
    except JoinRefused as refused:
        print(f"{who}: {refused.response['reason']}")


async def main() -> None:
    tokens = Tokens("a secret of twenty letters or more")
    url = await serve(tokens, SmallSocket)
    await DynamicSupervisor.start_child("rooms", SmallRoom.named("lobby").child("lobby"))
    ann, bob, eve = (
        connect(url, params={"token": tokens.sign("user", who)}) for who in ("ann", "bob", "eve")
    )
    async with eve as third:
        async with ann as first, bob as second:
            await enter(first, "ann")
            await enter(second, "bob")
            await enter(third, "eve")
        await trio.sleep(0.2)
        await enter(third, "eve")


if __name__ == "__main__":
    run(main, seed=1)

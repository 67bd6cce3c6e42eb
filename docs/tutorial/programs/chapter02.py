"""A room and its members, who talk by messages."""

from dataclasses import dataclass

import trio

from exeunt import Pid, receive, run, self_pid, send, spawn


@dataclass(frozen=True)
class Enter:
    who: str
    member: Pid


@dataclass(frozen=True)
class Say:
    who: str
    text: str


async def room() -> None:
    members: dict[str, Pid] = {}
    while True:
        match await receive():
            case Enter(who, member):
                members[who] = member
                tell(members, f"* {who} joined; here now: {', '.join(members)}")
            case Say(who, text):
                tell(members, f"{who}: {text}")


def tell(members: dict[str, Pid], line: str) -> None:
    for member in members.values():
        send(member, line)


async def member(who: str, lobby: Pid) -> None:
    send(lobby, Enter(who, self_pid()))
    while True:
        print(f"{who} reads: {await receive(str)}")


async def main() -> None:
    lobby = spawn(room)
    spawn(member, "ann", lobby)
    await trio.sleep(0.1)
    spawn(member, "bob", lobby)
    await trio.sleep(0.1)
    send(lobby, Say("bob", "hello"))
    await trio.sleep(0.1)


if __name__ == "__main__":
    run(main, seed=1)

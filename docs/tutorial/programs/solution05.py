"""A member who comes back before the room has noticed that he left."""

import trio
from chapter02 import Enter, Say, tell
from chapter04 import mouth

from exeunt import Down, Pid, Ref, demonitor, exit, monitor, receive, run, spawn


async def room() -> None:
    members: dict[str, tuple[Pid, Ref]] = {}
    while True:
        match await receive():
            case Enter(who, member):
                if who in members:
                    # Nobody waits for the older one: its end must not remove the newer.
                    demonitor(members.pop(who)[1], flush=True)
                members[who] = (member, monitor(member))
                tell(pids(members), f"* {who} joined; here now: {', '.join(members)}")
            case Say(who, text):
                tell(pids(members), f"{who}: {text}")
            case Down(ref, _, reason):
                who = next(name for name, (_, theirs) in members.items() if theirs is ref)
                del members[who]
                tell(pids(members), f"* {who} left ({reason}); here now: {', '.join(members)}")


def pids(members: dict[str, tuple[Pid, Ref]]) -> dict[str, Pid]:
    return {who: pid for who, (pid, _) in members.items()}


async def main() -> None:
    lobby = spawn(room)
    spawn(mouth, "ann", lobby)
    await trio.sleep(0.1)
    first = spawn(mouth, "bob", lobby)
    await trio.sleep(0.1)
    print("--")
    second = spawn(mouth, "bob", lobby)
    await trio.sleep(0.1)
    exit(first, "too late to matter")
    await trio.sleep(0.1)
    exit(second, "closed the tab")
    await trio.sleep(0.1)


if __name__ == "__main__":
    run(main, seed=1)

"""The room monitors its members, and so hears of every end."""

import trio
from chapter02 import Enter, Say, tell
from chapter04 import mouth

from exeunt import Down, Pid, Ref, exit, monitor, receive, run, send, spawn


async def room() -> None:
    members: dict[str, Pid] = {}
    names: dict[Ref, str] = {}
    while True:
        match await receive():
            case Enter(who, member):
                members[who] = member
                names[monitor(member)] = who
                tell(members, f"* {who} joined; here now: {', '.join(members)}")
            case Say(who, text):
                tell(members, f"{who}: {text}")
            case Down(ref, _, reason) if ref in names:
                who = names.pop(ref)
                del members[who]
                tell(members, f"* {who} left ({reason}); here now: {', '.join(members)}")


async def main() -> None:
    lobby = spawn(room)
    people = {}
    for who in ("ann", "bob", "eve"):
        people[who] = spawn(mouth, who, lobby)
        await trio.sleep(0.1)
    print("--")
    exit(people["bob"], "bob's phone has no network any more")
    await trio.sleep(0.1)
    exit(people["eve"], "kill")
    await trio.sleep(0.1)
    send(people["ann"], "am I alone?")
    await trio.sleep(0.1)


if __name__ == "__main__":
    run(main, seed=1)

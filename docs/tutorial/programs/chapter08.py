"""The room as a server: what can be asked of it are its methods."""

import trio

from exeunt import (
    Down,
    GenServer,
    Pid,
    Ref,
    exit,
    monitor,
    on_call,
    on_cast,
    receive,
    run,
    self_pid,
    send,
    spawn,
)


class Room(GenServer):
    """Knows who is here, and passes on what they say."""

    async def init(self, name: str) -> None:
        self.name = name
        self.members: dict[str, Pid] = {}
        self.names: dict[Ref, str] = {}

    @on_call
    async def enter(self, who: str, member: Pid) -> list[str]:
        """Let somebody in; return who is here."""
        self.members[who] = member
        self.names[monitor(member)] = who
        self.tell(f"* {who} joined the {self.name}")
        return sorted(self.members)

    @on_call
    async def here(self) -> list[str]:
        """Return who is here."""
        return sorted(self.members)

    @on_cast
    async def say(self, who: str, text: str) -> None:
        """Pass on what somebody says."""
        self.tell(f"{who}: {text}")

    async def handle_info(self, message: object) -> None:
        """Note that somebody has left."""
        match message:
            case Down(ref, _, reason) if ref in self.names:
                who = self.names.pop(ref)
                del self.members[who]
                self.tell(f"* {who} left the {self.name}: {reason}")

    def tell(self, line: str) -> None:
        for member in self.members.values():
            send(member, line)


async def member(who: str, room: Pid | str) -> None:
    here = await Room.enter(room, who, self_pid())
    print(f"{who} enters and finds: {', '.join(here)}")
    while True:
        print(f"{who} reads: {await receive(str)}")


async def main() -> None:
    lobby = await Room.start_link("lobby")
    spawn(member, "ann", lobby)
    await trio.sleep(0.1)
    bob = spawn(member, "bob", lobby)
    await trio.sleep(0.1)
    Room.say(lobby, "bob", "hello")
    await trio.sleep(0.1)
    exit(bob, "closed the tab")
    await trio.sleep(0.1)
    print(f"still here: {await Room.here(lobby)}")


if __name__ == "__main__":
    run(main, seed=1)

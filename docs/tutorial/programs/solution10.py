"""What a room knows is kept by somebody else, who has no reason to crash."""

import trio

from exeunt import Agent, GenServer, Supervisor, exit, on_call, run, whereis

LINES = Agent[list[str]]("lines")


class Room(GenServer):
    """A room whose lines are kept by an agent."""

    async def init(self, name: str) -> None:
        self.name = name

    @on_call
    async def say(self, text: str) -> int:
        """Say something; return how many lines there are."""
        line = f"{self.name}: {text}"
        return await LINES.get_and_update(lambda lines: (len(lines) + 1, [*lines, line]))


async def main() -> None:
    await Supervisor.start_link(
        [Agent.named("lines").child(list), Room.named("lobby").child("lobby")],
        strategy="rest_for_one",
    )
    await Room.say("lobby", "hello")
    room = whereis("lobby")
    assert room is not None
    exit(room, "struck by lightning")
    await trio.sleep(0.1)
    await Room.say("lobby", "where were we?")
    print("\n".join(await LINES.get(list)))


if __name__ == "__main__":
    run(main, seed=1)

"""A question that takes long to answer, and a room that does not wait for it."""

import trio

from exeunt import Call, GenServer, NoReply, on_call, reply, run, spawn


class Library(GenServer):
    """Looks things up, slowly; but several at a time."""

    async def init(self) -> None:
        self.asked = 0

    @on_call
    async def look_up(self, word: str) -> str | NoReply:
        """Return what a word means."""
        self.asked += 1
        spawn(search, self.caller, word)
        # The answer comes later, from the process that searches.
        return NoReply()

    @on_call
    async def how_many(self) -> int:
        """Return how often something was looked up."""
        return self.asked


async def search(caller: Call, word: str) -> None:
    await trio.sleep(0.2)
    reply(caller, f"{word}: they leave, together")


async def main() -> None:
    library = await Library.start_link()
    answers: list[str] = []
    async with trio.open_nursery() as nursery:

        async def ask(word: str) -> None:
            answers.append(await Library.look_up(library, word))

        nursery.start_soon(ask, "exeunt")
        nursery.start_soon(ask, "exeunt omnes")
        await trio.sleep(0.1)
        print(f"asked so far: {await Library.how_many(library)}; answered: {len(answers)}")
    print("\n".join(sorted(answers)))


if __name__ == "__main__":
    run(main, seed=1)

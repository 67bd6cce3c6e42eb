"""Count with one digit: a server that crashes at 10, and is started anew by its supervisor."""

import argparse
import contextlib

import trio

from exeunt import CallFailed, GenServer, Supervisor, on_call, run


class Counter(GenServer):
    count = 0

    @on_call
    async def add(self, amount: int) -> int:
        if self.count + amount > 9:
            raise OverflowError(f"{self.count} + {amount} has more than one digit")
        self.count += amount
        return self.count


async def main() -> None:
    await Supervisor.start_link([Counter.named("counter").child()])
    while True:
        try:
            print("the counter says", await Counter.add("counter", 2), flush=True)
        except CallFailed as failed:
            print("the counter has crashed:", failed.reason, flush=True)
        await trio.sleep(0.5)


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m examples.counter", description=__doc__).parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        run(main)

"""Pay to and fro while a vandal kills accounts: `python -m examples.bank`.

bank (rest_for_one)
├─ vault            what every account has: it outlives them
├─ accounts         ann, bob and eve
├─ auditor          monitors the accounts; counts the money whenever one has ended
├─ customers        pay each other
└─ vandal           kills an account now and then, in the middle of what it does
"""

import argparse
import logging
from functools import partial
from typing import Any, Final

import trio

from examples.bank.account import Account, NotPossible
from examples.bank.vault import Vault
from exeunt import (
    CallFailed,
    ChildSpec,
    Down,
    GenServer,
    Pid,
    Ref,
    Supervisor,
    child,
    current_node,
    exit,
    monitor,
    run,
    send_after,
    whereis,
)

OWNERS: Final = ("ann", "bob", "eve")
EACH: Final = 100

say = partial(print, flush=True)


class Auditor(GenServer):
    """Hears of the end of each account, and sees to it that no money went with it."""

    async def init(self) -> None:
        """Monitor all accounts."""
        self.accounts: dict[Ref, str] = {}
        for owner in OWNERS:
            self._watch(owner)

    def _watch(self, owner: str) -> None:
        # A monitor by name is one of the process that has the name now: so each is watched anew.
        self.accounts[monitor(f"account {owner}")] = owner

    async def handle_info(self, message: Any) -> None:
        """Take the end of an account, and look for the next one until it is there."""
        match message:
            case Down(ref, _, reason) if ref in self.accounts:
                owner = self.accounts.pop(ref)
                send_after(0.05, self.pid, owner)
                if reason != "noproc":
                    say(f"    {owner}'s account has ended ({reason}); {await count()}")
            case str(owner):
                self._watch(owner)
            case _:
                pass


async def count() -> str:
    """Count the money, while it moves."""
    there, on_the_way = await Vault.audit("vault")
    return f"{there} in accounts + {on_the_way} on the way = {there + on_the_way}"


async def customer(owner: str) -> None:
    """Pay somebody something, for ever."""
    random = current_node().random
    while True:
        await trio.sleep(random.uniform(0.1, 0.8))
        payee = random.choice([other for other in OWNERS if other != owner])
        amount = random.randint(1, 40)
        try:
            left = await Account.pay(f"account {owner}", payee, amount)
            say(f"{owner} pays {payee} {amount}, and has {left} left")
        except NotPossible as error:
            say(error)
        except CallFailed as failed:
            say(f"{owner} wants to pay {payee} {amount}, and gets no answer ({failed.reason})")


async def vandal() -> None:
    """Kill an account, for ever. A kill cannot be trapped: it strikes between any two steps."""
    random = current_node().random
    while True:
        await trio.sleep(random.uniform(0.2, 1.2))
        victim = whereis(f"account {random.choice(OWNERS)}")
        if victim is not None:
            exit(victim, "kill")


def children() -> list[ChildSpec]:
    """Return the children of the bank's supervisor, whose strategy is `rest_for_one`."""
    accounts = [Account.named(f"account {owner}").child(owner) for owner in OWNERS]
    customers = [child(customer, owner, id=owner) for owner in OWNERS]
    return [
        Vault.named("vault").child(**dict.fromkeys(OWNERS, EACH)),
        # The vandal is faster than the default of 3 restarts in 5 seconds.
        Supervisor.named("accounts").child(accounts, max_restarts=50, max_seconds=5.0),
        Auditor.named("auditor").child(),
        Supervisor.named("customers").child(customers),
        child(vandal),
    ]


async def close(bank: Pid) -> None:
    """Send the vandal and the customers home, and wait until all payments have arrived."""
    await Supervisor.terminate_child(bank, "vandal")
    await Supervisor.terminate_child(bank, "customers")
    # Each does one thing after the other. So when the supervisor answers, all accounts are there
    # again; and when an account does, it has served all that a customer has asked for.
    await Supervisor.which_children("accounts")
    for owner in OWNERS:
        await Account.balance(f"account {owner}")
    while (await Vault.audit("vault"))[1]:  # noqa: ASYNC110
        await trio.sleep(0.05)


async def main(seconds: float) -> None:
    """Open the bank for so long."""
    bank = await Supervisor.start_link(children(), strategy="rest_for_one")
    say(f"the bank opens: {await count()}")
    await trio.sleep(seconds)
    await close(bank)
    for owner in OWNERS:
        say(f"{owner} has {await Account.balance(f'account {owner}')}")
    say(f"the bank closes: {await count()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.bank",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="open so long (%(default)s)")
    parser.add_argument("--seed", type=int, help="chooses who does what, and who is killed")
    parser.add_argument("--verbose", action="store_true", help="show the crash reports too")
    arguments = parser.parse_args()
    if not arguments.seconds >= 0:
        parser.error("--seconds is a number from 0 up")
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.CRITICAL)
    try:
        run(main, arguments.seconds, seed=arguments.seed)
    except KeyboardInterrupt:
        say("\nThe bank is closed.")

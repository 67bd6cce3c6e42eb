"""The account: a server with money, which sends some to others without ever losing any.

There is no moment in which a payment can be lost or made twice, whoever crashes when:

- The payer writes down *at one stroke* that it has less, and that a payment is on the way.
- A courier takes the payment to the payee. It is a process, *linked* to the account: if the account
  crashes, so does the courier, and the next account sends a new one with what is still on the way.
  If the courier fails, because the payee is away, its exit signal tells the account, which traps
  exits, and so sends another one.
- So a payment may come twice. The payee knows by its number that it has had it, and that number and
  the money are written down at one stroke, too.

Nobody waits for anybody who could be waiting for them: accounts never call each other, couriers do.
"""

import dataclasses
from typing import Any, Final

import trio

from examples.bank.vault import Page, Payment, Vault
from exeunt import (
    Exit,
    GenServer,
    Pid,
    Refuse,
    current_node,
    on_call,
    send_after,
    spawn_link,
    trap_exit,
)

PATIENCE: Final = 0.2
"""Seconds until a payment is sent again whose payee was away."""


class NotPossible(Exception):
    """The bank does not do what was asked, and says why."""


class Account(GenServer):
    """The account of one owner; its name is `account NAME`."""

    async def init(self, owner: str) -> None:
        """Take up where the vault says that the account before this one has stopped."""
        trap_exit()
        self.owner = owner
        self.page = await Vault.read("vault", owner)
        self.courier: Pid | None = None
        self._send_courier()

    @on_call
    async def balance(self) -> int:
        """Return what is there; what is on the way is not."""
        return self.page.balance

    @on_call
    async def pay(self, payee: str, amount: int) -> int | Refuse:
        """Send money to another account; return the balance, before it has arrived.

        A caller whose call fails cannot know whether the payment was made: only that if it was,
        it arrives.
        """
        page = self.page
        if not 0 < amount <= page.balance:
            return Refuse(NotPossible(f"{self.owner} has {page.balance} and cannot pay {amount}"))
        payment = Payment(page.sent + 1, payee, amount)
        await self._write(
            dataclasses.replace(
                page,
                balance=page.balance - amount,
                sent=payment.number,
                on_the_way=(*page.on_the_way, payment),
            )
        )
        self._send_courier()
        return self.page.balance

    @on_call
    async def deposit(self, payer: str, payment: Payment) -> None:
        """Take money from a courier, unless it was here with it before."""
        page = self.page
        if payment.number > page.received.get(payer, 0):
            await self._write(
                dataclasses.replace(
                    page,
                    balance=page.balance + payment.amount,
                    received={**page.received, payer: payment.number},
                )
            )

    async def handle_info(self, message: Any) -> None:
        """Hear from the courier, by its exit signal, and from the timer."""
        match message:
            case Exit(pid, reason) if pid is self.courier:
                self.courier = None
                if reason == "normal":
                    rest = self.page.on_the_way[1:]
                    await self._write(dataclasses.replace(self.page, on_the_way=rest))
                    self._send_courier()
                else:
                    send_after(PATIENCE, self.pid, "send again")
            case "send again":
                self._send_courier()
            case _:
                pass

    async def _write(self, page: Page) -> None:
        await clerks_take_their_time()
        await Vault.write("vault", self.owner, page)
        # Killed here, the account has written and not answered.
        await clerks_take_their_time()
        self.page = page

    def _send_courier(self) -> None:
        if self.courier is None and self.page.on_the_way:
            self.courier = spawn_link(carry, self.owner, self.page.on_the_way[0])


async def carry(payer: str, payment: Payment) -> None:
    """Take a payment to its payee, and end: normally, if it has arrived."""
    await clerks_take_their_time()
    await Account.deposit(f"account {payment.payee}", payer, payment)


async def clerks_take_their_time() -> None:
    """Leave room for a crash between any two steps."""
    await trio.sleep(current_node().random.uniform(0.0, 0.05))

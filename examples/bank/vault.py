"""The vault: keeps what every account has, so that the crash of an account loses nothing.

An account's crash takes its attributes with it. So it gives each change to this process before
anybody is answered, and the account that is started in its place takes up from there. The vault
computes nothing and waits for nobody: there is nothing in it to crash. (A real one would write to a
disk as well: see the archive of the chat.)
"""

from dataclasses import dataclass, field

from exeunt import GenServer, on_call


@dataclass(frozen=True, slots=True)
class Payment:
    """Money on its way to another account; the payer numbers them from 1 up."""

    number: int
    payee: str
    amount: int


@dataclass(frozen=True, slots=True)
class Page:
    """What is known of one account: never half of a change."""

    balance: int = 0
    sent: int = 0
    """The number of its latest payment."""
    on_the_way: tuple[Payment, ...] = ()
    """Payments that have not arrived, as far as it knows; no more than its balance has paid for."""
    received: dict[str, int] = field(default_factory=dict[str, int])
    """By payer, the number of the latest payment that has arrived here."""


class Vault(GenServer):
    """A page for each account."""

    async def init(self, **balances: int) -> None:
        """Open the accounts."""
        self.pages = {owner: Page(balance) for owner, balance in balances.items()}

    @on_call
    async def read(self, owner: str) -> Page:
        """Return the page of an account."""
        return self.pages[owner]

    @on_call
    async def write(self, owner: str, page: Page) -> None:
        """Replace the page of an account."""
        self.pages[owner] = page

    @on_call
    async def audit(self) -> tuple[int, int]:
        """Return the sum of all balances, and of what has left one and not reached another."""
        on_the_way = sum(
            payment.amount
            for payer, page in self.pages.items()
            for payment in page.on_the_way
            if payment.number > self.pages[payment.payee].received.get(payer, 0)
        )
        return sum(page.balance for page in self.pages.values()), on_the_way

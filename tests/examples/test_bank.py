"""The bank: whoever is killed when, the money stays."""

from __future__ import annotations

import pytest
import trio

from examples.bank import __main__ as bank
from examples.bank.account import Account, NotPossible
from examples.bank.vault import Page, Payment, Vault
from exeunt import CallFailed, Node, Pid, Supervisor, exit, open_node, process_info, spawn, whereis
from tests.examples.programs import complaint_of, help_of, interrupt

MODULE = "examples.bank"
TOTAL = 300


async def open_accounts() -> None:
    """Open a bank with neither customers nor a vandal."""
    await Supervisor.start_link(bank.children()[:3], strategy="rest_for_one")


async def settled() -> dict[str, int]:
    """Wait until no payment is on its way; return the balances."""
    with trio.fail_after(30):
        for owner in bank.OWNERS:
            while (await Vault.read("vault", owner)).on_the_way:  # noqa: ASYNC110
                await trio.sleep(0.01)
    return {owner: await Account.balance(f"account {owner}") for owner in bank.OWNERS}


def pid_of(owner: str) -> Pid:
    pid = whereis(f"account {owner}")
    assert pid is not None
    return pid


async def test_a_payment_arrives(node: Node, autojump_clock: object) -> None:
    await open_accounts()
    assert await Account.pay("account ann", "bob", 30) == 70
    assert await settled() == {"ann": 70, "bob": 130, "eve": 100}


async def test_what_is_not_there_cannot_be_paid(node: Node, autojump_clock: object) -> None:
    await open_accounts()
    for amount in (101, 0, -5):
        with pytest.raises(NotPossible, match="cannot pay"):
            await Account.pay("account ann", "bob", amount)
    assert await settled() == {"ann": 100, "bob": 100, "eve": 100}


async def test_a_payee_who_is_away_is_paid_later(node: Node, autojump_clock: object) -> None:
    await open_accounts()
    await Supervisor.terminate_child("accounts", "account bob")
    await Account.pay("account ann", "bob", 30)
    await trio.sleep(3)
    assert await Vault.audit("vault") == (TOTAL - 30, 30)
    await Supervisor.restart_child("accounts", "account bob")
    assert (await settled())["bob"] == 130


@pytest.mark.parametrize("victim", ["ann", "bob"])
async def test_a_kill_at_any_moment_of_a_payment(victim: str, autojump_clock: object) -> None:
    """The payment takes a third of a second: each run strikes a hundredth of a second later."""
    outcomes = set()
    for moment in range(35):
        async with open_node(seed=1):
            await open_accounts()
            customer = spawn(pay_and_say, "ann", "bob", 30)
            await trio.sleep(moment / 100)
            exit(pid_of(victim), "kill")
            await trio.sleep(1)
            assert not process_info(customer)
            balances = await settled()
            assert sum(balances.values()) == TOTAL
            assert balances["eve"] == 100
            outcomes.add(balances["bob"])
    # Never twice, and not at all only where the payer was killed before it had written it down.
    assert outcomes == ({100, 130} if victim == "ann" else {130})


async def pay_and_say(payer: str, payee: str, amount: int) -> None:
    try:
        await Account.pay(f"account {payer}", payee, amount)
    except CallFailed:
        pass


async def test_a_payment_that_comes_twice_counts_once(node: Node, autojump_clock: object) -> None:
    await open_accounts()
    payment = Payment(1, "bob", 30)
    for _ in range(2):
        await Account.deposit("account bob", "ann", payment)
    assert await Account.balance("account bob") == 130


async def test_the_audit_counts_what_has_arrived_once(node: Node) -> None:
    vault = await Vault.start(ann=100, bob=100)
    payment = Payment(1, "bob", 30)
    await Vault.write(vault, "ann", Page(70, 1, (payment,)))
    assert await Vault.audit(vault) == (170, 30)
    await Vault.write(vault, "bob", Page(130, received={"ann": 1}))
    assert await Vault.audit(vault) == (200, 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_minutes_of_vandalism(
    seed: int, autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_node(seed=seed):
        await bank.main(120.0)
    said = capsys.readouterr().out
    counted = [line for line in said.splitlines() if "in accounts" in line]
    assert len(counted) > 50
    assert all(line.endswith(f"= {TOTAL}") for line in counted)
    assert counted[-1] == f"the bank closes: {TOTAL} in accounts + 0 on the way = {TOTAL}"
    # It has struck in the middle of payments, too.
    assert any(" + 0 on the way" not in line for line in counted)
    last = {line.split()[0]: int(line.split()[-1]) for line in said.splitlines()[-4:-1]}
    assert sum(last.values()) == TOTAL


@pytest.mark.slow
def test_it_runs_until_ctrl_c() -> None:
    ended = interrupt(MODULE, "--seconds", "60", after="has ended")
    assert ended.status == 0
    assert ended.stdout.endswith("The bank is closed.\n")
    assert ended.stderr == ""


@pytest.mark.slow
def test_it_says_what_it_is() -> None:
    assert "monitors the accounts" in help_of(MODULE)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["-1", "nan", "long"])
def test_it_refuses_what_makes_no_sense(seconds: str) -> None:
    assert "--seconds" in complaint_of(MODULE, "--seconds", seconds)

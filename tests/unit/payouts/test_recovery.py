"""A restored backup, a forgotten replacement, a stranger with the key: nobody is paid twice, and the books agree again."""

from __future__ import annotations

import shutil
from pathlib import Path

from lotus_client.types import AttoFil
from sp_plugin.ledger import payable
from sp_plugin.payouts.states import PayoutState
from tests.money_fixtures import PAYEE, PAYEE_TWO, Money


async def backup(money: Money, path: Path) -> None:
    await money.restart()  # nothing is left in the write-ahead log
    await money.store.close()
    shutil.copy(path / "state.db", path / "backup.db")
    money._open()


async def restore(money: Money, path: Path) -> None:
    await money.store.close()
    for name in ("state.db-wal", "state.db-shm"):
        (path / name).unlink(missing_ok=True)
    shutil.copy(path / "backup.db", path / "state.db")
    money._open()


async def test_what_a_restored_backup_has_forgotten_is_not_paid_again(
    money: Money, tmp_path: Path
) -> None:
    await money.owe(PAYEE, 5_000)
    await money.owe(PAYEE_TWO, 3_000)
    await money.approve()
    await backup(money, tmp_path)
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000

    await restore(money, tmp_path)
    assert [p.state for p in await money.payouts.payouts()] == [PayoutState.APPROVED] * 2
    assert (await money.sender().step()).stopped.startswith("halted")
    for _ in range(8):
        money.chain.mine()
    assert (await money.sender().step()).signed == []

    report = await money.recovery().recover()
    assert len(report.payouts) == 2
    assert len(report.held) == 2
    assert (await money.recovery().recover()).payouts == []  # doing it again books nothing
    await money.approve_if_any()
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000
    assert money.chain.balance(PAYEE_TWO) == 3_000
    assert (await money.ledger.balances())[payable(PAYEE)] == AttoFil(0)
    assert (await money.check()).problems == ()
    await money.owe(PAYEE, 1_000)
    await money.approve()
    await money.settle()
    assert money.chain.balance(PAYEE) == 6_000


async def test_a_replacement_that_the_backup_has_forgotten_settles_its_payout(
    money: Money, tmp_path: Path
) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    await backup(money, tmp_path)
    for _ in range(20):
        money.chain.mine(take=False)
    assert (await money.sender().step()).replaced
    for _ in range(8):
        money.chain.mine()
    await restore(money, tmp_path)
    assert "was used by a message" in (await money.sender().step()).stopped
    report = await money.recovery().recover()
    assert len(report.settled) == 1
    assert [p.state for p in await money.payouts.payouts()] == [PayoutState.FINAL]
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000
    assert (await money.check()).problems == ()


async def test_a_payout_whose_nonce_a_stranger_took_is_due_again(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    money.chain.pool.clear()
    stranger = money.chain.send(money.wallet, money.chain.stranger, 7, nonce=0)
    for _ in range(8):
        money.chain.mine()
    assert (await money.sender().step()).stopped.startswith("halted")
    report = await money.recovery().recover()
    assert report.withdrawals == [str(stranger.cid)]
    assert len(report.failed) == 1
    await money.approve()
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000
    assert (await money.check()).problems == ()

"""What stops sending: a dry run, a pause, a wallet that somebody else uses or used, another network."""

from __future__ import annotations

import pytest

from lotus_client.crypto import Secp256k1Key
from lotus_client.errors import LotusWrongNetwork
from lotus_client.messages import SignedMessage
from tests.fake_payout_chain import EMPTY
from tests.money_fixtures import PAYEE, PAYEE_TWO, Money


async def test_nothing_is_sent_in_a_dry_run(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    report = await money.sender(enabled=False).step()
    assert len(report.would_send) == 1
    assert "dry run" in report.stopped
    assert money.chain.pool == {}


async def test_nothing_is_sent_without_approval(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.planner().plan()
    await money.settle()
    assert money.chain.balance(PAYEE) == 0


async def test_a_paused_wallet_sends_nothing_until_it_is_resumed(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender(enabled=False).step()
    await money.payouts.set_paused(money.wallet, paused=True)
    await money.settle()
    assert money.chain.balance(PAYEE) == 0
    await money.payouts.set_paused(money.wallet, paused=False)
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000


async def test_a_foreign_message_from_the_wallet_halts_all_sending(money: Money) -> None:
    await money.sender().step()
    money.chain.send(money.wallet, PAYEE_TWO, 7, nonce=0)
    await money.owe(PAYEE, 5_000)
    await money.approve()
    report = await money.sender().step()
    assert "not ours" in report.stopped
    await money.restart()
    assert (await money.sender().step()).stopped.startswith("halted")
    assert [event for event, _ in money.alerts] == ["payouts_halted"]
    money.chain.mine()
    await money.payouts.accept_nonce(money.wallet, 1)
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000


async def test_a_nonce_that_somebody_else_used_halts_and_does_not_pay_again(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    money.chain.pool.clear()
    money.chain.send(money.wallet, PAYEE_TWO, 7, nonce=0)
    money.chain.mine()
    money.chain.mine()
    report = await money.sender().step()
    assert "was used by a message that is not payout" in report.stopped
    assert money.chain.balance(PAYEE) == 0


async def test_a_foreign_message_between_check_and_signature_is_never_jumped_over(
    money: Money,
) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    sender = money.sender()
    why_stopped = sender._why_stopped

    async def then_somebody_sends(head: object) -> str:
        reason = await why_stopped(head)  # type: ignore[arg-type]
        money.chain.send(money.wallet, PAYEE_TWO, 7, nonce=0)
        return reason

    sender._why_stopped = then_somebody_sends  # type: ignore[method-assign]
    assert (await sender.step()).signed == []
    assert "not ours" in (await money.sender().step()).stopped


async def test_a_pause_counts_at_once_even_within_a_pass(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.owe(PAYEE_TWO, 5_000)
    await money.approve()
    push = money.chain.mpool_push

    async def paused_meanwhile(signed: SignedMessage) -> object:
        await money.payouts.set_paused(money.wallet, paused=True)
        return await push(signed)

    money.chain.mpool_push = paused_meanwhile  # type: ignore[method-assign,assignment]
    report = await money.sender().step()
    assert len(report.signed) == 1
    assert len(money.chain.pool) == 1


async def test_nothing_is_given_to_a_node_of_another_network(money: Money) -> None:
    with pytest.raises(LotusWrongNetwork):
        await money.sender(genesis=EMPTY).step()


async def test_a_wallet_of_a_restored_backup_is_halted_before_its_first_use(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    other = Secp256k1Key(b"\x09" * 32).address
    state = await money.payouts.open_wallet(other, 3)
    assert "restored from a backup" in state.halted
    assert (await money.payouts.open_wallet(Secp256k1Key(b"\x0a" * 32).address, 0)).halted == ""


async def test_another_wallet_waits_until_the_old_ones_payouts_are_final(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    sender = money.sender(wallet=Secp256k1Key(b"\x09" * 32).address)
    assert "still under way" in (await sender.step()).stopped

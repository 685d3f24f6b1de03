"""The sender against a fake chain: crashes, reorgs, failures, fees."""

from __future__ import annotations

import pytest

from lotus_client.crypto import Signature
from lotus_client.errors import LotusConnectError, LotusUnauthorized
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import MessageLookup, Receipt
from lotus_client.types import AttoFil
from sp_plugin.ledger import FEES, payable
from sp_plugin.payouts.signer import KeySigner
from sp_plugin.payouts.states import PayoutState
from tests.money_fixtures import PAYEE, PAYEE_TWO, WALLET_KEY, Money


class Killed(Exception):
    """Stands for a process that died here."""


async def test_an_approved_payout_is_paid_once_and_booked_with_its_gas(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.settle()
    [payout] = await money.payouts.payouts()
    assert payout.state is PayoutState.FINAL
    assert money.chain.balance(PAYEE) == 5_000
    balances = await money.ledger.balances()
    assert balances[payable(PAYEE)] == AttoFil(0)
    assert balances[FEES] == payout.gas_cost
    assert (await money.check()).problems == ()


@pytest.mark.parametrize("moment", ["before signing", "after signing", "before push", "after push"])
async def test_killed_at_any_moment_pays_once_with_the_same_bytes(
    money: Money, moment: str
) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    sender = money.sender()
    seen: list[SignedMessage] = []
    signer, push = KeySigner(WALLET_KEY), money.chain.mpool_push

    async def sign(message: Message) -> Signature:
        if moment == "before signing":
            raise Killed
        await signer.sign(message)
        raise Killed

    async def killed_push(signed: SignedMessage) -> object:
        seen.append(signed)
        if moment == "after push":
            await push(signed)
        raise Killed

    if "push" in moment:
        money.chain.mpool_push = killed_push  # type: ignore[method-assign,assignment]
    else:
        sender._outbox._signer.sign = sign  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await sender.step()
    money.chain.mpool_push = push  # type: ignore[method-assign]
    await money.restart()
    await money.settle()
    [payout] = await money.payouts.payouts()
    messages = await money.payouts.messages(payout.id)
    assert len(messages) == 1
    assert not seen or messages[0].signed == seen[0]
    assert payout.state is PayoutState.FINAL
    assert money.chain.balance(PAYEE) == 5_000
    assert (await money.check()).problems == ()


async def test_a_push_that_timed_out_is_repeated_with_the_same_bytes(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    push = money.chain.mpool_push

    async def lost_answer(signed: SignedMessage) -> object:
        await push(signed)
        raise LotusConnectError("connection reset")

    money.chain.mpool_push = lost_answer  # type: ignore[method-assign,assignment]
    report = await money.sender().step()
    assert report.pushed == []
    money.chain.mpool_push = push  # type: ignore[method-assign]
    report = await money.sender().step()
    [payout] = await money.payouts.payouts()
    assert (report.pushed, payout.state) == ([payout.id], PayoutState.SENT)
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000


async def test_a_push_that_the_token_does_not_allow_waits_and_says_why(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    push = money.chain.mpool_push

    async def forbidden(_signed: SignedMessage) -> object:
        raise LotusUnauthorized("missing permission to invoke 'MpoolPush' (need 'write')")

    money.chain.mpool_push = forbidden  # type: ignore[method-assign,assignment]
    await money.sender().step()
    [payout] = await money.payouts.payouts()
    [(event, text)] = money.alerts
    assert (payout.state, event) == (PayoutState.SIGNED, "payout_push_forbidden")
    assert "permission write" in text
    money.chain.mpool_push = push  # type: ignore[method-assign]
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000


async def test_a_reorg_takes_an_included_payout_back_to_sent_and_pays_once(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    money.chain.mine()
    money.chain.mine()
    await money.sender().step()
    [payout] = await money.payouts.payouts()
    assert payout.state is PayoutState.INCLUDED
    money.chain.reorg(2, lose=True)
    report = await money.sender().step()
    assert report.reverted == [payout.id]
    assert report.pushed == [payout.id]
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000
    assert len(await money.payouts.messages(payout.id)) == 1


async def test_a_message_that_failed_on_chain_costs_gas_and_leaves_the_amount_due(
    money: Money,
) -> None:
    money.chain.fail_to.add(PAYEE)
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.settle()
    [payout] = await money.payouts.payouts()
    assert payout.state is PayoutState.FAILED
    assert payout.exit_code == 6
    balances = await money.ledger.balances()
    assert balances[payable(PAYEE)] == AttoFil(-5_000)
    assert balances[FEES].value > 0
    assert (await money.check()).problems == ()
    assert [event for event, _ in money.alerts] == ["payout_failed"]
    money.chain.fail_to.clear()
    await money.approve()
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000


async def test_a_stuck_message_is_replaced_by_fees_only_and_either_may_land(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    for _ in range(20):
        money.chain.mine(take=False)
    report = await money.sender().step()
    assert len(report.replaced) == 1
    [payout] = await money.payouts.payouts()
    first, second = await money.payouts.messages(payout.id)
    assert first.signed.message.is_same_call(second.signed.message)
    raised = second.signed.message.gas_premium.value
    assert raised >= first.signed.message.gas_premium.value * 125 // 100
    money.chain.pool[money.wallet, 0] = first.signed  # some other node kept the first
    await money.settle()
    [payout] = await money.payouts.payouts()
    assert payout.message == first.cid
    assert money.chain.balance(PAYEE) == 5_000
    assert (await money.check()).problems == ()


async def test_a_replacement_never_goes_above_the_fee_cap(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    sender = money.sender(max_fee=AttoFil(1_250_000 * 100_300))
    await sender.step()
    for _ in range(20):
        money.chain.mine(take=False)
    report = await sender.step()
    assert report.replaced == []
    assert money.alerts[-1][0] == "payout_stuck"


async def test_an_estimate_above_the_fee_cap_holds_the_payout(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender(max_fee=AttoFil(1)).step()
    [payout] = await money.payouts.payouts()
    assert payout.state is PayoutState.HELD
    assert payout.reason.startswith("fee:")


async def test_several_payouts_get_consecutive_nonces(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.owe(PAYEE_TWO, 6_000)
    await money.approve()
    await money.settle()
    payouts = await money.payouts.payouts()
    assert [payout.nonce for payout in payouts] == [0, 1]
    assert money.chain.balance(PAYEE_TWO) == 6_000
    assert (await money.check()).problems == ()


async def test_an_execution_that_did_not_use_the_nonce_decides_nothing(money: Money) -> None:
    """A wallet that cannot pay the gas leaves a receipt, and the same bytes can be executed later."""
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    [payout] = await money.payouts.payouts()
    [message] = await money.payouts.messages(payout.id)
    for _ in range(8):
        money.chain.mine(take=False)
    refused = money.chain.nodes[2].tipset
    search = money.chain.search_msg

    async def prevalidation(*_: object, **__: object) -> MessageLookup:
        return MessageLookup(message.cid, Receipt(2, b"", 0, None), refused.key, refused.height)

    money.chain.search_msg = prevalidation  # type: ignore[method-assign]
    assert (await money.sender().step()).settled == []
    money.chain.search_msg = search  # type: ignore[method-assign]
    await money.settle()
    assert money.chain.balance(PAYEE) == 5_000
    assert [p.state for p in await money.payouts.payouts()] == [PayoutState.FINAL]

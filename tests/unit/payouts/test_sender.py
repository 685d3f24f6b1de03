"""The sender against a fake chain: crashes, reorgs, foreign messages, fees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key, Signature
from lotus_client.errors import LotusConnectError, LotusUnauthorized, LotusWrongNetwork
from lotus_client.messages import Message, SignedMessage
from lotus_client.state import MessageLookup, Receipt
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.ledger import FEES, PAYOUT_WALLET, payable
from sp_plugin.payouts.batch import Batch, BatchItem, BatchRefused
from sp_plugin.payouts.signer import KeySigner
from sp_plugin.payouts.states import Payout, PayoutState
from tests.fake_payout_chain import EMPTY, MINER
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


async def test_a_wallet_without_money_holds_what_it_cannot_pay_and_says_what_lacks(
    money: Money,
) -> None:
    await money.owe(PAYEE, 5 * 10**21)
    planned = await money.planner().plan()
    assert [d.held for d in planned.plan.decisions] == ["unfunded"]
    assert planned.plan.lacking.value > 4 * 10**21
    assert any("lotus-miner actor withdraw" in line for line in planned.commands)


async def test_a_plan_that_was_overtaken_cannot_be_approved(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    old = await money.planner().plan()
    await money.owe(PAYEE, 1_000)
    await money.planner().plan()
    with pytest.raises(BatchRefused, match="newer plan"):
        await money.payouts.approve(old.digest, "operator", Epoch(1))


async def test_an_expired_plan_cannot_be_approved(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    old = await money.planner().plan()
    with pytest.raises(BatchRefused, match="expired"):
        await money.payouts.approve(old.digest, "operator", Epoch(100_000))


async def test_what_is_under_way_is_not_planned_again(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    await money.sender().step()
    planned = await money.planner().plan()
    assert planned.plan.decisions == ()


async def test_what_is_settled_during_the_planning_is_not_planned_again(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    planner, first = money.planner(), True

    def then_settle(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def reading(*states: Any) -> Any:
            nonlocal first
            is_first, first = first, False
            found = await read(*states)
            if is_first:
                await money.settle()
            return found

        return reading

    planner._payouts.payouts = then_settle(money.payouts.payouts)  # type: ignore[method-assign]
    planner._ledger.entries = then_settle(money.ledger.entries)  # type: ignore[method-assign,assignment]
    assert (await planner.plan()).plan.decisions == ()
    assert money.chain.balance(PAYEE) == 5_000


async def test_money_that_arrives_is_a_funding_entry_with_its_message(money: Money) -> None:
    sent = money.chain.send(Address.of_id(1234), money.wallet, 777, nonce=0)
    for _ in range(8):
        money.chain.mine()
    report = await money.funding().step()
    [draft] = report.funded
    assert draft.refs[0].value == str(sent.cid)
    assert [p.amount for p in draft.postings if p.account == PAYOUT_WALLET] == [AttoFil(777)]
    assert (await money.funding().step()).funded == ()
    assert (await money.check()).problems == ()


async def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    from sp_plugin.payouts.signer import SignerError

    path = tmp_path / "key"
    path.write_text("11" * 32)
    path.chmod(0o644)
    with pytest.raises(SignerError, match="chmod 600"):
        KeySigner.from_file(path)
    path.chmod(0o600)
    assert KeySigner.from_file(path).address == Secp256k1Key(bytes.fromhex("11" * 32)).address


async def test_a_payout_that_is_booked_while_a_plan_is_made_is_not_planned_again(
    money: Money,
) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    for _ in range(9):
        await money.sender().step()
        money.chain.mine()
    money.chain.mine()
    planner = money.planner()
    entries = planner._ledger.entries

    async def slowly() -> object:
        read = await entries()
        await money.sender().step()
        return read

    planner._ledger.entries = slowly  # type: ignore[method-assign,assignment]
    planned = await planner.plan()
    assert planned.batch.items == ()
    assert (await money.planner().plan()).plan.decisions == ()


async def test_no_batch_promises_more_than_is_due_however_it_came_about(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    await money.approve()
    second = Payout("second", PAYEE, AttoFil(5_000), PayoutState.PLANNED)
    items = (BatchItem("second", PAYEE, AttoFil(5_000)),)
    batch = Batch("testnet", money.wallet, items, AttoFil(5_000), Epoch(0), Epoch(100))
    await money.payouts.save_plan(batch, [second])
    with pytest.raises(BatchRefused, match="not owed that much"):
        await money.payouts.approve(batch.digest(), "operator", Epoch(1))


async def test_a_plan_that_stays_the_same_keeps_its_digest(money: Money) -> None:
    await money.owe(PAYEE, 5_000)
    first = await money.planner().plan()
    money.chain.mine(gap=20)
    assert (await money.planner().plan()).digest == first.digest


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


async def test_money_that_was_not_withdrawn_from_the_miner_does_not_make_a_share_payable(
    money: Money,
) -> None:
    """The wallet has 100 FIL of its own, but the miner can withdraw nothing."""
    money.chain.available = 0
    await money.owe(PAYEE, 5_000)
    planned = await money.planner().plan()
    assert [d.held for d in planned.plan.decisions] == ["limit: what the miner can withdraw now"]
    money.chain.send(Address.of_id(1234), money.wallet, 10**14, nonce=0)
    for _ in range(8):
        money.chain.mine()
    await money.funding().step()
    assert [d.held for d in (await money.planner().plan()).plan.decisions] == [""]


@pytest.mark.parametrize(
    ("payee", "reason"),
    [
        (Address.of_id(99), "network itself"),
        (Address.of_id(1100), "provider's own"),
        (Address.of_id(1001), "provider's own"),
        (Address.of_id(1002), "miner actor"),
        (Address.of_id(7777), "no actor"),
        (WALLET_KEY.address, "wallet itself"),
    ],
)
async def test_an_address_that_would_lose_the_money_is_held(
    money: Money, payee: Address, reason: str
) -> None:
    money.chain.miners[ActorId(1002)] = replace(MINER, owner=PAYEE)
    await money.owe(payee, 5_000)
    [decision] = (await money.planner().plan()).plan.decisions
    assert reason in decision.held


async def test_an_id_address_is_paid_once_a_final_state_has_it(money: Money) -> None:
    await money.owe(Address.of_id(1234), 5_000)
    [decision] = (await money.planner().plan()).plan.decisions
    assert decision.held == ""

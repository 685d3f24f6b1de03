"""Plans and their approval: never more than is due, never twice, never to an address that loses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from lotus_client.address import Address
from lotus_client.types import ActorId, AttoFil, Epoch
from sp_plugin.payouts.batch import Batch, BatchItem, BatchRefused
from sp_plugin.payouts.states import Payout, PayoutState
from tests.fake_payout_chain import MINER
from tests.money_fixtures import PAYEE, WALLET_KEY, Money


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

"""When periods close, what they accrue, and when that is released."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fil_plus.terms import Basis, ShareTerms
from fil_plus.vesting import locked_part
from fil_plus.win_values import UsedPiece
from lotus_client.types import AttoFil, Epoch
from sp_plugin.audit.statement import audit_statement
from sp_plugin.ledger import MINER_LOCKED, Draft, Entry, accrued, payable
from sp_plugin.statements import Statements
from sp_plugin.store.ledger import LedgerRepository
from tests.fake_earnings_chain import PROVIDER
from tests.unit.earnings.world import PAYEE, TERMS, World, expected_share, output


async def test_an_output_piece_accrues_its_share_and_a_quarter_is_released_at_the_close(
    world: World,
) -> None:
    world.chain.sectors = [replace(s, daily_fee=AttoFil(0)) for s in world.chain.sectors]
    await world.step()
    share = expected_share(world, 1) + expected_share(world, 2)
    free = share - locked_part(AttoFil(share)).value
    vested = -await world.balance(payable(PAYEE))
    assert free <= vested < share
    assert -await world.balance(accrued(PAYEE)) == share - vested
    assert (await world.ledger.check()).problems == ()


async def test_a_crash_between_close_and_release_delays_nobody_s_money(world: World) -> None:
    class Killed(BaseException):
        """What `kill -9` is to a coroutine."""

    class DiesBeforeReleasing(LedgerRepository):
        async def append(self, drafts: Sequence[Draft]) -> tuple[Entry, ...]:
            raise Killed

    with pytest.raises(Killed):
        await world.step(ledger=DiesBeforeReleasing(world.store))
    assert await world.balance(payable(PAYEE)) == 0
    assert (await world.step()).closed == ()
    assert -await world.balance(payable(PAYEE)) > 0


async def test_a_statement_made_while_a_period_closes_holds_and_the_next_one_has_the_period(
    world: World,
) -> None:
    class ClosingMeanwhile(LedgerRepository):
        async def entries(self) -> list[Entry]:
            before = await super().entries()
            await world.step(5000)
            return before

    await world.step(3000)
    books, world.ledger = world.ledger, ClosingMeanwhile(world.store)
    final = await world.chain.finalized_tipset()
    made = Statements(world.earnings, world.ledger, world.holdings, world.settings, "testnet")
    world.ledger = books
    statement = json.loads(json.dumps(await made.statement(PAYEE, final)))
    assert statement["periods"] == []
    report = await audit_statement(statement, world.chain)
    assert report.ok, [finding for finding in report.findings if not finding.ok]
    assert len((await world.statement())["periods"]) == 1  # type: ignore[arg-type]
    assert (await world.audit()).ok


async def test_a_period_closes_only_when_its_last_epoch_is_final(world: World) -> None:
    assert (await world.step(2879 + 899)).closed == ()
    assert (await world.step(2879 + 900)).closed == ((0, 0),)


async def test_a_run_without_an_output_claim_accrues_nothing(world: World) -> None:
    world.register.produced_ = [replace(output(), piece_key="claim:99")]
    await world.step()
    assert await world.balance(accrued(PAYEE)) == 0
    assert await world.balance(payable(PAYEE)) == 0
    [entry] = await world.earnings.periods(PROVIDER)
    assert entry.closed.record.shareable.value == world.chain.reward * 3 // 5


async def test_a_period_waits_for_an_output_that_could_not_be_traced(world: World) -> None:
    world.register.untraced_ = ["run e-1: its input claim:7 cannot be read"]
    step = await world.step(2879 + 900)
    assert (step.closed, step.waiting) == ((), ("run e-1: its input claim:7 cannot be read",))
    world.register.untraced_ = []
    step = await world.step(2879 + 900)
    assert (step.closed, step.waiting) == (((0, 0),), ())


async def test_the_same_step_twice_changes_nothing(world: World) -> None:
    await world.step()
    before = await world.ledger.last()
    await world.step()
    assert await world.ledger.last() == before


async def test_daily_fee_is_taken_off_and_a_deficit_is_carried_forward(world: World) -> None:
    world.chain.sectors = [replace(s, daily_fee=AttoFil(10**20)) for s in world.chain.sectors]
    await world.step()
    [period] = await world.earnings.periods(PROVIDER)
    [net] = period.closed.nets
    assert net.net.value == 0
    assert net.deficit.value == net.gross.value - net.fee_cost.value < 0
    assert await world.balance(accrued(PAYEE)) == 0
    await world.step(2 * 2880 + 900)
    second = (await world.earnings.periods(PROVIDER))[1].closed.nets[0]
    assert second.carried == net.deficit


async def test_verified_extra_refuses_to_close_without_a_cost_of_capital(world: World) -> None:
    world.settings = replace(world.settings, capital_cost_apr_bps=None)
    with pytest.raises(ValueError, match="capital_cost_apr"):
        await world.step()


async def test_a_fixed_budget_pays_its_amount_once_in_all(world: World) -> None:
    terms = ShareTerms(Basis.FIXED_BUDGET, budget=AttoFil(10**15))
    world.chain.version = 29
    world.register.produced_ = [output(terms)]
    world.settings = replace(world.settings, capital_cost_apr_bps=None, solstice_epoch=Epoch(0))
    await world.step(2 * 2880 + 900)
    await world.step(3 * 2880 + 900)
    total = -await world.balance(accrued(PAYEE)) - await world.balance(payable(PAYEE))
    assert total == 10**15
    assert (await world.audit()).ok


async def test_costs_that_are_not_known_keep_a_period_open(world: World) -> None:
    """A full read that does not add up says nothing of what the sectors cost."""
    world.chain.extra_power = 1
    world.holdings.forget = True
    step = await world.step()
    assert step.closed == ()
    assert any("costs_unknown" in reason for reason in step.waiting)
    world.chain.extra_power = 0
    assert (await world.step()).closed == ((0, 0),)


async def test_releases_are_exact_although_the_final_tipset_went_back_and_a_period_came_late(
    world: World,
) -> None:
    world.chain.sectors = [replace(s, daily_fee=AttoFil(0)) for s in world.chain.sectors]
    world.chain.pruned = {2000}
    await world.step(12 * 2880)
    world.chain.pruned = set()
    await world.step(6 * 2880)  # a node that is behind; the late win is booked and released here
    for day in (20, 40, 100, 182, 200):
        await world.step(day * 2880)
    assert await world.balance(accrued(PAYEE)) == 0
    owed = sum(
        amount.value
        for period in await world.earnings.periods(PROVIDER)
        for amount in period.closed.owed().values()
    )
    assert -await world.balance(payable(PAYEE)) == owed
    assert await world.balance(MINER_LOCKED) == 0
    assert (await world.ledger.check()).problems == ()


async def test_a_use_whose_window_is_over_bears_no_costs(world: World) -> None:
    terms = replace(TERMS, output_bps=0, input_bps=500)
    use = UsedPiece("claim:7", PAYEE, "g", "job-1", "w", Epoch(100), terms)
    world.register.produced_, world.register.used_ = [], [use]
    world.settings = replace(world.settings, input_window_epochs=3000)
    await world.step(3 * 2880 + 900)
    periods = await world.earnings.periods(PROVIDER)
    assert periods[0].closed.nets[0].fee_cost.value > 0
    assert [period.closed.nets for period in periods[1:]] == [(), ()]

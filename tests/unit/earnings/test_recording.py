"""What is kept of a win: everything the node tells, nothing that it does not, whenever it tells it."""

from __future__ import annotations

from deals.gaps import Gap, GapKind
from deals.ports import Cursor, TipSetRef
from fil_plus.vesting import locked_part
from lotus_client.chain import TipSetKey
from lotus_client.errors import LotusRpcError
from lotus_client.types import AttoFil, Epoch
from sp_plugin.earnings.ingest import Earnings
from sp_plugin.ledger import MINER_AVAILABLE, MINER_LOCKED, accrued
from tests.fake_earnings_chain import EMPTY, PROVIDER
from tests.unit.earnings.world import PAYEE, World, expected_share


async def test_credited_awards_are_split_locked_and_available(world: World) -> None:
    await world.step(3000)
    credited = [world.chain.reward * wins // 5 + world.chain.tips for wins in (1, 2)]
    locked = sum(locked_part(AttoFil(c)).value for c in credited)
    assert await world.balance(MINER_LOCKED) == locked
    assert await world.balance(MINER_AVAILABLE) == sum(credited) - locked


async def test_missing_state_is_unknown_never_zero_and_comes_in_as_a_supplement(
    world: World,
) -> None:
    world.chain.pruned = {2000}
    step = await world.step()
    assert step.closed == ()
    assert "credited_unknown" in step.waiting[0]
    await world.step(2880 * 3 + 900 + 10)  # the period waited long enough
    first = (await world.earnings.periods(PROVIDER))[0].closed
    assert len(first.wins) == 1
    assert len(first.unknown) == 1
    world.chain.pruned = set()
    step = await world.step()
    assert (0, 1) in step.closed
    periods = await world.earnings.periods(PROVIDER)
    supplement = next(p.closed for p in periods if p.closed.revision == 1)
    assert supplement.nets[0].gross.value == expected_share(world, 2)
    assert (await world.ledger.check()).problems == ()
    assert (await world.audit()).ok


async def test_epochs_that_could_not_be_read_are_unknown_in_their_period_and_its_statement(
    world: World,
) -> None:
    why = "lookbacks of more than 24h0m0s are disallowed"
    world.holdings.unknown = (
        Gap(Epoch(2800), Epoch(3000), GapKind.CHAIN, why),
        Gap(Epoch(100), Epoch(200), GapKind.EVENTS, "blocks won are known there"),
    )
    step = await world.step()
    assert step.closed == ((0, 0),)
    assert any("chain_gap" in text for text in step.waiting)
    (period,) = await world.earnings.periods(PROVIDER)
    assert period.closed.unknown == (f"gap 2800-2879: chain_gap: {why}",)
    statement = await world.statement()
    assert statement["unknown_wins"] == [f"gap 2800-2879: chain_gap: {why}"]
    assert (await world.audit()).ok


async def test_power_that_does_not_add_up_makes_a_win_unknown_after_one_full_read(
    world: World,
) -> None:
    world.chain.extra_power = 1
    await world.step()
    assert world.chain.full_reads == 2  # one per win
    [period] = await world.earnings.periods(PROVIDER)
    assert all("power_mismatch" in reason for reason in period.closed.unknown)
    assert await world.balance(accrued(PAYEE)) == 0


async def test_an_unknown_network_version_stops_accrual_and_keeps_the_raw_inputs(
    world: World,
) -> None:
    world.chain.version = 30
    await world.step()
    [period] = await world.earnings.periods(PROVIDER)
    assert all("network_version_unknown" in reason for reason in period.closed.unknown)
    wins = await world.earnings.wins(PROVIDER, Epoch(0), Epoch(5000))
    assert all(stored.win.is_complete for stored in wins)


async def test_backfill_reads_only_what_is_missing(world: World) -> None:
    world.chain.pruned = {1500}
    await world.step(3000)
    world.chain.pruned = set()
    earnings = Earnings(
        world.chain,
        world.holdings,
        world.register,
        earnings=world.earnings,
        ledger=world.ledger,
        settings=world.settings,
    )
    assert await earnings.backfill(Epoch(0), Epoch(3000)) == 1
    assert await earnings.backfill(Epoch(0), Epoch(3000)) == 0


async def test_a_win_read_in_two_parts_on_two_days_keeps_both(world: World) -> None:
    """The proving period start moves every day; what was booked for the award must still be the same entry."""
    power = world.chain.miner_power

    async def no_power(*_: object) -> object:
        raise LotusRpcError("StateMinerPower", 1, "could not find state")

    world.chain.miner_power = no_power  # type: ignore[method-assign,assignment]
    await world.step(3000)
    world.chain.miner_power = power  # type: ignore[method-assign]
    world.chain.pruned = {1500, 2000}  # the award's state is gone by now
    world.chain.proving_period_start += 2880
    await world.step(6000)
    wins = await world.earnings.wins(PROVIDER, Epoch(0), Epoch(2879))
    assert all(item.win.is_complete and item.win.award() is not None for item in wins)
    assert all(item.win.problem == "" for item in wins)
    assert (await world.ledger.check()).problems == ()


async def test_a_node_that_is_unwell_for_an_hour_loses_no_win(world: World) -> None:
    world.chain.pruned = {2000}
    for _ in range(40):
        await world.step(3800)
    world.chain.pruned = set()
    await world.step(3800 + 2880)
    stored = await world.earnings.wins(PROVIDER, Epoch(2000), Epoch(2000))
    assert stored[0].win.award() is not None
    assert stored[0].attempts < 15


async def test_nothing_is_ticked_off_while_the_follower_is_on_another_fork(world: World) -> None:
    at = world.holdings.cursor
    elsewhere = Cursor(TipSetRef(Epoch(3000), TipSetKey((EMPTY,))), Epoch(0))

    async def on_a_fork(provider: object) -> Cursor:
        return elsewhere

    world.holdings.cursor = on_a_fork  # type: ignore[method-assign,assignment]
    assert (await world.step()).recorded == 0
    world.holdings.cursor = at  # type: ignore[method-assign]
    assert (await world.step()).recorded == 2

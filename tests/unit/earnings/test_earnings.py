"""From won blocks to accruals, releases, statements and their audit, over a fake chain and a real store."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deals.gaps import Gap, GapKind
from deals.ports import Cursor, TipSetRef
from fil_plus.attribution import ProducedPiece, UsedPiece
from fil_plus.terms import Basis, ShareTerms
from fil_plus.vesting import locked_part
from lotus_client.chain import TipSetKey
from lotus_client.crypto import Secp256k1Key
from lotus_client.errors import LotusRpcError
from lotus_client.messages import Message
from lotus_client.types import AttoFil, Epoch
from sp_plugin.audit.statement import AuditReport, audit_statement
from sp_plugin.earnings.ingest import Earnings, EarningsStep
from sp_plugin.earnings.split_inputs import EarningsSettings
from sp_plugin.ledger import (
    MINER_AVAILABLE,
    MINER_LOCKED,
    PAYOUT_WALLET,
    Account,
    Draft,
    Entry,
    EntryKind,
    Posting,
    accrued,
    message_ref,
    payable,
)
from sp_plugin.statement_text import statement_text
from sp_plugin.statements import Statements
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.ledger import LedgerRepository
from tests.fake_earnings_chain import (
    EMPTY,
    MIB,
    PROVIDER,
    SECTOR_SIZE,
    FakeEarningsChain,
    FakeHoldings,
    FakeRegister,
)

PAYEE = Secp256k1Key(b"\x05" * 32).address
WALLET = Secp256k1Key(b"\x06" * 32).address
TERMS = ShareTerms(Basis.VERIFIED_EXTRA)


def output(terms: ShareTerms = TERMS, counted: int = MIB) -> ProducedPiece:
    return ProducedPiece("claim:7", PAYEE, "job-1", counted, terms)


class World:
    """A provider with its chain, index, jobs and books."""

    def __init__(self, path: Path) -> None:
        self.store = Store(f"sqlite+aiosqlite:///{path}")
        self.chain = FakeEarningsChain(head_epoch=5000, wins={1500: 1, 2000: 2, 4500: 1})
        self.holdings = FakeHoldings(self.chain)
        self.register = FakeRegister([output()])
        self.settings = EarningsSettings(PROVIDER, SECTOR_SIZE, Epoch(0), capital_cost_apr_bps=0)
        self.earnings = EarningsRepository(self.store)
        self.ledger = LedgerRepository(self.store)

    async def step(
        self, head: int | None = None, ledger: LedgerRepository | None = None
    ) -> EarningsStep:
        if head is not None:
            self.chain.head_epoch = head
        return await Earnings(
            self.chain,
            self.holdings,
            self.register,
            earnings=self.earnings,
            ledger=ledger or self.ledger,
            settings=self.settings,
        ).step()

    async def balance(self, account: Account) -> int:
        return (await self.ledger.balances()).get(account, AttoFil(0)).value

    async def statement(self) -> dict[str, object]:
        made = Statements(self.earnings, self.ledger, self.holdings, self.settings, "testnet")
        final = await self.chain.finalized_tipset()
        return json.loads(json.dumps(await made.statement(PAYEE, final)))  # type: ignore[no-any-return]

    async def audit(self) -> AuditReport:
        return await audit_statement(await self.statement(), self.chain)

    async def pay(self, amount: int) -> None:
        message = Message(PAYEE, WALLET, value=AttoFil(amount))
        cid = self.chain.pay(4000, message)
        postings = (
            Posting(payable(PAYEE), AttoFil(amount)),
            Posting(PAYOUT_WALLET, AttoFil(-amount)),
        )
        draft = Draft("payout:1", EntryKind.PAYOUT, Epoch(4001), postings, (message_ref(cid),))
        await self.ledger.append([draft])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "state.db")
    async with made.store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield made
    await made.store.close()


def expected_share(world: World, wins: int, counted: int = MIB) -> int:
    """10 % of 9 bytes of power per counted verified byte, of the rewards without tips; one floor per win here."""
    qap = 2 * SECTOR_SIZE + 9 * 4 * MIB
    shareable = world.chain.reward * wins // 5
    return shareable * 9 * counted * 1000 // (10_000 * qap)


async def test_credited_awards_are_split_locked_and_available(world: World) -> None:
    await world.step(3000)
    credited = [world.chain.reward * wins // 5 + world.chain.tips for wins in (1, 2)]
    locked = sum(locked_part(AttoFil(c)).value for c in credited)
    assert await world.balance(MINER_LOCKED) == locked
    assert await world.balance(MINER_AVAILABLE) == sum(credited) - locked


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


async def test_a_statement_is_audited_from_the_chain_alone(world: World) -> None:
    await world.step()
    await world.pay(-await world.balance(payable(PAYEE)))
    report = await world.audit()
    assert [f for f in report.findings if not f.ok] == []
    assert any(f.where.startswith("payment") for f in report.findings)
    text = statement_text(await world.statement())
    assert "Nothing here is escrow" in text
    assert "yearly rate: 0 %" in text


@pytest.mark.parametrize(
    "path",
    [
        "periods.0.lines.0.credited",
        "periods.0.lines.0.amount",
        "periods.0.lines.0.miner_qap",
        "periods.0.lines.0.verified",
        "periods.0.lines.0.win",
        "periods.0.root",
        "periods.0.nets.0.fee_cost",
        "periods.0.nets.0.carried",
        "periods.0.jobs.0.produced",
        "payments.0.amount",
        "payments.0.message",
        "totals.paid",
        "totals.net_accrued",
    ],
)
async def test_any_changed_figure_fails_the_audit(world: World, path: str) -> None:
    await world.step()
    await world.pay(-await world.balance(payable(PAYEE)))
    statement = copy.deepcopy(await world.statement())
    *parents, last = path.split(".")
    here = statement
    for name in parents:
        here = here[int(name)] if name.isdigit() else here[name]  # type: ignore[index,assignment]
    here[last] = _other(here[last])
    assert not (await audit_statement(statement, world.chain)).ok


def _other(value: object) -> object:
    if isinstance(value, int):
        return value + 1
    text = str(value)
    if text.isdigit():
        return str(int(text) + 1)
    return text[:-1] + ("b" if text[-1] == "a" else "a")


async def test_a_statement_that_is_no_statement_is_a_failed_audit_not_a_crash(world: World) -> None:
    assert not (await audit_statement({"periods": 3}, world.chain)).ok
    assert not (await audit_statement({}, world.chain)).ok


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

"""Ingest: record final wins, close periods, release what vested. Observes and stores; every rule is in the pure modules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from deals.gaps import Gap, GapKind, gaps_in
from deals.ports import Cursor, OwnBlock, SectorStore
from deals.sectors import lookback_height, sectors_for_election
from fil_plus.attribution import ProducedPiece, UnknownReason, UsedPiece, WinInputs, WinUnknown
from fil_plus.awards import AwardError
from fil_plus.periods import PERIOD_EPOCHS, period_of
from fil_plus.pieces import HeldPiece
from fil_plus.terms import INPUT_WINDOW_EPOCHS
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.errors import LotusDecodeError, LotusRpcError
from lotus_client.types import ActorId, AttoFil, Epoch, NetworkVersion
from sp_plugin.earnings.booking import accrual_draft, award_drafts, release_drafts
from sp_plugin.earnings.closing import (
    CostKey,
    CostTerms,
    HoldingsAt,
    bears_costs,
    close_period,
    period_costs,
    split_in_order,
)
from sp_plugin.earnings.gap_names import gap_name
from sp_plugin.earnings.ports import EarningsChain, Holdings, ShareRegister
from sp_plugin.earnings.sector_memory import SectorMemory
from sp_plugin.earnings.wins import WinRecord, award_part
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.earnings_periods import StoredPeriod
from sp_plugin.store.earnings_wins import StoredWin
from sp_plugin.store.ledger import LedgerRepository

__all__ = ["Earnings", "EarningsSettings", "EarningsStep", "win_inputs"]

_READ_TOGETHER: Final = 8  # wins read from the node at the same time
_SAVE_TOGETHER: Final = 64  # wins saved in one transaction
_RETRY_EPOCHS: Final = 2 * PERIOD_EPOCHS  # how long a period waits for its unknown wins
_ASK_EPOCHS: Final = 30 * PERIOD_EPOCHS  # how long the node is asked for what it did not tell


@dataclass(frozen=True, slots=True)
class EarningsSettings:
    """The provider and the operator's settings. `solstice_epoch` is the nv29 upgrade epoch, `None` before it."""

    provider: ActorId
    sector_size: int
    start: Epoch
    capital_cost_apr_bps: int | None
    include_tips: bool = False
    solstice_epoch: Epoch | None = None
    input_window_epochs: int = INPUT_WINDOW_EPOCHS

    def to_json(self) -> dict[str, Any]:
        """What a period was split by, kept with it."""
        return {
            "sector_size": self.sector_size,
            "capital_cost_apr_bps": self.capital_cost_apr_bps,
            "include_tips": self.include_tips,
            "solstice_epoch": self.solstice_epoch,
            "input_window_epochs": self.input_window_epochs,
        }


@dataclass(frozen=True, slots=True)
class EarningsStep:
    """What a step did. `waiting` names unknown wins that keep a period open."""

    recorded: int
    closed: tuple[tuple[int, int], ...]
    released: bool
    waiting: tuple[str, ...]


class Earnings:
    """The earnings of one provider."""

    def __init__(
        self,
        chain: EarningsChain,
        holdings: Holdings,
        register: ShareRegister,
        *,
        earnings: EarningsRepository,
        ledger: LedgerRepository,
        settings: EarningsSettings,
    ) -> None:
        self._chain = chain
        self._holdings = holdings
        self._register = register
        self._earnings = earnings
        self._ledger = ledger
        self._settings = settings
        self._provider = settings.provider
        self._released_at: Epoch | None = None  # None: perhaps never, e.g. after a start

    async def step(self) -> EarningsStep:
        """Record the wins that became final, close what can be closed, release what vested. Safe to repeat.

        Raises:
            LotusUnavailable: the node did not answer; the same step again goes on where this one was.
        """
        final = await self._chain.finalized_tipset()
        recorded = await self._record(final) + await self._record_late()
        closed, waiting = await self._close(final)
        released = await self._release(final) if self._release_is_due(final) else False
        return EarningsStep(recorded, tuple(closed), released, tuple(waiting))

    async def backfill(self, first: Epoch, last: Epoch) -> int:
        """Record wins of an earlier range again, as far as the node still knows them; how many were read.

        Wins that are complete are left as they are; those of closed periods come in as supplements.
        """
        final = await self._chain.finalized_tipset()
        start = await self._proving_period_start(final.key)
        up_to = Epoch(min(last, final.height))
        known = {w.win.block: w for w in await self._earnings.wins(self._provider, first, up_to)}
        count = 0
        sectors = self._sectors(first, up_to)
        for block in await self._holdings.own_blocks(self._provider, first, Epoch(up_to + 1)):
            stored = known.get(block.cid)
            if stored is None:
                await self._save(await self._read_win(block, final, sectors), start)
            elif stored.win.problem or not stored.win.is_complete:
                await self._save(await self._read_more(stored.win, final, sectors), start)
            else:
                continue
            count += 1
        return count

    # -- record ---------------------------------------------------------------------------------------------------

    async def _record(self, final: TipSet) -> int:
        count = 0
        start = await self._proving_period_start(final.key)
        for stored in await self._earnings.unread(self._provider):
            if _ask_again(stored, final.height):
                await self._save(await self._read_more(stored.win, final, self._holdings), start)
                count += 1
        done, _ = await self._earnings.cursor(self._provider, self._settings.start)
        followed = await self._holdings.cursor(self._provider)
        up_to = Epoch(min(final.height, followed.tipset.height) if followed else done)
        if followed is None or up_to <= done or not await self._on_final_chain(followed, final):
            return count
        blocks = await self._holdings.own_blocks(self._provider, Epoch(done + 1), Epoch(up_to + 1))
        sectors = self._sectors(Epoch(done + 1), up_to)
        for first in range(0, len(blocks), _SAVE_TOGETHER):
            chunk = blocks[first : first + _SAVE_TOGETHER]
            wins: list[WinRecord] = []
            for some in range(0, len(chunk), _READ_TOGETHER):
                together = chunk[some : some + _READ_TOGETHER]
                reads = (self._read_win(block, final, sectors) for block in together)
                wins += await asyncio.gather(*reads)
            drafts = [draft for win in wins for draft in award_drafts(win, start)]
            await self._earnings.save_wins(self._provider, wins, drafts, Epoch(chunk[-1].epoch))
        await self._earnings.advance(self._provider, up_to)
        return count + len(blocks)

    async def _record_late(self) -> int:
        """Record the blocks that came to light in a gap when it was filled; how many were read."""
        done, _ = await self._earnings.cursor(self._provider, self._settings.start)
        span = await self._earnings.unrecorded(self._provider, done)
        return 0 if span is None else await self.backfill(*span)

    async def _on_final_chain(self, followed: Cursor, final: TipSet) -> bool:
        """Whether what the follower has kept is of the chain that is final.

        It may stand on another fork, or the node may have been exchanged for one that is behind: then nothing is
        recorded, and above all no epoch is ticked off, until the two agree.
        """
        place = followed.tipset
        if place.height <= final.height:
            return (await self._chain.tipset_by_height(place.height, final.key)).key == place.key
        return (await self._chain.tipset_by_height(final.height, place.key)).key == final.key

    def _sectors(self, first: Epoch, last: Epoch) -> SectorMemory:
        """The sector table as far back as the elections from `first` to `last` look."""
        return SectorMemory(self._holdings, self._provider, lookback_height(first), last)

    async def _save(self, win: WinRecord, proving_period_start: Epoch) -> None:
        await self._earnings.save_win(win, award_drafts(win, proving_period_start))

    async def _proving_period_start(self, key: TipSetKey) -> Epoch:
        return (await self._chain.funds(self._provider, key)).proving_period_start

    async def _read_win(self, block: OwnBlock, final: TipSet, sectors: SectorStore) -> WinRecord:
        """Everything the node tells of a win; what it cannot tell stays `None`, with the reason."""
        win = WinRecord(
            block=block.cid,
            epoch=block.epoch,
            provider=self._provider,
            tipset=block.tipset,
            finalized=final.key,
            header=block.header,
            win_count=block.win_count,
        )
        return await self._read_more(win, final, sectors)

    async def _read_more(self, win: WinRecord, final: TipSet, sectors: SectorStore) -> WinRecord:
        """The win with what the node can tell of it now; what it told before is kept."""
        problems = []
        for read in await asyncio.gather(
            _nothing() if win.miner_qap is not None else self._read_power(win, sectors),
            _nothing() if win.award() is not None else self._read_award(win),
            return_exceptions=True,
        ):
            if isinstance(read, LotusRpcError | LotusDecodeError | AwardError):
                problems.append(str(read))
            elif isinstance(read, BaseException):
                raise read
            else:
                win = replace(win, **read)
        win = replace(win, finalized=final.key)
        if win.award_trace is not None and win.award() is None:
            problems.append("the tipset's trace has no award that fits the block's win count")
        return replace(win, problem="; ".join(problems))

    async def _read_power(self, win: WinRecord, sectors: SectorStore) -> dict[str, Any]:
        lookback = await self._chain.tipset_after_height(lookback_height(win.epoch), win.tipset)
        version = await self._chain.network_version(win.tipset)
        election = await sectors_for_election(
            self._chain, sectors, self._provider, self._settings.sector_size, lookback
        )
        return {
            "lookback": election.tipset,
            "lookback_height": election.epoch,
            "network_version": version,
            "miner_qap": election.miner_qap,
            "network_qap": election.network_qap,
        }

    async def _read_award(self, win: WinRecord) -> dict[str, Any]:
        reward = await self._chain.reward_state(win.tipset)
        trace = await self._chain.compute_state(win.epoch, win.tipset)
        return {
            "epoch_reward": reward.this_epoch_reward,
            "award_trace": award_part(trace, self._provider),
        }

    # -- close ----------------------------------------------------------------------------------------------------

    async def _close(self, final: TipSet) -> tuple[list[tuple[int, int]], list[str]]:
        ingested, next_period = await self._earnings.cursor(self._provider, self._settings.start)
        closed: list[tuple[int, int]] = []
        waiting: list[str] = []
        for period in await self._with_late_wins(next_period):
            revision = await self._earnings.revisions(self._provider, period)
            if await self._close_one(period, final, waiting, late=True):
                closed.append((period, revision))
        while (next_period + 1) * PERIOD_EPOCHS - 1 <= ingested:
            late = ingested - (next_period + 1) * PERIOD_EPOCHS >= _RETRY_EPOCHS
            if not await self._close_one(next_period, final, waiting, late=late):
                break
            closed.append((next_period, 0))
            next_period += 1
        return closed, waiting

    async def _with_late_wins(self, next_period: int) -> list[int]:
        """Closed periods that have wins which were not in them and may be known by now."""
        last = Epoch(next_period * PERIOD_EPOCHS - 1)
        wins = await self._earnings.wins(self._provider, Epoch(0), last, open_only=True)
        return sorted({period_of(stored.win.epoch) for stored in wins if stored.win.is_complete})

    async def _close_one(
        self, period: int, final: TipSet, waiting: list[str], *, late: bool
    ) -> bool:
        first = Epoch(period * PERIOD_EPOCHS)
        last = Epoch(first + PERIOD_EPOCHS - 1)
        stored = await self._earnings.wins(self._provider, first, last, open_only=True)
        budgets = await self._earnings.budgets()
        produced = [
            replace(item, budget_paid=budgets.get((item.payee, item.job), AttoFil(0)))
            for item in await self._register.produced()
        ]
        used = await self._register.used()
        pieces = tuple(await self._holdings.held_pieces(self._provider))
        sectors = self._sectors(first, last)
        inputs = [
            await win_inputs(
                item.win, sectors, self._settings, pieces, produced=produced, used=used
            )
            for item in stored
        ]
        splits, unknown, budgets = split_in_order(inputs, budgets)
        if await self._earnings.revisions(self._provider, period) == 0:
            gaps = gaps_in(await self._holdings.gaps(self._provider), first, last)
            unknown += [_unseen(gap) for gap in gaps if gap.kind is GapKind.CHAIN]
        waiting += [f"{u.win}: {u.reason.value}: {u.detail}" for u in unknown]
        untraced = await self._register.untraced()
        waiting += untraced
        if not late and (untraced or any(_may_become_known(u) for u in unknown)):
            return False
        revision = await self._earnings.revisions(self._provider, period)
        if revision and not splits:
            return False
        costs: dict[CostKey, tuple[AttoFil, AttoFil]] = {}
        if revision == 0:
            known_costs = await self._costs(last, final, produced, used)
            if known_costs is None:
                waiting.append(f"period {period}: costs_unknown: its last sectors are not known")
                return False
            costs = known_costs
        closed = close_period(
            period,
            revision,
            splits,
            unknown,
            costs=costs,
            carried=await self._earnings.deficits(),
        )
        sharing = {split.win for split in splits if split.parts}
        tipsets = [w.win.tipset for w in stored if w.win.id in sharing]
        draft = accrual_draft(closed, tipsets, await self._proving_period_start(final.key))
        period_row = StoredPeriod(
            closed, final.height, tuple(produced), tuple(used), self._settings.to_json()
        )
        drafts = [] if draft is None else [draft]
        self._released_at = None
        await self._earnings.save_period(self._provider, period_row, budgets, drafts)
        return True

    async def _costs(
        self,
        last: Epoch,
        final: TipSet,
        produced: Sequence[ProducedPiece],
        used: Sequence[UsedPiece],
    ) -> dict[CostKey, tuple[AttoFil, AttoFil]] | None:
        """The costs of a period; None while the sectors that cause them are not known: never taken for 0."""
        if not bears_costs(produced, used):
            return {}
        height = lookback_height(last)
        lookback = await self._chain.tipset_after_height(height, final.key)
        sectors = await self._holdings.active_sectors(self._provider, lookback.height)
        if sectors is None:
            election = await sectors_for_election(
                self._chain, self._holdings, self._provider, self._settings.sector_size, lookback
            )
            sectors = election.sectors
        if sectors is None:
            return None
        at = Epoch(height - 1)
        pieces = await self._holdings.held_pieces(self._provider, at=at)
        holdings = HoldingsAt(
            at, sectors, self._settings.sector_size, pieces, self._settings.solstice_epoch
        )
        terms = CostTerms(self._settings.capital_cost_apr_bps, self._settings.input_window_epochs)
        return period_costs(holdings, produced, used, terms, last=last)

    # -- release --------------------------------------------------------------------------------------------------

    def _release_is_due(self, final: TipSet) -> bool:
        """After every closing and once a period. A start counts as one: it may follow a crash between the two."""
        return self._released_at is None or final.height - self._released_at >= PERIOD_EPOCHS

    async def _release(self, final: TipSet) -> bool:
        drafts = release_drafts(await self._ledger.entries(), final.height, final.key)
        if drafts:
            await self._ledger.append(drafts)
        self._released_at = final.height
        return bool(drafts)


async def win_inputs(
    win: WinRecord,
    table: SectorStore,
    settings: EarningsSettings,
    pieces: tuple[HeldPiece, ...],
    *,
    produced: Sequence[ProducedPiece],
    used: Sequence[UsedPiece],
) -> WinInputs:
    """What the split of a recorded win is a function of. `pieces` are all ever held; the split takes those of its epoch."""
    award = win.award()
    sectors = None
    if win.lookback_height is not None:
        sectors = await table.active_sectors(win.provider, win.lookback_height)
    version = win.network_version
    if version is None:
        # without a version there are no rules: a win without credited value is split as unknown
        award, version = None, NetworkVersion(0)
    return WinInputs(
        win=win.id,
        epoch=win.epoch,
        provider=win.provider,
        credited=None if award is None else award.credited,
        gas_reward=AttoFil(0) if award is None else award.gas_reward,
        include_tips=settings.include_tips,
        network_version=version,
        solstice_epoch=settings.solstice_epoch,
        lookback_epoch=win.lookback_epoch,
        miner_qap=win.miner_qap,
        sector_size=settings.sector_size,
        sectors=sectors,
        pieces=pieces,
        produced=tuple(produced),
        used=tuple(used),
        input_window_epochs=settings.input_window_epochs,
    )


def _unseen(gap: Gap) -> WinUnknown:
    """Epochs in which blocks may have been won, and nobody can say: unknown, not nothing."""
    return WinUnknown(gap_name(gap), gap.from_epoch, UnknownReason.CHAIN_GAP, gap.reason)


async def _nothing() -> dict[str, Any]:
    return {}


def _ask_again(stored: StoredWin, final: Epoch) -> bool:
    """Whether to ask the node once more for what is missing: at growing distances, for 30 days."""
    age = final - stored.win.epoch
    return 1 << stored.attempts <= age <= _ASK_EPOCHS


def _may_become_known(unknown: WinUnknown) -> bool:
    """Whether asking the node again may help. A power mismatch was already answered by one full read."""
    return unknown.reason in {UnknownReason.CREDITED_UNKNOWN, UnknownReason.POWER_UNKNOWN}

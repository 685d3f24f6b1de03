"""Closing periods: their wins are split in order, what is unknown is waited for, costs are netted, and all is stored at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from deals.gaps import GapKind, gaps_in
from deals.sectors import lookback_height, sectors_for_election
from fil_plus.periods import PERIOD_EPOCHS, period_of
from fil_plus.win_values import ProducedPiece, UnknownReason, UsedPiece, WinInputs, WinUnknown
from lotus_client.address import Address
from lotus_client.chain import TipSet, TipSetKey
from lotus_client.types import AttoFil, Epoch
from sp_plugin.earnings.booking import accrual_draft
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
from sp_plugin.earnings.releasing import Releases
from sp_plugin.earnings.sector_memory import SectorMemory
from sp_plugin.earnings.split_inputs import EarningsSettings, win_inputs
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.earnings_periods import StoredPeriod
from sp_plugin.store.earnings_wins import StoredWin

__all__ = ["PeriodCloser"]

_RETRY_EPOCHS: Final = 2 * PERIOD_EPOCHS  # how long a period waits for its unknown wins


class PeriodCloser:
    """Closes the periods of one provider."""

    def __init__(
        self,
        chain: EarningsChain,
        holdings: Holdings,
        register: ShareRegister,
        *,
        earnings: EarningsRepository,
        releases: Releases,
        settings: EarningsSettings,
    ) -> None:
        self._chain = chain
        self._holdings = holdings
        self._register = register
        self._earnings = earnings
        self._releases = releases
        self._settings = settings
        self._provider = settings.provider

    async def close(self, final: TipSet) -> tuple[list[tuple[int, int]], list[str]]:
        """Close what can be closed: the (period, revision) that were, and the unknown wins that keep others open."""
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
        inputs = await self._inputs(stored, first, last, produced, used)
        splits, unknown, budgets = split_in_order(inputs, budgets)
        if await self._earnings.revisions(self._provider, period) == 0:
            unknown += await self._unseen(first, last)
        waiting += [f"{u.win}: {u.reason.value}: {u.detail}" for u in unknown]
        untraced = await self._register.untraced()
        waiting += untraced
        if not late and (untraced or any(_may_become_known(u) for u in unknown)):
            return False
        revision = await self._earnings.revisions(self._provider, period)
        if revision and not splits:
            return False
        costs: dict[CostKey, tuple[AttoFil, AttoFil]] | None = {}
        if revision == 0:
            costs = await self._costs(last, final, produced, used)
        if costs is None:
            waiting.append(f"period {period}: costs_unknown: its last sectors are not known")
            return False
        carried = await self._earnings.deficits()
        closed = close_period(period, revision, splits, unknown, costs=costs, carried=carried)
        sharing = {split.win for split in splits if split.parts}
        tipsets = [w.win.tipset for w in stored if w.win.id in sharing]
        kept = StoredPeriod(
            closed, final.height, tuple(produced), tuple(used), self._settings.to_json()
        )
        await self._keep(kept, budgets, tipsets, final)
        return True

    async def _keep(
        self,
        stored: StoredPeriod,
        budgets: dict[tuple[Address, str], AttoFil],
        tipsets: Sequence[TipSetKey],
        final: TipSet,
    ) -> None:
        """Keep a closed period with its entry in the ledger; `tipsets` are those of the wins that are shared."""
        funds = await self._chain.funds(self._provider, final.key)
        draft = accrual_draft(stored.closed, tipsets, funds.proving_period_start)
        self._releases.make_due()
        drafts = [] if draft is None else [draft]
        await self._earnings.save_period(self._provider, stored, budgets, drafts)

    async def _unseen(self, first: Epoch, last: Epoch) -> list[WinUnknown]:
        """Epochs in which blocks may have been won, and nobody can say: unknown, not nothing."""
        return [
            WinUnknown(gap_name(gap), gap.from_epoch, UnknownReason.CHAIN_GAP, gap.reason)
            for gap in gaps_in(await self._holdings.gaps(self._provider), first, last)
            if gap.kind is GapKind.CHAIN
        ]

    async def _inputs(
        self,
        stored: Sequence[StoredWin],
        first: Epoch,
        last: Epoch,
        produced: Sequence[ProducedPiece],
        used: Sequence[UsedPiece],
    ) -> list[WinInputs]:
        pieces = tuple(await self._holdings.held_pieces(self._provider))
        sectors = SectorMemory.for_elections(self._holdings, self._provider, first, last)
        return [
            await win_inputs(
                item.win, sectors, self._settings, pieces, produced=produced, used=used
            )
            for item in stored
        ]

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


def _may_become_known(unknown: WinUnknown) -> bool:
    """Whether asking the node again may help. A power mismatch was already answered by one full read."""
    return unknown.reason in {UnknownReason.CREDITED_UNKNOWN, UnknownReason.POWER_UNKNOWN}

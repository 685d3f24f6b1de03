"""What a payee earned, was released and was paid, each line down to a block and a piece, with how to check it.

A statement is plain JSON: amounts are decimal attoFIL, so that it can be archived and audited by another program
(`sp_plugin.audit` is one). Lines of other payees are not in it; Merkle proofs tie the payee's lines to the period's root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fil_plus.periods import PERIOD_EPOCHS, MerkleTree, part_leaf, period_leaves
from fil_plus.pieces import HeldPiece
from fil_plus.win_values import Part, PartSource, ProducedPiece, UsedPiece, WinInputs
from lotus_client.address import Address, NetworkPrefix
from lotus_client.chain import TipSet
from lotus_client.types import Epoch
from sp_plugin.earnings.closing import ClosedPeriod, split_in_order
from sp_plugin.earnings.gap_names import is_of_a_gap, still_unknown
from sp_plugin.earnings.ports import Holdings
from sp_plugin.earnings.registry_json import shares_to_json
from sp_plugin.earnings.sector_memory import SectorMemory
from sp_plugin.earnings.split_inputs import EarningsSettings, win_inputs
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.statement_balances import is_booked, payments, totals, unvested, vesting_of
from sp_plugin.statement_lines import net_line, period_head, proof_of, win_line
from sp_plugin.store.earnings import EarningsRepository
from sp_plugin.store.earnings_periods import StoredPeriod
from sp_plugin.store.ledger import LedgerRepository

__all__ = ["NOTICE", "StatementError", "Statements"]

NOTICE: Final = (
    "Nothing here is escrow: what is accrued is a promise of the provider, paid from rewards as they vest, "
    "and only while the provider can and does withdraw them."
)
_HOW: Final = {
    "win": "ChainGetBlock(win): Miner is the provider; ChainGetTipSetByHeight(epoch) contains it",
    "released": "per period: vested(net, last_epoch, vesting_start) at released_to, by the miner's own schedule",
    "credited": "StateCompute(epoch, null, tipset): value of f02 -> provider, method 14, in the award's trace",
    "miner_qap": "ChainGetTipSetAfterHeight(max(epoch-900,0)+1, tipset), then StateMinerPower at that tipset",
    "verified": "StateMinerActiveSectors and StateGetClaims there: VerifiedDealWeight/(Expiration-PowerBaseEpoch)",
    "amount": "floor(shareable * 9 * verified * counted / padded_size * share_bps / 10000 / miner_qap)",
    "sub_piece": "its inclusion proof (FRC-0058, PoDSI) under piece_cid: sp-plugin pieces proof make|verify",
    "proof": "RFC 9162 inclusion proof of the line's DAG-CBOR leaf under the period's root",
    "payment": "StateSearchMsg(message): exit code 0; the payee's balance rose by the amount",
}


class StatementError(Exception):
    """A statement that cannot be made truthfully now; says what does not fit."""


@dataclass(frozen=True, slots=True)
class Statements:
    """Makes statements of one provider from the store."""

    earnings: EarningsRepository
    ledger: LedgerRepository
    holdings: Holdings
    settings: EarningsSettings
    network: str

    async def statement(self, payee: Address, final: TipSet) -> dict[str, Any]:
        """The statement of `payee` as of the final tipset; a period that is closed and not booked yet is in the next one.

        Raises:
            StatementError: a closed period cannot be split again to the root it was closed with.
        """
        entries = await self.ledger.entries()
        everything = await self.earnings.periods(self.settings.provider)
        periods = [
            await self._period(stored, payee) | vesting_of(stored, entries)
            for stored in everything
            if any(line.payee == payee for line in stored.closed.nets)
            and is_booked(stored, entries)
        ]
        return {
            "format": "sp-plugin/statement/1",
            "network": self.network,
            "provider": Address.of_id(self.settings.provider).to_text(self._prefix),
            "payee": payee.to_text(self._prefix),
            "as_of": {"epoch": final.height, "tipset": [str(cid) for cid in final.key]},
            "totals": totals(periods, entries, payee),
            "periods": periods,
            "payments": payments(entries, payee),
            "unknown_wins": await self._unknown(everything),
            "unvested": unvested(entries, payee, final.height),
            "open_period": await self._open_period(),
            "ledger": {"entries": len(entries), "head": entries[-1].hash.hex() if entries else ""},
            "how_to_check": _HOW,
            "notice": NOTICE,
        }

    @property
    def _prefix(self) -> NetworkPrefix:
        return "f" if self.network == "mainnet" else "t"

    async def _open_period(self) -> dict[str, Any]:
        ingested, number = await self.earnings.cursor(self.settings.provider, self.settings.start)
        return {"period": number, "first_epoch": number * PERIOD_EPOCHS, "ingested_to": ingested}

    async def _period(self, stored: StoredPeriod, payee: Address) -> dict[str, Any]:
        closed = stored.closed
        wins = await self._wins(closed)
        pieces = tuple(await self.holdings.held_pieces(self.settings.provider))
        inputs = await self._inputs(wins, stored, pieces)
        budgets = {(p.payee, p.job): p.budget_paid for p in stored.produced}
        splits, unknown, _ = split_in_order(inputs, budgets)
        leaves = period_leaves(splits)
        if unknown or len(leaves) != closed.record.leaves:
            raise StatementError(
                f"period {closed.period} cannot be split again as it was closed: run `ledger check` "
                "and compare the sector table with the chain"
            )
        tree = MerkleTree(leaves)
        positions = {leaf: index for index, leaf in enumerate(leaves)}
        by_win = {win.id: (win, given) for win, given in zip(wins, inputs, strict=True)}
        lines = [
            win_line(*by_win[split.win], split, part, _terms(stored, part))
            | proof_of(tree, positions[part_leaf(split.win, split.epoch, part)])
            for split in splits
            for part in split.parts
            if part.payee == payee
        ]
        return period_head(stored) | {
            "jobs": [
                {"job": s.job, "produced": str(s.produced), "used": str(s.used)}
                for s in closed.record.sums
                if s.payee == payee
            ],
            "nets": [net_line(line) for line in closed.nets if line.payee == payee],
            "shares": shares_to_json(
                [item for item in stored.produced if item.payee == payee],
                [item for item in stored.used if item.payee == payee],
            ),
            "lines": lines,
        }

    async def _unknown(self, periods: Sequence[StoredPeriod]) -> list[str]:
        """The wins of closed periods that are divided nowhere yet, with the reason at the close."""
        if not periods:
            return []
        last = max(stored.closed.last_epoch for stored in periods)
        found = await self.earnings.wins(self.settings.provider, Epoch(0), last, open_only=True)
        reasons = {text.partition(":")[0]: text for p in periods for text in p.closed.unknown}
        gaps = await self.holdings.gaps(self.settings.provider)
        unseen = still_unknown(filter(is_of_a_gap, reasons.values()), gaps)
        return [reasons[item.win.id] for item in found if item.win.id in reasons] + unseen

    async def _wins(self, closed: ClosedPeriod) -> list[WinRecord]:
        first = Epoch(closed.period * PERIOD_EPOCHS)
        stored = await self.earnings.wins(self.settings.provider, first, closed.last_epoch)
        here = (closed.period, closed.revision)
        return [item.win for item in stored if item.closed_in == here]

    async def _inputs(
        self, wins: Sequence[WinRecord], stored: StoredPeriod, pieces: tuple[HeldPiece, ...]
    ) -> list[WinInputs]:
        kept = stored.settings
        settings = replace(
            self.settings,
            sector_size=kept["sector_size"],
            include_tips=kept["include_tips"],
            solstice_epoch=kept["solstice_epoch"],
            input_window_epochs=kept["input_window_epochs"],
        )
        closed = stored.closed
        first = Epoch(closed.period * PERIOD_EPOCHS)
        table = SectorMemory.for_elections(
            self.holdings, settings.provider, first, closed.last_epoch
        )
        produced, used = stored.produced, stored.used
        return [
            await win_inputs(win, table, settings, pieces, produced=produced, used=used)
            for win in wins
        ]


def _terms(stored: StoredPeriod, part: Part) -> dict[str, Any]:
    shares: list[ProducedPiece | UsedPiece] = [*stored.produced, *stored.used]
    kind = ProducedPiece if part.source is PartSource.PRODUCED else UsedPiece
    for item in shares:
        same = (item.payee, item.job, item.piece_key, item.sub_piece) == (
            part.payee,
            part.job,
            part.piece_key,
            part.sub_piece,
        )
        if same and isinstance(item, kind):
            return item.terms.to_json() | {"counted_bytes": item.counted_bytes}
    raise StatementError(f"the terms of job {part.job} are not kept with their period")

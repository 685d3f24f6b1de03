"""What a payee earned, was released and was paid, each line down to a block and a piece, with how to check it.

A statement is plain JSON: amounts are decimal attoFIL, so that it can be archived and audited by another program
(`sp_plugin.audit` is one). Lines of other payees are not in it; Merkle proofs tie the payee's lines to the period's root.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from deals.sectors import lookback_height
from fil_plus.attribution import (
    Part,
    PartSource,
    PieceWorth,
    ProducedPiece,
    UsedPiece,
    WinInputs,
    WinSplit,
    piece_worths,
)
from fil_plus.periods import PERIOD_EPOCHS, MerkleTree, part_leaf, period_leaves
from fil_plus.pieces import HeldPiece
from fil_plus.vesting import locked_part, vesting_entries
from lotus_client.address import Address, NetworkPrefix
from lotus_client.chain import TipSet
from lotus_client.types import AttoFil, Epoch
from sp_plugin.earnings.booking import accrual_key
from sp_plugin.earnings.closing import ClosedPeriod, PieceNet, split_in_order
from sp_plugin.earnings.gap_names import is_of_a_gap, still_unknown
from sp_plugin.earnings.ingest import EarningsSettings, win_inputs
from sp_plugin.earnings.ports import Holdings
from sp_plugin.earnings.registry_json import shares_to_json, sub_piece_json
from sp_plugin.earnings.sector_memory import SectorMemory
from sp_plugin.earnings.wins import WinRecord
from sp_plugin.ledger import (
    Draft,
    Entry,
    EntryKind,
    RefKind,
    accrued,
    balances_of,
    payable,
)
from sp_plugin.store.earnings import EarningsRepository, StoredPeriod
from sp_plugin.store.ledger import LedgerRepository

__all__ = ["NOTICE", "StatementError", "Statements", "statement_text"]

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
            await self._period(stored, payee) | _vesting_of(stored, entries)
            for stored in everything
            if any(line.payee == payee for line in stored.closed.nets)
            and _is_booked(stored, entries)
        ]
        return {
            "format": "sp-plugin/statement/1",
            "network": self.network,
            "provider": Address.of_id(self.settings.provider).to_text(self._prefix),
            "payee": payee.to_text(self._prefix),
            "as_of": {"epoch": final.height, "tipset": [str(cid) for cid in final.key]},
            "totals": _totals(periods, entries, payee),
            "periods": periods,
            "payments": [_payment(entry.draft) for entry in entries if _pays(entry, payee)],
            "unknown_wins": await self._unknown(everything),
            "unvested": _unvested(entries, payee, final.height),
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
            _line(*by_win[split.win], split, part, stored)
            | _proof(tree, positions[part_leaf(split.win, split.epoch, part)])
            for split in splits
            for part in split.parts
            if part.payee == payee
        ]
        return _period_head(stored) | {
            "jobs": [
                {"job": s.job, "produced": str(s.produced), "used": str(s.used)}
                for s in closed.record.sums
                if s.payee == payee
            ],
            "nets": [_net(line) for line in closed.nets if line.payee == payee],
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
        first = lookback_height(Epoch(closed.period * PERIOD_EPOCHS))
        table = SectorMemory(self.holdings, settings.provider, first, closed.last_epoch)
        produced, used = stored.produced, stored.used
        return [
            await win_inputs(win, table, settings, pieces, produced=produced, used=used)
            for win in wins
        ]


def _period_head(stored: StoredPeriod) -> dict[str, Any]:
    closed = stored.closed
    return {
        "period": closed.period,
        "revision": closed.revision,
        "first_epoch": closed.period * PERIOD_EPOCHS,
        "last_epoch": closed.last_epoch,
        "root": closed.record.root.hex(),
        "leaves": closed.record.leaves,
        "unknown_wins": list(closed.unknown),
        "settings": stored.settings,
    }


def _is_booked(stored: StoredPeriod, entries: Sequence[Entry]) -> bool:
    """Whether what the period owes stands in the ledger; closing and booking are two steps."""
    key = accrual_key(stored.closed.period, stored.closed.revision)
    return not stored.closed.owed() or any(entry.draft.key == key for entry in entries)


def _vesting_of(stored: StoredPeriod, entries: Sequence[Entry]) -> dict[str, Any]:
    """By which schedule the period's accrual vests, and up to which epoch it has been released; None: not accrued."""
    key = accrual_key(stored.closed.period, stored.closed.revision)
    accrual = next((entry for entry in entries if entry.draft.key == key), None)
    if accrual is None:
        return {"vesting_start": None, "released_to": None}
    start = next(int(r.value) for r in accrual.draft.refs if r.kind is RefKind.VESTING)
    releases = [
        entry.draft.epoch
        for entry in entries[accrual.sequence :]
        if entry.draft.kind is EntryKind.RELEASE
    ]
    return {"vesting_start": start, "released_to": max(releases, default=None)}


def _line(
    win: WinRecord, inputs: WinInputs, split: WinSplit, part: Part, stored: StoredPeriod
) -> dict[str, Any]:
    worth = _worth(inputs, part.piece_key)
    award = win.award()
    assert award is not None
    terms = _terms(stored, part)
    piece = worth.piece
    return {
        "win": win.id,
        "epoch": win.epoch,
        "tipset": [str(cid) for cid in win.tipset],
        "win_count": win.win_count,
        "credited": str(award.credited),
        "tips": str(award.gas_reward),
        "shareable": str(split.shareable),
        "lookback": [str(cid) for cid in win.lookback or ()],
        "miner_qap": str(win.miner_qap),
        "piece": part.piece_key,
        "piece_cid": str(piece.piece_cid),
        "padded_size": piece.padded_size,
        "held_from": piece.from_epoch,
        "held_to": piece.to_epoch,
        "sector": piece.sector,
        "sector_qap": str(worth.sector_qap),
        "sector_size": worth.sector_size,
        "verified": worth.verified,
        "job": part.job,
        "source": part.source.value,
        "basis": part.basis.value,
        "terms": terms,
        "amount": str(part.amount),
        **sub_piece_json(part.sub_piece),
    }


def _worth(inputs: WinInputs, key: str) -> PieceWorth:
    pieces = [piece for piece in inputs.pieces if piece.key == key]
    numbers = {piece.sector for piece in pieces}
    sectors = [sector for sector in inputs.sectors or () if sector.number in numbers]
    beside = [piece for piece in inputs.pieces if piece.sector in numbers]
    worths = piece_worths(
        sectors, inputs.sector_size, beside, inputs.lookback_epoch, inputs.solstice_epoch
    )
    return worths[key]


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


def _proof(tree: MerkleTree, index: int) -> dict[str, Any]:
    return {"index": index, "proof": [node.hex() for node in tree.proof(index)]}


def _net(line: PieceNet) -> dict[str, Any]:
    names = ("gross", "fee_cost", "capital_cost", "carried", "net", "deficit")
    return {"piece": line.piece} | {name: str(getattr(line, name)) for name in names}


def _pays(entry: Entry, payee: Address) -> bool:
    account = payable(payee)
    return entry.draft.kind is EntryKind.PAYOUT and any(
        posting.account == account for posting in entry.draft.postings
    )


def _payment(draft: Draft) -> dict[str, Any]:
    amount = next(p.amount for p in draft.postings if p.account.startswith("payable:"))
    message = next(ref.value for ref in draft.refs if ref.kind is RefKind.MESSAGE)
    return {"message": message, "amount": str(amount), "executed_at": draft.epoch}


def _totals(
    periods: Iterable[dict[str, Any]], entries: Sequence[Entry], payee: Address
) -> dict[str, Any]:
    sums = dict.fromkeys(("produced", "used", "fee_cost", "capital_cost", "net"), 0)
    for period in periods:
        for job in period["jobs"]:
            sums["produced"] += int(job["produced"])
            sums["used"] += int(job["used"])
        for net in period["nets"]:
            for name in ("fee_cost", "capital_cost", "net"):
                sums[name] += int(net[name])
    balances = balances_of(entries)
    nothing = AttoFil(0)
    paid = sum(int(_payment(e.draft)["amount"]) for e in entries if _pays(e, payee))
    due = -balances.get(payable(payee), nothing)
    return {
        "accrued_by_source": {"produced": str(sums["produced"]), "used": str(sums["used"])},
        "costs": {"daily_fee": str(sums["fee_cost"]), "capital": str(sums["capital_cost"])},
        "net_accrued": str(sums["net"]),
        "vesting": str(-balances.get(accrued(payee), nothing)),
        "released": str(due.value + paid),
        "paid": str(paid),
        "due": str(due),
    }


def _unvested(entries: Sequence[Entry], payee: Address, now: Epoch) -> list[list[Any]]:
    """[epoch, amount] still to be released, by the schedule of each accrual."""
    parts: dict[Epoch, int] = {}
    for entry in entries:
        if entry.draft.kind is not EntryKind.ACCRUAL:
            continue
        start = next(int(r.value) for r in entry.draft.refs if r.kind is RefKind.VESTING)
        for posting in entry.draft.postings:
            if posting.account != accrued(payee):
                continue
            locked = locked_part(-posting.amount)
            for epoch, amount in vesting_entries(locked, entry.draft.epoch, Epoch(start)):
                if epoch >= now:
                    parts[epoch] = parts.get(epoch, 0) + amount.value
    return [[epoch, str(amount)] for epoch, amount in sorted(parts.items())]


def statement_text(statement: dict[str, Any]) -> str:
    """The statement for people: amounts in FIL, one line per period and payment."""
    totals = statement["totals"]
    by_source = totals["accrued_by_source"]
    aprs = {period["settings"]["capital_cost_apr_bps"] for period in statement["periods"]}
    apr = ", ".join("not set" if bps is None else _percent(bps) for bps in sorted(aprs, key=str))
    lines = [
        f"Statement of {statement['payee']}",
        f"Provider {statement['provider']} on {statement['network']}, as of epoch {statement['as_of']['epoch']}",
        "",
        f"Accrued from pieces you produced   {_fil(by_source['produced'])}",
        f"Accrued from pieces you used       {_fil(by_source['used'])}   (a voluntary bonus)",
        f"Your part of the daily fee         {_fil(totals['costs']['daily_fee'])}",
        f"Your part of the cost of capital   {_fil(totals['costs']['capital'])}   (yearly rate: {apr or 'none'})",
        f"Net                                {_fil(totals['net_accrued'])}",
        f"Released so far                    {_fil(totals['released'])}",
        f"Still vesting                      {_fil(totals['vesting'])}",
        f"Paid                               {_fil(totals['paid'])}",
        f"Due now                            {_fil(totals['due'])}",
        "",
    ]
    for period in statement["periods"]:
        net = sum(int(item["net"]) for item in period["nets"])
        name = f"{period['period']}" + (f".{period['revision']}" if period["revision"] else "")
        lines.append(
            f"period {name} (epochs {period['first_epoch']} to {period['last_epoch']}): "
            f"{len(period['lines'])} lines, net {_fil(net)}, root {period['root']}"
        )
        lines += _inside_lines(period)
        lines += [f"  unknown at the close: {win}" for win in period["unknown_wins"]]
    lines += [f"still unknown, not counted: {win}" for win in statement["unknown_wins"]]
    for payment in statement["payments"]:
        lines.append(
            f"paid {_fil(payment['amount'])} by message {payment['message']} at epoch {payment['executed_at']}"
        )
    if statement["unvested"]:
        first, last = statement["unvested"][0], statement["unvested"][-1]
        lines.append(
            f"unvested: {len(statement['unvested'])} steps from epoch {first[0]} to {last[0]}, "
            f"{_fil(sum(int(amount) for _, amount in statement['unvested']))} in all"
        )
    return "\n".join([*lines, "", statement["notice"], ""])


def _inside_lines(period: dict[str, Any]) -> list[str]:
    """One line for each piece inside a held one that the period's lines are of."""
    named = {
        f"  of piece {line['sub_piece']['piece_cid']}, which lies in {line['piece']} ({line['piece_cid']}): "
        "`sp-plugin pieces proof verify` checks the proof that it does": None
        for line in period["lines"]
        if "sub_piece" in line
    }
    return list(named)


def _percent(bps: int) -> str:
    whole, hundredths = divmod(bps, 100)
    return f"{whole}.{hundredths:02}".rstrip("0").rstrip(".") + " %"


def _fil(atto: object) -> str:
    return f"{AttoFil(int(str(atto))).to_fil()} FIL"

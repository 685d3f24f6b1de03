"""Closing a period: known wins in, sums, costs, net amounts and a Merkle root out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fil_plus.attribution import piece_worths, split_win, used_ranges, uses_by_piece
from fil_plus.costs import capital_cost, daily_fee_cost, net_period, payee_cost
from fil_plus.periods import PERIOD_EPOCHS, PeriodRecord, summarise_period
from fil_plus.pieces import HeldPiece
from fil_plus.terms import INPUT_WINDOW_EPOCHS, Basis
from fil_plus.win_values import (
    PieceWorth,
    ProducedPiece,
    UsedPiece,
    WinInputs,
    WinSplit,
    WinUnknown,
)
from lotus_client.address import Address
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch

__all__ = [
    "ClosedPeriod",
    "CostTerms",
    "HoldingsAt",
    "PieceNet",
    "bears_costs",
    "close_period",
    "period_costs",
    "split_in_order",
]

BudgetKey = tuple[Address, str]  # (payee, job)
CostKey = tuple[Address, str]  # (payee, piece key)


@dataclass(frozen=True, slots=True)
class CostTerms:
    """The operator's cost of capital in basis points a year (`None` refuses `verified_extra`), and how long a use counts."""

    capital_cost_apr_bps: int | None
    input_window_epochs: int = INPUT_WINDOW_EPOCHS


@dataclass(frozen=True, slots=True)
class PieceNet:
    """A payee's result of one piece in one period: `net + deficit == gross - fee_cost - capital_cost + carried`."""

    payee: Address
    piece: str
    gross: AttoFil
    fee_cost: AttoFil
    capital_cost: AttoFil
    carried: AttoFil
    net: AttoFil
    deficit: AttoFil


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """A period as it is stored. `wins` are the block CIDs in it; revision 0 is the close, later ones are supplements."""

    record: PeriodRecord
    revision: int
    nets: tuple[PieceNet, ...]
    wins: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def period(self) -> int:
        """The period's number: epoch // 2880."""
        return self.record.period

    @property
    def last_epoch(self) -> Epoch:
        """The last epoch in it."""
        return Epoch((self.period + 1) * PERIOD_EPOCHS - 1)

    def owed(self) -> dict[Address, AttoFil]:
        """What the period adds to each payee's account, after costs."""
        sums: defaultdict[Address, int] = defaultdict(int)
        for line in self.nets:
            sums[line.payee] += line.net.value
        return {payee: AttoFil(value) for payee, value in sorted(sums.items()) if value}


def split_in_order(
    wins: Iterable[WinInputs], budget_paid: Mapping[BudgetKey, AttoFil]
) -> tuple[list[WinSplit], list[WinUnknown], dict[BudgetKey, AttoFil]]:
    """The splits of `wins` in their order, the unknown ones, and what fixed budgets have paid afterwards."""
    paid = dict(budget_paid)
    splits: list[WinSplit] = []
    unknown: list[WinUnknown] = []
    for inputs in wins:
        produced = tuple(
            replace(item, budget_paid=paid.get((item.payee, item.job), AttoFil(0)))
            for item in inputs.produced
        )
        result = split_win(replace(inputs, produced=produced))
        if isinstance(result, WinUnknown):
            unknown.append(result)
            continue
        splits.append(result)
        for part in result.parts:
            if part.basis is Basis.FIXED_BUDGET:
                key = (part.payee, part.job)
                paid[key] = paid.get(key, AttoFil(0)) + part.amount
    return splits, unknown, paid


@dataclass(frozen=True, slots=True)
class HoldingsAt:
    """The provider's active sectors and held pieces after `epoch`."""

    epoch: Epoch
    sectors: Sequence[SectorOnChainInfo]
    sector_size: int
    pieces: Sequence[HeldPiece]
    solstice_epoch: Epoch | None


def period_costs(
    holdings: HoldingsAt,
    produced: Iterable[ProducedPiece],
    used: Iterable[UsedPiece],
    terms: CostTerms,
    *,
    last: Epoch,
) -> dict[CostKey, tuple[AttoFil, AttoFil]]:
    """(daily fee, cost of capital) that each payee bears for each piece in a period, rounded up.

    `holdings` are those of the look-back epoch of the period's `last` epoch; a piece that came within the period bears
    its part of it, and so does a use. A use whose window is over bears nothing: it gets nothing either. Costs concern `verified_extra` only: the other bases share no extra.

    Raises:
        ValueError: `verified_extra` is used and the cost of capital is not set.
    """
    worths = piece_worths(
        holdings.sectors,
        holdings.sector_size,
        holdings.pieces,
        holdings.epoch,
        holdings.solstice_epoch,
    )
    by_number = {sector.number: sector for sector in holdings.sectors}
    costs: defaultdict[CostKey, list[int]] = defaultdict(lambda: [0, 0])
    for share in _cost_shares(produced, used, terms, last, worths):
        worth = worths[share.piece]
        if not worth.verified:
            continue
        if terms.capital_cost_apr_bps is None:
            raise ValueError("verified_extra needs earnings.capital_cost_apr_bps; 0 is allowed")
        epochs = min(share.epochs, max(0, holdings.epoch + 1 - worth.piece.from_epoch))
        sector = by_number[worth.piece.sector]
        size = int(worth.piece.padded_size)
        for index, cost in enumerate(
            _piece_cost(worth, sector, epochs, terms.capital_cost_apr_bps)
        ):
            costs[share.payee, share.piece][index] += payee_cost(
                cost,
                share_bps=share.bps,
                counted_bytes=min(share.counted_bytes, size),
                padded_size=size,
            ).value
    return {key: (AttoFil(fee), AttoFil(capital)) for key, (fee, capital) in costs.items()}


@dataclass(frozen=True, slots=True)
class _CostShare:
    payee: Address
    piece: str
    bps: int
    counted_bytes: int
    epochs: int  # of the period in which it has the share


def _cost_shares(
    produced: Iterable[ProducedPiece],
    used: Iterable[UsedPiece],
    terms: CostTerms,
    last: Epoch,
    worths: Mapping[str, PieceWorth],
) -> list[_CostShare]:
    shares = [
        _CostShare(
            item.payee,
            item.piece_key,
            min(item.terms.output_bps, item.terms.max_share_bps),
            item.bounded_bytes,
            PERIOD_EPOCHS,
        )
        for item in produced
        if item.terms.basis is Basis.VERIFIED_EXTRA and item.piece_key in worths
    ]
    for key, counting in uses_by_piece(used, last, terms.input_window_epochs).items():
        uses = [use for use in counting if use.terms.basis is Basis.VERIFIED_EXTRA]
        if key not in worths:
            continue
        # A bonus for use is divided among all uses of the same bytes, and so is its cost.
        shares += [
            _CostShare(
                use.payee,
                key,
                -(-use.terms.input_bps // len(part.uses)),
                part.counted_bytes,
                min(PERIOD_EPOCHS, last + 1 - use.used_at),
            )
            for part in used_ranges(uses, worths[key].piece.padded_size)
            for use in part.uses
        ]
    return shares


def bears_costs(produced: Iterable[ProducedPiece], used: Iterable[UsedPiece]) -> bool:
    """Whether any of these shares can bear costs at all."""
    terms = [*(item.terms for item in produced), *(item.terms for item in used)]
    return any(item.basis is Basis.VERIFIED_EXTRA for item in terms)


def _piece_cost(
    worth: PieceWorth, sector: SectorOnChainInfo, epochs: int, apr_bps: int
) -> tuple[AttoFil, AttoFil]:
    fee = daily_fee_cost(sector.daily_fee, worth.verified, worth.sector_qap, epochs=epochs)
    capital = capital_cost(
        sector.initial_pledge, worth.verified, worth.sector_qap, apr_bps=apr_bps, epochs=epochs
    )
    return fee, capital


def close_period(
    period: int,
    revision: int,
    splits: Sequence[WinSplit],
    unknown: Sequence[WinUnknown],
    *,
    costs: Mapping[CostKey, tuple[AttoFil, AttoFil]],
    carried: Mapping[CostKey, AttoFil],
) -> ClosedPeriod:
    """The period of these splits. `carried` are the deficits (at most 0) that earlier periods left per payee and piece."""
    gross: defaultdict[CostKey, int] = defaultdict(int)
    for split in splits:
        for part in split.parts:
            gross[part.payee, part.piece_key] += part.amount.value
    nets = []
    nothing = AttoFil(0)
    for key in sorted(gross.keys() | costs.keys()):
        earned = AttoFil(gross.get(key, 0))
        fee, capital = costs.get(key, (nothing, nothing))
        before = carried.get(key, nothing)
        result = net_period(earned, fee + capital, before)
        payee, piece = key
        nets.append(
            PieceNet(payee, piece, earned, fee, capital, before, result.net, result.deficit)
        )
    return ClosedPeriod(
        record=summarise_period(period, splits),
        revision=revision,
        nets=tuple(nets),
        wins=tuple(split.win for split in splits),
        unknown=tuple(f"{item.win}: {item.reason.value}: {item.detail}" for item in unknown),
    )

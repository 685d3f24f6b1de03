"""Who gets which part of one won block: a pure function of the recorded inputs.

Every share is an exact fraction of what was credited; all fractions of one (win, payee, job) are added first and rounded
down once, and what is left stays with the provider. Per piece the rounding is spread by cumulative sums, so the parts of a
(payee, job) add up to its floor and all parts and the provider's remainder add up to the shareable amount.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from fil_plus.pieces import HeldPiece, SubPiece
from fil_plus.power import divide_verified_space, sector_qap
from fil_plus.regimes import Regime, data_earns_extra, regime_of
from fil_plus.terms import WHOLE_BPS, Basis
from fil_plus.win_values import (
    Part,
    PartSource,
    PieceWorth,
    ProducedPiece,
    UnknownReason,
    UsedPiece,
    UsedRange,
    WinInputs,
    WinSplit,
    WinUnknown,
    place_order,
)
from lotus_client.address import Address
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import AttoFil, Epoch, SectorNumber

__all__ = ["cap_counted_bytes", "piece_worths", "split_win", "used_ranges", "uses_by_piece"]


def cap_counted_bytes(
    pieces: Sequence[tuple[str, int]], max_output_bytes: int
) -> tuple[tuple[str, int], ...]:
    """The (piece key, counted bytes) of one job's output cut off at `max_output_bytes` in all, in the given order."""
    left = max_output_bytes
    capped = []
    for key, counted in pieces:
        taken = min(counted, left)
        capped.append((key, taken))
        left -= taken
    return tuple(capped)


def split_win(inputs: WinInputs) -> WinSplit | WinUnknown:
    """Divide one win, or say why it cannot be divided.

    `verified_extra` and `qap_share` give each producer its `output_bps` of its bytes' part; each user its `input_bps` of the
    whole piece's part, divided by payee groups, then by jobs. Per piece output and input together never exceed `max_share_bps`:
    the bonus for use gives way. `fixed_budget` pays what has come due and is not paid yet, all budgets of one win
    together at most each one's `max_share_bps` of the win.
    """
    unknown = _why_unknown(inputs)
    if unknown is not None:
        return unknown
    assert inputs.credited is not None
    assert inputs.miner_qap is not None
    assert inputs.sectors is not None
    shareable = inputs.credited.value
    if not inputs.include_tips:
        shareable -= inputs.gas_reward.value
    shareable = max(shareable, 0)
    worths = piece_worths(
        inputs.sectors,
        inputs.sector_size,
        inputs.pieces,
        inputs.lookback_epoch,
        inputs.solstice_epoch,
    )
    shares = _produced_shares(inputs, worths) + _used_shares(inputs, worths)
    parts = _floor_parts(shares, shareable)
    parts += _budget_parts(inputs, worths, shareable, sum(part.amount.value for part in parts))
    parts.sort(key=lambda part: part.order)
    provider = shareable - sum(part.amount.value for part in parts)
    return WinSplit(inputs.win, inputs.epoch, AttoFil(shareable), tuple(parts), AttoFil(provider))


def piece_worths(
    sectors: Iterable[SectorOnChainInfo],
    sector_size: int,
    pieces: Iterable[HeldPiece],
    lookback_epoch: Epoch,
    solstice_epoch: Epoch | None,
) -> dict[str, PieceWorth]:
    """The worth of every piece held at `lookback_epoch` in one of the active `sectors`, by key."""
    by_sector: dict[SectorNumber, list[HeldPiece]] = defaultdict(list)
    for piece in pieces:
        if piece.is_held_at(lookback_epoch):
            by_sector[piece.sector].append(piece)
    worths: dict[str, PieceWorth] = {}
    for sector in sectors:
        held = by_sector.get(sector.number)
        if not held:
            continue
        verified: dict[str, int] = {}
        if data_earns_extra(sector, solstice_epoch):
            verified = divide_verified_space(sector, held).by_piece
        power = sector_qap(sector, sector_size)
        for piece in held:
            worth = PieceWorth(piece, verified.get(piece.key, 0), power, sector_size)
            worths[piece.key] = worth
    return worths


def _why_unknown(inputs: WinInputs) -> WinUnknown | None:
    def unknown(reason: UnknownReason, detail: str) -> WinUnknown:
        return WinUnknown(inputs.win, inputs.epoch, reason, detail)

    if regime_of(inputs.network_version) is Regime.UNKNOWN:
        detail = f"network version {inputs.network_version} is newer than this software knows"
        return unknown(UnknownReason.NETWORK_VERSION_UNKNOWN, detail)
    if inputs.credited is None:
        return unknown(UnknownReason.CREDITED_UNKNOWN, "the award's trace could not be read")
    if not inputs.miner_qap:
        detail = f"the miner's power at epoch {inputs.lookback_epoch} is not known"
        return unknown(UnknownReason.POWER_UNKNOWN, detail)
    if inputs.sectors is None:
        detail = f"the sectors active at epoch {inputs.lookback_epoch} are not known"
        return unknown(UnknownReason.SECTORS_UNKNOWN, detail)
    total = sum(sector_qap(sector, inputs.sector_size) for sector in inputs.sectors)
    if total != inputs.miner_qap:
        detail = (
            f"{len(inputs.sectors)} sectors known at epoch {inputs.lookback_epoch} have {total} bytes "
            f"of power, the chain says {inputs.miner_qap}"
        )
        return unknown(UnknownReason.POWER_MISMATCH, detail)
    return None


@dataclass(frozen=True, slots=True)
class _Share:
    payee: Address
    job: str
    piece_key: str
    source: PartSource
    basis: Basis
    fraction: Fraction  # of the shareable amount
    sub_piece: SubPiece | None


def _produced_shares(inputs: WinInputs, worths: dict[str, PieceWorth]) -> list[_Share]:
    assert inputs.miner_qap is not None
    room: dict[str, int] = {key: worth.piece.padded_size for key, worth in worths.items()}
    shares = []
    for produced in inputs.produced:
        worth = worths.get(produced.piece_key)
        if worth is None or produced.terms.basis is Basis.FIXED_BUDGET:
            continue
        # several jobs in one piece can never count for more bytes than the piece has
        counted = min(produced.bounded_bytes, room[produced.piece_key])
        room[produced.piece_key] -= counted
        bps = min(produced.terms.output_bps, produced.terms.max_share_bps)
        power = worth.power(produced.terms.basis, counted)
        shares.append(
            _Share(
                produced.payee,
                produced.job,
                produced.piece_key,
                PartSource.PRODUCED,
                produced.terms.basis,
                power * bps / (WHOLE_BPS * inputs.miner_qap),
                produced.sub_piece,
            )
        )
    return shares


def _used_shares(inputs: WinInputs, worths: dict[str, PieceWorth]) -> list[_Share]:
    assert inputs.miner_qap is not None
    shares = []
    for key, uses in sorted(
        uses_by_piece(inputs.used, inputs.epoch, inputs.input_window_epochs).items()
    ):
        worth = worths.get(key)
        if worth is None:
            continue
        for part in used_ranges(uses, worth.piece.padded_size):
            output_bps = _output_bps(inputs.produced, key, part.sub_piece)
            groups: dict[str, list[UsedPiece]] = defaultdict(list)
            for use in part.uses:
                groups[use.payee_group].append(use)
            for members in groups.values():
                for use in members:
                    bps = min(use.terms.input_bps, max(use.terms.max_share_bps - output_bps, 0))
                    power = worth.power(use.terms.basis, part.counted_bytes)
                    fraction = power * bps / (WHOLE_BPS * inputs.miner_qap)
                    fraction /= len(groups) * len(members)
                    shares.append(_use_share(use, fraction))
    return shares


def _use_share(use: UsedPiece, fraction: Fraction) -> _Share:
    return _Share(
        use.payee,
        use.job,
        use.piece_key,
        PartSource.USED,
        use.terms.basis,
        fraction,
        use.sub_piece,
    )


def _output_bps(produced: Iterable[ProducedPiece], key: str, sub_piece: SubPiece | None) -> int:
    """The highest share of a result in those bytes; of the rest of a piece, of any result in the piece."""
    found = 0
    for item in produced:
        apart = None not in (sub_piece, item.sub_piece) and sub_piece != item.sub_piece
        if item.piece_key == key and not apart:
            found = max(found, min(item.terms.output_bps, item.terms.max_share_bps))
    return found


def used_ranges(uses: Iterable[UsedPiece], padded_size: int) -> tuple[UsedRange, ...]:
    """A piece of that size cut where uses differ: each sub-piece that is used, then the rest, with who used it.

    Who used the whole piece used its sub-pieces too. These do not overlap, so the ranges together are never more than the piece.
    """
    whole = [use for use in uses if use.sub_piece is None]
    inside: dict[SubPiece, list[UsedPiece]] = defaultdict(list)
    for use in uses:
        if use.sub_piece is not None:
            inside[use.sub_piece].append(use)
    ranges, left = [], padded_size
    for sub_piece, own in sorted(inside.items()):
        counted = max(use.counted_bytes or 0 for use in own)
        counted = min(counted, sub_piece.unpadded_size, left)
        left -= counted
        ranges.append(UsedRange(sub_piece, counted, (*whole, *own)))
    if whole:
        ranges.append(UsedRange(None, left, tuple(whole)))
    return tuple(ranges)


def uses_by_piece(
    used: Iterable[UsedPiece], epoch: Epoch, window: int
) -> dict[str, list[UsedPiece]]:
    """The uses that count at `epoch`: inside the window, with a share, first run of the same work by a group."""
    by_piece: dict[str, list[UsedPiece]] = defaultdict(list)
    seen: set[tuple[str, str, str]] = set()
    for use in sorted(used, key=lambda use: (use.used_at, use.job)):
        in_window = use.used_at <= epoch < use.used_at + window
        if not in_window or not use.terms.input_bps or use.terms.basis is Basis.FIXED_BUDGET:
            continue
        identity = (use.piece_key, use.payee_group, use.work)
        if identity not in seen:
            seen.add(identity)
            by_piece[use.piece_key].append(use)
    return by_piece


def _floor_parts(shares: list[_Share], shareable: int) -> list[Part]:
    """One floor per (payee, job), spread over its pieces by cumulative floors; parts of 0 are left out."""
    by_payee: dict[tuple[Address, str], list[_Share]] = defaultdict(list)
    for share in shares:
        by_payee[share.payee, share.job].append(share)
    parts = []
    for (payee, job), group in by_payee.items():
        total, given = Fraction(0), 0
        for share in _joined(group):
            total += share.fraction
            amount = total.numerator * shareable // total.denominator - given
            given += amount
            if amount:
                parts.append(
                    Part(
                        payee,
                        job,
                        share.piece_key,
                        share.source,
                        share.basis,
                        AttoFil(amount),
                        share.sub_piece,
                    )
                )
    return parts


def _joined(group: Iterable[_Share]) -> list[_Share]:
    """In their order, those of the same piece, source and place as one: the ranges of one use are one part."""
    joined: dict[tuple[str, str, str, tuple[int, int]], _Share] = {}
    for share in group:
        name = (
            share.piece_key,
            share.source.value,
            share.basis.value,
            place_order(share.sub_piece),
        )
        before = joined.get(name)
        fraction = share.fraction + (before.fraction if before else 0)
        joined[name] = replace(share, fraction=fraction)
    return [joined[name] for name in sorted(joined)]


def _budget_parts(
    inputs: WinInputs, worths: dict[str, PieceWorth], shareable: int, already: int
) -> list[Part]:
    """Fixed budgets in the order of (payee, job, piece): what is due and unpaid, as far as the win goes."""
    parts = []
    paid: dict[tuple[Address, str], int] = {}
    given = 0
    budgets = [
        produced
        for produced in inputs.produced
        if produced.terms.basis is Basis.FIXED_BUDGET and produced.piece_key in worths
    ]
    for produced in sorted(
        budgets,
        key=lambda item: (item.payee, item.job, item.piece_key, place_order(item.sub_piece)),
    ):
        if produced.counted_bytes <= 0:
            continue
        job = (produced.payee, produced.job)
        before = paid.setdefault(job, produced.budget_paid.value)
        terms = produced.terms
        due = terms.budget_due(
            worths[produced.piece_key].piece.from_epoch, inputs.lookback_epoch
        ).value
        room = min(
            shareable * terms.max_share_bps // WHOLE_BPS - given, shareable - already - given
        )
        amount = max(min(due - before, room), 0)
        if amount:
            paid[job] += amount
            given += amount
            parts.append(
                Part(
                    produced.payee,
                    produced.job,
                    produced.piece_key,
                    PartSource.PRODUCED,
                    Basis.FIXED_BUDGET,
                    AttoFil(amount),
                    produced.sub_piece,
                )
            )
    return parts

"""Quality-adjusted power of a sector with the actors' own integers, and whose verified space it is.

Source: builtin-actors `actors/miner/src/policy.rs` (`quality_for_weight`, `qa_power_for_weight`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fil_plus.pieces import HeldPiece, ProvenanceKind
from fil_plus.regimes import FULL_QA_POWER_FLAG
from lotus_client.state import SectorOnChainInfo

__all__ = [
    "EXTRA_MULTIPLIER",
    "VerifiedDivision",
    "divide_verified_space",
    "quality",
    "sector_qap",
    "verified_space",
]

_QUALITY_PRECISION: Final = 20  # SECTOR_QUALITY_PRECISION: bits of fixed point
_BASE_MULTIPLIER: Final = 10  # QUALITY_BASE_MULTIPLIER
_VERIFIED_MULTIPLIER: Final = 100  # VERIFIED_DEAL_WEIGHT_MULTIPLIER

# A verified byte counts 10, of which 9 are caused by its being verified.
EXTRA_MULTIPLIER: Final = (_VERIFIED_MULTIPLIER - _BASE_MULTIPLIER) // _BASE_MULTIPLIER


def quality(sector_size: int, duration: int, verified_weight: int) -> int:
    """Sector quality in 20-bit fixed point; 2**20 is a sector without verified data, 10 * 2**20 a full one.

    `duration` in epochs, `verified_weight` in byte-epochs. Both divisions round down, as in the actor.

    Raises:
        ValueError: duration or size is not positive.
    """
    if sector_size <= 0 or duration <= 0:
        raise ValueError(f"sector size {sector_size} and duration {duration} must be positive")
    space_time = sector_size * duration
    weighted = (space_time - verified_weight) * _BASE_MULTIPLIER
    weighted += verified_weight * _VERIFIED_MULTIPLIER
    return (weighted << _QUALITY_PRECISION) // space_time // _BASE_MULTIPLIER


def sector_qap(sector: SectorOnChainInfo, sector_size: int) -> int:
    """Quality-adjusted power of `sector` in bytes while it is active.

    Raises:
        ValueError: the sector's expiration is not after its power base epoch.
    """
    if sector.flags & FULL_QA_POWER_FLAG:
        return sector_size * _VERIFIED_MULTIPLIER // _BASE_MULTIPLIER
    duration = sector.expiration - sector.power_base_epoch
    factor = quality(sector_size, duration, sector.verified_deal_weight)
    return (sector_size * factor) >> _QUALITY_PRECISION


def verified_space(sector: SectorOnChainInfo) -> int:
    """Verified bytes the sector's power counts: VerifiedDealWeight / (Expiration - PowerBaseEpoch), down.

    Raises:
        ValueError: the sector's expiration is not after its power base epoch.
    """
    duration = sector.expiration - sector.power_base_epoch
    if duration <= 0:
        raise ValueError(f"sector {sector.number} ends before its power base epoch")
    return sector.verified_deal_weight // duration


@dataclass(frozen=True, slots=True)
class VerifiedDivision:
    """Whose the verified space of a sector is, in bytes by held-piece key; `unattributed` has no claim we know."""

    by_piece: dict[str, int]
    unattributed: int


def divide_verified_space(
    sector: SectorOnChainInfo, pieces: Iterable[HeldPiece]
) -> VerifiedDivision:
    """The sector's verified space divided among the claims mapped to it; always sums to the whole.

    Each claim has its padded size if all fit. If they do not, some claim was dropped at an extension: the claims that
    reach the sector's expiration are the kept ones (an extension requires it of them). If even these do not fit,
    the space is divided in proportion to size, rounding down.
    """
    space = verified_space(sector)
    claims = [
        piece
        for piece in pieces
        if piece.sector == sector.number and piece.provenance.kind is ProvenanceKind.CLAIM
    ]
    if sum(piece.padded_size for piece in claims) > space:
        kept = [piece for piece in claims if piece.to_epoch >= sector.expiration]
        if kept:
            claims = kept
    total = sum(piece.padded_size for piece in claims)
    if total > space:
        by_piece = {piece.key: space * piece.padded_size // total for piece in claims}
    else:
        by_piece = {piece.key: int(piece.padded_size) for piece in claims}
    return VerifiedDivision(by_piece, space - sum(by_piece.values()))

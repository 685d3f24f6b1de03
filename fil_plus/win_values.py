"""The values that shares of wins are made of: who made or used what, a win, its parts, and what a piece is worth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from fil_plus.pieces import HeldPiece, SubPiece
from fil_plus.power import EXTRA_MULTIPLIER
from fil_plus.terms import INPUT_WINDOW_EPOCHS, Basis, ShareTerms
from lotus_client.address import Address
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import ActorId, AttoFil, Epoch, NetworkVersion

__all__ = [
    "Part",
    "PartSource",
    "PieceWorth",
    "ProducedPiece",
    "UnknownReason",
    "UsedPiece",
    "UsedRange",
    "WinInputs",
    "WinSplit",
    "WinUnknown",
    "place_order",
]


class PartSource(StrEnum):
    """Why a payee shares in a piece: its job made the piece, or its job read it."""

    PRODUCED = "produced"
    USED = "used"


@dataclass(frozen=True, slots=True)
class ProducedPiece:
    """A job's output inside a held piece.

    `counted_bytes` is payload of this job in the piece that no one held before: without padding, index, filler, blocks already
    held or taken from the inputs, and within the job's `max_output_bytes` (see `cap_counted_bytes`). A payload byte counts as one
    byte of the piece's padded size; the 1/128 that Fr32 adds stays with the provider.
    `budget_paid` is what earlier wins gave under `fixed_budget`, over all pieces of the job. With `sub_piece` the output is not
    the whole piece but one in it, and counts for no more bytes than that has room for.
    """

    piece_key: str
    payee: Address
    job: str
    counted_bytes: int
    terms: ShareTerms
    budget_paid: AttoFil = AttoFil(0)
    sub_piece: SubPiece | None = None

    @property
    def bounded_bytes(self) -> int:
        """The counted bytes that can lie where the output does."""
        counted = max(self.counted_bytes, 0)
        return counted if self.sub_piece is None else min(counted, self.sub_piece.unpadded_size)


@dataclass(frozen=True, slots=True)
class UsedPiece:
    """A job's use of a held piece: named in its bundle, verified blocks were read, and its dataset is listed for bonuses.

    `payee_group` joins linked payees; `work` is the digest of module and inputs, so that re-runs add nothing. `used_at` is
    the epoch of the run. With `sub_piece` the job named one in the piece, and the use is of its `counted_bytes` of payload.
    """

    piece_key: str
    payee: Address
    payee_group: str
    job: str
    work: str
    used_at: Epoch
    terms: ShareTerms
    sub_piece: SubPiece | None = None
    counted_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class UsedRange:
    """Bytes of a piece that the same uses are of, and the sub-piece they are, None: what no sub-piece of another range is."""

    sub_piece: SubPiece | None
    counted_bytes: int
    uses: tuple[UsedPiece, ...]


@dataclass(frozen=True, slots=True)
class WinInputs:
    """Everything that decides how one won block is divided.

    `sectors` are those active at `lookback_epoch` as recorded then, `miner_qap` is the miner's power the chain used in this
    election (`None` while unknown), `pieces` the held pieces of these sectors at the look-back epoch.
    `solstice_epoch` is the nv29 upgrade epoch, `None` before it. `sectors` is None when the table is not known for that epoch.
    """

    win: str  # names the win, e.g. the block CID
    epoch: Epoch
    provider: ActorId
    credited: AttoFil | None
    gas_reward: AttoFil
    include_tips: bool
    network_version: NetworkVersion
    solstice_epoch: Epoch | None
    lookback_epoch: Epoch
    miner_qap: int | None
    sector_size: int
    sectors: tuple[SectorOnChainInfo, ...] | None
    pieces: tuple[HeldPiece, ...]
    produced: tuple[ProducedPiece, ...] = ()
    used: tuple[UsedPiece, ...] = ()
    input_window_epochs: int = INPUT_WINDOW_EPOCHS


@dataclass(frozen=True, slots=True)
class Part:
    """One payee's part of a win for one piece, or for a sub-piece of it."""

    payee: Address
    job: str
    piece_key: str
    source: PartSource
    basis: Basis
    amount: AttoFil
    sub_piece: SubPiece | None = None

    @property
    def order(self) -> tuple[Address, str, str, str, tuple[int, int]]:
        """By payee, job, piece, source, and place in the piece: a whole piece comes first."""
        return self.payee, self.job, self.piece_key, self.source.value, place_order(self.sub_piece)


@dataclass(frozen=True, slots=True)
class WinSplit:
    """A divided win: `sum(parts) + provider == shareable`, exactly. `shareable` is credited less tips if these are not shared."""

    win: str
    epoch: Epoch
    shareable: AttoFil
    parts: tuple[Part, ...]
    provider: AttoFil


class UnknownReason(StrEnum):
    """Why a win cannot be divided now. Raw inputs stay recorded; it is never taken for zero."""

    CREDITED_UNKNOWN = "credited_unknown"
    POWER_UNKNOWN = "power_unknown"
    SECTORS_UNKNOWN = "sectors_unknown"
    CHAIN_GAP = "chain_gap"  # whether blocks were won at all is not known
    POWER_MISMATCH = "power_mismatch"  # Σ sector QAP is not the chain's: triggers one full read
    NETWORK_VERSION_UNKNOWN = (
        "network_version_unknown"  # accrual stops until the software is updated
    )


@dataclass(frozen=True, slots=True)
class WinUnknown:
    """A win that stays undivided, and why."""

    win: str
    epoch: Epoch
    reason: UnknownReason
    detail: str


@dataclass(frozen=True, slots=True)
class PieceWorth:
    """What one held piece contributes at a look-back epoch, in bytes of power.

    `verified` is its part w of its sector's recorded verified space, 0 if data earns no extra in that sector.
    """

    piece: HeldPiece
    verified: int
    sector_qap: int
    sector_size: int

    def power(self, basis: Basis, counted_bytes: int) -> Fraction:
        """Bytes of the miner's power that `counted_bytes` of the piece stand for under `basis`."""
        counted = min(max(counted_bytes, 0), self.piece.padded_size)
        if basis is Basis.VERIFIED_EXTRA:
            return Fraction(EXTRA_MULTIPLIER * self.verified * counted, self.piece.padded_size)
        return Fraction(self.sector_qap * counted, self.sector_size)


def place_order(sub_piece: SubPiece | None) -> tuple[int, int]:
    """Sorts sub-pieces by their place in the piece, the whole piece before all of them."""
    return (-1, 0) if sub_piece is None else (sub_piece.offset, sub_piece.padded_size)

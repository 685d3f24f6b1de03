"""The held piece: one piece of data in one sector of one provider, and why we know of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lotus_client.cid import Cid
from lotus_client.types import ActorId, Epoch, PaddedPieceSize, SectorNumber

__all__ = ["HeldPiece", "Provenance", "ProvenanceKind", "SubPiece", "aligned_offsets", "split_key"]


_MOST_DIGITS: Final = 18  # of an offset or a size, so that it fits in 64 bits


class ProvenanceKind(StrEnum):
    """What on chain says that the piece is held."""

    CLAIM = "claim"
    MARKET_DEAL = "market_deal"
    DDO = "ddo"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The record behind a held piece: its kind and the claim or deal id (`None` for DDO)."""

    kind: ProvenanceKind
    id: int | None


@dataclass(frozen=True, slots=True)
class HeldPiece:
    """A piece that a provider holds from `from_epoch` up to, not including, `to_epoch`.

    `to_epoch` is the end the record itself names (a claim's `term_start + term_max`, else the sector's expiration)
    or an earlier end seen on chain (claim removed, sector terminated). A claim outlives an expired sector, so whether the
    data is *proven* at an epoch is the sector table's answer, not this one's.
    """

    provider: ActorId
    piece_cid: Cid
    padded_size: PaddedPieceSize
    payload_size: int | None
    sector: SectorNumber
    offset: int | None  # padded bytes from the sector's start; None while unknown
    provenance: Provenance
    client: ActorId | None
    from_epoch: Epoch
    to_epoch: Epoch

    @property
    def key(self) -> str:
        """Stable text that names the piece at its provider: `claim:12`, `market_deal:5` or `ddo:7:baga…`.

        The same piece twice in one sector without a claim is one held piece: its bytes are the same.
        """
        if self.provenance.id is not None:
            return f"{self.provenance.kind.value}:{self.provenance.id}"
        return f"{self.provenance.kind.value}:{self.sector}:{self.piece_cid}"

    def is_held_at(self, epoch: Epoch) -> bool:
        """Whether the record covers `epoch`."""
        return self.from_epoch <= epoch < self.to_epoch


@dataclass(frozen=True, slots=True, order=True)
class SubPiece:
    """A piece that lies inside a held one: `offset` is in padded bytes from the held piece's start, a multiple of `padded_size`."""

    offset: int
    padded_size: PaddedPieceSize
    piece_cid: Cid  # version 1

    @property
    def label(self) -> str:
        """Text that names what it is and where in the held piece: `baga…@offset+size`."""
        return f"{self.piece_cid}@{self.offset}+{self.padded_size}"

    @property
    def unpadded_size(self) -> int:
        """The most payload bytes that it can have."""
        return self.padded_size // 128 * 127

    def key_in(self, held: str) -> str:
        """The key of the sub-piece, from that of the held piece: `claim:12@1048576+2048`."""
        return f"{held}@{self.offset}+{self.padded_size}"


def split_key(key: str) -> tuple[str, tuple[int, int] | None]:
    """The held piece's key, and the offset and size of the sub-piece if `key` is one that `SubPiece.key_in` made."""
    held, separator, place = key.rpartition("@")
    offset, plus, size = place.partition("+")
    digits = (
        place.isascii()
        and offset.isdigit()
        and size.isdigit()
        and max(len(offset), len(size)) <= _MOST_DIGITS
    )
    if not (separator and plus and digits):
        return key, None
    return held, (int(offset), int(size))


def aligned_offsets(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Padded offsets of the pieces of a sector given in their order: each is aligned to its own size.

    Source: CommD construction (builtin-actors `compute_unsealed_sector_cid` fills gaps with zero pieces).
    """
    offsets: list[int] = []
    cursor = 0
    for size in sizes:
        offset = -(-cursor // size) * size
        offsets.append(offset)
        cursor = offset + size
    return tuple(offsets)

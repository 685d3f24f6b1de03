"""Held pieces and the sub-pieces inside them, as people and jobs name them: by key, or by piece CID in either version.

The key of a sub-piece is that of the held piece around it with its place there: `claim:12@1048576+2048`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from deals.piece_cars import Window
from deals.piece_cid import decode_piece_cid_v2, encode_piece_cid_v1, encode_piece_cid_v2, root_of
from fil_plus.pieces import HeldPiece, ProvenanceKind, split_key
from lotus_client.cid import FIL_COMMITMENT_UNSEALED, Cid, CidError
from lotus_client.types import ClaimId, PaddedPieceSize
from sp_plugin.config import DatasetConfig
from sp_plugin.inputs.base import PieceRef
from sp_plugin.policy import datasets_of
from sp_plugin.store.piece_checks import CheckState, PieceCheck
from sp_plugin.store.sub_pieces import StoredSubPiece, SubPieceRepository, outer_of

__all__ = [
    "KnownPiece",
    "PieceName",
    "datasets_naming",
    "find_inside",
    "held_at",
    "parts_of",
    "with_root",
]


@dataclass(frozen=True, slots=True)
class KnownPiece:
    """A held piece with what reading it has shown, if it was read; or, with `part`, a sub-piece of it.

    The check of a sub-piece is that of the piece around it, with the sub-piece's own roots and payload.
    """

    piece: HeldPiece
    check: PieceCheck | None
    part: StoredSubPiece | None = None

    @property
    def key(self) -> str:
        """What names it at this provider."""
        return self.piece.key if self.part is None else self.part.part.key_in(self.piece.key)

    @property
    def piece_cid(self) -> Cid:
        """Its own piece CID."""
        return self.piece.piece_cid if self.part is None else self.part.part.piece_cid

    @property
    def padded_size(self) -> PaddedPieceSize:
        """Its own size."""
        return self.piece.padded_size if self.part is None else self.part.part.padded_size

    @property
    def payload_size(self) -> int | None:
        """Its own payload, None if it is not known."""
        return self.piece.payload_size if self.part is None else self.part.payload_size

    @property
    def offset(self) -> int | None:
        """Where it begins in its sector, in padded bytes; None while that is unknown."""
        offset = self.piece.offset
        if offset is None and self.check is not None:
            offset = self.check.offset
        if offset is None or self.part is None:
            return offset
        return offset + self.part.part.offset

    @property
    def window(self) -> Window | None:
        """Of a sub-piece: which unpadded bytes of the piece around it are its own."""
        if self.part is None:
            return None
        return Window(self.part.part.offset // 128 * 127, self.part.part.unpadded_size)

    @property
    def is_verified(self) -> bool:
        """Whether the bytes were right when they were last read."""
        return self.check is not None and self.check.state is CheckState.VERIFIED

    @property
    def roots(self) -> tuple[Cid, ...]:
        """The CAR roots in it, as far as they are known."""
        return self.check.roots if self.check else ()

    @property
    def names(self) -> tuple[Cid, ...]:
        """Its piece CIDs: version 1, and version 2 if the payload's size is known."""
        if self.payload_size is None or self.payload_size > self.padded_size // 128 * 127:
            return (self.piece_cid,)
        root = root_of(self.piece_cid)
        return (self.piece_cid, encode_piece_cid_v2(root, self.padded_size, self.payload_size))

    @property
    def claim_id(self) -> ClaimId | None:
        """The claim on it, or on the piece around it; None if it is held otherwise."""
        provenance = self.piece.provenance
        if provenance.kind is not ProvenanceKind.CLAIM or provenance.id is None:
            return None
        return ClaimId(provenance.id)

    def ref(self) -> PieceRef:
        """As far as jobs care."""
        return PieceRef(self.key, self.piece_cid, self.padded_size, self.claim_id)

    def inside(self, part: StoredSubPiece) -> KnownPiece:
        """A sub-piece of this piece."""
        check = self.check and replace(
            self.check,
            key=part.part.key_in(self.piece.key),
            payload_size=part.payload_size,
            roots=part.roots,
        )
        return KnownPiece(self.piece, check, part)


@dataclass(frozen=True, slots=True)
class PieceName:
    """What a piece CID says: the commitment, and of version 2 the size."""

    root: bytes
    padded_size: PaddedPieceSize | None

    @classmethod
    def of(cls, cid: Cid) -> Self:
        """The name in a piece CID of either version.

        Raises:
            CidError: it is no piece CID.
        """
        if cid.codec == FIL_COMMITMENT_UNSEALED:
            return cls(root_of(cid), None)
        info = decode_piece_cid_v2(cid)
        return cls(info.root, info.padded_size)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The name in a text; None if it is no piece CID."""
        try:
            return cls.of(Cid.parse(text))
        except (CidError, ValueError):
            return None

    @property
    def cid_v1(self) -> Cid:
        """The version 1 CID of it."""
        return encode_piece_cid_v1(self.root)

    def fits(self, cid: Cid, padded_size: int) -> bool:
        """Whether it names the piece with this CID and size."""
        return self.padded_size in (None, padded_size) and root_of(cid) == self.root


def datasets_naming(
    known: KnownPiece, datasets: Iterable[DatasetConfig]
) -> tuple[DatasetConfig, ...]:
    """The datasets that it belongs to: those that name it, or of a sub-piece the piece around it."""
    return datasets_of(known.piece, datasets, known.roots, known.names)


async def find_inside(
    held: Sequence[KnownPiece], name: PieceName, segments: SubPieceRepository
) -> list[KnownPiece]:
    """The sub-pieces of that name in the pieces that are held, those of verified pieces first."""
    found = []
    by_content: dict[tuple[Cid, PaddedPieceSize], list[KnownPiece]] = {}
    stored = await segments.named([name.cid_v1])
    if stored:
        for known in held:
            by_content.setdefault(outer_of(known.piece), []).append(known)
    for part in stored:
        if name.fits(part.part.piece_cid, part.part.padded_size):
            found += [known.inside(part) for known in by_content.get(part.outer, ())]
    return sorted(found, key=lambda known: not known.is_verified)


async def held_at(
    held: Sequence[KnownPiece], key: str, segments: SubPieceRepository
) -> KnownPiece | None:
    """The piece or sub-piece with that key; None if it is not held."""
    around, place = split_key(key)
    for known in held:
        if known.piece.key == key:
            return known
        if place is not None and known.piece.key == around:
            part = await segments.at(outer_of(known.piece), *place)
            return None if part is None else known.inside(part)
    return None


async def parts_of(
    known: KnownPiece, segments: SubPieceRepository, most: int
) -> Sequence[KnownPiece]:
    """The sub-pieces of a held piece by offset, at most so many."""
    return [known.inside(part) for part in await segments.of(outer_of(known.piece), most)]


async def with_root(known: KnownPiece, root: Cid, segments: SubPieceRepository) -> list[KnownPiece]:
    """The sub-pieces of a held piece whose CAR has this root."""
    found = await segments.with_root(outer_of(known.piece), root)
    return [known.inside(part) for part in found]

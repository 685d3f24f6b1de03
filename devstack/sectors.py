"""A sector being made: its pieces with the fillers between them, its commitments, and where in its life it stands."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from deals.commp import PieceCommitment, data_commitment, place_pieces, zero_commitment
from deals.piece_cid import encode_piece_cid_v1
from lotus_client.actors.miner import VerifiedAllocationKey
from lotus_client.cid import Cid
from lotus_client.types import Epoch, PaddedPieceSize, SectorNumber

__all__ = [
    "Sector",
    "SectorPiece",
    "SectorState",
    "StagedPiece",
    "commd_of",
    "lay_out",
    "made_up_replica",
    "open_payload",
]

# FIP-0013's codec and hash of a sealed sector's commitment (multicodec fil-commitment-sealed, poseidon-bls12_381-a2-fc1).
_SEALED_CODEC = 0xF102
_POSEIDON = 0xB401

_SMALLEST_PIECE = 128


class SectorState(StrEnum):
    """States of lotus-miner's sealing that occur here (`storage/pipeline/sector_state.go`)."""

    PRE_COMMITTING = "PreCommitting"
    WAIT_SEED = "WaitSeed"
    COMMITTING = "SubmitCommit"
    PROVING = "Proving"
    PRE_COMMIT_FAILED = "PreCommitFailed"
    COMMIT_FAILED = "CommitFailed"

    @property
    def is_failed(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in (SectorState.PRE_COMMIT_FAILED, SectorState.COMMIT_FAILED)


@dataclass(frozen=True, slots=True)
class StagedPiece:
    """A payload to put in a sector, its commitment at the size it will have there, and what it is kept for.

    `deal` is a market deal's id; a verified deal has its `allocation` too.
    """

    payload: bytes | Path
    commitment: PieceCommitment
    allocation: VerifiedAllocationKey | None = None
    deal: int | None = None


@dataclass(frozen=True, slots=True)
class SectorPiece:
    """One piece of a sector in its order; a filler of zeros has no staged payload. Sizes and offset are padded."""

    offset: int
    size: PaddedPieceSize
    piece_cid: Cid
    staged: StagedPiece | None = None


@dataclass(slots=True)
class Sector:
    """One sector of the provider. `pieces` are in order and fill the whole sector."""

    number: SectorNumber
    pieces: tuple[SectorPiece, ...]
    commd: Cid
    sealed_cid: Cid
    ticket: bytes
    ticket_epoch: Epoch
    expiration: Epoch
    state: SectorState = SectorState.PRE_COMMITTING
    messages: dict[str, Cid] = field(default_factory=dict)  # "precommit", "commit"
    last_error: str = ""


def open_payload(payload: bytes | Path) -> BinaryIO:
    """A reader of the payload from its start."""
    return io.BytesIO(payload) if isinstance(payload, bytes) else payload.open("rb")


def lay_out(staged: Sequence[StagedPiece], sector_size: int) -> tuple[SectorPiece, ...]:
    """The sector's pieces in the given order, each at a multiple of its size, with fillers to the end.

    Raises:
        ValueError: they do not fit.
    """
    placed = place_pieces((piece.commitment.root, piece.commitment.padded_size) for piece in staged)
    pieces: list[SectorPiece] = []
    end = 0
    for place, piece in zip(placed, staged, strict=True):
        pieces += _fillers(end, place.offset)
        pieces.append(
            SectorPiece(place.offset, place.padded_size, piece.commitment.piece_cid, piece)
        )
        end = place.offset + place.padded_size
    if end > sector_size:
        raise ValueError(f"the pieces need {end} padded bytes, the sector has {sector_size}")
    return (*pieces, *_fillers(end, sector_size))


def _fillers(start: int, end: int) -> list[SectorPiece]:
    """Pieces of zeros from `start` to `end`, each as large as its alignment and the gap allow."""
    fillers = []
    while start < end:
        size = 1 << ((end - start).bit_length() - 1)
        if start:
            size = min(size, start & -start)
        assert size >= _SMALLEST_PIECE
        cid = encode_piece_cid_v1(zero_commitment(size.bit_length() - 6))
        fillers.append(SectorPiece(start, PaddedPieceSize(size), cid))
        start += size
    return fillers


def commd_of(pieces: Sequence[SectorPiece], sector_size: int) -> Cid:
    """The unsealed CID (CommD) of the sector."""
    roots = ((piece.piece_cid.digest, piece.size) for piece in pieces)
    return encode_piece_cid_v1(data_commitment(roots, sector_size))


def made_up_replica(miner: int, number: SectorNumber, commd: Cid, ticket: bytes) -> Cid:
    """A well-formed CommR. It commits to no replica: the devnet does not seal, and its chain checks no proof."""
    digest = bytearray(hashlib.sha256(f"{miner}|{number}|{commd}|".encode() + ticket).digest())
    digest[31] &= 0x3F
    return Cid.of_digest(_SEALED_CODEC, _POSEIDON, bytes(digest))

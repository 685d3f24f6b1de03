"""Where the copies of a piece lie, and how that is known; each with the sources that may give its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import structlog

from deals.locate import PieceNotFound, aligned_candidates, candidate_offsets, confirm_offset
from deals.piece_cid import root_of
from deals.sources.several import Place, SeveralSources
from deals.sources.storage_path import StoragePathSource
from deals.unsealed import UnsealedError, UnsealedFile
from fil_plus.pieces import HeldPiece
from lotus_client.errors import LotusError
from lotus_client.miner_client import SectorStatus
from lotus_client.types import SectorNumber
from sp_plugin.store.piece_checks import PieceCheck

__all__ = ["Copy", "KnownBy", "PiecePlaces", "SectorBooks", "same_bytes"]

log = structlog.get_logger()


class KnownBy(StrEnum):
    """How a piece's offset in its sector is known. Whichever it is, only CommP over the bytes proves it."""

    MANIFEST = "manifest"  # the order of pieces in the message and event that activated or updated the sector
    SECTORS_STATUS = (
        "sectors_status"  # lotus-miner's own list of the sector's pieces, fillers included
    )
    COMMP = "commp"  # found by computing CommP at the aligned places of the unsealed file
    NOTHING = "unknown"


class SectorBooks(Protocol):
    """What a miner tells of a sector; `MinerClient` has it."""

    async def sector_status(self, number: SectorNumber) -> SectorStatus: ...


@dataclass(frozen=True, slots=True)
class Copy:
    """One held copy of a piece: `piece` has the offset as far as known; `problem` says why it is not."""

    piece: HeldPiece
    known_by: KnownBy
    problem: str = ""


def same_bytes(one: HeldPiece, other: HeldPiece) -> bool:
    """Whether two held pieces are copies of the same bytes."""
    sizes_equal = one.padded_size == other.padded_size
    return sizes_equal and root_of(one.piece_cid) == root_of(other.piece_cid)


@dataclass(frozen=True, slots=True)
class PiecePlaces:
    """Finds offsets, and puts copies and sources together. In the files of `unsealed` offsets are searched by CommP."""

    sources: SeveralSources | None
    unsealed: StoragePathSource | None
    books: SectorBooks | None
    sector_size: int

    async def copies(
        self,
        piece: HeldPiece,
        held: Sequence[HeldPiece],
        checks: Mapping[str, PieceCheck],
        *,
        search: bool = False,
    ) -> tuple[Copy, ...]:
        """All held copies of the piece, itself first. With `search` its own offset is looked for by CommP if nothing tells it."""
        others = [other for other in held if other.key != piece.key and same_bytes(other, piece)]
        found = [await self.locate(piece, checks.get(piece.key), search=search)]
        found += [await self.locate(other, checks.get(other.key)) for other in others]
        return tuple(found)

    def places(self, copies: Sequence[Copy]) -> tuple[Place, ...]:
        """Every copy at every source; a copy whose offset is unknown is of use to sources that go by CID."""
        if self.sources is None:
            return ()
        return self.sources.places([copy.piece for copy in copies])

    async def locate(
        self, piece: HeldPiece, check: PieceCheck | None, *, search: bool = False
    ) -> Copy:
        """The piece with its offset, by the first of the ways in `KnownBy` that tells it."""
        if piece.offset is not None:
            return Copy(piece, KnownBy.MANIFEST)
        offset, problem = await self._by_books(piece)
        if offset is not None:
            return Copy(replace(piece, offset=offset), KnownBy.SECTORS_STATUS)
        if not search and check and check.offset is not None:
            return Copy(replace(piece, offset=check.offset), KnownBy.COMMP)
        if search:
            offset, problem = await self._by_search(piece, problem)
            if offset is not None:
                return Copy(replace(piece, offset=offset), KnownBy.COMMP)
        return Copy(piece, KnownBy.NOTHING, problem)

    async def _by_books(self, piece: HeldPiece) -> tuple[int | None, str]:
        if self.books is None:
            return None, "the chain's events do not tell the order of the sector's pieces"
        try:
            status = await self.books.sector_status(piece.sector)
        except LotusError as error:
            log.warning("sector_status_unknown", sector=piece.sector, error=str(error))
            return None, f"the miner tells nothing of sector {piece.sector}: {error}"
        # Fillers are in the list, so the offsets that it adds up are right as they are.
        listed = [(entry.piece_cid, entry.padded_size) for entry in status.pieces]
        try:
            found = candidate_offsets(listed, piece.piece_cid, piece.padded_size)
        except ValueError as error:
            return None, f"the miner's list of sector {piece.sector} is of no use: {error}"
        if not found:
            return None, f"the miner does not list the piece in sector {piece.sector}"
        return found[0], ""

    async def _by_search(self, piece: HeldPiece, problem: str) -> tuple[int | None, str]:
        files = self.unsealed.files(piece.provider, piece.sector) if self.unsealed else ()
        for path in files:
            try:
                return await asyncio.to_thread(_find, path, self.sector_size, piece), ""
            except (PieceNotFound, UnsealedError, OSError, ValueError) as error:
                problem = str(error)
        return None, problem


def _find(path: Path, sector_size: int, piece: HeldPiece) -> int:
    with UnsealedFile.open(path, sector_size) as file:
        candidates = aligned_candidates(file, piece.padded_size)
        return confirm_offset(file, candidates, piece.piece_cid, piece.padded_size)

"""What reading a piece leaves behind: files beside its subtree roots, and in the store its blocks and the pieces inside it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from deals.checkpoint import Checkpoint
from deals.piece_cid import root_of
from deals.sources.several import Place
from deals.subtree_roots import SubtreeRoots, load_roots, save_roots
from fil_plus.pieces import HeldPiece
from sp_plugin.piece_content import PieceContent, content_of, index_place
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.sub_pieces import SubPieceRepository, outer_of

__all__ = ["PieceFindings"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PieceFindings:
    """Keeps them; `folder` has the files."""

    folder: Path
    blocks: HeldBlockRepository
    segments: SubPieceRepository

    def checkpoint(self, piece: HeldPiece) -> Checkpoint:
        """How far a reading of the piece came that did not end."""
        root = root_of(piece.piece_cid)
        return Checkpoint(self.folder, f"{piece.piece_cid}.partial", root, piece.padded_size)

    async def roots_of(self, piece: HeldPiece) -> SubtreeRoots | None:
        """The roots kept of a piece that was verified; None if they are not there."""
        cid = piece.piece_cid
        return await asyncio.to_thread(load_roots, self.folder, str(cid), root_of(cid))

    async def look_into(self, piece: HeldPiece, place: Place, proof: SubtreeRoots) -> PieceContent:
        """What is in a piece that was just verified at this place; its roots and where its blocks lie are kept as files.

        Raises:
            SourceError, OSError: it cannot be read again, or is no longer the same.
        """
        await asyncio.to_thread(save_roots, self.folder, str(piece.piece_cid), proof)
        index = index_place(self.folder, piece.piece_cid, piece.padded_size)
        return await asyncio.to_thread(
            content_of, await place.open(), piece.padded_size, proof, index
        )

    async def keep(self, piece: HeldPiece, content: PieceContent, now: int) -> None:
        """Keep in the store what is in a piece. It must be done before the piece is called verified."""
        await self.keep_segments(piece, content, now)
        name = self.origin(piece)
        if not await self.blocks.has(name, piece.from_epoch):
            await self.blocks.add(name, content.marks, epoch=piece.from_epoch, is_run=False)

    async def keep_segments(self, piece: HeldPiece, content: PieceContent, now: int) -> None:
        """Keep the confirmed segments, if they were looked for."""
        if content.segments is None:
            return
        await self.segments.save(outer_of(piece), content.segments, content.cars, read_at=now)
        for fault in content.segments.faults:
            log.warning("segment_refused", piece=piece.key, fault=str(fault))

    async def keep_blocks(self, piece: HeldPiece, reader: BinaryIO) -> None:
        """Keep the blocks in the bytes of a piece; closes the reader."""
        content = await asyncio.to_thread(content_of, reader, piece.padded_size)
        name = self.origin(piece)
        await self.blocks.add(name, content.marks, epoch=piece.from_epoch, is_run=False)

    async def has_blocks(self, piece: HeldPiece) -> bool:
        """Whether its blocks are kept."""
        return await self.blocks.has(self.origin(piece), piece.from_epoch)

    async def look_for_segments(
        self, piece: HeldPiece, reader: BinaryIO, proof: SubtreeRoots, now: int
    ) -> None:
        """Keep the segments of a piece that was verified earlier; closes the reader.

        Raises:
            SourceError, OSError: it cannot be read, or is no longer the same.
        """
        content = await asyncio.to_thread(content_of, reader, piece.padded_size, proof)
        await self.keep_segments(piece, content, now)

    @staticmethod
    def origin(piece: HeldPiece) -> str:
        """The name by which its blocks are kept."""
        return f"piece:{piece.piece_cid}"

"""The pieces this provider holds, as jobs and people use them: found, verified, and given out as files."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, cast

import structlog

from deals.blocks import BadBlock
from deals.car import CarError
from deals.denylist import Denylist
from deals.piece_cars import open_window
from deals.sources import PieceSource, SourceError
from deals.sources.several import SeveralSources
from deals.sources.storage_path import StoragePathSource
from deals.subtree_roots import VerifiedReader
from deals.volumes import VolumeLimits
from lotus_client.cid import Cid
from lotus_client.types import ActorId, Epoch
from sp_plugin.errors import Conflict, NotFound
from sp_plugin.inputs.base import HeldVolume, InputMissing, InputSealed, PieceRef
from sp_plugin.known_pieces import KnownPiece
from sp_plugin.piece_directory import HeldIndex
from sp_plugin.piece_findings import PieceFindings
from sp_plugin.piece_places import PiecePlaces, SectorBooks
from sp_plugin.piece_verification import PieceVerification
from sp_plugin.piece_volumes import PieceVolumes
from sp_plugin.piece_work import WorkStopped
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.piece_checks import CheckState, PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository

__all__ = ["Pieces"]

log = structlog.get_logger()

# What may be wrong with bytes that were right when they were verified.
_CHANGED: Final = (CarError, BadBlock, SourceError, OSError)


class Pieces(PieceVerification):
    """The held pieces of one provider; implements `inputs.base.PieceLibrary`. `clock` gives Unix nanoseconds.

    `admits` tells whether a piece is in a dataset, for the choice among several; whether a job may read it is policy's to say.

    `epoch` gives the epoch up to which the chain has been followed, None before the first step. A piece whose place in its
    sector the chain does not tell is looked up in `books`, the miner's own, and else searched in the files of `unsealed`.
    """

    def __init__(
        self,
        provider: ActorId,
        index: HeldIndex,
        checks: PieceCheckRepository,
        blocks: HeldBlockRepository,
        *,
        segments: SubPieceRepository,
        source: PieceSource | None,
        unsealed: StoragePathSource | None = None,
        books: SectorBooks | None = None,
        sector_size: int,
        cache_dir: Path,
        roots_dir: Path,
        make_room: Callable[[], VolumeLimits] = VolumeLimits,
        denylist: Callable[[], Denylist] = Denylist,
        admits: Callable[[KnownPiece], bool] = lambda _: True,
        epoch: Callable[[], Epoch | None],
        clock: Callable[[], int],
    ) -> None:
        several = source if isinstance(source, SeveralSources | None) else SeveralSources([source])
        super().__init__(
            provider,
            index,
            checks,
            segments=segments,
            where=PiecePlaces(several, unsealed, books, sector_size),
            admits=admits,
            epoch=epoch,
            findings=PieceFindings(roots_dir, blocks, segments),
            clock=clock,
        )
        self.volumes = PieceVolumes(cache_dir, roots_dir, segments, make_room, denylist)

    async def materialise(
        self, piece: PieceRef, root: Cid | None, path: str | None, into: Path
    ) -> HeldVolume:
        """See `PieceLibrary`. The volume is shared and read-only, in the cache; nothing is written below `into`.

        Bytes that are no longer those that were verified make it verify the piece anew, wherever it lies now, and try once more.
        """
        try:
            return await self._written_out(piece.key, root, path)
        except InputMissing:
            for other in await self._others(piece):
                try:
                    return await self._written_out(other.key, root, path)
                except InputMissing as why:
                    log.info("copy_unreadable", piece=other.key, error=str(why))
            raise

    async def _written_out(self, key: str, root: Cid | None, path: str | None) -> HeldVolume:
        known = await self.get(key)
        verified = known.is_verified
        if not verified:
            known = await self._verified(key)
        try:
            return await self._materialise(known, root, path)
        except _CHANGED as error:
            if not verified:
                raise _unreadable(error)(f"{key} cannot be read: {error}") from error
            await self.changed(key, error)
            first = error
        try:
            known = await self._verified(key)
            return await self._materialise(known, root, path)
        except (
            InputMissing
        ) as error:  # the block and byte that were wrong are what a person looks for
            raise type(error)(f"{key}: {first}; read again: {error}") from error
        except _CHANGED as error:
            raise _unreadable(error)(f"{key} cannot be read: {error}") from error

    async def _verified(self, key: str) -> KnownPiece:
        try:
            check = await self.verify(key)
            if check.state is CheckState.MISMATCH:  # waiting makes no other bytes of them
                raise InputMissing(f"{key} is {check.state}: {check.detail}")
            if check.state is not CheckState.VERIFIED:
                raise InputSealed(f"{key} is {check.state}: {check.detail}")
            return await self.get(key)
        except WorkStopped as error:
            raise InputSealed(str(error)) from error
        except NotFound as error:
            raise InputMissing(f"{key} is no longer held: {error}") from error

    async def _materialise(
        self, known: KnownPiece, root: Cid | None, path: str | None
    ) -> HeldVolume:
        return await self.volumes.make(known, lambda: self._own_bytes(known), root, path)

    async def _own_bytes(self, known: KnownPiece) -> BinaryIO:
        """The bytes of a piece, or of a sub-piece alone; not verified."""
        stream, window = await self._buffered(known.piece), known.window
        return stream if window is None else open_window(stream, window, owns_stream=True)

    async def open(self, key: str) -> BinaryIO:
        """A reader of the unpadded bytes of a piece or sub-piece; the caller closes it.

        A piece that was not verified yet is verified first. Every byte is verified again before it is given; where one copy's are
        wrong or end, another one's are read, and if none is right, RangeMismatch or another OSError is raised.

        Raises:
            NotFound: not held, or no bytes of it can be given; says why.
            Conflict: its bytes are not the piece.
        """
        known = await self.get(key)
        try:
            return await self._open(known)
        except (NotFound, Conflict):
            for other in await self._others(known.ref()):
                try:
                    return await self._open(other)
                except (NotFound, Conflict) as error:
                    log.info("copy_unreadable", piece=other.key, error=str(error))
            raise

    async def _open(self, known: KnownPiece) -> BinaryIO:
        window = known.window
        for is_last in (False, True):
            roots = await self.subtree_roots(known)
            if roots is None:
                known = await self._verified_for_reading(known)
                roots = await self.subtree_roots(known)
            try:
                reader = await self._reader(known.piece)
            except SourceError as error:
                if is_last:
                    raise NotFound("bytes of a held piece", error) from error
                await self.changed(known.piece.key, error)
                known = await self.get(known.piece.key)
                continue
            assert roots is not None
            proven = VerifiedReader(cast("BinaryIO", reader), roots, another=reader.another)
            stream = BufferedReader(proven, 1 << 20)
            return stream if window is None else open_window(stream, window, owns_stream=True)
        raise AssertionError("the second round returns or raises")

    async def _verified_for_reading(self, known: KnownPiece) -> KnownPiece:
        check = await self.verify(known.piece.key)
        if check.state is CheckState.MISMATCH:
            raise Conflict(f"{known.piece.key}: its bytes are not the piece: {check.detail}")
        if check.state is not CheckState.VERIFIED:
            raise NotFound("bytes of a held piece", f"{known.piece.key}: {check.detail}")
        return KnownPiece(known.piece, check)


def _unreadable(error: Exception) -> type[InputMissing]:
    """What bytes that cannot be read mean to a job: a source may be back later, a CAR that is broken stays so."""
    return InputMissing if isinstance(error, (CarError, BadBlock)) else InputSealed

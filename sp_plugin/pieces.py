"""The pieces this provider holds, as jobs and people use them: found, verified, and given out as files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import structlog

from deals.blocks import BadBlock, MissingBlock, UnknownHash
from deals.car import CarError
from deals.denylist import Denied, DenyingBlocks, Denylist
from deals.indexed_blocks import IndexedBlocks, IndexPlace
from deals.locate import PieceNotFound, aligned_candidates, confirm_offset
from deals.piece_cid import root_of
from deals.sources import PieceSource, SourceError, make_source
from deals.sources.several import SeveralSources
from deals.sources.storage_path import StoragePathSource
from deals.subtree_roots import VerifiedReader, load_roots, save_roots
from deals.unixfs import UnixFsError
from deals.unsealed import UnsealedError, UnsealedFile
from deals.verify import PieceMismatch, verify_piece
from deals.volumes import Volume, VolumeError, VolumeLimits, VolumeTooLarge
from deals.volumes import materialise as make_volume
from fil_plus.pieces import HeldPiece, ProvenanceKind
from lotus_client.cid import Cid
from lotus_client.types import ActorId, ClaimId, Epoch
from sp_plugin.config.sections import ProviderConfig
from sp_plugin.errors import BadInput, NotFound
from sp_plugin.inputs.base import HeldVolume, InputMissing, PieceRef
from sp_plugin.piece_content import content_of, index_place
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.piece_checks import CheckState, PieceCheck, PieceCheckRepository

__all__ = ["HeldIndex", "KnownPiece", "Pieces", "piece_source"]

_RETRY_NANOSECONDS: Final = 3600 * 10**9  # how long an unreadable piece is left alone

log = structlog.get_logger()


# Why the content that a job names cannot be given to it.
_UNREADABLE: Final = (
    CarError, UnixFsError, MissingBlock, BadBlock, UnknownHash, VolumeError, Denied,
)  # fmt: skip
_NO_SOURCE: Final = "provider.storage_paths and provider.sources are empty"


class HeldIndex(Protocol):
    """What is read of the chain's index; `ChainRepository` has it."""

    async def held_pieces(
        self, provider: ActorId, *, at: Epoch | None = None
    ) -> tuple[HeldPiece, ...]: ...
    async def set_payload_size(self, provider: ActorId, key: str, payload_size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class KnownPiece:
    """A held piece with what reading it has shown, if it was read."""

    piece: HeldPiece
    check: PieceCheck | None


class Pieces:
    """The held pieces of one provider; implements `inputs.base.PieceLibrary`. `clock` gives Unix nanoseconds.

    `epoch` gives the epoch up to which the chain has been followed, None before the first step. In the files of `unsealed`
    a piece is searched whose place in its sector the chain does not tell.
    """

    def __init__(
        self,
        provider: ActorId,
        index: HeldIndex,
        checks: PieceCheckRepository,
        blocks: HeldBlockRepository,
        *,
        source: PieceSource | None,
        unsealed: StoragePathSource | None = None,
        sector_size: int,
        cache_dir: Path,
        roots_dir: Path,
        make_room: Callable[[], VolumeLimits] = VolumeLimits,
        denylist: Callable[[], Denylist] = Denylist,
        epoch: Callable[[], Epoch | None],
        clock: Callable[[], int],
    ) -> None:
        self._provider = provider
        self._index = index
        self._checks = checks
        self._blocks = blocks
        self._looked_into: set[str] = set()  # verified pieces whose blocks are kept, or cannot be
        self._source = source
        self._unsealed = unsealed
        self._sector_size = sector_size
        self._cache = cache_dir
        self._roots = roots_dir
        self._make_room = make_room
        self._denylist = denylist
        self._epoch = epoch
        self._clock = clock

    async def known(self) -> tuple[KnownPiece, ...]:
        """The pieces held now, by key."""
        checks = await self._checks.all()
        pieces = await self._index.held_pieces(self._provider, at=self._epoch())
        return tuple(KnownPiece(piece, checks.get(piece.key)) for piece in pieces)

    async def get(self, key: str) -> KnownPiece:
        """The piece of that key.

        Raises:
            NotFound: it is not held.
        """
        for known in await self.known():
            if key in (known.piece.key, str(known.piece.piece_cid)):
                return known
        raise NotFound("held piece", key)

    async def find_piece(self, piece_cid: Cid | None, claim_id: ClaimId | None) -> PieceRef | None:
        """See `PieceLibrary`. Of several copies, one that was verified comes first."""
        found = [
            known
            for known in await self.known()
            if (piece_cid is None or known.piece.piece_cid == piece_cid)
            and (claim_id is None or _claim_of(known.piece) == claim_id)
        ]
        return _best(found)

    async def find_root(self, root: Cid) -> PieceRef | None:
        """See `PieceLibrary`. Roots are known of pieces that have been verified."""
        return _best(
            [known for known in await self.known() if known.check and root in known.check.roots]
        )

    async def materialise(
        self, piece: PieceRef, root: Cid | None, path: str | None, into: Path
    ) -> HeldVolume:
        """See `PieceLibrary`. The volume is shared and read-only, in the cache; nothing is written below `into`."""
        known = await self.get(piece.key)
        check = known.check
        if check is None or check.state is not CheckState.VERIFIED:
            check = await self.verify(piece.key)
        if check.state is not CheckState.VERIFIED:
            raise InputMissing(f"{piece.key} is {check.state}: {check.detail}")
        if root is None and not check.roots:
            raise InputMissing(
                f"{piece.key} holds no CAR with a root; name a path or another piece"
            )
        names = tuple(part for part in (path or "").split("/") if part)
        denylist = self._denylist()
        try:
            denylist.check(root or check.roots[0], names)
            reader = await self._open(replace(known.piece, offset=check.offset))
            with reader:
                place = index_place(self._roots, known.piece.piece_cid)
                volume = await asyncio.to_thread(
                    self._volume, reader, place, root or check.roots[0], names, denylist
                )
            for block in volume.blocks_read:  # it may have been in the cache before the list was
                denylist.check(block)
        except _UNREADABLE as error:
            raise InputMissing(f"{piece.key}: {error}") from error
        except (SourceError, OSError) as error:
            raise InputMissing(f"{piece.key} cannot be read: {error}") from error
        return HeldVolume(volume.path, volume.root, volume.size_bytes, volume.blocks_read)

    def _volume(
        self,
        reader: BinaryIO,
        place: IndexPlace,
        root: Cid,
        names: tuple[str, ...],
        denylist: Denylist,
    ) -> Volume:
        limits = self._make_room()
        try:
            with IndexedBlocks(reader, place) as indexed:
                blocks = DenyingBlocks(indexed, denylist)
                return make_volume(blocks, root, names, self._cache, limits)
        except VolumeTooLarge as error:
            if limits.max_bytes >= VolumeLimits().max_bytes:
                raise
            raise VolumeTooLarge(
                f"{error}, which is what the disk has above jobs.keep_free_bytes"
            ) from error

    async def verify(self, key: str) -> PieceCheck:
        """Read the piece's bytes and record what they are."""
        known = await self.get(key)
        check = await self._check(known.piece)
        await self._checks.save(check)
        if check.payload_size is not None:
            await self._index.set_payload_size(self._provider, known.piece.key, check.payload_size)
        return check

    async def verify_next(self) -> bool:
        """Verify one piece that needs it; whether there was one. Unreadable pieces are tried again hourly."""
        if self._source is None:
            return False
        now = self._clock()
        for known in await self.known():
            check = known.check
            if check is None or (
                check.state is CheckState.UNAVAILABLE
                and check.checked_at + _RETRY_NANOSECONDS < now
            ):
                await self.verify(known.piece.key)
                return True
            if check.state is CheckState.VERIFIED and known.piece.key not in self._looked_into:
                self._looked_into.add(known.piece.key)
                try:
                    await self.know_blocks(replace(known.piece, offset=check.offset))
                except (SourceError, OSError) as error:
                    log.warning("blocks_unknown", piece=known.piece.key, error=str(error))
        return False

    async def know_blocks(self, piece: HeldPiece) -> None:
        """Return when the blocks of a piece that was verified once are in the store, reading it if they are not.

        Raises:
            SourceError, OSError: they are not, and the piece cannot be read.
        """
        name = _origin(piece)
        if await self._blocks.has(name, piece.from_epoch):
            return
        if piece.offset is None:
            check = (await self._checks.all()).get(piece.key)
            piece = replace(piece, offset=check.offset if check else None)
        content = await asyncio.to_thread(content_of, await self._open(piece))
        await self._blocks.add(name, content.marks, epoch=piece.from_epoch, is_run=False)

    async def open(self, key: str) -> BinaryIO:
        """A reader of the unpadded bytes of a piece; the caller closes it.

        Of a piece that was verified, every byte is verified again before it is given; other bytes raise RangeMismatch.

        Raises:
            NotFound: not held, or no bytes of it can be given; says why.
        """
        known = await self.get(key)
        offset = known.check.offset if known.check else known.piece.offset
        try:
            reader = await self._open(replace(known.piece, offset=offset))
        except SourceError as error:
            raise NotFound("bytes of a held piece", error) from error
        if known.check is None or known.check.state is not CheckState.VERIFIED:
            return reader
        cid = known.piece.piece_cid
        roots = await asyncio.to_thread(load_roots, self._roots, str(cid), root_of(cid))
        if roots is None:
            return reader
        return BufferedReader(VerifiedReader(reader, roots), 1 << 20)

    async def _open(self, piece: HeldPiece) -> BinaryIO:
        if self._source is None:
            raise SourceError(piece.key, _NO_SOURCE)
        return await self._source.open(piece)

    async def _check(self, piece: HeldPiece) -> PieceCheck:
        now = self._clock()
        empty = PieceCheck(piece.key, CheckState.UNAVAILABLE, "", None, None, (), now)
        if self._source is None:
            return replace(empty, detail=_NO_SOURCE)
        try:
            located = piece if piece.offset is not None else await self._located(piece)
            outcome = await verify_piece(self._source, located)
            if isinstance(outcome, PieceMismatch):
                return replace(empty, state=CheckState.MISMATCH, detail=str(outcome))
            await asyncio.to_thread(
                save_roots, self._roots, str(piece.piece_cid), outcome.subtree_roots
            )
            reader = await self._source.open(located)
            index = index_place(self._roots, piece.piece_cid)
            content = await asyncio.to_thread(content_of, reader, outcome.subtree_roots, index)
        except (SourceError, PieceNotFound, UnsealedError, OSError, ValueError) as error:
            return replace(empty, detail=str(error))
        # First the blocks, then the check: a piece is only called verified when its blocks are known.
        if not await self._blocks.has(_origin(piece), piece.from_epoch):
            await self._blocks.add(
                _origin(piece), content.marks, epoch=piece.from_epoch, is_run=False
            )
        return PieceCheck(
            piece.key,
            CheckState.VERIFIED,
            "",
            located.offset,
            content.payload_size,
            content.roots,
            now,
        )

    async def _located(self, piece: HeldPiece) -> HeldPiece:
        """The piece with its place in the sector, found by CommP where the chain did not tell.

        It stays unknown if no unsealed file is at hand: other sources may do without.
        """
        failure: Exception | None = None
        files = self._unsealed.files(piece.provider, piece.sector) if self._unsealed else ()
        for path in files:
            try:
                offset = await asyncio.to_thread(_find, path, self._sector_size, piece)
            except (PieceNotFound, UnsealedError, ValueError) as error:
                failure = error
            else:
                return replace(piece, offset=offset)
        if failure is not None:
            raise failure
        return piece


def piece_source(provider: ProviderConfig, sector_size: int) -> PieceSource | None:
    """The configured places where pieces are read, as one; None if there are none.

    Raises:
        BadInput: a source's kind or options are wrong.
    """
    sources: list[PieceSource] = []
    if provider.storage_paths:
        sources.append(StoragePathSource(provider.storage_paths, sector_size))
    for position, item in enumerate(provider.sources):
        try:
            sources.append(make_source(item.kind, item.options))
        except ValueError as error:
            raise BadInput(str(error), field=f"provider.sources[{position}]") from error
    return SeveralSources(sources) if sources else None


def _claim_of(piece: HeldPiece) -> ClaimId | None:
    if piece.provenance.kind is not ProvenanceKind.CLAIM or piece.provenance.id is None:
        return None
    return ClaimId(piece.provenance.id)


def _best(found: list[KnownPiece]) -> PieceRef | None:
    found.sort(key=lambda known: not (known.check and known.check.state is CheckState.VERIFIED))
    if not found:
        return None
    piece = found[0].piece
    return PieceRef(piece.key, piece.piece_cid, piece.padded_size, _claim_of(piece))


def _origin(piece: HeldPiece) -> str:
    return f"piece:{piece.piece_cid}"


def _find(path: Path, sector_size: int, piece: HeldPiece) -> int:
    with UnsealedFile.open(path, sector_size) as file:
        candidates = aligned_candidates(file, piece.padded_size)
        return confirm_offset(file, candidates, piece.piece_cid, piece.padded_size)

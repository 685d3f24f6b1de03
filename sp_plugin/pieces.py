"""The pieces this provider holds, as jobs and people use them: found, verified, and given out as files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import structlog

from deals.blocks import BadBlock, MissingBlock, UnknownHash
from deals.car import CarError
from deals.checkpoint import Checkpoint
from deals.denylist import Denied, DenyingBlocks, Denylist
from deals.indexed_blocks import IndexedBlocks, IndexPlace
from deals.piece_cid import root_of
from deals.sources import PieceSource, PieceUnavailable, SourceError, make_source
from deals.sources.failing_over import FailingOver
from deals.sources.several import Place, SeveralSources
from deals.sources.storage_path import StoragePathSource
from deals.subtree_roots import SubtreeRoots, VerifiedReader, load_roots, save_roots
from deals.unixfs import UnixFsError
from deals.verify import PieceMismatch
from deals.verify_places import verify_places
from deals.volumes import Volume, VolumeError, VolumeLimits, VolumeTooLarge
from deals.volumes import materialise as make_volume
from fil_plus.pieces import HeldPiece, ProvenanceKind
from lotus_client.cid import Cid
from lotus_client.types import ActorId, ClaimId, Epoch
from sp_plugin.config.sections import ProviderConfig
from sp_plugin.errors import BadInput, Conflict, NotFound
from sp_plugin.inputs.base import HeldVolume, InputMissing, InputSealed, PieceRef
from sp_plugin.piece_content import PieceContent, content_of, index_place
from sp_plugin.piece_places import Copy, PiecePlaces, SectorBooks
from sp_plugin.piece_work import Kind, PieceWork, Report, Work, WorkStopped
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.piece_checks import CheckState, PieceCheck, PieceCheckRepository

__all__ = ["HeldIndex", "KnownPiece", "Pieces", "piece_source"]

_RETRY_NANOSECONDS: Final = 3600 * 10**9  # how long an unreadable piece is left alone
_RETRY_WRONG_NANOSECONDS: Final = 24 * _RETRY_NANOSECONDS  # and one whose bytes are another piece's
_SOON: Final = 15 * 10**9  # and one whose source is only busy

log = structlog.get_logger()


# Why the content that a job names cannot be given to it.
_UNREADABLE: Final = (
    CarError, UnixFsError, MissingBlock, BadBlock, UnknownHash, VolumeError, Denied,
)  # fmt: skip
# What may be wrong with bytes that were right when they were verified.
_CHANGED: Final = (CarError, BadBlock, SourceError, OSError)
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
        source: PieceSource | None,
        unsealed: StoragePathSource | None = None,
        books: SectorBooks | None = None,
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
        several = source if isinstance(source, SeveralSources | None) else SeveralSources([source])
        self.where = PiecePlaces(several, unsealed, books, sector_size)
        self.work = PieceWork(clock)
        self._again_at: dict[
            str, int
        ] = {}  # when a piece without bytes is read again, if not by the usual time
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
        """See `PieceLibrary`. The volume is shared and read-only, in the cache; nothing is written below `into`.

        Bytes that are no longer those that were verified make it verify the piece anew, wherever it lies now, and try once more.
        """
        known = await self.get(piece.key)
        verified = known.check is not None and known.check.state is CheckState.VERIFIED
        if not verified:
            known = await self._verified(piece.key)
        try:
            return await self._materialise(known, root, path)
        except _CHANGED as error:
            if not verified:
                raise InputSealed(f"{piece.key} cannot be read: {error}") from error
            await self.changed(piece.key, error)
            first = error
        try:
            known = await self._verified(piece.key)
            return await self._materialise(known, root, path)
        except (
            InputMissing
        ) as error:  # the block and byte that were wrong are what a person looks for
            raise type(error)(f"{piece.key}: {first}; read again: {error}") from error
        except _CHANGED as error:
            raise InputSealed(f"{piece.key} cannot be read: {error}") from error

    async def _verified(self, key: str) -> KnownPiece:
        try:
            check = await self.verify(key)
        except WorkStopped as error:
            raise InputSealed(str(error)) from error
        if check.state is not CheckState.VERIFIED:
            raise InputSealed(f"{key} is {check.state}: {check.detail}")
        return KnownPiece((await self.get(key)).piece, check)

    async def _materialise(
        self, known: KnownPiece, root: Cid | None, path: str | None
    ) -> HeldVolume:
        key, check = known.piece.key, known.check
        assert check is not None
        if root is None and not check.roots:
            raise InputMissing(f"{key} holds no CAR with a root; name a path or another piece")
        names = tuple(part for part in (path or "").split("/") if part)
        denylist = self._denylist()
        try:
            denylist.check(root or check.roots[0], names)
            place = index_place(self._roots, known.piece.piece_cid, known.piece.padded_size)
            with BufferedReader(await self._reader(known.piece), 1 << 16) as reader:
                volume = await asyncio.to_thread(
                    self._volume, reader, place, root or check.roots[0], names, denylist
                )
            for block in volume.blocks_read:  # it may have been in the cache before the list was
                denylist.check(block)
        except (CarError, BadBlock):
            raise
        except _UNREADABLE as error:
            raise InputMissing(f"{key}: {error}") from error
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
        """Read the piece's bytes and record what they are. Readings of one piece at the same time are one.

        Raises:
            WorkStopped: somebody stopped it.
        """
        check: PieceCheck = await self.work.wait(await self.start_verifying(key))
        return check

    async def start_verifying(self, key: str) -> Work:
        """`verify`, begun; how far it is can be seen."""
        known = await self.get(key)
        return self.work.start(
            Kind.VERIFY, known.piece.key, lambda report: self._verify(known, report)
        )

    async def _verify(self, known: KnownPiece, report: Report) -> PieceCheck:
        work = self.work.get(Kind.VERIFY, known.piece.key)
        while True:
            if work is not None:
                work.is_joined = False
            check = await self._check(known.piece, report)
            # who asked meanwhile may know of a copy that came when we had looked already
            if check.state is CheckState.VERIFIED or work is None or not work.is_joined:
                break
        await self._checks.save(check)
        if check.payload_size is not None:
            await self._index.set_payload_size(self._provider, known.piece.key, check.payload_size)
        return check

    async def changed(self, key: str, error: Exception) -> None:
        """Note that a verified piece's bytes are gone or others now; it is located and verified anew soon."""
        known = await self.get(key)
        if known.check is None or known.check.state is not CheckState.VERIFIED:
            return
        now = self._clock()
        detail = f"was verified, and then: {error}; it is looked for and read again"
        check = replace(known.check, state=CheckState.UNAVAILABLE, detail=detail, checked_at=now)
        await self._checks.save(check)
        self._again_at[known.piece.key] = now
        log.warning("piece_changed", piece=known.piece.key, error=str(error))

    async def verify_next(self) -> bool:
        """Verify one piece that needs it; whether there was one.

        Pieces without bytes are tried again hourly, or soon if a source was only busy; those whose bytes are others, daily.
        """
        if self.where.sources is None:
            return False
        for known in await self.known():
            check = known.check
            if self._is_due(known):
                await self.verify(known.piece.key)
                return True
            if (
                check
                and check.state is CheckState.VERIFIED
                and known.piece.key not in self._looked_into
            ):
                self._looked_into.add(known.piece.key)
                try:
                    await self.know_blocks(replace(known.piece, offset=check.offset))
                except (SourceError, OSError) as error:
                    log.warning("blocks_unknown", piece=known.piece.key, error=str(error))
        return False

    def _is_due(self, known: KnownPiece) -> bool:
        check, now = known.check, self._clock()
        if check is None:
            return True
        if check.state is CheckState.VERIFIED:
            return False
        wrong = check.state is CheckState.MISMATCH
        pause = _RETRY_WRONG_NANOSECONDS if wrong else _RETRY_NANOSECONDS
        due = self._again_at.get(known.piece.key, check.checked_at + pause + 1)
        return due <= now

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
        reader = BufferedReader(await self._reader(piece), 1 << 16)
        content = await asyncio.to_thread(content_of, reader, piece.padded_size)
        await self._blocks.add(name, content.marks, epoch=piece.from_epoch, is_run=False)

    async def open(self, key: str) -> BinaryIO:
        """A reader of the unpadded bytes of a piece; the caller closes it.

        A piece that was not verified yet is verified first. Every byte is verified again before it is given; where one copy's are
        wrong or end, another one's are read, and if none is right, RangeMismatch or another OSError is raised.

        Raises:
            NotFound: not held, or no bytes of it can be given; says why.
            Conflict: its bytes are not the piece.
        """
        known = await self.get(key)
        for is_last in (False, True):
            roots = await self._roots_of(known)
            if roots is None:
                known = await self._verified_for_reading(known)
                roots = await self._roots_of(known)
            try:
                reader = await self._reader(known.piece)
            except SourceError as error:
                if is_last:
                    raise NotFound("bytes of a held piece", error) from error
                await self.changed(known.piece.key, error)
                known = await self.get(known.piece.key)
                continue
            assert roots is not None
            source = cast("BinaryIO", reader)
            return BufferedReader(VerifiedReader(source, roots, another=reader.another), 1 << 20)
        raise AssertionError("the second round returns or raises")

    async def _roots_of(self, known: KnownPiece) -> SubtreeRoots | None:
        if known.check is None or known.check.state is not CheckState.VERIFIED:
            return None
        cid = known.piece.piece_cid
        return await asyncio.to_thread(load_roots, self._roots, str(cid), root_of(cid))

    async def _verified_for_reading(self, known: KnownPiece) -> KnownPiece:
        check = await self.verify(known.piece.key)
        if check.state is CheckState.MISMATCH:
            raise Conflict(f"{known.piece.key}: its bytes are not the piece: {check.detail}")
        if check.state is not CheckState.VERIFIED:
            raise NotFound("bytes of a held piece", f"{known.piece.key}: {check.detail}")
        return KnownPiece(known.piece, check)

    async def _reader(self, piece: HeldPiece) -> FailingOver:
        """The bytes of any copy of the piece from any source, not verified: for those that prove what they read."""
        if self.where.sources is None:
            raise SourceError(piece.key, _NO_SOURCE)
        places = self.where.places(await self.copies(piece))
        return await FailingOver.open(places, piece)

    async def copies(self, piece: HeldPiece, *, search: bool = False) -> tuple[Copy, ...]:
        """The copies held now, `piece` itself first; see `PiecePlaces.copies`."""
        held = await self._index.held_pieces(self._provider, at=self._epoch())
        return await self.where.copies(piece, held, await self._checks.all(), search=search)

    async def _check(self, piece: HeldPiece, report: Report) -> PieceCheck:
        now = self._clock()
        empty = PieceCheck(piece.key, CheckState.UNAVAILABLE, "", None, None, (), now)
        if self.where.sources is None:
            return replace(empty, detail=_NO_SOURCE)
        self._again_at.pop(piece.key, None)
        report(0, None, "locating")
        copies = await self.copies(piece, search=True)
        try:
            outcome, place = await verify_places(
                self.where.places(copies),
                piece,
                self._checkpoint(piece),
                on_progress=lambda done, total: report(done, total, "reading"),
            )
            if isinstance(outcome, PieceMismatch):
                return replace(
                    empty, detail=f"{outcome} from {place.name}", state=CheckState.MISMATCH
                )
            await asyncio.to_thread(
                save_roots, self._roots, str(piece.piece_cid), outcome.subtree_roots
            )
            content = await self._content(piece, place, outcome.subtree_roots)
        except (SourceError, OSError, ValueError) as error:
            if isinstance(error, PieceUnavailable) and error.retry_after is not None:
                self._again_at[piece.key] = now + max(int(error.retry_after * 10**9), _SOON)
            why = copies[0].problem
            return replace(empty, detail=f"{error}" + (f" ({why})" if why else ""))
        # First the blocks, then the check: a piece is only called verified when its blocks are known.
        if not await self._blocks.has(_origin(piece), piece.from_epoch):
            await self._blocks.add(
                _origin(piece), content.marks, epoch=piece.from_epoch, is_run=False
            )
        return PieceCheck(
            piece.key,
            CheckState.VERIFIED,
            "" if place.piece.key == piece.key else f"by the copy in sector {place.piece.sector}",
            copies[0].piece.offset,
            content.payload_size,
            content.roots,
            now,
        )

    async def _content(self, piece: HeldPiece, place: Place, proof: SubtreeRoots) -> PieceContent:
        index = index_place(self._roots, piece.piece_cid, piece.padded_size)
        return await asyncio.to_thread(
            content_of, await place.open(), piece.padded_size, proof, index
        )

    def _checkpoint(self, piece: HeldPiece) -> Checkpoint:
        root = root_of(piece.piece_cid)
        return Checkpoint(self._roots, f"{piece.piece_cid}.partial", root, piece.padded_size)


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

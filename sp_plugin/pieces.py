"""The pieces this provider holds, as jobs and people use them: found, verified, and given out as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import structlog

from deals.blocks import BadBlock
from deals.car import CarError
from deals.denylist import Denylist
from deals.piece_cars import open_window
from deals.piece_cid import root_of
from deals.sources import PieceSource, PieceUnavailable, SourceError
from deals.sources.failing_over import FailingOver
from deals.sources.several import SeveralSources
from deals.sources.storage_path import StoragePathSource
from deals.subtree_roots import SubtreeRoots, VerifiedReader
from deals.verify import PieceMismatch
from deals.verify_places import verify_places
from deals.volumes import VolumeLimits
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid
from lotus_client.types import ActorId, ClaimId, Epoch
from sp_plugin.errors import Conflict, NotFound
from sp_plugin.inputs.base import HeldVolume, InputMissing, PieceRef
from sp_plugin.known_pieces import KnownPiece, PieceName, find_inside, held_at, with_root
from sp_plugin.piece_findings import PieceFindings
from sp_plugin.piece_places import Copy, PiecePlaces, SectorBooks
from sp_plugin.piece_volumes import PieceVolumes
from sp_plugin.piece_work import Kind, PieceWork, Report, Work, WorkStopped
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.piece_checks import CheckState, PieceCheck, PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository, outer_of

__all__ = ["HeldIndex", "KnownPiece", "Pieces"]

_RETRY_NANOSECONDS: Final = 3600 * 10**9  # how long an unreadable piece is left alone
_RETRY_WRONG_NANOSECONDS: Final = 24 * _RETRY_NANOSECONDS  # and one whose bytes are another piece's
_SOON: Final = 15 * 10**9  # and one whose source is only busy

log = structlog.get_logger()


# What may be wrong with bytes that were right when they were verified.
_CHANGED: Final = (CarError, BadBlock, SourceError, OSError)
_MOST_LOOKED_AT: Final = (
    1 << 18
)  # sub-pieces of a piece, when it matters which of them holds a root
_NO_SOURCE: Final = "provider.storage_paths and provider.sources are empty"


class HeldIndex(Protocol):
    """What is read of the chain's index; `ChainRepository` has it."""

    async def held_pieces(
        self, provider: ActorId, *, at: Epoch | None = None
    ) -> tuple[HeldPiece, ...]: ...
    async def set_payload_size(self, provider: ActorId, key: str, payload_size: int) -> None: ...


class Pieces:
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
        self._provider = provider
        self._index = index
        self._checks = checks
        self.segments = segments
        self._looked_into: set[str] = set()  # verified pieces whose blocks are kept, or cannot be
        several = source if isinstance(source, SeveralSources | None) else SeveralSources([source])
        self.where = PiecePlaces(several, unsealed, books, sector_size)
        self.work = PieceWork(clock)
        self._again_at: dict[
            str, int
        ] = {}  # when a piece without bytes is read again, if not by the usual time
        self._volumes = PieceVolumes(cache_dir, roots_dir, segments, make_room, denylist)
        self._findings = PieceFindings(roots_dir, blocks, segments)
        self._admits = admits
        self._epoch = epoch
        self._clock = clock

    async def known(self) -> tuple[KnownPiece, ...]:
        """The pieces held now, by key."""
        checks = await self._checks.all()
        pieces = await self._index.held_pieces(self._provider, at=self._epoch())
        return tuple(KnownPiece(piece, checks.get(piece.key)) for piece in pieces)

    async def get(self, key: str) -> KnownPiece:
        """The piece or sub-piece of that key or piece CID (version 1 or 2); of a CID a whole piece comes before sub-pieces.

        Raises:
            NotFound: it is not held.
        """
        known = await self.known()
        found = await held_at(known, key, self.segments)
        name = PieceName.parse(key)
        if found is None and name is not None:
            found = next(iter(await self._named(name, known)), None)
        if found is None:
            raise NotFound("held piece", key)
        return found

    async def inside(self, key: str) -> list[KnownPiece]:
        """The sub-pieces of that key or piece CID, those in verified pieces first; none if there are only whole pieces of it."""
        known = await self.known()
        found, name = await held_at(known, key, self.segments), PieceName.parse(key)
        if found is not None:
            return [found] if found.part else []
        return [] if name is None else await find_inside(known, name, self.segments)

    async def _named(self, name: PieceName, known: Sequence[KnownPiece]) -> list[KnownPiece]:
        """What is held of that name: whole pieces, then sub-pieces, of each the verified ones first."""
        whole = [one for one in known if name.fits(one.piece.piece_cid, one.piece.padded_size)]
        whole.sort(key=lambda one: not one.is_verified)
        return whole + await find_inside(known, name, self.segments)

    async def find_piece(self, piece_cid: Cid | None, claim_id: ClaimId | None) -> PieceRef | None:
        """See `PieceLibrary`. What is in a dataset comes first, then what is verified, and whole pieces before sub-pieces.

        A claim names its piece, or with a piece CID also one inside it.
        """
        known = [one for one in await self.known() if claim_id in (None, one.claim_id)]
        found = known
        if piece_cid is not None:
            found = await self._named(PieceName.of(piece_cid), known)
        return _best([one for one in found if self._admits(one)] or found)

    async def find_root(self, root: Cid) -> PieceRef | None:
        """See `PieceLibrary`. Roots are known of pieces that have been verified.

        A piece in a dataset comes first, then a sub-piece in one: that alone is read if the piece around is in none.
        """
        found = [known for known in await self.known() if root in known.roots]
        admitted = [known for known in found if self._admits(known)]
        for known in () if admitted else found:
            inside = await with_root(known, root, self.segments)
            admitted += [part for part in inside if self._admits(part)]
        return _best(admitted or found)

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

    async def _others(self, piece: PieceRef) -> list[KnownPiece]:
        """What else is held of the same bytes, in other pieces; copies of the piece around are read as one already."""
        name, known = PieceName(root_of(piece.piece_cid), piece.padded_size), await self.known()
        tried = await held_at(known, piece.key, self.segments)
        seen, others = {outer_of(tried.piece)} if tried else set(), []
        for one in await self._named(name, known):
            if (outer := outer_of(one.piece)) not in seen:
                seen.add(outer)
                others.append(one)
        return others

    async def _written_out(self, key: str, root: Cid | None, path: str | None) -> HeldVolume:
        known = await self.get(key)
        verified = known.is_verified
        if not verified:
            known = await self._verified(key)
        try:
            return await self._materialise(known, root, path)
        except _CHANGED as error:
            if not verified:
                raise InputMissing(f"{key} cannot be read: {error}") from error
            await self.changed(key, error)
            first = error
        try:
            known = await self._verified(key)
            return await self._materialise(known, root, path)
        except (
            InputMissing
        ) as error:  # the block and byte that were wrong are what a person looks for
            raise InputMissing(f"{key}: {first}; read again: {error}") from error
        except _CHANGED as error:
            raise InputMissing(f"{key} cannot be read: {error}") from error

    async def _verified(self, key: str) -> KnownPiece:
        try:
            check = await self.verify(key)
            if check.state is not CheckState.VERIFIED:
                raise InputMissing(f"{key} is {check.state}: {check.detail}")
            return await self.get(key)
        except WorkStopped as error:
            raise InputMissing(str(error)) from error
        except NotFound as error:
            raise InputMissing(f"{key} is no longer held: {error}") from error

    async def _materialise(
        self, known: KnownPiece, root: Cid | None, path: str | None
    ) -> HeldVolume:
        return await self._volumes.make(known, lambda: self._own_bytes(known), root, path)

    async def _own_bytes(self, known: KnownPiece) -> BinaryIO:
        """The bytes of a piece, or of a sub-piece alone; not verified."""
        stream, window = await self._buffered(known.piece), known.window
        return stream if window is None else open_window(stream, window, owns_stream=True)

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
        known = await self.get((await self.get(key)).piece.key)
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
                    if await self._know_segments(known):
                        return True
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
        if await self._findings.has_blocks(piece):
            return
        if piece.offset is None:
            check = (await self._checks.all()).get(piece.key)
            piece = replace(piece, offset=check.offset if check else None)
        await self._findings.keep_blocks(piece, await self._buffered(piece))

    async def _know_segments(self, known: KnownPiece) -> bool:
        """Keep the segments of a piece that was verified before they were kept, or say that it cannot be read any more.

        Whether there was anything to do.
        """
        if await self.segments.reading(outer_of(known.piece)) is not None:
            return False
        roots = await self.subtree_roots(known)
        if roots is None:
            await self.verify(known.piece.key)
            return True
        try:
            reader = await self._buffered(known.piece)
            await self._findings.look_for_segments(known.piece, reader, roots, self._clock())
        except (SourceError, OSError) as error:
            await self.changed(known.piece.key, error)
        return True

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

    async def subtree_roots(self, known: KnownPiece) -> SubtreeRoots | None:
        """The roots of the whole piece's subtrees; None if it is not verified, or they are lost."""
        if known.check is None or known.check.state is not CheckState.VERIFIED:
            return None
        return await self._findings.roots_of(known.piece)

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

    async def _buffered(self, piece: HeldPiece) -> BinaryIO:
        return cast("BinaryIO", BufferedReader(await self._reader(piece), 1 << 16))

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
                self._findings.checkpoint(piece),
                on_progress=lambda done, total: report(done, total, "reading"),
            )
            if isinstance(outcome, PieceMismatch):
                return replace(
                    empty, detail=f"{outcome} from {place.name}", state=CheckState.MISMATCH
                )
            content = await self._findings.look_into(piece, place, outcome.subtree_roots)
        except (SourceError, OSError, ValueError) as error:
            if isinstance(error, PieceUnavailable) and error.retry_after is not None:
                self._again_at[piece.key] = now + max(int(error.retry_after * 10**9), _SOON)
            why = copies[0].problem
            return replace(empty, detail=f"{error}" + (f" ({why})" if why else ""))
        await self._findings.keep(piece, content, now)
        return PieceCheck(
            piece.key,
            CheckState.VERIFIED,
            "" if place.piece.key == piece.key else f"by the copy in sector {place.piece.sector}",
            copies[0].piece.offset,
            content.payload_size,
            content.roots,
            now,
        )


def _best(found: list[KnownPiece]) -> PieceRef | None:
    return min(found, key=lambda known: not known.is_verified).ref() if found else None

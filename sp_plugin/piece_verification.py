"""Verifying held pieces: their bytes are read, what they are is recorded, and what is due is read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from deals.sources import PieceUnavailable, SourceError
from deals.subtree_roots import SubtreeRoots
from deals.verify import PieceMismatch
from deals.verify_places import verify_places
from fil_plus.pieces import HeldPiece
from lotus_client.types import ActorId, Epoch
from sp_plugin.known_pieces import KnownPiece
from sp_plugin.piece_directory import NO_SOURCE, HeldIndex, PieceDirectory
from sp_plugin.piece_findings import PieceFindings
from sp_plugin.piece_places import PiecePlaces
from sp_plugin.piece_work import Kind, PieceWork, Report, Work
from sp_plugin.store.piece_checks import CheckState, PieceCheck, PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository, outer_of

__all__ = ["PieceVerification"]

_RETRY_NANOSECONDS: Final = 3600 * 10**9  # how long an unreadable piece is left alone
_RETRY_WRONG_NANOSECONDS: Final = 24 * _RETRY_NANOSECONDS  # and one whose bytes are another piece's
_SOON: Final = 15 * 10**9  # and one whose source is only busy

log = structlog.get_logger()


class PieceVerification(PieceDirectory):
    """The held pieces, and the readings of them. `clock` gives Unix nanoseconds."""

    def __init__(
        self,
        provider: ActorId,
        index: HeldIndex,
        checks: PieceCheckRepository,
        *,
        segments: SubPieceRepository,
        where: PiecePlaces,
        admits: Callable[[KnownPiece], bool],
        epoch: Callable[[], Epoch | None],
        findings: PieceFindings,
        clock: Callable[[], int],
    ) -> None:
        super().__init__(
            provider, index, checks, segments=segments, where=where, admits=admits, epoch=epoch
        )
        self._findings = findings
        self._clock = clock
        self.work = PieceWork(clock)
        self._looked_into: set[str] = set()  # verified pieces whose blocks are kept, or cannot be
        # when a piece without bytes is read again, if not by the usual time
        self._again_at: dict[str, int] = {}

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
            await self._checks.save(check)
            if check.payload_size is not None:
                await self._index.set_payload_size(
                    self._provider, known.piece.key, check.payload_size
                )
            # who asked meanwhile, also while that was written, may know of a copy that came when we had looked already
            if check.state is CheckState.VERIFIED or work is None or not work.is_joined:
                if work is not None:
                    work.is_settled = True
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

    async def subtree_roots(self, known: KnownPiece) -> SubtreeRoots | None:
        """The roots of the whole piece's subtrees; None if it is not verified, or they are lost."""
        if known.check is None or known.check.state is not CheckState.VERIFIED:
            return None
        return await self._findings.roots_of(known.piece)

    async def _check(self, piece: HeldPiece, report: Report) -> PieceCheck:
        now = self._clock()
        empty = PieceCheck(piece.key, CheckState.UNAVAILABLE, "", None, None, (), now)
        if self.where.sources is None:
            return replace(empty, detail=NO_SOURCE)
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

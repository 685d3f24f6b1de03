"""Which pieces are held, by the names that people and jobs use, and the readers of their bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BufferedReader
from typing import BinaryIO, Final, Protocol, cast

from deals.piece_cid import root_of
from deals.sources import SourceError
from deals.sources.failing_over import FailingOver
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid
from lotus_client.types import ActorId, ClaimId, Epoch
from sp_plugin.errors import NotFound
from sp_plugin.inputs.base import PieceRef
from sp_plugin.known_pieces import KnownPiece, PieceName, find_inside, held_at, with_root
from sp_plugin.piece_places import Copy, PiecePlaces
from sp_plugin.store.piece_checks import PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository, outer_of

__all__ = ["NO_SOURCE", "HeldIndex", "PieceDirectory"]

NO_SOURCE: Final = "provider.storage_paths and provider.sources are empty"


class HeldIndex(Protocol):
    """What is read of the chain's index; `ChainRepository` has it."""

    async def held_pieces(
        self, provider: ActorId, *, at: Epoch | None = None
    ) -> tuple[HeldPiece, ...]: ...
    async def set_payload_size(self, provider: ActorId, key: str, payload_size: int) -> None: ...


class PieceDirectory:
    """The held pieces of one provider, and where their bytes are.

    `admits` tells whether a piece is in a dataset, for the choice among several; whether a job may read it is policy's to say.

    `epoch` gives the epoch up to which the chain has been followed, None before the first step.
    """

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
    ) -> None:
        self._provider = provider
        self._index = index
        self._checks = checks
        self.segments = segments
        self.where = where
        self._admits = admits
        self._epoch = epoch

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

    async def copies(self, piece: HeldPiece, *, search: bool = False) -> tuple[Copy, ...]:
        """The copies held now, `piece` itself first; see `PiecePlaces.copies`."""
        held = await self._index.held_pieces(self._provider, at=self._epoch())
        return await self.where.copies(piece, held, await self._checks.all(), search=search)

    async def _reader(self, piece: HeldPiece) -> FailingOver:
        """The bytes of any copy of the piece from any source, not verified: for those that prove what they read."""
        if self.where.sources is None:
            raise SourceError(piece.key, NO_SOURCE)
        places = self.where.places(await self.copies(piece))
        return await FailingOver.open(places, piece)

    async def _buffered(self, piece: HeldPiece) -> BinaryIO:
        return cast("BinaryIO", BufferedReader(await self._reader(piece), 1 << 16))


def _best(found: list[KnownPiece]) -> PieceRef | None:
    return min(found, key=lambda known: not known.is_verified).ref() if found else None

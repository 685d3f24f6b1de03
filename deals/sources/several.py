"""Several piece sources as one: the first that has a piece gives its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from deals.sources.base import PieceNotHere, PieceSource, PieceUnavailable
from fil_plus.pieces import HeldPiece

__all__ = ["SeveralSources"]


class SeveralSources:
    """Asks each source in turn; implements `PieceSource`."""

    def __init__(self, sources: Sequence[PieceSource]) -> None:
        self._sources = tuple(sources)

    async def open(self, piece: HeldPiece) -> BinaryIO:
        """See `PieceSource.open`. If none can, the reason of the first that has the sector is given."""
        unavailable: PieceUnavailable | None = None
        for source in self._sources:
            try:
                return await source.open(piece)
            except PieceNotHere:
                continue
            except PieceUnavailable as error:
                unavailable = unavailable or error
        raise unavailable or PieceNotHere(piece.key, "no source of pieces has its sector")

    def problems(self) -> tuple[str, ...]:
        """What is wrong with any of them."""
        return tuple(problem for source in self._sources for problem in source.problems())

"""What a piece holds, found by walking over the heads of its CAR, or of those in its segments."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from deals.car import CarError, CarReader
from deals.car_sections import SectionHead
from deals.indexed_blocks import IndexPlace
from deals.piece_cars import PieceCars
from deals.piece_cid import root_of
from deals.subtree_roots import SubtreeRoots, VerifiedReader
from lotus_client.cid import Cid
from sp_plugin.store.held_blocks import block_mark

__all__ = ["PieceContent", "content_of", "index_place"]

_MOST_ROOTS: Final = 1 << 16  # of one piece; each is kept in the store


def index_place(folder: Path, piece_cid: Cid, padded_size: int) -> IndexPlace:
    """Where the index of a piece's blocks is kept: beside its subtree roots."""
    return IndexPlace(folder, f"{piece_cid}.car-index", root_of(piece_cid), padded_size)


@dataclass(frozen=True, slots=True)
class PieceContent:
    """What a piece holds: the roots and the size of its CAR, or CARs, and the marks of its blocks. Without a CAR all are empty.

    A CAR that cannot be read to its end has no roots and no size, but the blocks before the fault are there. The size of an
    aggregate is that of its CARs together, None if one of its segments is none.
    """

    roots: tuple[Cid, ...]
    payload_size: int | None
    marks: array[int]


def content_of(
    reader: BinaryIO,
    padded_size: int,
    proof: SubtreeRoots | None = None,
    index: IndexPlace | None = None,
) -> PieceContent:
    """What the reader holds. With `proof` the roots are read from verified bytes: they are what jobs trust.

    Where the blocks lie is kept at `index`. At most 65,536 roots are given, the first ones.

    Raises:
        RangeMismatch: a CAR of the piece begins otherwise than when it was verified.
    """
    marks = array("q")
    with reader:
        try:
            cars = PieceCars(reader, padded_size)
            heads = _noted(cars.heads(), marks)
            if index is None:
                deque(heads, maxlen=0)
            else:
                index.save(heads)
            return PieceContent(_roots(reader, cars, proof), cars.payload_size, marks)
        except CarError:
            return PieceContent((), None, marks)


def _roots(reader: BinaryIO, cars: PieceCars, proof: SubtreeRoots | None) -> tuple[Cid, ...]:
    """The roots of all CARs that were read to their end, none twice."""
    source = reader
    if proof is not None:
        source = BufferedReader(VerifiedReader(reader, proof, owns_source=False))
    found: dict[Cid, None] = {}
    for window in cars.cars:
        source.seek(window.start)
        found |= dict.fromkeys(CarReader(source).roots)
        if len(found) >= _MOST_ROOTS:
            break
    return tuple(found)[:_MOST_ROOTS]


def _noted(heads: Iterable[SectionHead], marks: array[int]) -> Iterator[SectionHead]:
    """The same sections, their blocks' marks added to `marks`."""
    for head in heads:
        if (mark := block_mark(head.place.cid)) is not None:
            marks.append(mark)
        yield head

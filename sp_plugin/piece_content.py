"""What a piece holds, found by walking over the heads of its CAR."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from deals.car import CarError, CarReader
from deals.car_sections import SectionHead
from deals.indexed_blocks import IndexPlace
from deals.piece_cid import root_of
from deals.subtree_roots import SubtreeRoots, VerifiedReader
from lotus_client.cid import Cid
from sp_plugin.store.held_blocks import block_mark

__all__ = ["PieceContent", "content_of", "index_place"]


def index_place(folder: Path, piece_cid: Cid) -> IndexPlace:
    """Where the index of a piece's CAR is kept: beside its subtree roots."""
    return IndexPlace(folder, f"{piece_cid}.car-index", root_of(piece_cid))


@dataclass(frozen=True, slots=True)
class PieceContent:
    """What a piece holds: the roots and the size of its CAR, and the marks of its blocks. Without a CAR all are empty.

    A CAR that cannot be read to its end has no roots and no size, but the blocks before the fault are there.
    """

    roots: tuple[Cid, ...]
    payload_size: int | None
    marks: array[int]


def content_of(
    reader: BinaryIO, proof: SubtreeRoots | None = None, index: IndexPlace | None = None
) -> PieceContent:
    """What the reader holds. With `proof` the roots are read from verified bytes: they are what jobs trust.

    Where the blocks lie is kept at `index`.

    Raises:
        RangeMismatch: the piece begins otherwise than when it was verified.
    """
    marks = array("q")
    with reader:
        try:
            proven_roots = None if proof is None else _proven_roots(reader, proof)
            reader.seek(0)
            car = CarReader(reader)
            heads = _noted(car.heads(), marks)
            if index is None:
                deque(heads, maxlen=0)
            else:
                index.save(heads)
        except CarError:
            return PieceContent((), None, marks)
        roots = car.roots if proven_roots is None else proven_roots
        return PieceContent(roots, car.payload_end, marks)


def _noted(heads: Iterable[SectionHead], marks: array[int]) -> Iterator[SectionHead]:
    """The same sections, their blocks' marks added to `marks`."""
    for head in heads:
        if (mark := block_mark(head.place.cid)) is not None:
            marks.append(mark)
        yield head


def _proven_roots(reader: BinaryIO, proof: SubtreeRoots) -> tuple[Cid, ...]:
    buffered = BufferedReader(VerifiedReader(reader, proof, owns_source=False))
    return CarReader(buffered).roots

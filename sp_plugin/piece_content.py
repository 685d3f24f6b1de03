"""What a piece holds, as far as it is a CAR: roots, size, and the marks of its blocks."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from io import BufferedReader
from typing import BinaryIO

from deals.car import CarError, CarReader
from deals.subtree_roots import SubtreeRoots, VerifiedReader
from lotus_client.cid import Cid
from sp_plugin.store.held_blocks import block_mark

__all__ = ["Content", "content_of"]


@dataclass(frozen=True, slots=True)
class Content:
    """What a piece holds: the roots and the size of its CAR, and the marks of its blocks. Without a CAR all are empty.

    A CAR that cannot be read to its end has no roots and no size, but the blocks before the fault are there.
    """

    roots: tuple[Cid, ...]
    payload_size: int | None
    marks: array[int]


def content_of(reader: BinaryIO, proof: SubtreeRoots | None = None) -> Content:
    """What the reader holds. With `proof` the roots are read from verified bytes: they are what jobs trust.

    Raises:
        RangeMismatch: the piece begins otherwise than when it was verified.
    """
    marks = array("q")
    with reader:
        try:
            proven_roots = None if proof is None else _proven_roots(reader, proof)
            reader.seek(0)
            car = CarReader(reader)
            for place in car.places():
                if (mark := block_mark(place.cid)) is not None:
                    marks.append(mark)
        except CarError:
            return Content((), None, marks)
        roots = car.roots if proven_roots is None else proven_roots
        return Content(roots, car.payload_end, marks)


def _proven_roots(reader: BinaryIO, proof: SubtreeRoots) -> tuple[Cid, ...]:
    buffered = BufferedReader(VerifiedReader(reader, proof, owns_source=False))
    return CarReader(buffered).roots

"""What a piece holds, found by walking over the heads of its CAR, or of those in its segments."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from deals.car import CarError, CarReader
from deals.car_sections import SectionHead
from deals.index_entries import PlacedEntry, examine_index
from deals.indexed_blocks import IndexPlace
from deals.piece_cars import HeldCar, PieceCars, Window, open_window, windows_among
from deals.piece_cid import root_of
from deals.sub_pieces import SegmentFindings, confirm_segments
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
    aggregate is that of its CARs together, None if one of its segments is none. `segments` are those of an aggregate that were
    confirmed, None if nobody could: without the roots of its subtrees.
    """

    roots: tuple[Cid, ...]
    payload_size: int | None
    marks: array[int]
    cars: tuple[HeldCar, ...] = ()
    segments: SegmentFindings | None = None


def content_of(
    reader: BinaryIO,
    padded_size: int,
    proof: SubtreeRoots | None = None,
    index: IndexPlace | None = None,
) -> PieceContent:
    """What the reader holds. With `proof` the roots are read from verified bytes: they are what jobs trust.

    Where the blocks lie is kept at `index`. At most 65,536 roots are given, the first ones.

    Raises:
        RangeMismatch: its index, a segment or the head of a CAR is not what was verified.
    """
    marks = array("q")
    with reader:
        source, segments = reader, None
        windows: tuple[Window, ...] = ()
        if proof is not None:
            source = BufferedReader(VerifiedReader(reader, proof, owns_source=False))
            segments = confirm_segments(source, proof)
            windows = windows_among([one.entry for one in segments.segments])
        try:
            cars = PieceCars(reader, padded_size, windows=windows)
            heads = _noted(cars.heads(), marks)
            if index is None:
                deque(heads, maxlen=0)
            else:
                index.save(heads)
            found = _whole_cars(source, _known_sizes(reader, cars.cars, segments))
        except CarError:
            return PieceContent((), None, marks, (), segments)
        roots = dict.fromkeys(root for car in found for root in car.roots)
        return PieceContent(tuple(roots), cars.payload_size, marks, found, segments)


def _known_sizes(
    reader: BinaryIO, cars: Mapping[Window, int | None], segments: SegmentFindings | None
) -> Mapping[Window, int | None]:
    """The sizes of the CARs, but None of the first CAR of an aggregate inside an aggregate: more follows behind it."""
    if segments is None or not segments.segments:
        return cars
    return {
        window: None if _has_index(open_window(reader, window), window.size) else size
        for window, size in cars.items()
    }


def _has_index(segment: BinaryIO, size: int) -> bool:
    with segment:
        found = examine_index(segment, size // 127 * 128)
        return any(isinstance(one, PlacedEntry) for one in found)


def _whole_cars(source: BinaryIO, cars: Mapping[Window, int | None]) -> tuple[HeldCar, ...]:
    """The CARs that were read to their end, with at most so many roots in all."""
    found, left = [], _MOST_ROOTS
    for window, size in cars.items():
        roots: tuple[Cid, ...] = ()
        if left:
            source.seek(window.start)
            roots = CarReader(source).roots[:left]
            left -= len(roots)
        found.append(HeldCar(window.start, size, roots))
    return tuple(found)


def _noted(heads: Iterable[SectionHead], marks: array[int]) -> Iterator[SectionHead]:
    """The same sections, their blocks' marks added to `marks`."""
    for head in heads:
        if (mark := block_mark(head.place.cid)) is not None:
            marks.append(mark)
        yield head

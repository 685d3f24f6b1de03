"""The segments of a verified aggregate that really are what its index says: each one's commitment is a node of the piece's own tree.

A segment is aligned to its size, so its CommP is the root of a subtree. Above 4 MiB that is a node over roots which were kept when
the piece was verified; below, the 4 MiB around it are read and hashed once, however many entries point into them. A hostile index
can make the work no more than that: one pass over the piece, about 300 bytes for an entry, 8 MiB for the nodes of a subtree.

An aggregate inside an aggregate is one segment; its own index is not followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final

from deals.data_segment import IndexEntry, index_place
from deals.fr32 import pad, read_up_to, unpadded_length
from deals.index_entries import IndexFault, PlacedEntry, examine_index
from deals.kernels import SUBTREE_PAYLOAD, current_kernel
from deals.kernels.zeros import ZERO_ROOTS
from deals.piece_cid import encode_piece_cid_v1
from deals.subtree_roots import SubtreeRoots

__all__ = ["ConfirmedBy", "ConfirmedSegment", "SegmentFindings", "confirm_segments"]

_NODE: Final = 32
_TOLD: Final = 20  # faults that are told one by one


class ConfirmedBy(StrEnum):
    """How an entry's commitment was found to be right."""

    TREE = "tree"  # it is a node over the subtree roots of the verified piece
    BYTES = "bytes"  # its bytes were read, proven to be the piece's, and hashed


@dataclass(frozen=True, slots=True)
class ConfirmedSegment:
    """A segment whose bytes have the commitment that the index entry of that number says."""

    number: int
    entry: IndexEntry
    by: ConfirmedBy


@dataclass(frozen=True, slots=True)
class SegmentFindings:
    """The confirmed segments of a piece by offset, none over another; the first 20 faults of its index, and how many there are."""

    segments: tuple[ConfirmedSegment, ...] = ()
    faults: tuple[IndexFault, ...] = ()
    fault_count: int = 0


def confirm_segments(stream: BinaryIO, roots: SubtreeRoots) -> SegmentFindings:
    """What of a piece's index is true. `stream` gives the piece's unpadded bytes, *verified* against `roots`, and is seekable.

    Segments of zeros alone are filler and left out. Of two that overlap the one that begins first stays, of the same start the
    first in the index.

    Raises:
        RangeMismatch: the stream's bytes are no longer the piece's.
        OSError: it cannot be read.
    """
    entries: list[PlacedEntry] = []
    faults: list[IndexFault] = []
    for one in examine_index(stream, roots.padded_size):
        if isinstance(one, PlacedEntry):
            entries.append(one)
        else:
            faults.append(one)
    tree = _Tree(stream, roots)
    true: list[ConfirmedSegment] = []
    for one in sorted(entries, key=lambda placed: placed.entry.offset):
        found, by = tree.node(one.entry.size.bit_length() - 6, one.entry.offset // one.entry.size)
        if found != one.entry.commitment:
            faults.append(_fault(one.number, roots, _other_bytes(one.entry, found)))
        elif found != ZERO_ROOTS[one.entry.size.bit_length() - 6]:
            true.append(ConfirmedSegment(one.number, one.entry, by))
    kept = list(_disjoint(true, roots, faults))
    faults.sort(key=lambda fault: fault.number)
    return SegmentFindings(tuple(kept), tuple(faults[:_TOLD]), len(faults))


def _disjoint(
    ordered: Sequence[ConfirmedSegment], roots: SubtreeRoots, faults: list[IndexFault]
) -> Iterator[ConfirmedSegment]:
    """Those of `ordered` (by offset) that begin behind the last one kept; the others become faults."""
    last: ConfirmedSegment | None = None
    for one in ordered:
        if last is None or one.entry.offset >= last.entry.offset + last.entry.size:
            last = one
            yield one
        else:
            faults.append(_fault(one.number, roots, f"it overlaps entry {last.number}"))


def _fault(number: int, roots: SubtreeRoots, reason: str) -> IndexFault:
    start, _ = index_place(roots.padded_size)
    return IndexFault(number, start + 2 * _NODE * number, reason)


def _other_bytes(entry: IndexEntry, found: bytes) -> str:
    named, real = encode_piece_cid_v1(entry.commitment), encode_piece_cid_v1(found)
    return (
        f"it says {named} at padded bytes {entry.offset}..{entry.offset + entry.size}, "
        f"the bytes there are {real}"
    )


class _Tree:
    """The nodes of a piece's tree; those within a subtree are made when the first is asked for, and one subtree's are kept."""

    def __init__(self, stream: BinaryIO, roots: SubtreeRoots) -> None:
        self._stream = stream
        self._roots = roots
        top = roots.padded_size.bit_length() - 6
        self._above = _levels(roots.roots, roots.level, top)
        self._index = -1
        self._within: list[bytes] = []

    def node(self, level: int, place: int) -> tuple[bytes, ConfirmedBy]:
        if level >= self._roots.level:
            nodes = self._above[level - self._roots.level]
            return _at(nodes, place) or ZERO_ROOTS[level], ConfirmedBy.TREE
        span = self._roots.level - level
        index, inside = place >> span, place & ((1 << span) - 1)
        if index != self._index:
            self._within, self._index = self._subtree(index), index
        return _at(self._within[level], inside) or ZERO_ROOTS[level], ConfirmedBy.BYTES

    def _subtree(self, index: int) -> list[bytes]:
        if self._roots.root(index) == ZERO_ROOTS[self._roots.level]:
            return [b""] * (self._roots.level + 1)
        whole = min(SUBTREE_PAYLOAD, unpadded_length(self._roots.padded_size))
        self._stream.seek(index * SUBTREE_PAYLOAD)
        leaves = pad(read_up_to(self._stream, whole).ljust(whole, b"\0"))
        return _levels(leaves, 0, self._roots.level)


def _levels(nodes: bytes, lowest: int, top: int) -> list[bytes]:
    """The nodes of each level from `lowest` to `top`, over nodes behind which there are only zeros."""
    levels = [nodes]
    for level in range(lowest, top):
        if len(nodes) % (2 * _NODE):
            nodes += ZERO_ROOTS[level]
        nodes = current_kernel().nodes(nodes)
        levels.append(nodes)
    return levels


def _at(nodes: bytes, place: int) -> bytes:
    return nodes[_NODE * place : _NODE * place + _NODE]

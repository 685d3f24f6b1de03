"""Aggregates: several pieces in one larger piece, with an index at its end (FRC-0058), and proofs that a piece is in one.

The index fills the last 1/2048 of the piece, in padded bytes, with entries of 64 bytes: commitment, offset, size and a checksum.
An entry is no more than a claim of whoever aggregated: it counts once the commitment was computed over the bytes it points to.
Source: FRC-0058; filecoin-project/go-data-segment `datasegment` (its format of one 64-byte entry for each piece).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from deals.commp import CommpHasher, PlacedPiece, TreeTooLarge, feed, place_pieces
from deals.fr32 import check_padded_piece_size, pad, read_up_to, unpad_quads, unpadded_length
from deals.kernels.zeros import ZERO_ROOTS, node
from lotus_client.types import PaddedPieceSize

__all__ = [
    "Aggregate",
    "InclusionProof",
    "IndexEntry",
    "MerkleProof",
    "ProofError",
    "aggregate",
    "entry_holds",
    "index_place",
    "parse_index",
    "read_index",
]

_ENTRY: Final = 64
_CHECKSUM: Final = 16
_FEWEST: Final = 4
_ONE_IN: Final = 2048  # of the piece is index
_MOST_LEVELS: Final = 57


class ProofError(ValueError):
    """An inclusion proof that proves nothing; says why."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One piece in an aggregate: its commitment, and where it lies in padded bytes from the start."""

    commitment: bytes
    offset: int
    size: PaddedPieceSize

    def checksum(self) -> bytes:
        """16 bytes: SHA-256 of the entry with zeros in their place, the two top bits of the last byte cleared."""
        digest = hashlib.sha256(self._head() + bytes(_CHECKSUM)).digest()[:_CHECKSUM]
        return digest[:-1] + bytes([digest[-1] & 0x3F])

    def to_bytes(self) -> bytes:
        """The 64 padded bytes of the entry."""
        return self._head() + self.checksum()

    def _head(self) -> bytes:
        numbers = self.offset.to_bytes(8, "little") + int(self.size).to_bytes(8, "little")
        return self.commitment + numbers


def index_place(padded_size: int) -> tuple[int, int]:
    """Where the index of a piece begins, in padded bytes, and how many entries it has room for.

    Raises:
        ValueError: no padded piece size, or too small for an index of four entries.
    """
    size = check_padded_piece_size(padded_size)
    entries = max(_FEWEST, size // _ONE_IN // _ENTRY)
    if size < 2 * _ENTRY * entries:
        raise ValueError(f"a piece of {size} padded bytes has no room for an index")
    return size - _ENTRY * entries, entries


def parse_index(padded: bytes, padded_size: int) -> tuple[IndexEntry, ...]:
    """The valid entries of an index area; what is empty or damaged is passed over, as the standard wants.

    Valid is an entry with a right checksum, whose piece has a possible size, is aligned to it and ends before the index.
    """
    start, most = index_place(padded_size)
    found: list[IndexEntry] = []
    for at in range(0, min(len(padded) // _ENTRY, most) * _ENTRY, _ENTRY):
        raw = padded[at : at + _ENTRY]
        if not any(raw):
            continue
        entry = IndexEntry(
            raw[:32],
            int.from_bytes(raw[32:40], "little"),
            PaddedPieceSize(int.from_bytes(raw[40:48], "little")),
        )
        if entry.to_bytes() == raw and _is_possible(entry, start):
            found.append(entry)
    return tuple(found)


def _is_possible(entry: IndexEntry, index_start: int) -> bool:
    try:
        size = check_padded_piece_size(entry.size)
    except ValueError:
        return False
    # the commitment is a field element: its two top bits are zero
    in_field = entry.commitment[31] < 0x40
    return in_field and entry.offset % size == 0 and entry.offset + size <= index_start


def read_index(piece: BinaryIO, padded_size: int) -> tuple[IndexEntry, ...]:
    """The valid entries of the index of a piece, read from its unpadded bytes (seekable). None if it is no aggregate."""
    try:
        start, most = index_place(padded_size)
    except ValueError:
        return ()
    piece.seek(unpadded_length(start))
    raw = read_up_to(piece, unpadded_length(most * _ENTRY))
    return parse_index(pad(raw), padded_size)


def entry_holds(piece: BinaryIO, entry: IndexEntry) -> bool:
    """Whether the bytes an entry points to have its commitment; reads all of them."""
    piece.seek(unpadded_length(entry.offset))
    bounded = cast("BinaryIO", _Bounded(piece, unpadded_length(entry.size)))
    found = feed(CommpHasher(), bounded).finish()
    return found.raised_to(entry.size).root == entry.commitment


class _Bounded:
    """At most so many bytes of a reader; what is missing at its end are zeros, which CommP adds itself."""

    def __init__(self, reader: BinaryIO, size: int) -> None:
        self._reader = reader
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._reader.read(wanted)
        self._left -= len(data)
        return data


@dataclass(frozen=True, slots=True)
class MerkleProof:
    """The siblings from a node up to the root, and the node's place in its level."""

    index: int
    path: tuple[bytes, ...]

    def root_above(self, start: bytes) -> bytes:
        """The root that this proof leads to from a node.

        Raises:
            ProofError: the place is not in a tree of that height.
        """
        if not 0 <= self.index < 1 << len(self.path) or len(self.path) > _MOST_LEVELS:
            raise ProofError(f"place {self.index} is not in a tree of {len(self.path)} levels")
        if any(len(sibling) != 32 for sibling in self.path):
            raise ProofError("a sibling has not 32 bytes")
        found, place = start, self.index
        for sibling in self.path:
            found = node(sibling, found) if place & 1 else node(found, sibling)
            place >>= 1
        return found


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Proof that a piece lies in an aggregate (PoDSI): that of its subtree, and that of its entry in the index."""

    subtree: MerkleProof
    entry: MerkleProof

    def aggregate_of(self, commitment: bytes, size: int) -> tuple[bytes, PaddedPieceSize]:
        """The commitment and padded size of the aggregate that holds the piece, which a live claim or deal must name.

        Raises:
            ProofError: the two proofs do not lead to one aggregate, or the entry is not where the index is.
        """
        if len(commitment) != 32:
            raise ProofError("a commitment has 32 bytes")
        try:
            piece = check_padded_piece_size(size)
            total = check_padded_piece_size(piece << len(self.subtree.path))
            start, _ = index_place(total)
        except ValueError as error:
            raise ProofError(str(error)) from error
        root = self.subtree.root_above(commitment)
        entry = IndexEntry(commitment, self.subtree.index * piece, piece)
        if _ENTRY << len(self.entry.path) != total:
            raise ProofError("the proof of the entry is for an aggregate of another size")
        raw = entry.to_bytes()
        if self.entry.root_above(node(raw[:32], raw[32:])) != root:
            raise ProofError("the proof of the entry is for another aggregate, or another piece")
        if self.entry.index * _ENTRY < start:
            raise ProofError("the entry lies before the index")
        if entry.offset + piece > start:
            raise ProofError("the piece lies in the index")
        return root, total


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Pieces placed in a larger one, and its index."""

    padded_size: PaddedPieceSize
    pieces: tuple[PlacedPiece, ...]

    @property
    def entries(self) -> tuple[IndexEntry, ...]:
        """The index's entries, in the order of the pieces."""
        return tuple(IndexEntry(one.root, one.offset, one.padded_size) for one in self.pieces)

    def index_padded(self) -> bytes:
        """The whole index area in padded bytes."""
        _, most = index_place(self.padded_size)
        return b"".join(entry.to_bytes() for entry in self.entries).ljust(most * _ENTRY, b"\0")

    def index_payload(self) -> bytes:
        """The index area in unpadded bytes: what an aggregator writes at the end of the payload."""
        return unpad_quads(self.index_padded())

    def commitment(self) -> bytes:
        """The aggregate's own commitment."""
        return self._tree().at(self._top(), 0)

    def prove(self, number: int) -> InclusionProof:
        """The proof that the piece of that number is in this aggregate."""
        piece, tree, top = self.pieces[number], self._tree(), self._top()
        level = piece.padded_size.bit_length() - 6
        start, _ = index_place(self.padded_size)
        place = start // _ENTRY + number
        return InclusionProof(
            _proof(tree, level, piece.offset // piece.padded_size, top),
            _proof(tree, 1, place, top),
        )

    def _top(self) -> int:
        return self.padded_size.bit_length() - 6

    def _tree(self) -> _Tree:
        tree = _Tree(self._top())
        for piece in self.pieces:
            level = piece.padded_size.bit_length() - 6
            tree.put(level, piece.offset // piece.padded_size, piece.root)
        start, _ = index_place(self.padded_size)
        for number, entry in enumerate(self.entries):
            raw = entry.to_bytes()
            tree.put(1, start // _ENTRY + number, node(raw[:32], raw[32:]))
        return tree


def aggregate(pieces: Iterable[tuple[bytes, int]], padded_size: int) -> Aggregate:
    """An aggregate of pieces, in order as (root, padded size), each at the next multiple of its own size.

    Raises:
        TreeTooLarge: they and the index do not fit in `padded_size`, or there are too many for the index.
        ValueError: a size is no padded piece size.
    """
    start, most = index_place(padded_size)
    placed = place_pieces(pieces)
    if len(placed) > most:
        raise TreeTooLarge(f"{len(placed)} pieces are more than the {most} entries of the index")
    if placed and placed[-1].offset + placed[-1].padded_size > start:
        raise TreeTooLarge(f"the pieces reach into the index, which begins at {start}")
    return Aggregate(PaddedPieceSize(padded_size), placed)


class _Tree:
    """A tree of which some nodes are known and the rest is zeros."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._known: dict[tuple[int, int], bytes] = {}
        self._touched: set[tuple[int, int]] = set()

    def put(self, level: int, place: int, root: bytes) -> None:
        self._known[level, place] = root
        while level <= self._top and (level, place) not in self._touched:
            self._touched.add((level, place))
            level, place = level + 1, place >> 1

    def at(self, level: int, place: int) -> bytes:
        found = self._known.get((level, place))
        if found is not None:
            return found
        if (level, place) not in self._touched:
            return ZERO_ROOTS[level]
        made = node(self.at(level - 1, 2 * place), self.at(level - 1, 2 * place + 1))
        self._known[level, place] = made
        return made


def _proof(tree: _Tree, level: int, place: int, top: int) -> MerkleProof:
    siblings: Sequence[bytes] = [
        tree.at(level + step, (place >> step) ^ 1) for step in range(top - level)
    ]
    return MerkleProof(place, tuple(siblings))

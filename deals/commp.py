"""Piece commitments: the root of a binary tree of truncated SHA-256 over Fr32-padded data.

A leaf is 32 bytes of padded data; a node is SHA-256(left | right) with the two top bits of its last byte cleared. What is
missing up to a power of two is zeros, whose roots are known beforehand, so padding costs nothing.
Source: filecoin-project/go-fil-commp-hashhash; FRC-0069; `lotus` `storage/sealer` (CommD of a sector).

`tree_root` is the one seam where a faster kernel can take over.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

from deals.fr32 import (
    PADDED_QUAD,
    UNPADDED_QUAD,
    check_padded_piece_size,
    pad,
    padded_piece_size_for,
    read_up_to,
)
from deals.piece_cid import encode_piece_cid_v1, encode_piece_cid_v2
from fil_plus.pieces import aligned_offsets
from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize

__all__ = [
    "CommpHasher",
    "PieceCommitment",
    "PlacedPiece",
    "TreeTooLarge",
    "commp",
    "data_commitment",
    "place_pieces",
    "raise_commitment",
    "tree_root",
    "zero_commitment",
]

_LEAF: Final = 32
_MAX_LEVEL: Final = 57  # 2**62 bytes

# One subtree is hashed at a time: 8192 quads are 1 MiB padded, 2**15 leaves.
_SUBTREE_LEVEL: Final = 15
_SUBTREE_PAYLOAD: Final = (_LEAF << _SUBTREE_LEVEL) // PADDED_QUAD * UNPADDED_QUAD

_PAIR: Final = struct.Struct("64s")

# Clears the two top bits of a byte, by bytes.translate.
_TRUNCATE: Final = bytes(byte & 0x3F for byte in range(256))


class TreeTooLarge(ValueError):
    """Pieces that do not fit together in the sector or piece named."""


def _node(left: bytes, right: bytes) -> bytes:
    digest = hashlib.sha256(left + right).digest()
    return digest[:31] + bytes([digest[31] & 0x3F])


def _zero_commitments() -> tuple[bytes, ...]:
    roots = [bytes(_LEAF)]
    while len(roots) <= _MAX_LEVEL:
        roots.append(_node(roots[-1], roots[-1]))
    return tuple(roots)


_ZERO: Final = _zero_commitments()


def zero_commitment(level: int) -> bytes:
    """The root over 2**level leaves of zeros; level 2 is the smallest piece (128 bytes padded).

    Raises:
        ValueError: `level` is outside 0..57.
    """
    if not 0 <= level <= _MAX_LEVEL:
        raise ValueError(f"level {level} is outside 0..{_MAX_LEVEL}")
    return _ZERO[level]


def tree_root(padded: bytes, level: int) -> bytes:
    """The root over 2**level leaves: `padded` (whole leaves), then zeros.

    Raises:
        ValueError: `padded` is not whole 32-byte leaves or more than 2**level of them.
    """
    if len(padded) % _LEAF or len(padded) > _LEAF << level:
        raise ValueError(f"{len(padded)} bytes are not up to 2**{level} leaves of 32 bytes")
    sha256, pairs = hashlib.sha256, _PAIR.iter_unpack
    nodes: bytes | bytearray = padded
    for current in range(level):
        if not nodes:
            return _ZERO[level]
        if len(nodes) % 64:
            nodes = bytes(nodes) + _ZERO[current]
        # struct hands out the pairs a quarter faster than slicing does
        nodes = bytearray(b"".join([sha256(pair).digest() for (pair,) in pairs(nodes)]))
        nodes[31::32] = nodes[31::32].translate(_TRUNCATE)
    return bytes(nodes) or _ZERO[level]


@dataclass(frozen=True, slots=True)
class PieceCommitment:
    """CommP of a payload: version 1 CID, padded size (bytes, power of two) and payload length in bytes."""

    piece_cid: Cid
    padded_size: PaddedPieceSize
    payload_size: int

    @property
    def root(self) -> bytes:
        """The 32-byte commitment."""
        return self.piece_cid.digest

    @property
    def piece_cid_v2(self) -> Cid:
        """The FRC-0069 form, which also carries both sizes."""
        return encode_piece_cid_v2(self.root, self.padded_size, self.payload_size)

    def raised_to(self, padded_size: int) -> PieceCommitment:
        """The commitment of the same payload in a larger piece; see `raise_commitment`."""
        root = raise_commitment(self.root, self.padded_size, padded_size)
        size = PaddedPieceSize(padded_size)
        return PieceCommitment(encode_piece_cid_v1(root), size, self.payload_size)


class CommpHasher:
    """Computes CommP of bytes fed to it in any portions; memory is one 1 MiB subtree and one root per level."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._size = 0
        # Finished subtrees, largest first, as (level, root): levels strictly fall, as bits of a counter.
        self._roots: list[tuple[int, bytes]] = []

    def update(self, data: bytes | memoryview) -> None:
        """Appends payload bytes."""
        self._size += len(data)
        self._pending += data
        done = 0
        while len(self._pending) - done >= _SUBTREE_PAYLOAD:
            chunk = bytes(self._pending[done : done + _SUBTREE_PAYLOAD])
            self._push(_SUBTREE_LEVEL, _payload_root(chunk, _SUBTREE_LEVEL))
            done += _SUBTREE_PAYLOAD
        del self._pending[:done]

    def finish(self) -> PieceCommitment:
        """The commitment of everything fed so far; more may be fed afterwards."""
        size = padded_piece_size_for(self._size)
        top = size.bit_length() - 1 - 5
        if top <= _SUBTREE_LEVEL and not self._roots:
            root = _payload_root(bytes(self._pending), top)
        else:
            roots = list(self._roots)
            if self._pending:
                last = _payload_root(bytes(self._pending), _SUBTREE_LEVEL)
                _merge(roots, _SUBTREE_LEVEL, last)
            root = _fold(roots, top)
        return PieceCommitment(encode_piece_cid_v1(root), size, self._size)

    def _push(self, level: int, root: bytes) -> None:
        _merge(self._roots, level, root)


def commp(reader: BinaryIO, *, on_progress: Callable[[int], None] | None = None) -> PieceCommitment:
    """CommP of everything in `reader`, in bounded memory; `on_progress` hears the bytes read so far.

    An exception raised by `on_progress` stops the work, which is how a caller cancels it.
    An empty payload has the commitment of the smallest piece of zeros (FRC-0069).
    """
    hasher = CommpHasher()
    total = 0
    while chunk := read_up_to(reader, _SUBTREE_PAYLOAD):
        hasher.update(chunk)
        total += len(chunk)
        if on_progress is not None:
            on_progress(total)
    return hasher.finish()


def raise_commitment(root: bytes, from_size: int, to_size: int) -> bytes:
    """The commitment of a piece of `from_size` padded bytes followed by zeros up to `to_size`.

    Raises:
        ValueError: a size is no padded piece size, or `to_size` is the smaller.
    """
    start, end = check_padded_piece_size(from_size), check_padded_piece_size(to_size)
    if end < start:
        raise ValueError(f"a piece of {start} cannot be lowered to {end}")
    return _fold([(start.bit_length() - 6, root)], end.bit_length() - 6)


@dataclass(frozen=True, slots=True)
class PlacedPiece:
    """A commitment of `padded_size` bytes at `offset`, both in padded bytes from the start."""

    offset: int
    padded_size: PaddedPieceSize
    root: bytes


def place_pieces(pieces: Iterable[tuple[bytes, int]]) -> tuple[PlacedPiece, ...]:
    """Where pieces, given in order as (root, padded size), lie: each at the next multiple of its own size.

    Raises:
        ValueError: a size is no padded piece size.
    """
    ordered = [(root, check_padded_piece_size(size)) for root, size in pieces]
    offsets = aligned_offsets(tuple(size for _, size in ordered))
    return tuple(
        PlacedPiece(offset, size, root)
        for offset, (root, size) in zip(offsets, ordered, strict=True)
    )


def data_commitment(pieces: Iterable[tuple[bytes, int]], total_size: int) -> bytes:
    """CommD of ordered pieces (root, padded size) in `total_size` bytes, gaps filled with zeros.

    Raises:
        TreeTooLarge: they do not fit.
        ValueError: a size is no padded piece size.
    """
    total = check_padded_piece_size(total_size)
    roots: list[tuple[int, bytes]] = []
    end = 0
    for piece in place_pieces(pieces):
        if piece.offset + piece.padded_size > total:
            raise TreeTooLarge(
                f"a piece of {piece.padded_size} at {piece.offset} ends behind the sector's {total} bytes"
            )
        while (
            end < piece.offset
        ):  # the largest zero subtrees that are aligned at `end` fill the gap
            step = end & -end or piece.offset
            step = min(step, 1 << (piece.offset - end).bit_length() - 1)
            _merge(roots, step.bit_length() - 6, _ZERO[step.bit_length() - 6])
            end += step
        _merge(roots, piece.padded_size.bit_length() - 6, piece.root)
        end = piece.offset + piece.padded_size
    return _fold(roots, total.bit_length() - 6)


def _payload_root(payload: bytes, level: int) -> bytes:
    """The root over 2**level leaves of `payload` padded; trailing zeros are not hashed."""
    return tree_root(pad(payload.rstrip(b"\0")), level)


def _merge(roots: list[tuple[int, bytes]], level: int, root: bytes) -> None:
    """Appends a subtree and joins neighbours of equal level."""
    while roots and roots[-1][0] == level:
        root = _node(roots.pop()[1], root)
        level += 1
    roots.append((level, root))


def _fold(roots: list[tuple[int, bytes]], top: int) -> bytes:
    """The root at level `top` of subtrees with falling levels, zeros behind them."""
    if not roots:
        return _ZERO[top]
    rest = list(roots)
    level, root = rest.pop()
    while level < top:
        if rest and rest[-1][0] == level:
            root = _node(rest.pop()[1], root)
        else:
            root = _node(root, _ZERO[level])
        level += 1
    return root

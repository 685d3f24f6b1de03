"""Aggregate files (FRC-0058): made from payloads, and the proofs and proven sub-pieces of one that exists.

Memory is that of CommP and of the index parsed: some 300 bytes for each entry, of which the standard has room for one in
131,072 padded bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from deals.commp import CommpHasher, PieceCommitment, TreeTooLarge, commp, feed
from deals.data_segment import (
    Aggregate,
    InclusionProof,
    IndexEntry,
    MerkleProof,
    ProofError,
    aggregate,
    entry_holds,
    index_place,
    read_index,
)
from deals.fr32 import (
    check_padded_piece_size,
    pad,
    padded_piece_size_for,
    read_up_to,
    unpadded_length,
)
from deals.kernels import SUBTREE_PAYLOAD, current_kernel
from deals.kernels.zeros import ZERO_ROOTS
from deals.subtree_roots import SubtreeRoots, roots_of
from lotus_client import cbor
from lotus_client.types import PaddedPieceSize

__all__ = [
    "AggregateError",
    "Segment",
    "commitment_of_file",
    "decode_proof",
    "encode_proof",
    "plan_aggregate",
    "prove_entry",
    "prove_segment",
    "segments_of",
    "smallest_size",
    "write_aggregate",
]

_CHUNK: Final = 1 << 20
_SMALLEST: Final = PaddedPieceSize(512)  # the least that has room for an index
_MOST_SIZE: Final = 1 << 38
_MOST_PATH: Final = 57
_ENTRY: Final = 64


class AggregateError(ValueError):
    """Payloads that cannot be aggregated, or a piece without what was asked for; says why."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of a piece's index, and whether the bytes it points to have its commitment."""

    entry: IndexEntry
    holds: bool


def segments_of(piece: BinaryIO, padded_size: int) -> Iterator[Segment]:
    """The valid entries of a piece's index, each with the outcome of hashing its bytes. `piece` is unpadded and seekable."""
    for entry in read_index(piece, padded_size):
        yield Segment(entry, entry_holds(piece, entry))


def smallest_size(sizes: Sequence[int]) -> PaddedPieceSize:
    """The least padded size that holds pieces of these sizes, in this order, and their index.

    Raises:
        AggregateError: there is none up to 256 GiB.
    """
    size = max([_SMALLEST, *sizes])
    while size <= _MOST_SIZE:
        try:
            aggregate([(bytes(32), one) for one in sizes], size)
        except TreeTooLarge:
            size *= 2
        else:
            return check_padded_piece_size(size)
    raise AggregateError("these files do not fit in an aggregate of 256 GiB")


def plan_aggregate(pieces: Sequence[PieceCommitment], padded_size: int | None = None) -> Aggregate:
    """Where these pieces lie, in order, in an aggregate of that size, by default the least that holds them.

    Raises:
        AggregateError: there are none, one is there twice, or they do not fit.
    """
    if not pieces:
        raise AggregateError("an aggregate needs at least one file")
    if len({piece.root for piece in pieces}) < len(pieces):
        raise AggregateError("two of the files have the same piece CID; name each once")
    size = padded_size or smallest_size([piece.padded_size for piece in pieces])
    try:
        return aggregate([(piece.root, piece.padded_size) for piece in pieces], size)
    except ValueError as error:
        raise AggregateError(str(error)) from error


def write_aggregate(plan: Aggregate, files: Sequence[Path], out: BinaryIO) -> None:
    """Write the unpadded bytes of the aggregate of these files, the plan's, to an empty seekable file.

    Raises:
        AggregateError: a file is no longer what it was when it was planned.
        OSError: a file cannot be read, or `out` not written.
    """
    for piece, path in zip(plan.pieces, files, strict=True):
        out.seek(unpadded_length(piece.offset))
        hasher, left = CommpHasher(), unpadded_length(piece.padded_size)
        with path.open("rb") as reader:
            while data := reader.read(_CHUNK):
                left -= len(data)
                if left < 0:
                    break
                hasher.update(data)
                out.write(data)
        if left < 0 or hasher.finish().root != piece.root:
            raise AggregateError(f"{path} has changed while it was read")
    start, _ = index_place(plan.padded_size)
    out.seek(unpadded_length(start))
    out.write(plan.index_payload())


def prove_segment(piece: BinaryIO, commitment: bytes) -> tuple[InclusionProof, IndexEntry]:
    """The proof that a piece of this commitment lies in the aggregate whose unpadded bytes `piece` has, and its entry.

    Raises:
        AggregateError: the index names no such piece, or its bytes are others.
    """
    found = feed(CommpHasher(), piece)
    size = padded_piece_size_for(found.finish().payload_size)
    number, entry = _entry_of(piece, size, commitment)
    if not entry_holds(piece, entry):
        raise AggregateError("the index names that piece, but the bytes there are others")
    return _prove(piece, roots_of(found, size), entry, number), entry


def prove_entry(
    piece: BinaryIO, roots: SubtreeRoots, number: int, entry: IndexEntry
) -> InclusionProof:
    """The proof of the entry of that number in the index of a verified piece; reads at most two subtrees of its bytes.

    Raises:
        RangeMismatch, OSError: the bytes are no longer those that were verified, or cannot be read.
        ProofError: the piece has no such entry.
    """
    start, most = index_place(roots.padded_size)
    if not 0 <= number < most:
        raise ProofError(f"an index of {most} entries has none of number {number}")
    proof = _prove(piece, roots, entry, start // _ENTRY + number)
    if proof.aggregate_of(entry.commitment, entry.size) != (roots.commitment(), roots.padded_size):
        raise ProofError("the piece's index has no such entry")
    return proof


def _prove(piece: BinaryIO, roots: SubtreeRoots, entry: IndexEntry, place: int) -> InclusionProof:
    """`place` is that of the entry among all 64-byte places of the piece."""
    level, index = entry.size.bit_length() - 6, entry.offset // entry.size
    subtree = MerkleProof(index, _path(piece, roots, level, index))
    return InclusionProof(subtree, MerkleProof(place, _path(piece, roots, 1, place)))


def _entry_of(piece: BinaryIO, size: int, commitment: bytes) -> tuple[int, IndexEntry]:
    """The place of the entry among all 64-byte places of the piece, and the entry."""
    for entry in read_index(piece, size):
        if entry.commitment == commitment:
            start, most = index_place(size)
            piece.seek(unpadded_length(start))
            raw = pad(read_up_to(piece, unpadded_length(most * _ENTRY)))
            wanted, at = entry.to_bytes(), 0
            while raw[at : at + _ENTRY] != wanted:
                at += _ENTRY
            return (start + at) // _ENTRY, entry
    raise AggregateError("the file's index names no such piece")


def _path(piece: BinaryIO, roots: SubtreeRoots, level: int, place: int) -> tuple[bytes, ...]:
    """The siblings from a node up: inside its subtree from the bytes, above it from the subtrees' roots."""
    path: list[bytes] = []
    top = roots.padded_size.bit_length() - 6
    if level < roots.level:
        whole = min(SUBTREE_PAYLOAD, unpadded_length(roots.padded_size))
        index = place >> (roots.level - level)
        piece.seek(index * SUBTREE_PAYLOAD)
        nodes = pad(read_up_to(piece, whole).ljust(whole, b"\0"))
        inside = place - (index << (roots.level - level))
        path += _siblings(nodes, 0, roots.level, level, inside)
        level, place = roots.level, index
    path += _siblings(roots.roots, roots.level, top, level, place)
    return tuple(path)


def _siblings(nodes: bytes, lowest: int, top: int, level: int, place: int) -> Iterator[bytes]:
    """Of a tree whose nodes at `lowest` are given, zeros behind them: the siblings of a place at `level`, below `top`."""
    for current in range(lowest, top):
        if current >= level:
            at = 32 * ((place >> (current - level)) ^ 1)
            yield nodes[at : at + 32] or ZERO_ROOTS[current]
        if len(nodes) % 64:
            nodes += ZERO_ROOTS[current]
        nodes = current_kernel().nodes(nodes)


def encode_proof(proof: InclusionProof) -> bytes:
    """The CBOR of go-data-segment's `InclusionProof`: [[index, [node …]] of the subtree, the same of the entry].

    Source: filecoin-project/go-data-segment `datasegment/cbor_gen.go`, `merkletree/encoding.go`.
    """
    return cbor.encode([[one.index, list(one.path)] for one in (proof.subtree, proof.entry)])


def decode_proof(data: bytes) -> InclusionProof:
    """The proof that `encode_proof` wrote.

    Raises:
        ProofError: the bytes are no such proof.
    """
    try:
        value = cbor.decode(data)
    except cbor.CborError as error:
        raise ProofError(f"it is not CBOR: {error}") from error
    match value:
        case [[int(), list()] as subtree, [int(), list()] as entry]:
            return InclusionProof(_merkle(subtree), _merkle(entry))
    raise ProofError("it is not two pairs of a place and a path")


def _merkle(value: list[cbor.CborValue]) -> MerkleProof:
    index, path = value
    if not isinstance(index, int) or not isinstance(path, list) or len(path) > _MOST_PATH:
        raise ProofError(f"a path has at most {_MOST_PATH} nodes")
    nodes = [node for node in path if isinstance(node, bytes) and len(node) == 32]
    if len(nodes) != len(path):
        raise ProofError("a node of a path has not 32 bytes")
    return MerkleProof(index, tuple(nodes))


def commitment_of_file(path: Path) -> PieceCommitment:
    """CommP of a file's bytes."""
    with path.open("rb") as reader:
        return commp(reader)

"""Piece commitments: the root of a binary tree of truncated SHA-256 over Fr32-padded data.

A leaf is 32 bytes of padded data; a node is SHA-256(left | right) with the two top bits of its last byte cleared. What is
missing up to a power of two is zeros, whose roots are known beforehand, so padding costs nothing.
Source: filecoin-project/go-fil-commp-hashhash; FRC-0069; `lotus` `storage/sealer` (CommD of a sector).

The hashing is a kernel's (`deals.kernels`): a payload is cut into subtrees of 4 MiB padded, which threads hash side by side,
and only their roots are kept.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Final, Self

from deals.fr32 import check_padded_piece_size, padded_piece_size_for, read_up_to
from deals.kernels import SUBTREE_LEVEL, SUBTREE_PAYLOAD, Kernel, NotFr32, current_kernel
from deals.kernels.zeros import MAX_LEVEL, ZERO_ROOTS, node
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
    "feed",
    "feed_padded",
    "place_pieces",
    "raise_commitment",
    "tree_root",
    "zero_commitment",
]

_LEAF: Final = 32
_NICE: Final = 10
_MOST_THREADS: Final = 8  # so that buffers stay below 64 MiB


class TreeTooLarge(ValueError):
    """Pieces that do not fit together in the sector or piece named."""


def zero_commitment(level: int) -> bytes:
    """The root over 2**level leaves of zeros; level 2 is the smallest piece (128 bytes padded).

    Raises:
        ValueError: `level` is outside 0..57.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"level {level} is outside 0..{MAX_LEVEL}")
    return ZERO_ROOTS[level]


def tree_root(padded: bytes, level: int) -> bytes:
    """The root over 2**level leaves: `padded` (whole leaves), then zeros.

    Raises:
        ValueError: `padded` is not whole 32-byte leaves or more than 2**level of them.
    """
    if len(padded) % _LEAF or len(padded) > _LEAF << level:
        raise ValueError(f"{len(padded)} bytes are not up to 2**{level} leaves of 32 bytes")
    nodes = padded
    for current in range(level):
        if not nodes:
            break
        if len(nodes) % 64:
            nodes += ZERO_ROOTS[current]
        nodes = current_kernel().nodes(nodes)
    return nodes or ZERO_ROOTS[level]


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
    """Computes CommP of bytes fed to it in any portions; memory is one 4 MiB subtree and one root per level."""

    def __init__(self, kernel: Kernel | None = None, *, in_background: bool = False) -> None:
        """`kernel` is this machine's best by default. `in_background` its threads let other work on this host go first."""
        self.kernel = kernel or current_kernel()
        self.in_background = in_background
        self._pending = bytearray()
        self._size = 0
        # Finished subtrees, largest first, as (level, root): levels strictly fall, as bits of a counter.
        self._roots: list[tuple[int, bytes]] = []
        self._subtrees = bytearray()

    def update(self, data: bytes | memoryview) -> None:
        """Appends payload bytes."""
        self._pending += data
        done = 0
        while len(self._pending) - done >= SUBTREE_PAYLOAD:
            chunk = bytes(self._pending[done : done + SUBTREE_PAYLOAD])
            self.add_subtree(self.kernel.payload_root(chunk, SUBTREE_LEVEL))
            done += SUBTREE_PAYLOAD
        del self._pending[:done]

    def add_subtree(self, root: bytes) -> None:
        """Appends 4 MiB padded whose root was computed elsewhere; only between whole subtrees."""
        _merge(self._roots, SUBTREE_LEVEL, root)
        self._subtrees += root
        self._size += SUBTREE_PAYLOAD

    def subtree_roots(self) -> bytes:
        """The roots of the 4 MiB subtrees fed so far, 32 bytes each; zeros fill the last one."""
        if not self._pending:
            return bytes(self._subtrees)
        return bytes(self._subtrees) + self.kernel.payload_root(self._pending, SUBTREE_LEVEL)

    def finished_roots(self) -> bytes:
        """The roots of the whole subtrees fed so far, 32 bytes each, without those still being hashed."""
        return bytes(self._subtrees)

    def finish(self) -> PieceCommitment:
        """The commitment of everything fed so far; more may be fed afterwards."""
        size = self._size + len(self._pending)
        padded = padded_piece_size_for(size)
        top = padded.bit_length() - 1 - 5
        if top <= SUBTREE_LEVEL and not self._roots:
            root = self.kernel.payload_root(self._pending, top)
        else:
            roots = list(self._roots)
            if self._pending:
                last = self.kernel.payload_root(self._pending, SUBTREE_LEVEL)
                _merge(roots, SUBTREE_LEVEL, last)
            root = _fold(roots, top)
        return PieceCommitment(encode_piece_cid_v1(root), padded, size)


def commp(
    reader: BinaryIO,
    *,
    on_progress: Callable[[int], None] | None = None,
    threads: int | None = None,
    kernel: Kernel | None = None,
) -> PieceCommitment:
    """CommP of everything in `reader`, in bounded memory; `on_progress` hears the bytes read so far.

    An exception raised by `on_progress` stops the work, which is how a caller cancels it.
    An empty payload has the commitment of the smallest piece of zeros (FRC-0069).
    `threads` hash while this one reads; by default one for each processor that the process may use, at most 8.
    """
    return feed(CommpHasher(kernel), reader, on_progress=on_progress, threads=threads).finish()


def feed(
    hasher: CommpHasher,
    reader: BinaryIO,
    *,
    on_progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> CommpHasher:
    """The hasher, which stands between whole subtrees, fed with everything in `reader`; see `commp`."""
    kernel = hasher.kernel
    with _Workers(hasher, kernel.payload_root, SUBTREE_PAYLOAD, threads, on_progress) as workers:
        while size := _fill(reader, buffer := workers.buffer()):
            if size < SUBTREE_PAYLOAD:
                break
            workers.submit(buffer)
    hasher.update(memoryview(buffer)[:size])
    if size and on_progress is not None:
        on_progress(workers.total + size)
    return hasher


def feed_padded(
    hasher: CommpHasher,
    read_into: Callable[[int, memoryview], None],
    padded_size: int,
    *,
    start: int = 0,
    on_progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> CommpHasher:
    """The hasher, fed with a piece of at least 4 MiB that is Fr32-padded already, in one pass over its padded bytes.

    `read_into(offset, buffer)` fills the buffer with padded bytes from the offset on. The hasher has those before `start`, whole
    subtrees, already. `on_progress` hears the payload bytes read now.

    Raises:
        NotFr32: a word has a bit set that padding leaves clear; its offset is that in the piece, in padded bytes.
        ValueError: the size is no piece of whole 4 MiB subtrees.
    """
    size, step = check_padded_piece_size(padded_size), _LEAF << SUBTREE_LEVEL
    if size < step:
        raise ValueError(f"a piece of {size} padded bytes has no whole subtree of {step}")
    root_of = hasher.kernel.padded_root
    with _Workers(hasher, root_of, step, threads, on_progress) as workers:
        workers.begin_behind(start // step)
        for offset in range(start, size, step):
            buffer = workers.buffer()
            read_into(offset, memoryview(buffer))
            workers.submit(buffer)
    return hasher


class _Workers:
    """Threads that find the roots of subtrees in buffers of `size` bytes, and give them to the hasher in order."""

    def __init__(
        self,
        hasher: CommpHasher,
        root_of: Callable[[bytearray, int], bytes],
        size: int,
        threads: int | None,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        workers = threads or min(_processors(), _MOST_THREADS)
        if not hasher.kernel.threads_help:
            workers = 1
        self._hasher, self._root_of, self._size = hasher, root_of, size
        self._on_progress = on_progress
        begin = _step_back if hasher.in_background else None
        self._pool = ThreadPoolExecutor(workers, "commp", initializer=begin)
        self._free = [bytearray(size) for _ in range(1 if workers == 1 else workers + 1)]
        self._running: deque[tuple[Future[bytes], bytearray]] = deque()
        self.total = 0  # payload bytes submitted
        self._done = 0  # subtrees

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            # what was read before the reader failed counts; behind a subtree without a root nothing does
            while self._running and not isinstance(error, NotFr32):
                self._finish_one()
        except NotFr32:
            if error is None:
                raise
        finally:
            self._pool.shutdown()

    def begin_behind(self, done: int) -> None:
        """The hasher has so many subtrees already; errors count from the first."""
        self._done = done

    def buffer(self) -> bytearray:
        """One to fill, waiting for the oldest work if all are in use."""
        return self._free.pop() if self._free else self._finish_one()

    def submit(self, buffer: bytearray) -> None:
        """Hash a full buffer."""
        self._running.append((self._pool.submit(self._root_of, buffer, SUBTREE_LEVEL), buffer))
        self.total += SUBTREE_PAYLOAD
        if self._on_progress is not None:
            self._on_progress(self.total)

    def _finish_one(self) -> bytearray:
        work, buffer = self._running.popleft()
        try:
            self._hasher.add_subtree(work.result())
        except NotFr32 as error:
            raise error.behind(self._done * self._size) from None
        self._done += 1
        return buffer


def _step_back() -> None:
    """Let other work on this host go first: on Linux a thread has a niceness of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _fill(reader: BinaryIO, buffer: bytearray) -> int:
    """How many bytes were read into the buffer; fewer than it has only at the end (raw readers may answer short)."""
    read_into = getattr(reader, "readinto", None)
    if read_into is None:
        data = read_up_to(reader, len(buffer))
        buffer[: len(data)] = data
        return len(data)
    view, done = memoryview(buffer), 0
    while done < len(buffer) and (size := read_into(view[done:])):
        done += size
    return done


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        return os.cpu_count() or 1


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
            _merge(roots, step.bit_length() - 6, ZERO_ROOTS[step.bit_length() - 6])
            end += step
        _merge(roots, piece.padded_size.bit_length() - 6, piece.root)
        end = piece.offset + piece.padded_size
    return _fold(roots, total.bit_length() - 6)


def _merge(roots: list[tuple[int, bytes]], level: int, root: bytes) -> None:
    """Appends a subtree and joins neighbours of equal level."""
    while roots and roots[-1][0] == level:
        root = node(roots.pop()[1], root)
        level += 1
    roots.append((level, root))


def _fold(roots: list[tuple[int, bytes]], top: int) -> bytes:
    """The root at level `top` of subtrees with falling levels, zeros behind them."""
    if not roots:
        return ZERO_ROOTS[top]
    rest = list(roots)
    level, root = rest.pop()
    while level < top:
        if rest and rest[-1][0] == level:
            root = node(rest.pop()[1], root)
        else:
            root = node(root, ZERO_ROOTS[level])
        level += 1
    return root

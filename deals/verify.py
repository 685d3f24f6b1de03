"""Proof that a source's bytes are the piece: CommP computed over the whole piece, in a worker thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final

from deals.commp import CommpHasher, feed, feed_padded
from deals.fr32 import unpadded_length
from deals.kernels import SUBTREE_LEVEL, SUBTREE_PAYLOAD, NotFr32
from deals.piece_cid import encode_piece_cid_v1, root_of
from deals.sources.base import (
    PieceSource,
    PieceUnavailable,
    SourceError,
    SourceFailed,
    Unavailable,
)
from deals.subtree_roots import SubtreeRoots, roots_of
from deals.unsealed import PaddedPiece
from fil_plus.pieces import HeldPiece
from lotus_client.cid import Cid
from lotus_client.types import PaddedPieceSize

__all__ = ["PieceMismatch", "PieceVerified", "Progress", "verify_piece"]

_SUBTREE: Final = 32 << SUBTREE_LEVEL

# Unpadded bytes read so far, and those of the whole piece; called in the event loop.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PieceVerified:
    """The source's bytes are the piece; `bytes_read` counts unpadded bytes, padding included.

    With `subtree_roots` ranges of it can be verified later.
    """

    piece_cid: Cid
    padded_size: PaddedPieceSize
    bytes_read: int
    subtree_roots: SubtreeRoots


@dataclass(frozen=True, slots=True)
class PieceMismatch:
    """The source's bytes are not the piece: both CommPs as version 1 CIDs, over the same padded size."""

    expected: Cid
    found: Cid

    def __str__(self) -> str:
        return f"expected CommP {self.expected}, found {self.found}"


class _Cancelled(Exception):
    """Stops the worker thread."""


async def verify_piece(
    source: PieceSource,
    piece: HeldPiece,
    *,
    on_progress: Progress | None = None,
    done: bytes = b"",
    on_roots: Callable[[bytes], None] | None = None,
) -> PieceVerified | PieceMismatch:
    """Whether the bytes that `source` gives have the piece's CommP.

    `done` are the roots of subtrees at its beginning that were read earlier: those bytes are not read again, and CommP over the
    whole proves them too. `on_roots` hears, in a worker thread, the roots of all that was read so far.

    Cancelling the awaiting task stops the reading within 4 MiB, closes the reader, then raises CancelledError.

    Raises:
        PieceNotHere, PieceUnavailable: the source has no bytes, fails while reading, or gives too many.
        CidError: the held piece's CID is not a piece CID.
    """
    expected = root_of(piece.piece_cid)
    reader = await source.open(piece)
    stop = threading.Event()
    hasher = CommpHasher(in_background=True)  # the miner's own work on this host goes first
    report = _reporter(piece, stop, on_progress, len(done) // 32 * SUBTREE_PAYLOAD)

    def on_read(read: int) -> None:
        report(read)
        if on_roots is not None:
            on_roots(hasher.finished_roots())

    work = asyncio.create_task(
        asyncio.to_thread(_read_through, hasher, reader, piece, done, on_read)
    )
    try:
        found = await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({work})
        work.exception()  # seen, so that it is not reported as lost
        raise
    except SourceError:
        if on_roots is not None:
            await asyncio.to_thread(on_roots, hasher.finished_roots())
        raise
    commitment = found.finish().raised_to(piece.padded_size)
    if commitment.root != expected:
        return PieceMismatch(encode_piece_cid_v1(expected), commitment.piece_cid)
    roots = roots_of(found, piece.padded_size)
    return PieceVerified(piece.piece_cid, piece.padded_size, commitment.payload_size, roots)


def _read_through(
    hasher: CommpHasher,
    reader: BinaryIO,
    piece: HeldPiece,
    done: bytes,
    report: Callable[[int], None],
) -> CommpHasher:
    for at in range(0, len(done), 32):
        hasher.add_subtree(done[at : at + 32])
    try:
        with reader:
            raw = getattr(reader, "raw", reader)
            padded = raw if isinstance(raw, PaddedPiece) else getattr(raw, "padded", None)
            begun = len(done) // 32
            if isinstance(padded, PaddedPiece) and padded.padded_size >= _SUBTREE:
                return feed_padded(
                    hasher,
                    padded.padded_into,
                    padded.padded_size,
                    start=begun * _SUBTREE,
                    on_progress=report,
                )
            if begun:
                reader.seek(begun * SUBTREE_PAYLOAD)
            return feed(hasher, reader, on_progress=report)
    except NotFr32 as error:
        raise PieceUnavailable(piece.key, Unavailable.CORRUPT, str(error)) from error
    except OSError as error:
        raise PieceUnavailable(
            piece.key,
            Unavailable.READ_FAILED,
            str(error),
            retry_after=error.retry_after if isinstance(error, SourceFailed) else None,
        ) from error


def _reporter(
    piece: HeldPiece, stop: threading.Event, on_progress: Progress | None, before: int
) -> Callable[[int], None]:
    total = unpadded_length(piece.padded_size)
    loop = asyncio.get_running_loop()

    def report(read: int) -> None:
        done = before + read
        if stop.is_set():
            raise _Cancelled
        if done > total:
            raise PieceUnavailable(
                piece.key, Unavailable.WRONG_LENGTH, f"more than the piece's {total} bytes came"
            )
        if on_progress is not None:
            loop.call_soon_threadsafe(on_progress, done, total)

    return report

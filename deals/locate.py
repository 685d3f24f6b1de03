"""Where in its sector a piece lies. A claim does not say; the ordered pieces of the sector do, and CommP proves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from deals.commp import commp
from deals.fr32 import check_padded_piece_size
from deals.piece_cid import root_of
from deals.unsealed import UnsealedFile
from fil_plus.pieces import aligned_offsets
from lotus_client.cid import Cid

__all__ = ["PieceNotFound", "aligned_candidates", "candidate_offsets", "confirm_offset"]

# Reading a piece is the cost of each candidate; a sector full of 1 MiB pieces has 32,768 places.
_MAX_CANDIDATES: Final = 64


class PieceNotFound(LookupError):
    """None of the places tried holds the piece; says how many were tried and how many could be read."""


def candidate_offsets(
    pieces: Sequence[tuple[Cid, int]], piece_cid: Cid, padded_size: int
) -> tuple[int, ...]:
    """Padded offsets at which the piece lies, given the sector's (piece CID, padded size) in their order.

    More than one if the sector holds the piece twice; none if it is not among `pieces`.

    Raises:
        ValueError: a size is no padded piece size, or a CID is not a piece CID.
    """
    wanted = (root_of(piece_cid), check_padded_piece_size(padded_size))
    offsets = aligned_offsets(tuple(check_padded_piece_size(size) for _, size in pieces))
    return tuple(
        offset
        for offset, (cid, size) in zip(offsets, pieces, strict=True)
        if (root_of(cid), size) == wanted
    )


def aligned_candidates(file: UnsealedFile, padded_size: int) -> tuple[int, ...]:
    """Every place of a piece of this size whose bytes are present, for when the sector's pieces are not known.

    Raises:
        ValueError: there are more than 64, too many to read them all; or a bad size.
    """
    size = check_padded_piece_size(padded_size)
    found: list[int] = []
    for start, stop in file.allocated.ranges:
        first = -(-start // size) * size
        count = (stop - first) // size
        if len(found) + count > _MAX_CANDIDATES:
            raise ValueError(
                f"a piece of {size} bytes could lie at more than {_MAX_CANDIDATES} places; "
                "the order of the sector's pieces is needed"
            )
        found += [first + at * size for at in range(count)]
    return tuple(found)


def confirm_offset(
    file: UnsealedFile, candidates: Iterable[int], piece_cid: Cid, padded_size: int
) -> int:
    """The first candidate at which the bytes have the piece's CommP. Reads each whole; call it in a worker thread.

    Raises:
        PieceNotFound: none has it.
        OSError: the file changed or cannot be read.
    """
    wanted = root_of(piece_cid)
    tried = unread = 0
    for offset in candidates:
        tried += 1
        if not file.has(offset, padded_size):
            unread += 1
            continue
        with file.read_piece(offset, padded_size) as reader:
            if commp(reader).raised_to(padded_size).root == wanted:
                return offset
    raise PieceNotFound(
        f"{piece_cid} is at none of {tried} places in {file.path} ({unread} of them not unsealed)"
    )

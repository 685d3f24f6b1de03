"""The data commitment of a sector from its pieces: SHA-256 with the top two bits cleared, zero pieces between."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from lotus_client.cid import FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, Cid

__all__ = ["CommDError", "piece_digest", "unsealed_cid", "zero_commitment"]

_LEAF = 32
_SMALLEST_PIECE = 128
_DIGEST_LENGTH = 32


class CommDError(ValueError):
    """Pieces that do not fit a sector; says which."""


def _combine(left: bytes, right: bytes) -> bytes:
    digest = bytearray(hashlib.sha256(left + right).digest())
    digest[31] &= 0x3F
    return bytes(digest)


@lru_cache(maxsize=64)
def zero_commitment(size: int) -> bytes:
    """The commitment of `size` zero bytes (a power of two of at least 32)."""
    if size == _LEAF:
        return bytes(_LEAF)
    half = zero_commitment(size // 2)
    return _combine(half, half)


def piece_digest(cid: Cid) -> bytes:
    """The 32-byte commitment of a piece CID (version 1).

    Raises:
        CommDError: a CID of another kind.
    """
    if (
        cid.version != 1
        or cid.codec != FIL_COMMITMENT_UNSEALED
        or cid.hash_code != SHA2_256_TRUNC254_PADDED
        or len(cid.digest) != _DIGEST_LENGTH
    ):
        raise CommDError(f"{cid} is not a piece CID")
    return cid.digest


def unsealed_cid(pieces: Sequence[tuple[Cid, int]], sector_size: int) -> Cid:
    """CommD of a sector that holds these pieces (CID, padded size) in order, each aligned to its own size.

    Gaps and the rest are zeros. The rule of `go-commp-utils` GenerateUnsealedCID, which the sealing proofs use.

    Raises:
        CommDError: a size that is no power of two of at least 128, a wrong CID, or more than the sector holds.
    """
    stack: list[
        tuple[int, bytes]
    ] = []  # (size, commitment), sizes falling strictly: a binary counter

    def push(size: int, digest: bytes) -> None:
        while stack and stack[-1][0] == size:
            digest = _combine(stack.pop()[1], digest)
            size *= 2
        stack.append((size, digest))

    used = 0
    for cid, size in pieces:
        if size < _SMALLEST_PIECE or size & (size - 1):
            raise CommDError(f"piece size {size} is not a power of two of at least 128")
        while used % size:
            gap = used & -used
            push(gap, zero_commitment(gap))
            used += gap
        used += size
        if used > sector_size:
            raise CommDError(f"the pieces need more than the sector's {sector_size} bytes")
        push(size, piece_digest(cid))
    while used % sector_size or not stack:
        gap = used & -used if used else sector_size
        push(gap, zero_commitment(gap))
        used += gap
    return Cid.of_digest(FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, stack[0][1])

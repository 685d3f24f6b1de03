"""The data commitment of a sector from the CIDs of its pieces, as actors compute it."""

from __future__ import annotations

from collections.abc import Sequence

from deals.commp import data_commitment
from deals.piece_cid import encode_piece_cid_v1
from lotus_client.cid import FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, Cid

__all__ = ["CommDError", "piece_digest", "unsealed_cid"]

_DIGEST_LENGTH = 32


class CommDError(ValueError):
    """Pieces that do not fit a sector; says which."""


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
    placed = [(piece_digest(cid), size) for cid, size in pieces]
    try:
        root = data_commitment(placed, sector_size)
    except ValueError as error:
        raise CommDError(str(error)) from error
    return encode_piece_cid_v1(root)

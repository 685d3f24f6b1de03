"""Piece CIDs: version 1 carries the commitment, version 2 (FRC-0069) also the tree's height and the payload size.

Version 1: CIDv1, codec fil-commitment-unsealed, multihash sha2-256-trunc254-padded, 32-byte root (`baga6ea4seaq…`).
Version 2: CIDv1, codec raw, multihash fr32-sha2-256-trunc254-padded-binary-tree, digest =
uvarint(padding) | uint8(height) | root (`bafkzci…`).
Source: FRC-0069, https://github.com/filecoin-project/FIPs/blob/master/FRCs/frc-0069.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deals.fr32 import check_padded_piece_size
from lotus_client.cid import FIL_COMMITMENT_UNSEALED, RAW, SHA2_256_TRUNC254_PADDED, Cid, CidError
from lotus_client.types import PaddedPieceSize
from lotus_client.varint import VarintError, decode_uvarint, encode_uvarint

__all__ = [
    "PieceInfo",
    "decode_piece_cid_v2",
    "encode_piece_cid_v1",
    "encode_piece_cid_v2",
    "root_of",
]

_ROOT_SIZE: Final = 32

# Multicodec table: fr32-sha2-256-trunc254-padded-binary-tree
_FR32_TREE: Final = 0x1011

# log2 of a 32-byte leaf; a piece of padded size P has height log2(P) - 5.
_LEAF_BITS: Final = 5
_MIN_HEIGHT: Final = 2
# 2**62 bytes, the largest size `check_padded_piece_size` accepts.
_MAX_HEIGHT: Final = 57


@dataclass(frozen=True, slots=True)
class PieceInfo:
    """What a version 2 piece CID says: the commitment, the padded size and the payload's length in bytes."""

    root: bytes
    padded_size: PaddedPieceSize
    payload_size: int

    @property
    def cid_v1(self) -> Cid:
        """The version 1 CID, which claims and deals carry."""
        return encode_piece_cid_v1(self.root)


def encode_piece_cid_v1(root: bytes) -> Cid:
    """The version 1 piece CID of a commitment (CommP or CommD).

    Raises:
        ValueError: `root` is not 32 bytes.
    """
    _check_root(root)
    return Cid.of_digest(FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED, root)


def encode_piece_cid_v2(root: bytes, padded_size: int, payload_size: int) -> Cid:
    """The version 2 piece CID.

    Raises:
        ValueError: `root` is not 32 bytes, or the payload does not fit in `padded_size`.
    """
    _check_root(root)
    size = check_padded_piece_size(padded_size)
    padding = size // 128 * 127 - payload_size
    if payload_size < 0 or padding < 0:
        raise ValueError(f"{payload_size} payload bytes do not fit in a piece of {size}")
    height = size.bit_length() - 1 - _LEAF_BITS
    return Cid.of_digest(RAW, _FR32_TREE, encode_uvarint(padding) + bytes([height]) + root)


def decode_piece_cid_v2(cid: Cid) -> PieceInfo:
    """What a version 2 piece CID says.

    Raises:
        CidError: `cid` is not one, or its padding exceeds the piece.
    """
    if cid.codec != RAW or cid.hash_code != _FR32_TREE:
        raise CidError(f"{cid} is not a piece CID version 2")
    digest = cid.digest
    try:
        padding, at = decode_uvarint(digest)
    except VarintError as error:
        raise CidError(f"{cid}: padding: {error}") from error
    if len(digest) != at + 1 + _ROOT_SIZE:
        raise CidError(f"{cid}: a version 2 digest is padding, height and 32 bytes")
    height = digest[at]
    if not _MIN_HEIGHT <= height <= _MAX_HEIGHT:
        raise CidError(f"{cid}: tree height {height} is outside {_MIN_HEIGHT}..{_MAX_HEIGHT}")
    size = PaddedPieceSize(1 << (height + _LEAF_BITS))
    payload = size // 128 * 127 - padding
    if payload < 0:
        raise CidError(f"{cid}: padding of {padding} exceeds a piece of {size}")
    return PieceInfo(digest[at + 1 :], size, payload)


def root_of(cid: Cid) -> bytes:
    """The 32-byte commitment inside a piece CID of either version.

    Raises:
        CidError: `cid` is not a piece CID; says what people usually paste instead.
    """
    if cid.codec == FIL_COMMITMENT_UNSEALED and cid.hash_code == SHA2_256_TRUNC254_PADDED:
        if len(cid.digest) != _ROOT_SIZE:
            raise CidError(f"{cid}: a piece commitment has 32 bytes, this has {len(cid.digest)}")
        return cid.digest
    if cid.hash_code == _FR32_TREE:
        return decode_piece_cid_v2(cid).root
    raise CidError(f"{cid} is not a piece CID (baga6ea4seaq… or bafkzci…); is it a payload CID?")


def _check_root(root: bytes) -> None:
    if len(root) != _ROOT_SIZE:
        raise ValueError(f"a piece commitment has 32 bytes, not {len(root)}")

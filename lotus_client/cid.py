"""Content identifiers: the binary form is the value, text is parsed once at the edge.

Base32 without padding (prefix `b`) is what Lotus prints, and libipld handles it fast; any other multibase prefix that a
person may paste goes through py-multibase, which is slower but knows them all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import libipld

from lotus_client.varint import VarintError, decode_uvarint, encode_uvarint

__all__ = [
    "BLAKE2B_256",
    "DAG_CBOR",
    "DAG_PB",
    "FIL_COMMITMENT_SEALED",
    "FIL_COMMITMENT_UNSEALED",
    "IDENTITY",
    "POSEIDON_BLS12_381_A2_FC1",
    "RAW",
    "SHA2_256",
    "SHA2_256_TRUNC254_PADDED",
    "Cid",
    "CidError",
    "dag_cbor_cid",
    "encode_base58",
]

# Codes of the multicodec table: https://github.com/multiformats/multicodec/blob/master/table.csv
RAW: Final = 0x55
DAG_PB: Final = 0x70
DAG_CBOR: Final = 0x71
FIL_COMMITMENT_UNSEALED: Final = 0xF101
FIL_COMMITMENT_SEALED: Final = 0xF102
IDENTITY: Final = 0x00
SHA2_256: Final = 0x12
SHA2_256_TRUNC254_PADDED: Final = 0x1012
POSEIDON_BLS12_381_A2_FC1: Final = 0xB401
BLAKE2B_256: Final = 0xB220

# Longest digest we accept; the largest real one is 64 bytes (sha2-512), identity CIDs are inline data.
_MAX_DIGEST: Final = 4096
# Bounds the work on hostile text: base58 is quadratic. Base32 of the longest CID is shorter than this.
_MAX_TEXT: Final = 8192
# version 1, dag-cbor, blake2b-256, 32 bytes; written out because a chain names many blocks
_BLOCK_PREFIX: Final = bytes.fromhex("0171a0e40220")
_BLOCK_BYTES: Final = 38
# version 1, fil-commitment-unsealed, sha2-256-trunc254-padded, 32 bytes: a provider has a million of them
_PIECE_PREFIX: Final = bytes.fromhex("0181e203922020")
_PIECE_BYTES: Final = 39
# version 1, sha2-256, 32 bytes, and raw, dag-pb or dag-cbor: nearly all blocks of CAR files
_FILE_PREFIXES: Final = tuple(bytes((1, codec, 0x12, 32)) for codec in (0x55, 0x70, 0x71))
_FILE_BYTES: Final = 36


class CidError(ValueError):
    """Text or bytes that are not a CID; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """A CID by its binary form (`raw`), version 0 or 1. Prints as Lotus prints it."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> Cid:
        """The CID written in `text`: base32 (`b…`), base58 version 0 (`Qm…`) or any multibase form.

        Raises:
            CidError: not a CID, or bytes follow it.
        """
        if len(text) > _MAX_TEXT:
            raise CidError(f"{text[:80]!r}… is longer than any CID")
        raw = _decode_base32(text) if text.startswith("b") else _decode_other_multibase(text)
        cid, end = cls.decode(raw)
        if end != len(raw):
            raise CidError(f"{text[:80]!r} has {len(raw) - end} bytes after the CID")
        return cid

    @classmethod
    def from_bytes(cls, raw: bytes) -> Cid:
        """The CID that `raw` is, whole.

        Raises:
            CidError: not a CID, or bytes follow it.
        """
        cid, end = cls.decode(raw)
        if end != len(raw):
            raise CidError(f"{len(raw) - end} bytes follow the CID")
        return cid

    @classmethod
    def decode(cls, data: bytes | memoryview, offset: int = 0) -> tuple[Cid, int]:
        """The CID that begins at `offset`, and the offset behind it.

        Raises:
            CidError: the bytes there are no CID.
        """
        block = bytes(data[offset : offset + _BLOCK_BYTES])
        if block.startswith(_BLOCK_PREFIX) and len(block) == _BLOCK_BYTES:
            return cls(block), offset + _BLOCK_BYTES  # nearly every CID of a chain
        if block.startswith(_FILE_PREFIXES) and len(block) >= _FILE_BYTES:
            return cls(block[:_FILE_BYTES]), offset + _FILE_BYTES
        if block.startswith(_PIECE_PREFIX):
            piece = bytes(data[offset : offset + _PIECE_BYTES])
            if len(piece) == _PIECE_BYTES:
                return cls(piece), offset + _PIECE_BYTES
        if block.startswith(b"\x12\x20"):  # version 0 is a bare sha2-256 multihash
            end = offset + 34
            if len(data) < end:
                raise CidError(f"CID is cut short at byte {offset}")
            return cls(bytes(data[offset:end])), end
        try:
            version, position = decode_uvarint(data, offset)
            if version != 1:
                raise CidError(f"CID version {version} at byte {offset} is not 0 or 1")
            _, position = decode_uvarint(data, position)
            _, position = decode_uvarint(data, position)
            length, position = decode_uvarint(data, position)
        except VarintError as error:
            raise CidError(f"CID at byte {offset}: {error}") from error
        if length > _MAX_DIGEST:
            raise CidError(f"CID at byte {offset} claims a digest of {length} bytes")
        end = position + length
        if len(data) < end:
            raise CidError(f"CID is cut short at byte {offset}")
        return cls(bytes(data[offset:end])), end

    @classmethod
    def of_digest(cls, codec: int, hash_code: int, digest: bytes) -> Cid:
        """A version 1 CID for a digest that is already known."""
        head = encode_uvarint(1) + encode_uvarint(codec) + encode_uvarint(hash_code)
        return cls(head + encode_uvarint(len(digest)) + digest)

    @classmethod
    def of_sha2_256(cls, codec: int, data: bytes | memoryview) -> Cid:
        """The version 1 CID of `data` under SHA-256, the hash of UnixFS blocks."""
        return cls.of_digest(codec, SHA2_256, hashlib.sha256(data).digest())

    @property
    def version(self) -> int:
        """0 or 1."""
        return 0 if self.raw[:2] == b"\x12\x20" else 1

    def _parts(self) -> tuple[int, int, int]:
        """Codec, hash code and the offset of the digest."""
        if self.version == 0:
            return DAG_PB, SHA2_256, 2
        codec, position = decode_uvarint(self.raw, 1)
        hash_code, position = decode_uvarint(self.raw, position)
        _, position = decode_uvarint(self.raw, position)
        return codec, hash_code, position

    @property
    def codec(self) -> int:
        """Multicodec of the content; version 0 is always dag-pb."""
        return self._parts()[0]

    @property
    def hash_code(self) -> int:
        """Multicodec of the hash function."""
        return self._parts()[1]

    @property
    def digest(self) -> bytes:
        """The digest bytes without their prefix."""
        return self.raw[self._parts()[2] :]

    @property
    def multihash(self) -> bytes:
        """The hash code, length and digest, without version and codec."""
        return self.raw if self.version == 0 else self.raw[decode_uvarint(self.raw, 1)[1] :]

    def as_version_1(self) -> Cid:
        """The same content's CID of version 1."""
        return self if self.version else Cid(b"\x01" + encode_uvarint(DAG_PB) + self.raw)

    def __str__(self) -> str:
        if self.version == 0:
            return encode_base58(self.raw)
        text: str = libipld.encode_multibase("b", self.raw)
        return text

    def __repr__(self) -> str:
        return f"Cid({str(self)!r})"


def dag_cbor_cid(block: bytes) -> Cid:
    """The CID of a chain block: dag-cbor under blake2b-256 (`bafy2bzace…`).

    Source: Lotus `chain/types/blockheader.go`, `message.go` (abi.CidBuilder).
    """
    return Cid(_BLOCK_PREFIX + hashlib.blake2b(block, digest_size=32).digest())


def _decode_base32(text: str) -> bytes:
    """The bytes behind the prefix `b`, if `text` is their one base32 form."""
    try:
        raw: bytes = libipld.decode_multibase(text)[1]
    except ValueError as error:
        raise CidError(f"{text[:80]!r} is not a CID: broken base32") from error
    if libipld.encode_multibase("b", raw) != text:  # the decoder is lax; upper case, too many bits
        raise CidError(
            f"{text[:80]!r} is not a CID: base32 with prefix b is lower case, without stray bits"
        )
    return raw


def _decode_other_multibase(text: str) -> bytes:
    if len(text) == 46 and text.startswith("Qm"):
        text = "z" + text  # version 0 text is base58btc without a multibase prefix
    elif not text.isascii() or len(text) < 2:
        raise CidError(f"{text[:80]!r} is not a CID")
    import multibase  # imported late: only pasted CIDs in unusual bases need it

    try:
        return bytes(multibase.decode(text))
    except Exception as error:  # py-multibase raises its codecs' own errors, of many types
        raise CidError(f"{text[:80]!r} is not a CID: unknown or broken multibase form") from error


def encode_base58(raw: bytes) -> str:
    """The base58btc text of version 0 CIDs and of libp2p peer ids."""
    import multibase

    return bytes(multibase.encode("base58btc", raw)).decode()[1:]

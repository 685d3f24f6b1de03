"""Signatures of Filecoin keys: secp256k1 (f1), BLS (f3) and delegated (f410), and the FRC-0102 envelope for text.

What is signed: for a chain message the bytes of its CID; for text the enveloped text.
secp256k1 signs blake2b-256 of those bytes, 65 bytes R || S || V with V 0 or 1 and low S.
BLS is the min-pubkey scheme with the NUL suite. A delegated signature is secp256k1 over keccak-256 of the bytes; of a
chain message these are its Ethereum transaction (`lotus_client.eth`). Sources: Lotus `lib/sigs/`, FRC-0102, FIP-0055.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

import coincurve

from lotus_client.address import Address

__all__ = [
    "BLS_DST",
    "BLS_G1",
    "Secp256k1Key",
    "Signature",
    "SignatureError",
    "SignatureType",
    "SigningKey",
    "envelope",
    "eth_address_of",
    "keccak256",
    "verify_signature",
]

# FRC-0102; Lotus spells the second byte 'F'.
_ENVELOPE_PREFIX: Final = b"\x19Filecoin Signed Message:\n"
BLS_DST: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"


class SignatureError(ValueError):
    """A signature that does not fit the signer and the bytes, or cannot be checked; says why."""


class SignatureType(IntEnum):
    """The first byte of a signature on the wire (go-state-types `crypto/signature.go`)."""

    SECP256K1 = 1
    BLS = 2
    DELEGATED = 3


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature by its type and data (65 bytes for secp256k1 and delegated, 96 for BLS)."""

    type: SignatureType
    data: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Signature:
        """The signature of its byte form: type byte, then data.

        Raises:
            SignatureError: empty or of an unknown type.
        """
        if not raw:
            raise SignatureError("a signature has at least its type byte")
        try:
            return cls(SignatureType(raw[0]), raw[1:])
        except ValueError as error:
            raise SignatureError(f"signature type {raw[0]} is not 1, 2 or 3") from error

    def to_bytes(self) -> bytes:
        """Type byte, then data: the form inside messages, headers and `lotus wallet sign` output."""
        return bytes((self.type,)) + self.data


def envelope(payload: bytes) -> bytes:
    """The FRC-0102 bytes that a wallet signs for `payload`, so that it can never be a chain message."""
    return _ENVELOPE_PREFIX + str(len(payload)).encode() + payload


def keccak256(data: bytes) -> bytes:
    """Ethereum's hash: Keccak as it was before SHA-3 changed its padding."""
    from eth_hash.auto import keccak  # 50 ms and 8 MB that only Ethereum addresses need

    return bytes(keccak(data))


def eth_address_of(public_key: bytes) -> bytes:
    """The 20 bytes of the Ethereum address of an uncompressed public key (65 bytes)."""
    return keccak256(public_key[1:])[12:]


class SigningKey(Protocol):
    """A private key of any kind, with the address that carries its public part."""

    @property
    def address(self) -> Address: ...

    @property
    def secret(self) -> bytes: ...

    def sign(self, data: bytes) -> Signature: ...


class Secp256k1Key:
    """A secp256k1 private key with its f1 address. Never prints its secret."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        """The key of 32 secret bytes.

        Raises:
            SignatureError: not 32 bytes, 0, or beyond the curve's order.
        """
        if len(secret) != 32:  # the library would pad a short one: a cut key must not pass
            raise SignatureError(f"a secp256k1 secret is 32 bytes, got {len(secret)}")
        try:
            self._key = coincurve.PrivateKey(secret)
        except ValueError as error:
            raise SignatureError(
                "the secret is not a secp256k1 key (0 or beyond the order)"
            ) from error
        self.address = Address.of_secp256k1_key(self._key.public_key.format(compressed=False))

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes, for a wallet's own export."""
        return bytes(self._key.secret)

    def sign(self, data: bytes) -> Signature:
        """The deterministic (RFC 6979) signature over blake2b-256 of `data`."""
        digest = hashlib.blake2b(data, digest_size=32).digest()
        return Signature(SignatureType.SECP256K1, self._key.sign_recoverable(digest, hasher=None))

    def sign_digest(self, digest: bytes) -> bytes:
        """The deterministic signature R || S || V over 32 bytes that are a hash already."""
        return bytes(self._key.sign_recoverable(digest, hasher=None))

    @property
    def delegated_address(self) -> Address:
        """The f410 address of the same key, for messages that are Ethereum transactions."""
        return Address.of_eth(eth_address_of(self._key.public_key.format(compressed=False)))

    def __repr__(self) -> str:
        return f"Secp256k1Key({self.address}, secret=***)"


def verify_signature(signature: Signature, signer: Address, data: bytes) -> None:
    """Return if `signature` over `data` was made by the key of `signer` (an f1, f3 or f410 address).

    Raises:
        SignatureError: it was not, or `signer` is of a kind whose key is not in its address.
    """
    if signature.type is SignatureType.SECP256K1 and signer.protocol == 1:
        _verify_secp256k1(signature, signer, data)
    elif signature.type is SignatureType.BLS and signer.protocol == 3:
        _verify_bls(signature, signer, data)
    elif signature.type is SignatureType.DELEGATED and signer.protocol == 4:
        _verify_delegated(signature, signer, data)
    else:
        raise SignatureError(
            f"a {signature.type.name} signature cannot be checked against {signer}: "
            "only f1 with secp256k1, f3 with BLS and f410 with delegated carry their key in the address"
        )


def _verify_secp256k1(signature: Signature, signer: Address, data: bytes) -> None:
    digest = hashlib.blake2b(data, digest_size=32).digest()
    if Address.of_secp256k1_key(_recovered_key(signature, digest)) != signer:
        raise SignatureError(f"the signature was not made by {signer}")


def _verify_delegated(signature: Signature, signer: Address, data: bytes) -> None:
    if eth_address_of(_recovered_key(signature, keccak256(data))) != signer.eth_address:
        raise SignatureError(f"the signature was not made by {signer}")


def _recovered_key(signature: Signature, digest: bytes) -> bytes:
    """The uncompressed public key that signed the digest."""
    name = "delegated" if signature.type is SignatureType.DELEGATED else "secp256k1"
    if len(signature.data) != 65:
        raise SignatureError(f"a {name} signature is 65 bytes, got {len(signature.data)}")
    try:
        key = coincurve.PublicKey.from_signature_and_message(signature.data, digest, hasher=None)
    except Exception as error:  # coincurve raises ValueError and its own errors for bad points
        raise SignatureError(f"the {name} signature is malformed: {error}") from error
    return bytes(key.format(compressed=False))


def _verify_bls(signature: Signature, signer: Address, data: bytes) -> None:
    if len(signature.data) != 96:
        raise SignatureError(f"a BLS signature is 96 bytes, got {len(signature.data)}")
    try:
        good = _bls_verify(signer.payload, data, signature.data)
    except Exception as error:  # both BLS libraries raise many types for bad points
        raise SignatureError(f"the BLS signature or key is malformed: {error}") from error
    if not good:
        raise SignatureError(f"the signature was not made by {signer}")


# The compressed G1 generator of BLS12-381: e(g1, sig) == e(pk, H(m)) says the signature holds.
BLS_G1: Final = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
)
_POINT_AT_INFINITY: Final = 0x40  # flag bit of a compressed point


def _bls_verify(public_key: bytes, data: bytes, signature: bytes) -> bool:
    if (public_key[0] | signature[0]) & _POINT_AT_INFINITY:
        return False  # no key and no signature
    try:
        import pyblst
    except ImportError:  # the extra `bls` is not installed: the pure-Python library takes a second
        usual = sys.getrecursionlimit()
        from py_ecc.bls import G2Basic

        sys.setrecursionlimit(usual)  # importing py_ecc raises it for the whole process
        return bool(G2Basic.Verify(public_key, data, signature))
    p1, p2 = pyblst.BlstP1Element, pyblst.BlstP2Element
    left = pyblst.miller_loop(p1.uncompress(public_key), p2.hash_to_group(data, BLS_DST))
    right = pyblst.miller_loop(p1.uncompress(BLS_G1), p2.uncompress(signature))
    return bool(pyblst.final_verify(left, right))

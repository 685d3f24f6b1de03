"""Signing with a BLS key (f3), as Lotus' wallets do: min-pubkey, NUL suite, secrets in little-endian order.

Sources: Lotus `lib/sigs/bls`, filecoin-ffi `rust/src/bls` (keys are blstrs scalars by their little-endian bytes).
"""

from __future__ import annotations

import sys
from typing import Any, Final

from lotus_client.address import Address
from lotus_client.crypto import Signature, SignatureError, SignatureType

__all__ = ["BlsKey"]

# The order of the groups of BLS12-381: a secret is above 0 and below it.
_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_DST: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"
_G1: Final = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
)


class BlsKey:
    """A BLS private key with its f3 address. Never prints its secret."""

    __slots__ = ("_scalar", "address")

    def __init__(self, secret: bytes) -> None:
        """The key of 32 secret bytes as `lotus wallet export` has them.

        Raises:
            SignatureError: not 32 bytes, 0, or not below the groups' order.
        """
        self._scalar = int.from_bytes(secret, "little")
        if len(secret) != 32 or not 0 < self._scalar < _ORDER:
            raise SignatureError("the secret is not a BLS key (32 bytes, below the order, not 0)")
        self.address = Address.of_bls_key(_public_key(self._scalar))

    def sign(self, data: bytes) -> Signature:
        """The signature over `data`; for a chain message that is the bytes of its CID."""
        return Signature(SignatureType.BLS, _signature(self._scalar, data))

    def __repr__(self) -> str:
        return f"BlsKey({self.address}, secret=***)"


def _public_key(scalar: int) -> bytes:
    try:
        import pyblst
    except ImportError:
        return bytes(_slow().SkToPk(scalar))
    return bytes(pyblst.BlstP1Element.uncompress(_G1).scalar_mul(scalar).compress())


def _signature(scalar: int, data: bytes) -> bytes:
    try:
        import pyblst
    except ImportError:
        return bytes(_slow().Sign(scalar, data))
    return bytes(pyblst.BlstP2Element.hash_to_group(data, _DST).scalar_mul(scalar).compress())


def _slow() -> Any:
    """The pure-Python library, where the extra `bls` is not installed: a signature takes a second."""
    usual = sys.getrecursionlimit()
    from py_ecc.bls import G2Basic

    sys.setrecursionlimit(usual)  # importing py_ecc raises it for the whole process
    return G2Basic

"""BLS keys (f3) and aggregate signatures: min-pubkey scheme, NUL suite. Sources: Lotus `lib/sigs/bls`, RFC 9380.

pyblst does the curve arithmetic; without it (it is in the extra `bls`) py_ecc does the same a hundred times slower.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from lotus_client.address import Address
from lotus_client.crypto import BLS_DST, BLS_G1, Signature, SignatureError, SignatureType

__all__ = ["NO_BLS_SIGNATURES", "BlsKey", "aggregate_bls"]

# The order of the curve's groups.
_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
# The aggregate of no signatures: the point at infinity, compressed (Lotus chain/consensus/filcns/mine.go).
NO_BLS_SIGNATURES: Final = Signature(SignatureType.BLS, b"\xc0" + bytes(95))


def _fast() -> Any:
    try:
        import pyblst
    except ImportError:
        return None
    return pyblst


def _slow() -> Any:
    usual = sys.getrecursionlimit()
    from py_ecc.bls import G2Basic

    sys.setrecursionlimit(usual)  # importing py_ecc raises it for the whole process
    return G2Basic


class BlsKey:
    """A BLS private key with its f3 address. Never prints its secret."""

    __slots__ = ("_scalar", "address", "secret")

    def __init__(self, secret: bytes) -> None:
        """The key of 32 secret bytes, lowest first as Lotus exports them.

        Raises:
            SignatureError: not 32 bytes, 0, or not below the order of the group.
        """
        if len(secret) != 32:
            raise SignatureError(f"a BLS secret is 32 bytes, got {len(secret)}")
        self._scalar = int.from_bytes(secret, "little")
        if not 0 < self._scalar < _ORDER:
            raise SignatureError("the secret is not a BLS key (0 or not below the order)")
        self.secret = secret
        self.address = Address.of_bls_key(self._public_key())

    @classmethod
    def of_seed(cls, seed: bytes) -> BlsKey:
        """A key from 32 or more random bytes."""
        scalar = int.from_bytes(seed, "big") % (_ORDER - 1) + 1
        return cls(scalar.to_bytes(32, "little"))

    def _public_key(self) -> bytes:
        library = _fast()
        if library is None:
            return bytes(_slow().SkToPk(self._scalar))
        point = library.BlstP1Element().uncompress(BLS_G1).scalar_mul(self._scalar)
        return bytes(point.compress())

    def sign(self, data: bytes) -> Signature:
        """The signature over `data`; the same each time."""
        library = _fast()
        if library is None:
            return Signature(SignatureType.BLS, bytes(_slow().Sign(self._scalar, data)))
        point = library.BlstP2Element.hash_to_group(data, BLS_DST).scalar_mul(self._scalar)
        return Signature(SignatureType.BLS, bytes(point.compress()))

    def __repr__(self) -> str:
        return f"BlsKey({self.address}, secret=***)"


def aggregate_bls(signatures: Sequence[Signature]) -> Signature:
    """The signature that stands for all of them in a block header.

    Raises:
        SignatureError: one is not BLS.
    """
    if not signatures:
        return NO_BLS_SIGNATURES
    if any(one.type is not SignatureType.BLS for one in signatures):
        raise SignatureError("only BLS signatures can be aggregated")
    library = _fast()
    if library is None:
        return Signature(
            SignatureType.BLS, bytes(_slow().Aggregate([one.data for one in signatures]))
        )
    total = library.BlstP2Element.uncompress(signatures[0].data)
    for one in signatures[1:]:
        total = total + library.BlstP2Element.uncompress(one.data)
    return Signature(SignatureType.BLS, bytes(total.compress()))

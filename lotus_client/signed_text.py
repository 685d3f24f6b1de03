"""Text signed by Filecoin keys, in the FRC-0102 envelope, so that no signature can be taken for one of a chain message.

Keys of all kinds sign the enveloped bytes by their own scheme; which one it is stands in the signature's first byte.
"""

from __future__ import annotations

from typing import Protocol

from lotus_client.address import Address
from lotus_client.crypto import Signature, envelope, verify_signature

__all__ = ["BytesSigner", "sign_text", "verify_text"]


class BytesSigner(Protocol):
    """A key that signs bytes: `Secp256k1Key` and `BlsKey` do."""

    address: Address

    def sign(self, data: bytes, /) -> Signature: ...


def sign_text(key: BytesSigner, payload: bytes) -> Signature:
    """The signature of `key` over `payload` in its envelope."""
    return key.sign(envelope(payload))


def verify_text(signature: Signature, signer: Address, payload: bytes) -> None:
    """Return if `signature` over the enveloped `payload` is that of `signer`, whose key must be in its address.

    Raises:
        SignatureError: it is not. That includes a good signature over the payload without its envelope.
    """
    verify_signature(signature, signer, envelope(payload))

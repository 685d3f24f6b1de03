"""Keys of f410 accounts: secp256k1 keys whose messages are signed as the Ethereum transactions they are."""

from __future__ import annotations

from lotus_client.crypto import Secp256k1Key, Signature, SignatureType, keccak256
from lotus_client.eth import sign_delegated
from lotus_client.messages import Message, SignedMessage

__all__ = ["DelegatedKey"]


class DelegatedKey:
    """A private key with its f410 address, as a Lotus wallet's key type `delegated`. Never prints its secret."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        """The key of 32 secret bytes.

        Raises:
            SignatureError: not 32 bytes, 0, or beyond the curve's order.
        """
        self._key = Secp256k1Key(secret)
        self.address = self._key.delegated_address

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes, for a wallet's own export."""
        return self._key.secret

    def sign(self, data: bytes) -> Signature:
        """The deterministic signature over Keccak-256 of `data` (Lotus `lib/sigs/delegated`)."""
        return Signature(SignatureType.DELEGATED, self._key.sign_digest(keccak256(data)))

    def sign_message(self, message: Message, chain_id: int) -> SignedMessage:
        """The message signed as an EIP-1559 transaction of that Ethereum chain id.

        Raises:
            EthTransactionError: the message is none that a transaction can make, or of another sender.
        """
        return sign_delegated(message, self._key, chain_id)

    def __repr__(self) -> str:
        return f"DelegatedKey({self.address}, secret=***)"

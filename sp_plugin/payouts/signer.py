"""Signers: the wallet endpoint of a node, and a local key for tests and the demo."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Protocol

from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key, Signature, SignatureError, verify_signature
from lotus_client.errors import LotusError
from lotus_client.messages import Message, SignedMessage

__all__ = ["KeySigner", "NodeSigner", "SignerError", "WalletApi"]


class SignerError(Exception):
    """The signer refused, could not be reached or answered something else than was asked."""


class WalletApi(Protocol):
    """The one method needed of a node or wallet endpoint (`WalletSignMessage`, permission `sign`)."""

    async def wallet_sign_message(self, address: Address, message: Message) -> SignedMessage: ...


class NodeSigner:
    """A signer endpoint that holds the payout key, e.g. a node's wallet."""

    def __init__(self, wallet: WalletApi) -> None:
        self._wallet = wallet

    async def sign(self, message: Message) -> Signature:
        """The endpoint's signature, checked to be of these very bytes."""
        try:
            signed = await self._wallet.wallet_sign_message(message.from_, message)
        except LotusError as error:
            raise SignerError(f"the signer did not sign: {error}") from error
        if signed.message != message:
            raise SignerError("the signer changed the message; nothing was sent")
        return _checked(signed.signature, message)


class KeySigner:
    """A secp256k1 key in this process. For tests and the demo: an operator's key belongs in a wallet endpoint."""

    def __init__(self, key: Secp256k1Key) -> None:
        self._key = key

    @classmethod
    def from_file(cls, path: Path) -> KeySigner:
        """The signer of a file with 64 hexadecimal digits that only its owner can read.

        Raises:
            SignerError: the file is missing, readable by others, or holds no key.
        """
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            raise SignerError(f"{path} cannot be read: {error}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SignerError(f"{path} can be read by others: chmod 600 it")
        try:
            return cls(Secp256k1Key(bytes.fromhex(text)))
        except ValueError as error:
            raise SignerError(f"{path} holds no secp256k1 key of 64 hexadecimal digits") from error

    @property
    def address(self) -> Address:
        """The address whose messages it signs."""
        return self._key.address

    async def sign(self, message: Message) -> Signature:
        """The key's signature over the message's CID bytes."""
        if message.from_ != self._key.address:
            raise SignerError(
                f"this key is {self._key.address}, the message is from {message.from_}"
            )
        return self._key.sign(message.cid.raw)


def _checked(signature: Signature, message: Message) -> Signature:
    try:
        verify_signature(signature, message.from_, message.cid.raw)
    except SignatureError as error:
        raise SignerError(f"the signer's signature is not good: {error}") from error
    return signature

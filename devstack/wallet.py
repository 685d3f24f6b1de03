"""The node's wallet: keys by address, as Lotus' local keystore."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from lotus_client.address import Address
from lotus_client.bls import BlsKey
from lotus_client.crypto import Secp256k1Key, Signature, SigningKey
from lotus_client.messages import Message, SignedMessage

__all__ = ["UnknownKey", "Wallet"]


class UnknownKey(LookupError):
    """The wallet holds no key of that address."""


class Wallet:
    """Keys that the node signs with. The first key is the default until another is chosen."""

    def __init__(self, keys: Iterable[SigningKey] = ()) -> None:
        self._keys = {key.address: key for key in keys}
        self._default = next(iter(self._keys), None)

    def addresses(self) -> list[Address]:
        """The addresses of all keys, in the order they came."""
        return list(self._keys)

    @property
    def default(self) -> Address:
        """The default address.

        Raises:
            UnknownKey: the wallet is empty.
        """
        if self._default is None:
            raise UnknownKey("failed to get default key: key info not found")
        return self._default

    def set_default(self, address: Address) -> None:
        """Make `address` the default.

        Raises:
            UnknownKey: no key of it.
        """
        self._default = self.key(address).address

    def has(self, address: Address) -> bool:
        """Whether the wallet can sign for that key address."""
        return address in self._keys

    def key(self, address: Address) -> SigningKey:
        """The key of a key address (f1, f3).

        Raises:
            UnknownKey: no key of it.
        """
        try:
            return self._keys[address]
        except KeyError:
            raise UnknownKey(f"signing using key '{address}': key info not found") from None

    def add(self, key: SigningKey) -> Address:
        """Keep a key; its address."""
        self._keys[key.address] = key
        self._default = self._default or key.address
        return key.address

    def new(self, *, bls: bool = False) -> Address:
        """A new random key's address: secp256k1, or BLS."""
        secret = secrets.token_bytes(48)
        return self.add(BlsKey.of_seed(secret) if bls else Secp256k1Key(secret[:32]))

    def delete(self, address: Address) -> None:
        """Forget a key.

        Raises:
            UnknownKey: no key of it.
        """
        del self._keys[self.key(address).address]
        if self._default == address:
            self._default = next(iter(self._keys), None)

    def sign(self, address: Address, data: bytes) -> Signature:
        """The key's signature over `data`.

        Raises:
            UnknownKey: no key of that address.
        """
        return self.key(address).sign(data)

    def sign_message(self, key_address: Address, message: Message) -> SignedMessage:
        """The message signed by that key.

        Raises:
            UnknownKey: no key of that address.
        """
        return message.signed_by(self.key(key_address))

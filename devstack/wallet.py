"""The node's wallet: keys by address, as Lotus' local keystore."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from enum import StrEnum

from lotus_client.address import Address
from lotus_client.bls import BlsKey
from lotus_client.crypto import Secp256k1Key, Signature, SigningKey
from lotus_client.delegated import DelegatedKey
from lotus_client.messages import Message, SignedMessage

__all__ = ["KeyType", "UnknownKey", "Wallet"]


class KeyType(StrEnum):
    """The kinds of keys a wallet keeps, in Lotus' words (`chain/types/keystore.go`)."""

    SECP256K1 = "secp256k1"
    BLS = "bls"
    DELEGATED = "delegated"

    def of_secret(self, secret: bytes) -> SigningKey:
        """The key of these 32 secret bytes.

        Raises:
            SignatureError: they are no secret of this kind.
        """
        match self:
            case KeyType.SECP256K1:
                return Secp256k1Key(secret)
            case KeyType.BLS:
                return BlsKey(secret)
            case KeyType.DELEGATED:
                return DelegatedKey(secret)

    @classmethod
    def of_address(cls, address: Address) -> KeyType:
        """The kind of the key behind an f1, f3 or f410 address."""
        return {1: cls.SECP256K1, 3: cls.BLS, 4: cls.DELEGATED}[address.protocol]


class UnknownKey(LookupError):
    """The wallet holds no key of that address."""


class Wallet:
    """Keys that the node signs with. The first key is the default until another is chosen.

    Messages of delegated keys are signed as transactions of the Ethereum chain id.
    """

    def __init__(self, keys: Iterable[SigningKey] = (), eth_chain_id: int = 0) -> None:
        self._eth_chain_id = eth_chain_id
        self._keys = {key.address: key for key in keys}
        self._default = next(iter(self._keys), None)
        self.on_add: Callable[[SigningKey], None] = lambda _key: None

    def keys(self) -> list[SigningKey]:
        """All keys, in the order they came."""
        return list(self._keys.values())

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
        """The key of a key address (f1, f3, f410).

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
        self.on_add(key)
        self._default = self._default or key.address
        return key.address

    def new(self, kind: KeyType = KeyType.SECP256K1) -> Address:
        """The address of a new random key."""
        seed = secrets.token_bytes(48)
        key = BlsKey.of_seed(seed) if kind is KeyType.BLS else kind.of_secret(seed[:32])
        return self.add(key)

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
            EthTransactionError: a delegated key, and a message that no transaction can make.
        """
        key = self.key(key_address)
        if isinstance(key, DelegatedKey):
            return key.sign_message(message, self._eth_chain_id)
        return message.signed_by(key)

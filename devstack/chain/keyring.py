"""The keys of a devnet's accounts, each derived from the network's seed and the account's name."""

from __future__ import annotations

import hashlib

from devstack.chain.config import derive_key
from devstack.chain.store import ChainListener
from lotus_client.address import Address
from lotus_client.bls import BlsKey
from lotus_client.crypto import Secp256k1Key, SigningKey

__all__ = ["KeyRing"]


class KeyRing:
    """The keys made so far, by name. A listener hears the name of each new one."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._keys: dict[Address, SigningKey] = {}
        self._names: list[str] = []
        self._bls_names: list[str] = []
        self._listener: ChainListener | None = None

    def key(self, name: str) -> Secp256k1Key:
        """The key of the account `name`; same seed and name, same key."""
        key = derive_key(self._seed, name)
        if key.address not in self._keys:
            self._keys[key.address] = key
            self._names.append(name)
            if self._listener is not None:
                self._listener.keyed(name)
        return key

    def bls_key(self, name: str) -> BlsKey:
        """The BLS key of that name; same seed and name, same key."""
        key = BlsKey.of_seed(hashlib.sha256(f"devstack BLS|{self._seed}|{name}".encode()).digest())
        if key.address not in self._keys:
            self._keys[key.address] = key
            self._bls_names.append(name)
            if self._listener is not None:
                self._listener.bls_keyed(name)
        return key

    def of_address(self, address: Address) -> SigningKey | None:
        """The key of that key address; None if it was not made here."""
        return self._keys.get(address)

    @property
    def names(self) -> tuple[str, ...]:
        """The accounts whose keys were made here, in their order."""
        return tuple(self._names)

    @property
    def bls_names(self) -> tuple[str, ...]:
        """The names of the BLS keys that were made here, in their order."""
        return tuple(self._bls_names)

    def listen(self, listener: ChainListener | None) -> None:
        """Let one listener hear of new keys; None ends it."""
        self._listener = listener

    def share(self, other: KeyRing) -> None:
        """Know and keep the same keys as the other ring from now on; the names stay each ring's own."""
        self._keys = other._keys

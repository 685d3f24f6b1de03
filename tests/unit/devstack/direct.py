"""Calls of actors on a genesis state without mining: fast, one machine, any epoch."""

from __future__ import annotations

from devstack.chain import FIL, AccountSpec, NetworkConfig, derive_key
from devstack.chain.actors import CODE
from devstack.chain.genesis import accounts_of, genesis_state
from devstack.chain.invariants import check_invariants, event_types
from devstack.chain.machine import Environment, Machine, Sent
from lotus_client.address import Address
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import AttoFil

DAY = 2880
MIB = 1 << 20
NAMES = ("alice", "bob", "carol", "dave", "erin")
CONFIG = NetworkConfig(
    accounts=tuple(AccountSpec(name, AttoFil(1_000_000 * FIL)) for name in NAMES)
)


class Direct:
    """The actors of a small network. A call by a name is one by that account; a call by an id by any actor."""

    def __init__(self, config: NetworkConfig = CONFIG, epoch: int = 10, version: int = 28) -> None:
        self.config = config
        self.ids = {name: 100 + index for index, name in enumerate(accounts_of(config))}
        self.version = version
        self.machine = self._machine(genesis_state(config), epoch)
        self._nonce = 0

    def _machine(self, tree, epoch: int) -> Machine:  # type: ignore[no-untyped-def]
        def drawn(domain: int, at: int, entropy: bytes) -> bytes:
            return bytes([domain]) + at.to_bytes(31, "big")

        return Machine(tree, Environment(self.config, epoch, self.version, drawn), CODE)

    def at(self, epoch: int, version: int | None = None) -> None:
        """Go on at another epoch."""
        self.version = version or self.version
        self.machine = self._machine(self.machine.tree(), epoch)

    @property
    def epoch(self) -> int:
        return self.machine.environment.epoch

    def key(self, name: str) -> Secp256k1Key:
        return derive_key(self.config.seed, name)

    def id(self, name: str) -> Address:
        return Address.of_id(self.ids[name])

    def call(
        self, who: str | int, to: Address | int, method: int, params: bytes = b"", value: int = 0
    ) -> Sent:
        """One message; its events replace those of the message before."""
        self.machine.events.clear()
        caller = self.ids[who] if isinstance(who, str) else who
        target = Address.of_id(to) if isinstance(to, int) else to
        self._nonce += 1
        self.machine.origin, self.machine.exec_count = (Address.of_id(caller), self._nonce), 0
        return self.machine.call(caller, target, method, params, value)

    def ok(
        self, who: str | int, to: Address | int, method: int, params: bytes = b"", value: int = 0
    ) -> bytes:
        """The return of a message that must succeed."""
        sent = self.call(who, to, method, params, value)
        assert sent.exit_code == 0, sent
        return sent.return_

    @property
    def events(self) -> list[str]:
        return event_types(tuple(self.machine.events))

    def state(self, actor_id: int):  # type: ignore[no-untyped-def]
        return self.machine.actors[actor_id].state

    def balance(self, actor_id: int) -> int:
        return self.machine.actors[actor_id].balance

    def sound(self) -> None:
        assert check_invariants(self.machine.tree()) == []

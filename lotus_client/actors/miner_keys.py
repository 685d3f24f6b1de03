"""Miner actors: who controls them, where they are reached, and where withdrawals go.

Source: builtin-actors `actors/miner/src/types.rs`, `actors/miner/src/beneficiary.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.actors import wire
from lotus_client.actors.wire import Wire
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.types import AttoFil

__all__ = [
    "ActiveBeneficiary",
    "ChangeBeneficiaryParams",
    "ChangeMultiaddrsParams",
    "ChangePeerIdParams",
    "ChangeWorkerAddressParams",
    "GetBeneficiaryReturn",
    "PendingBeneficiaryChange",
]


@dataclass(frozen=True, slots=True)
class ChangeWorkerAddressParams(Wire):
    """Method 3: the worker after the delay, and all control addresses at once."""

    new_worker: Address
    new_control_addresses: tuple[Address, ...] = ()

    def to_value(self) -> object:
        return [self.new_worker.to_bytes(), [one.to_bytes() for one in self.new_control_addresses]]

    @classmethod
    def from_value(cls, value: CborValue) -> ChangeWorkerAddressParams:
        worker, controls = wire.fields(value, 2, "ChangeWorkerAddress")
        return cls(wire.address(worker), wire.items(controls, wire.address, "control addresses"))


@dataclass(frozen=True, slots=True)
class ChangePeerIdParams(Wire):
    """Method 4."""

    new_id: bytes

    def to_value(self) -> object:
        return [self.new_id]

    @classmethod
    def from_value(cls, value: CborValue) -> ChangePeerIdParams:
        (new_id,) = wire.fields(value, 1, "ChangePeerID")
        return cls(wire.octets(new_id))


@dataclass(frozen=True, slots=True)
class ChangeMultiaddrsParams(Wire):
    """Method 18: multiaddresses in their binary form."""

    new_multi_addrs: tuple[bytes, ...]

    def to_value(self) -> object:
        return [list(self.new_multi_addrs)]

    @classmethod
    def from_value(cls, value: CborValue) -> ChangeMultiaddrsParams:
        (addresses,) = wire.fields(value, 1, "ChangeMultiaddrs")
        return cls(wire.items(addresses, wire.octets, "multiaddrs"))


@dataclass(frozen=True, slots=True)
class ChangeBeneficiaryParams(Wire):
    """Method 30: proposal of the owner, and repeated word by word the approval of the others."""

    new_beneficiary: Address
    new_quota: AttoFil
    new_expiration: int

    def to_value(self) -> object:
        quota = wire.big_bytes(self.new_quota)
        return [self.new_beneficiary.to_bytes(), quota, self.new_expiration]

    @classmethod
    def from_value(cls, value: CborValue) -> ChangeBeneficiaryParams:
        who, quota, expiration = wire.fields(value, 3, "ChangeBeneficiary")
        return cls(wire.address(who), wire.atto(quota), wire.integer(expiration))


@dataclass(frozen=True, slots=True)
class ActiveBeneficiary(Wire):
    """Who is paid now, and within what."""

    beneficiary: Address
    quota: AttoFil
    used_quota: AttoFil
    expiration: int

    def to_value(self) -> object:
        amounts = [wire.big_bytes(self.quota), wire.big_bytes(self.used_quota)]
        return [self.beneficiary.to_bytes(), [*amounts, self.expiration]]

    @classmethod
    def from_value(cls, value: CborValue) -> ActiveBeneficiary:
        who, term = wire.fields(value, 2, "active beneficiary")
        quota, used, expiration = wire.fields(term, 3, "beneficiary term")
        return cls(wire.address(who), wire.atto(quota), wire.atto(used), wire.integer(expiration))


@dataclass(frozen=True, slots=True)
class PendingBeneficiaryChange(Wire):
    """A proposed change and who approved it so far."""

    new_beneficiary: Address
    new_quota: AttoFil
    new_expiration: int
    approved_by_beneficiary: bool
    approved_by_nominee: bool

    def to_value(self) -> object:
        return [
            self.new_beneficiary.to_bytes(),
            wire.big_bytes(self.new_quota),
            self.new_expiration,
            self.approved_by_beneficiary,
            self.approved_by_nominee,
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> PendingBeneficiaryChange:
        who, quota, expiration, beneficiary, nominee = wire.fields(value, 5, "pending beneficiary")
        return cls(
            wire.address(who),
            wire.atto(quota),
            wire.integer(expiration),
            wire.boolean(beneficiary),
            wire.boolean(nominee),
        )


@dataclass(frozen=True, slots=True)
class GetBeneficiaryReturn(Wire):
    """Method 31."""

    active: ActiveBeneficiary
    proposed: PendingBeneficiaryChange | None = None

    def to_value(self) -> object:
        proposed = None if self.proposed is None else self.proposed.to_value()
        return [self.active.to_value(), proposed]

    @classmethod
    def from_value(cls, value: CborValue) -> GetBeneficiaryReturn:
        active, proposed = wire.fields(value, 2, "GetBeneficiary return")
        return cls(
            ActiveBeneficiary.from_value(active),
            wire.optional(proposed, PendingBeneficiaryChange.from_value),
        )

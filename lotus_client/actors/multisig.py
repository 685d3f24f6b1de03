"""Multisig: proposing a call and approving it. Source: builtin-actors `actors/multisig/src/types.rs`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.wire import Wire
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.types import AttoFil

__all__ = [
    "AddSignerParams",
    "ApproveReturn",
    "ChangeThresholdParams",
    "ConstructorParams",
    "LockBalanceParams",
    "ProposeParams",
    "ProposeReturn",
    "RemoveSignerParams",
    "SwapSignerParams",
    "TxnIdParams",
    "proposal_hash",
]


@dataclass(frozen=True, slots=True)
class ConstructorParams(Wire):
    """Who signs a new multisig and how many of them must."""

    signers: tuple[Address, ...]
    threshold: int
    unlock_duration: int = 0
    start_epoch: int = 0

    def to_value(self) -> object:
        signers = [signer.to_bytes() for signer in self.signers]
        return [signers, self.threshold, self.unlock_duration, self.start_epoch]

    @classmethod
    def from_value(cls, value: CborValue) -> ConstructorParams:
        signers, threshold, duration, start = wire.fields(value, 4, "multisig constructor")
        return cls(
            wire.items(signers, wire.address, "signers"),
            wire.unsigned(threshold),
            wire.integer(duration),
            wire.integer(start),
        )


@dataclass(frozen=True, slots=True)
class ProposeParams(Wire):
    """A call that the multisig shall make. `params` are the inner call's own bytes."""

    to: Address
    value: AttoFil
    method: int
    params: bytes

    def to_value(self) -> object:
        return [self.to.to_bytes(), wire.big_bytes(self.value), self.method, self.params]

    @classmethod
    def from_value(cls, value: CborValue) -> ProposeParams:
        to, amount, method, params = wire.fields(value, 4, "Propose")
        return cls(wire.address(to), wire.atto(amount), wire.unsigned(method), wire.octets(params))


@dataclass(frozen=True, slots=True)
class ProposeReturn(Wire):
    """`applied` means executed; whether the inner call worked is in `exit_code`, not in the receipt's."""

    txn_id: int
    applied: bool
    exit_code: int
    return_: bytes

    def to_value(self) -> object:
        return [self.txn_id, self.applied, self.exit_code, self.return_]

    @classmethod
    def from_value(cls, value: CborValue) -> ProposeReturn:
        txn, applied, code, result = wire.fields(value, 4, "Propose return")
        return cls(
            wire.integer(txn), wire.boolean(applied), wire.unsigned(code), wire.octets(result)
        )


@dataclass(frozen=True, slots=True)
class TxnIdParams(Wire):
    """Params of Approve and Cancel; an empty hash approves whatever the id names."""

    txn_id: int
    proposal_hash: bytes = b""

    def to_value(self) -> object:
        return [self.txn_id, self.proposal_hash]

    @classmethod
    def from_value(cls, value: CborValue) -> TxnIdParams:
        txn, proposal = wire.fields(value, 2, "Approve")
        return cls(wire.integer(txn), wire.octets(proposal))


@dataclass(frozen=True, slots=True)
class ApproveReturn(Wire):
    """As `ProposeReturn`, without the id."""

    applied: bool
    exit_code: int
    return_: bytes

    def to_value(self) -> object:
        return [self.applied, self.exit_code, self.return_]

    @classmethod
    def from_value(cls, value: CborValue) -> ApproveReturn:
        applied, code, result = wire.fields(value, 3, "Approve return")
        return cls(wire.boolean(applied), wire.unsigned(code), wire.octets(result))


@dataclass(frozen=True, slots=True)
class AddSignerParams(Wire):
    """Method 5, and the shape of method 6: a signer, and whether the threshold moves with the number of signers."""

    signer: Address
    change: bool

    def to_value(self) -> object:
        return [self.signer.to_bytes(), self.change]

    @classmethod
    def from_value(cls, value: CborValue) -> AddSignerParams:
        signer, change = wire.fields(value, 2, "AddSigner or RemoveSigner")
        return cls(wire.address(signer), wire.boolean(change))


RemoveSignerParams = AddSignerParams  # the same two fields; `change` lowers the threshold


@dataclass(frozen=True, slots=True)
class SwapSignerParams(Wire):
    """Method 7."""

    from_: Address
    to: Address

    def to_value(self) -> object:
        return [self.from_.to_bytes(), self.to.to_bytes()]

    @classmethod
    def from_value(cls, value: CborValue) -> SwapSignerParams:
        old, new = wire.fields(value, 2, "SwapSigner")
        return cls(wire.address(old), wire.address(new))


@dataclass(frozen=True, slots=True)
class ChangeThresholdParams(Wire):
    """Method 8: how many approvals a transaction needs from now on."""

    threshold: int

    def to_value(self) -> object:
        return [self.threshold]

    @classmethod
    def from_value(cls, value: CborValue) -> ChangeThresholdParams:
        (threshold,) = wire.fields(value, 1, "ChangeThreshold")
        return cls(wire.unsigned(threshold))


@dataclass(frozen=True, slots=True)
class LockBalanceParams(Wire):
    """Method 9: lock an amount that is released linearly."""

    start_epoch: int
    unlock_duration: int
    amount: AttoFil

    def to_value(self) -> object:
        return [self.start_epoch, self.unlock_duration, wire.big_bytes(self.amount)]

    @classmethod
    def from_value(cls, value: CborValue) -> LockBalanceParams:
        start, duration, amount = wire.fields(value, 3, "LockBalance")
        return cls(wire.integer(start), wire.integer(duration), wire.atto(amount))


def proposal_hash(requester: Address | None, call: ProposeParams) -> bytes:
    """blake2b-256 that Approve may carry: over the proposer's f0 address and the call as it was proposed."""
    who = None if requester is None else requester.to_bytes()
    preimage = [who, call.to.to_bytes(), wire.big_bytes(call.value), call.method, call.params]
    return hashlib.blake2b(cbor.encode(preimage), digest_size=32).digest()

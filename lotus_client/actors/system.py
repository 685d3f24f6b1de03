"""Accounts, init f01, reward f02 and power f04. Source: builtin-actors `actors/{account,init,reward,power}/src/types.rs`."""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.actors import wire
from lotus_client.actors.wire import Wire
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid
from lotus_client.types import AttoFil

__all__ = [
    "AuthenticateMessageParams",
    "AwardBlockRewardParams",
    "CreateMinerParams",
    "CreatedActor",
    "ExecParams",
    "UpdateClaimedPowerParams",
]


@dataclass(frozen=True, slots=True)
class ExecParams(Wire):
    """f01 method 2: the code of a new actor and its constructor's params."""

    code: Cid
    constructor_params: bytes

    def to_value(self) -> object:
        return [self.code, self.constructor_params]

    @classmethod
    def from_value(cls, value: CborValue) -> ExecParams:
        code, params = wire.fields(value, 2, "Exec")
        return cls(wire.link(code), wire.octets(params))


@dataclass(frozen=True, slots=True)
class CreatedActor(Wire):
    """Return of Exec and CreateMiner: the f0 address and the f2 that survives reorgs."""

    id_address: Address
    robust_address: Address

    def to_value(self) -> object:
        return [self.id_address.to_bytes(), self.robust_address.to_bytes()]

    @classmethod
    def from_value(cls, value: CborValue) -> CreatedActor:
        actor_id, robust = wire.fields(value, 2, "created actor")
        return cls(wire.address(actor_id), wire.address(robust))


@dataclass(frozen=True, slots=True)
class AwardBlockRewardParams(Wire):
    """f02 method 2, implicit: one per block."""

    miner: Address
    penalty: AttoFil
    gas_reward: AttoFil
    win_count: int

    def to_value(self) -> object:
        amounts = [wire.big_bytes(self.penalty), wire.big_bytes(self.gas_reward)]
        return [self.miner.to_bytes(), *amounts, self.win_count]

    @classmethod
    def from_value(cls, value: CborValue) -> AwardBlockRewardParams:
        miner, penalty, gas_reward, win_count = wire.fields(value, 4, "AwardBlockReward")
        return cls(
            wire.address(miner),
            wire.atto(penalty),
            wire.atto(gas_reward),
            wire.integer(win_count),
        )


@dataclass(frozen=True, slots=True)
class CreateMinerParams(Wire):
    """f04 method 2."""

    owner: Address
    worker: Address
    window_post_proof_type: int
    peer_id: bytes = b""
    multiaddrs: tuple[bytes, ...] = ()

    def to_value(self) -> object:
        keys = [self.owner.to_bytes(), self.worker.to_bytes()]
        return [*keys, self.window_post_proof_type, self.peer_id, list(self.multiaddrs)]

    @classmethod
    def from_value(cls, value: CborValue) -> CreateMinerParams:
        owner, worker, proof, peer, multiaddrs = wire.fields(value, 5, "CreateMiner")
        return cls(
            wire.address(owner),
            wire.address(worker),
            wire.integer(proof),
            wire.octets(peer),
            wire.items(multiaddrs, wire.octets, "multiaddrs"),
        )


@dataclass(frozen=True, slots=True)
class UpdateClaimedPowerParams(Wire):
    """f04 method 3, from miners: changes of raw and quality-adjusted power in bytes."""

    raw_delta: int
    qa_delta: int

    def to_value(self) -> object:
        return [wire.big_bytes(self.raw_delta), wire.big_bytes(self.qa_delta)]

    @classmethod
    def from_value(cls, value: CborValue) -> UpdateClaimedPowerParams:
        raw, qa = wire.fields(value, 2, "UpdateClaimedPower")
        return cls(wire.big(raw), wire.big(qa))


@dataclass(frozen=True, slots=True)
class AuthenticateMessageParams(Wire):
    """Of an account: a signature without its type byte, and the message that it shall be of."""

    signature: bytes
    message: bytes

    def to_value(self) -> object:
        return [self.signature, self.message]

    @classmethod
    def from_value(cls, value: CborValue) -> AuthenticateMessageParams:
        signature, message = wire.fields(value, 2, "AuthenticateMessage")
        return cls(wire.octets(signature), wire.octets(message))

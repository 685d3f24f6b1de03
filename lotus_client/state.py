"""What a node reports of actors' state and of executed messages, as values.

Field names are those of builtin-actors and Lotus' JSON in snake case. Pure values; the JSON is read in `codec`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.messages import Message
from lotus_client.types import (
    ActorId,
    AllocationId,
    AttoFil,
    ClaimId,
    Epoch,
    PaddedPieceSize,
    SectorNumber,
)

__all__ = [
    "ActorEvent",
    "ActorState",
    "Allocation",
    "Beneficiary",
    "ChainMessage",
    "Claim",
    "EventEntry",
    "MessageLookup",
    "MinerFunds",
    "MinerInfo",
    "MinerPower",
    "PowerPair",
    "Receipt",
    "RewardState",
    "SectorOnChainInfo",
]


@dataclass(frozen=True, slots=True)
class Allocation:
    """DataCap reserved by `client` for one piece at one provider; gone once claimed or removed."""

    id: AllocationId
    client: ActorId
    provider: ActorId
    data: Cid
    size: PaddedPieceSize
    term_min: Epoch
    term_max: Epoch
    expiration: Epoch


@dataclass(frozen=True, slots=True)
class Claim:
    """DataCap claimed by `provider`. It outlives its sector: that it exists does not mean data is proven."""

    id: ClaimId
    provider: ActorId
    client: ActorId
    data: Cid
    size: PaddedPieceSize
    term_min: Epoch
    term_max: Epoch
    term_start: Epoch
    sector: SectorNumber

    @property
    def end(self) -> Epoch:
        """The epoch from which the claim no longer counts (`term_start + term_max`)."""
        return Epoch(self.term_start + self.term_max)


@dataclass(frozen=True, slots=True)
class SectorOnChainInfo:
    """A committed sector. Weights are byte-epochs; `flags` bit 0x2 marks nv29's full-power sectors."""

    number: SectorNumber
    seal_proof: int
    sealed_cid: Cid
    activation: Epoch
    expiration: Epoch
    deal_weight: int
    verified_deal_weight: int
    initial_pledge: AttoFil
    power_base_epoch: Epoch
    sector_key_cid: Cid | None
    flags: int
    daily_fee: AttoFil


@dataclass(frozen=True, slots=True)
class PowerPair:
    """Power in bytes: raw, and quality-adjusted (QAP)."""

    raw: int
    qap: int


@dataclass(frozen=True, slots=True)
class MinerPower:
    """A miner's power and the network's, from the same state."""

    miner: PowerPair
    total: PowerPair
    has_min_power: bool


@dataclass(frozen=True, slots=True)
class Beneficiary:
    """Who receives withdrawals, and the limits it has."""

    address: Address
    quota: AttoFil
    used_quota: AttoFil
    expiration: Epoch


@dataclass(frozen=True, slots=True)
class MinerInfo:
    """The keys and sizes of a miner actor."""

    owner: Address
    worker: Address
    control_addresses: tuple[Address, ...]
    sector_size: int
    window_post_proof_type: int
    beneficiary: Beneficiary


@dataclass(frozen=True, slots=True)
class MinerFunds:
    """The money fields of a miner actor's state, with its balance."""

    balance: AttoFil
    pre_commit_deposits: AttoFil
    locked_funds: AttoFil
    fee_debt: AttoFil
    initial_pledge: AttoFil
    proving_period_start: Epoch


@dataclass(frozen=True, slots=True)
class RewardState:
    """What the reward actor f02 will pay for all winners of the next epoch together."""

    this_epoch_reward: AttoFil
    epoch: Epoch
    total_storage_power_reward: AttoFil


@dataclass(frozen=True, slots=True)
class ActorState:
    """An actor's record in the state tree."""

    code: Cid
    head: Cid
    nonce: int
    balance: AttoFil
    delegated_address: Address | None


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One key and value of an actor event; `flags` 1 = key indexed, 3 = key and value."""

    flags: int
    key: str
    codec: int
    value: bytes


@dataclass(frozen=True, slots=True)
class ActorEvent:
    """An event as the node reports it; `height` and `tipset` are where its message was *included*."""

    emitter: Address
    entries: tuple[EventEntry, ...]
    reverted: bool
    height: Epoch
    tipset: TipSetKey
    message: Cid


@dataclass(frozen=True, slots=True)
class Receipt:
    """The outcome of an executed message. Anything but exit code 0 moved no value."""

    exit_code: int
    return_: bytes
    gas_used: int
    events_root: Cid | None


@dataclass(frozen=True, slots=True)
class MessageLookup:
    """Where a message was *executed* (the tipset after its inclusion). `message` may be its replacement."""

    message: Cid
    receipt: Receipt
    tipset: TipSetKey
    height: Epoch


@dataclass(frozen=True, slots=True)
class ChainMessage:
    """A message in a tipset and the CID it has there: of the *signed* form unless the sender's key is BLS."""

    cid: Cid
    message: Message

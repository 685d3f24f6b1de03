"""The actors' states as frozen values, in the blocks of builtin-actors v18; miners' and the market's have own modules.

Inside the chain money is a plain int of attoFIL and DataCap a plain int of bytes (f07 too); params and reads use
`AttoFil`. Maps are persistent HAMTs and AMTs (`devstack.ipld`): `with_` and `without` give new ones. A state's CID is
that of the block the actor would write, so the state root is what Lotus' tools walk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from devstack.chain.code_cids import CODE_CIDS, MANIFEST_DATA
from devstack.chain.deadline_states import Deadline, Deadlines, Partition
from devstack.chain.miner_states import (
    Beneficiary,
    MinerDetails,
    MinerState,
    PendingBeneficiaryChange,
    PreCommit,
    WorkerKeyChange,
)
from devstack.chain.state_tree import Actor, EmptyState, StateTree
from devstack.chain.table import State, big, id_bytes, signed_varint
from devstack.chain.vesting_table import RecentAwards, VestingFunds, VestingSteps
from devstack.ipld import Amt, AmtKind, Grouped, GroupedKind, Hamt, HamtKind, Linked, nested
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.state import Allocation, Claim
from lotus_client.varint import encode_uvarint

__all__ = [
    "CODE_CIDS",
    "NO_CRON_EVENTS",
    "AccountState",
    "Actor",
    "Beneficiary",
    "CronState",
    "DatacapState",
    "Deadline",
    "Deadlines",
    "EmptyState",
    "InitState",
    "MinerDetails",
    "MinerState",
    "MultisigState",
    "Partition",
    "PendingBeneficiaryChange",
    "PowerState",
    "PreCommit",
    "RecentAwards",
    "RewardState",
    "StateTree",
    "SystemState",
    "Transaction",
    "VerifregState",
    "VestingFunds",
    "VestingSteps",
    "WorkerKeyChange",
    "claims_kind",
]

_TOKENS: Final = 10**18  # f07 counts in 10**-18 of a byte
FIL: Final = 10**18


@dataclass(frozen=True)
class SystemState(State):
    """f00: which code the actors have."""

    def to_value(self) -> object:
        return [MANIFEST_DATA.cid]

    def links(self) -> Iterable[Linked]:
        return (MANIFEST_DATA,)


@dataclass(frozen=True)
class AccountState(State):
    """The key address of an account."""

    address: Address

    def to_value(self) -> object:
        return [self.address.to_bytes()]


_ADDRESS_MAP: Final[HamtKind[Address, int]] = HamtKind(Address.to_bytes, cbor.encode)


@dataclass(frozen=True)
class InitState(State):
    """Which robust address is which id."""

    address_map: Hamt[Address, int] = Hamt(_ADDRESS_MAP)
    next_id: int = 100
    network_name: str = ""

    def to_value(self) -> object:
        return [self.address_map.cid, self.next_id, self.network_name]


@dataclass(frozen=True)
class CronState(State):
    """What runs each epoch: (actor id, method)."""

    entries: tuple[tuple[int, int], ...] = ((4, 5), (5, 9))

    def to_value(self) -> object:
        return [[[id_bytes(actor_id), method] for actor_id, method in self.entries]]


@dataclass(frozen=True)
class Transaction(State):
    """A proposed multisig call; the proposer is the first of `approved` (actor ids)."""

    to: Address
    value: int
    method: int
    params: bytes
    approved: tuple[int, ...]

    def to_value(self) -> object:
        call = [self.to.to_bytes(), big(self.value), self.method, self.params]
        return [*call, [id_bytes(one) for one in self.approved]]


_PENDING: Final[HamtKind[int, Transaction]] = HamtKind(signed_varint, lambda txn: txn.block)


@dataclass(frozen=True)
class MultisigState(State):
    """Signers (actor ids), how many must approve, and what waits."""

    signers: tuple[int, ...]
    threshold: int
    next_txn: int = 0
    initial_balance: int = 0
    start_epoch: int = 0
    unlock_duration: int = 0
    pending: Hamt[int, Transaction] = Hamt(_PENDING)

    def to_value(self) -> object:
        return [
            [id_bytes(one) for one in self.signers],
            self.threshold,
            self.next_txn,
            big(self.initial_balance),
            self.start_epoch,
            self.unlock_duration,
            self.pending.cid,
        ]


@dataclass(frozen=True)
class RewardState(State):
    """Emission. `this_epoch_reward` is what all winners of the *next* epoch's messages share."""

    epoch: int
    this_epoch_reward: int
    reward_position: int  # smoothed reward, Q.128
    reward_velocity: int
    total_storage_power_reward: int = 0
    burnt_streams: int = 0  # network version 29: what the miners' stream left over; in no block
    cumsum_baseline: int = 0  # byte-epochs
    cumsum_realized: int = 0
    effective_network_time: int = 0
    effective_baseline_power: int = 0
    this_epoch_baseline_power: int = 0
    simple_total: int = 330_000_000 * FIL
    baseline_total: int = 770_000_000 * FIL

    def to_value(self) -> object:
        return [
            big(self.cumsum_baseline),
            big(self.cumsum_realized),
            self.effective_network_time,
            big(self.effective_baseline_power),
            big(self.this_epoch_reward),
            [big(self.reward_position), big(self.reward_velocity)],
            big(self.this_epoch_baseline_power),
            self.epoch,
            big(self.total_storage_power_reward),
            big(self.simple_total),
            big(self.baseline_total),
        ]


@lru_cache(maxsize=16)
def claims_kind(post_proof: int) -> HamtKind[int, tuple[int, int]]:
    """f04's claims: miner id -> raw and quality-adjusted power. All miners of a network have one PoSt proof type."""
    return HamtKind(id_bytes, lambda power: cbor.encode([post_proof, big(power[0]), big(power[1])]))


# A miner asks for the cron of its deadline and for nothing else: [1] is builtin-actors' CRON_EVENT_PROVING_DEADLINE.
_CRON_EVENTS: Final[AmtKind[int]] = AmtKind(
    6, lambda miner: cbor.encode([id_bytes(miner), cbor.encode([1])])
)
_CRON_QUEUE: Final[HamtKind[int, Amt[int]]] = HamtKind(
    signed_varint, lambda events: cbor.encode(events.cid), lambda events: (events,), 6
)
NO_CRON_EVENTS: Final[Amt[int]] = Amt(_CRON_EVENTS)


@dataclass(frozen=True)
class PowerState(State):
    """Power claims (miner id -> raw, qap) and their totals in bytes, and the miners' cron.

    A claim is of whole sectors, the least of which reaches the minimum, so committed and consensus totals are equal.
    """

    claims: Hamt[int, tuple[int, int]]
    total_raw: int
    total_qap: int
    total_pledge: int
    this_epoch_raw: int
    this_epoch_qap: int
    this_epoch_pledge: int
    power_position: int  # smoothed QAP, Q.128
    power_velocity: int
    cron_queue: Hamt[int, Amt[int]] = Hamt(_CRON_QUEUE)  # epoch -> miner ids
    first_cron_epoch: int = 0
    above_minimum: int = 0  # miners with the power that consensus asks for
    ramp_start: int = 0
    ramp_duration: int = 0

    def to_value(self) -> object:
        raw, qap = big(self.total_raw), big(self.total_qap)
        return [
            raw,
            raw,
            qap,
            qap,
            big(self.total_pledge),
            big(self.this_epoch_raw),
            big(self.this_epoch_qap),
            big(self.this_epoch_pledge),
            [big(self.power_position), big(self.power_velocity)],
            len(self.claims),
            self.above_minimum,
            self.ramp_start,
            self.ramp_duration,
            self.cron_queue.cid,
            self.first_cron_epoch,
            self.claims.cid,
            None,
        ]


def _allocation(one: Allocation) -> bytes:
    who = [one.client, one.provider, one.data, one.size]
    return cbor.encode([*who, one.term_min, one.term_max, one.expiration])


def _claim(one: Claim) -> bytes:
    who = [one.provider, one.client, one.data, one.size]
    return cbor.encode([*who, one.term_min, one.term_max, one.term_start, one.sector])


def _client_and_verifier(pair: tuple[int, int]) -> bytes:
    return id_bytes(pair[1]) + id_bytes(pair[0])


_VERIFIERS: Final[HamtKind[int, int]] = HamtKind(id_bytes, lambda cap: cbor.encode(big(cap)))
_PROPOSAL_IDS: Final[HamtKind[tuple[int, int], int]] = HamtKind(
    _client_and_verifier, lambda one: cbor.encode([one])
)
_ALLOCATIONS: Final[GroupedKind[Allocation]] = GroupedKind(lambda one: one.client, _allocation)
_CLAIMS: Final[GroupedKind[Claim]] = GroupedKind(lambda one: one.provider, _claim)


@dataclass(frozen=True)
class VerifregState(State):
    """Verifiers (id -> DataCap bytes), allocations by id (grouped by client) and claims by id (by provider)."""

    root_key: int
    verifiers: Hamt[int, int] = Hamt(_VERIFIERS)
    allocations: Grouped[Allocation] = Grouped(_ALLOCATIONS)
    next_allocation_id: int = 1
    claims: Grouped[Claim] = Grouped(_CLAIMS)
    # (client id, verifier id) -> the id of the next proposal to take the client's DataCap
    remove_data_cap_proposal_ids: Hamt[tuple[int, int], int] = Hamt(_PROPOSAL_IDS)

    def to_value(self) -> object:
        return [
            id_bytes(self.root_key),
            self.verifiers.cid,
            self.remove_data_cap_proposal_ids.cid,
            self.allocations.cid,
            self.next_allocation_id,
            self.claims.cid,
        ]


_BALANCES: Final[HamtKind[int, int]] = HamtKind(
    encode_uvarint, lambda size: cbor.encode(big(size * _TOKENS))
)
# What one owner allows: operator id -> tokens.
_ALLOWANCES: Final[HamtKind[int, int]] = HamtKind(encode_uvarint, lambda one: cbor.encode(big(one)))
_OWNERS: Final = nested(encode_uvarint, _ALLOWANCES)


@dataclass(frozen=True)
class DatacapState(State):
    """DataCap by holder's id, in bytes, and allowances by owner's and operator's id, in tokens (10**18 a byte)."""

    supply: int = 0
    balances: Hamt[int, int] = Hamt(_BALANCES)
    allowances: Hamt[int, Mapping[int, int]] = Hamt(_OWNERS)

    def to_value(self) -> object:
        width = 5
        token = [big(self.supply * _TOKENS), self.balances.cid, self.allowances.cid, width]
        return [id_bytes(6), token]

"""A miner's state, in the blocks of builtin-actors v18 (`actors/miner/src/{state,types}.rs`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from devstack.chain.deadline_states import NO_SECTORS, Deadlines, bits_entry
from devstack.chain.table import State, big, id_bytes
from devstack.chain.vesting_table import VestingFunds
from devstack.ipld import Amt, AmtKind, Bits, Hamt, HamtKind, Linked
from lotus_client import cbor
from lotus_client.cid import Cid
from lotus_client.state import SectorOnChainInfo
from lotus_client.varint import encode_uvarint

__all__ = [
    "Beneficiary",
    "MinerDetails",
    "MinerState",
    "PendingBeneficiaryChange",
    "PreCommit",
    "WorkerKeyChange",
]


@dataclass(frozen=True)
class Beneficiary:
    """Who withdrawals go to."""

    address: int
    quota: int = 0
    used_quota: int = 0
    expiration: int = 0


@dataclass(frozen=True)
class PendingBeneficiaryChange:
    """A beneficiary that the owner proposed, and who agreed so far."""

    new_beneficiary: int
    new_quota: int
    new_expiration: int
    approved_by_beneficiary: bool = False
    approved_by_nominee: bool = False

    def to_value(self) -> object:
        """The entry in the info block."""
        terms = [id_bytes(self.new_beneficiary), big(self.new_quota), self.new_expiration]
        return [*terms, self.approved_by_beneficiary, self.approved_by_nominee]


@dataclass(frozen=True)
class WorkerKeyChange:
    """A worker that replaces the present one from an epoch on."""

    new_worker: int
    effective_at: int

    def to_value(self) -> object:
        """The entry in the info block."""
        return [id_bytes(self.new_worker), self.effective_at]


@dataclass(frozen=True)
class MinerDetails(State):
    """Keys (ids) and sizes of a miner; `seal_proof` is not in the block."""

    owner: int
    worker: int
    controls: tuple[int, ...]
    sector_size: int
    seal_proof: int
    window_post_proof: int
    partition_sectors: int
    beneficiary: Beneficiary
    peer_id: bytes = b""
    multi_address: tuple[bytes, ...] = ()
    pending_worker_key: WorkerKeyChange | None = None
    pending_owner_address: int | None = None
    pending_beneficiary_term: PendingBeneficiaryChange | None = None
    consensus_fault_elapsed: int = -1

    def to_value(self) -> object:
        terms, owner = self.beneficiary, self.pending_owner_address
        worker, change = self.pending_worker_key, self.pending_beneficiary_term
        return [
            id_bytes(self.owner),
            id_bytes(self.worker),
            [id_bytes(one) for one in self.controls],
            None if worker is None else worker.to_value(),
            self.peer_id,
            list(self.multi_address),
            self.window_post_proof,
            self.sector_size,
            self.partition_sectors,
            self.consensus_fault_elapsed,
            None if owner is None else id_bytes(owner),
            id_bytes(terms.address),
            [big(terms.quota), big(terms.used_quota), terms.expiration],
            None if change is None else change.to_value(),
        ]


@dataclass(frozen=True)
class PreCommit:
    """A pre-committed sector and what was deposited for it."""

    number: int
    seal_proof: int
    sealed_cid: Cid
    seal_rand_epoch: int
    expiration: int
    unsealed_cid: Cid | None
    deposit: int
    epoch: int
    deal_ids: tuple[int, ...] = ()

    @property
    def has_deals(self) -> bool:
        """Whether market deals were named."""
        return bool(self.deal_ids)

    def encoded(self) -> bytes:
        """The dag-cbor of the entry."""
        info = [
            self.seal_proof, self.number, self.sealed_cid, self.seal_rand_epoch,
            list(self.deal_ids), self.expiration, self.unsealed_cid,
        ]  # fmt: skip
        return cbor.encode([info, big(self.deposit), self.epoch])


_CLEAN_UPS: Final[AmtKind[frozenset[int]]] = AmtKind(6, bits_entry)
_PRE_COMMITS: Final[HamtKind[int, PreCommit]] = HamtKind(encode_uvarint, PreCommit.encoded)


@dataclass(frozen=True)
class MinerState(State):
    """A storage miner. Deadlines are keyed by index, sectors by number; `clean_ups` says when pre-commits lapse."""

    details: MinerDetails
    proving_period_start: int
    current_deadline: int
    deadlines: Deadlines
    pre_commit_deposits: int = 0
    locked_funds: int = 0
    vesting: VestingFunds = VestingFunds()
    fee_debt: int = 0
    initial_pledge: int = 0
    pre_committed: Hamt[int, PreCommit] = Hamt(_PRE_COMMITS)
    clean_ups: Amt[frozenset[int]] = Amt(_CLEAN_UPS)
    allocated: Bits = Bits()
    sectors: Amt[SectorOnChainInfo] = NO_SECTORS
    deadline_cron_active: bool = False

    def to_value(self) -> object:
        return [
            self.details.cid,
            big(self.pre_commit_deposits),
            big(self.locked_funds),
            self.vesting.to_value(self.proving_period_start),
            big(self.fee_debt),
            big(self.initial_pledge),
            self.pre_committed.cid,
            self.clean_ups.cid,
            self.allocated.cid,
            self.sectors.cid,
            self.proving_period_start,
            self.current_deadline,
            self.deadlines.cid,
            b"",  # deadlines with early terminations
            self.deadline_cron_active,
        ]

    def links(self) -> Iterable[Linked]:
        yield from super().links()
        yield from self.vesting.tail(self.proving_period_start)

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
    "PendingBeneficiary",
    "PreCommit",
]


@dataclass(frozen=True)
class Beneficiary:
    """Who withdrawals go to."""

    address: int
    quota: int = 0
    used_quota: int = 0
    expiration: int = 0


@dataclass(frozen=True)
class PendingBeneficiary:
    """A proposed change of the beneficiary, and which of the two sides have approved it."""

    address: int
    quota: int
    expiration: int
    approved_by_beneficiary: bool = False
    approved_by_nominee: bool = False


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
    multiaddrs: tuple[bytes, ...] = ()
    pending_worker: tuple[int, int] | None = None  # id, effective at
    consensus_fault_elapsed: int = -1
    pending_owner: int | None = None
    pending_beneficiary: PendingBeneficiary | None = None

    def to_value(self) -> object:
        terms, worker = self.beneficiary, self.pending_worker
        return [
            id_bytes(self.owner),
            id_bytes(self.worker),
            [id_bytes(one) for one in self.controls],
            None if worker is None else [id_bytes(worker[0]), worker[1]],
            self.peer_id,
            list(self.multiaddrs),
            self.window_post_proof,
            self.sector_size,
            self.partition_sectors,
            self.consensus_fault_elapsed,
            None if self.pending_owner is None else id_bytes(self.pending_owner),
            id_bytes(terms.address),
            [big(terms.quota), big(terms.used_quota), terms.expiration],
            _pending_value(self.pending_beneficiary),
        ]


def _pending_value(change: PendingBeneficiary | None) -> list[object] | None:
    if change is None:
        return None
    return [
        id_bytes(change.address),
        big(change.quota),
        change.expiration,
        change.approved_by_beneficiary,
        change.approved_by_nominee,
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

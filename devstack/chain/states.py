"""The actors' states as frozen values.

Inside the chain money is a plain int of attoFIL and DataCap a plain int of bytes (f07 too); params and reads use
`AttoFil`. Fields are those of builtin-actors where the devnet has the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from devstack.chain.table import State, Table
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.cid import Cid, dag_cbor_cid
from lotus_client.state import Allocation, Claim, SectorOnChainInfo

__all__ = [
    "CODE_CIDS",
    "AccountState",
    "Actor",
    "Beneficiary",
    "CronState",
    "DatacapState",
    "Deadline",
    "EmptyState",
    "InitState",
    "MinerDetails",
    "MinerState",
    "MultisigState",
    "Partition",
    "PowerState",
    "PreCommit",
    "RecentAwards",
    "RewardState",
    "StateTree",
    "Transaction",
    "VerifregState",
    "VestingFunds",
    "VestingSteps",
]

# Code CIDs of the actors bundle v18.0.0 for 2k networks: Lotus `build/builtin_actors_gen.go`.
CODE_CIDS: Final = {
    name: Cid.parse(text)
    for name, text in {
        "account": "bafk2bzacedpmhtrp2kdjoga2phrbi3f7z7wn25s3tluxoagcu7hsg2ppktxbw",
        "cron": "bafk2bzacedrv5m6tczd6dz6ly3zmenkljnokovduvgkbmgxvsawbalerciieg",
        "datacap": "bafk2bzaceamho7atkl2a7c3m3t24v6tf3wzceaewp3ph6rjmwza3xdy3gmqb6",
        "eam": "bafk2bzaceaxpy4ilqlibpgytnt5ucmju2ooi3bqwca6dngwy6hlzmshyjpafw",
        "ethaccount": "bafk2bzacedsbwrrjywdmxeluuzwfhmam2jmrm6ivj72ggw6qaijcx7ilw5fvk",
        "evm": "bafk2bzacec273j42hyrcaeqms6xuuezkozjhptmyniwtr7y4jzjdoflccn2is",
        "init": "bafk2bzaced23vlf6nemlulavy2ouxuvudxe3jbu4klc74tcgruafrqu2fnt3c",
        "multisig": "bafk2bzacecquc4zxikmjfwsiyzx4tbxlsvauf53c7spf3hdz6jwmkczyqwbrg",
        "placeholder": "bafk2bzacedfvut2myeleyq67fljcrw4kkmn5pb5dpyozovj7jpoez5irnc3ro",
        "reward": "bafk2bzacedchalmz2omgitfunbqg5opzcvrlvju77k6dr5zt2poyy7jjzkvwa",
        "storagemarket": "bafk2bzacecjrg6jueodndhwtkaa3n2v2tkjakmzu4c57hrhg5ige4d4kjggcg",
        "storageminer": "bafk2bzacedhvcxgdz2w75izwa5s5dwvsrxsnzkjcbpbresziyrrjrsvjzwvxe",
        "storagepower": "bafk2bzacebydegz3ap6xgejojdu3usfddhyrj476f25ooahgcqko6d7djynas",
        "system": "bafk2bzacedced5maxljwmavukjvtnmknpzoullfcwk3upaz5x5hvvdl2pk24e",
        "verifiedregistry": "bafk2bzaceccqnqgyehy72nkmujvpyibikslvpyxfhpqivzjmbkmdbme5xzm2u",
    }.items()
}


@dataclass(frozen=True)
class EmptyState(State):
    """Of f00, f05 (the devnet has no market deals) and placeholders."""


@dataclass(frozen=True)
class AccountState(State):
    """The key address of an account."""

    address: Address


@dataclass(frozen=True)
class InitState(State):
    """Which robust address is which id."""

    address_map: Table[Address, int]
    next_id: int
    network_name: str


@dataclass(frozen=True)
class CronState(State):
    """What runs each epoch: (actor id, method)."""

    entries: tuple[tuple[int, int], ...] = ((4, 5), (5, 9))


@dataclass(frozen=True)
class Transaction(State):
    """A proposed multisig call; the proposer is the first of `approved` (actor ids)."""

    to: Address
    value: int
    method: int
    params: bytes
    approved: tuple[int, ...]


@dataclass(frozen=True)
class MultisigState(State):
    """Signers (actor ids), how many must approve, and what waits."""

    signers: tuple[int, ...]
    threshold: int
    next_txn: int = 0
    initial_balance: int = 0
    start_epoch: int = 0
    unlock_duration: int = 0
    pending: Table[int, Transaction] = field(default_factory=Table)


@dataclass(frozen=True)
class RewardState(State):
    """Emission. `this_epoch_reward` is what all winners of the *next* epoch's messages share."""

    epoch: int
    this_epoch_reward: int
    reward_position: int  # smoothed reward, Q.128
    reward_velocity: int
    total_storage_power_reward: int = 0
    burnt_streams: int = 0  # network version 29: what the miners' stream left over


@dataclass(frozen=True)
class PowerState(State):
    """Power claims (miner id -> raw, qap) and their totals in bytes, and the miners' cron."""

    claims: Table[int, tuple[int, int]]
    total_raw: int
    total_qap: int
    total_pledge: int
    this_epoch_raw: int
    this_epoch_qap: int
    this_epoch_pledge: int
    power_position: int  # smoothed QAP, Q.128
    power_velocity: int
    cron_queue: Table[int, tuple[int, ...]] = field(default_factory=Table)  # epoch -> miner ids


@dataclass(frozen=True)
class VerifregState(State):
    """Verifiers (id -> DataCap bytes), allocations and claims by id."""

    root_key: int
    verifiers: Table[int, int] = field(default_factory=Table)
    allocations: Table[int, Allocation] = field(default_factory=Table)
    next_allocation_id: int = 1
    claims: Table[int, Claim] = field(default_factory=Table)


@dataclass(frozen=True)
class DatacapState(State):
    """DataCap by holder's id, in bytes."""

    supply: int = 0
    balances: Table[int, int] = field(default_factory=Table)


@dataclass(frozen=True)
class Beneficiary(State):
    """Who withdrawals go to."""

    address: int
    quota: int = 0
    used_quota: int = 0
    expiration: int = 0


@dataclass(frozen=True)
class MinerDetails(State):
    """Keys (ids) and sizes of a miner."""

    owner: int
    worker: int
    controls: tuple[int, ...]
    sector_size: int
    seal_proof: int
    window_post_proof: int
    partition_sectors: int
    beneficiary: Beneficiary


@dataclass(frozen=True)
class PreCommit(State):
    """A pre-committed sector and what was deposited for it."""

    seal_proof: int
    sealed_cid: Cid
    expiration: int
    unsealed_cid: Cid | None
    deposit: int
    epoch: int
    has_deals: bool = False


@dataclass(frozen=True)
class Partition(State):
    """Sectors that are proven together. `faults` maps a sector to the epoch it became faulty."""

    sectors: frozenset[int] = frozenset()
    terminated: frozenset[int] = frozenset()
    unproven: frozenset[int] = frozenset()
    faults: Table[int, int] = field(default_factory=Table)
    recoveries: frozenset[int] = frozenset()

    @cached_property
    def live(self) -> frozenset[int]:
        """Neither expired nor terminated."""
        return self.sectors - self.terminated

    @cached_property
    def active(self) -> frozenset[int]:
        """Those that count for power: live, proven once, not faulty."""
        return self.live - self.unproven - self.faults.keys()


@dataclass(frozen=True)
class Deadline(State):
    """Partitions of one window of the proving period, and which of them were proven in the running period."""

    partitions: tuple[Partition, ...] = ()
    posted: frozenset[int] = frozenset()


@dataclass(frozen=True)
class VestingSteps(State):
    """(epoch, amount) steps by epoch."""

    entries: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class RecentAwards(State):
    """An award's locked amount and the awards before it; `oldest` is the epoch of the first."""

    epoch: int
    amount: int
    oldest: int
    count: int
    before: RecentAwards | None = None


@dataclass(frozen=True)
class VestingFunds(State):
    """Locked rewards: (epoch, amount) steps, and awards not yet turned into steps.

    An award's 180 steps are made at the next deadline, not at once: past states then share one table per hour of the
    chain instead of one per block. `devstack.chain.actors.vesting` reads both parts together.
    """

    steps: VestingSteps = VestingSteps()
    recent: RecentAwards | None = None


@dataclass(frozen=True)
class MinerState(State):
    """A storage miner. Deadlines are keyed by index, sectors by number."""

    details: MinerDetails
    proving_period_start: int
    current_deadline: int
    deadlines: Table[int, Deadline]
    pre_commit_deposits: int = 0
    locked_funds: int = 0
    vesting: VestingFunds = VestingFunds()
    fee_debt: int = 0
    initial_pledge: int = 0
    pre_committed: Table[int, PreCommit] = field(default_factory=Table)
    allocated: Table[int, bool] = field(default_factory=Table)
    sectors: Table[int, SectorOnChainInfo] = field(default_factory=Table)
    deadline_cron_active: bool = False


@dataclass(frozen=True)
class Actor(State):
    """An actor's record in the state tree; `code` is the bundle's name of it."""

    code: str
    state: Any
    nonce: int = 0
    balance: int = 0
    delegated: Address | None = None

    @property
    def code_cid(self) -> Cid:
        """The code CID that tools know the actor by."""
        return CODE_CIDS[self.code]

    @property
    def head(self) -> Cid:
        """The CID of the actor's state block."""
        cid: Cid = self.state.cid
        return cid

    @cached_property
    def block(self) -> bytes:
        """The record as in a Filecoin state tree (version 5): code, head, nonce, balance, delegated address."""
        delegated = None if self.delegated is None else self.delegated.to_bytes()
        balance = cbor.encode_bigint(self.balance)
        return cbor.encode([self.code_cid, self.head, self.nonce, balance, delegated])


class StateTree:
    """All actors at one point, never changed."""

    __slots__ = ("_root", "actors")

    def __init__(self, actors: dict[int, Actor]) -> None:
        self.actors = actors
        self._root: Cid | None = None

    @property
    def root(self) -> Cid:
        """The CID of one byte string: 8-byte ids and records, by id. The devnet's own layout, see `table`."""
        if self._root is None:
            whole = b"".join(
                actor_id.to_bytes(8, "big") + self.actors[actor_id].block
                for actor_id in sorted(self.actors)
            )
            self._root = dag_cbor_cid(cbor.encode(whole))
        return self._root

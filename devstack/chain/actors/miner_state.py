"""A miner's state as it changes: deadlines, partitions, power, debts, and what to tell other actors of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from devstack.chain.actors import policy, vesting
from devstack.chain.actors.partitions import Placement, placed, summarised
from devstack.chain.config import NetworkConfig
from devstack.chain.machine import Exit, Runtime
from devstack.chain.states import Beneficiary, Deadlines, MinerDetails, MinerState, Partition
from devstack.chain.table import replace
from devstack.ipld import Amt
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import BURNT_FUNDS, POWER, PowerMethod
from lotus_client.actors.system import UpdateClaimedPowerParams
from lotus_client.address import Address
from lotus_client.state import SectorOnChainInfo

__all__ = [
    "Change",
    "DeadlineInfo",
    "assign_deadline",
    "available_balance",
    "deadline_info",
    "deadline_now",
    "is_mutable",
    "new_miner",
    "power_of",
    "require_key",
]


@dataclass(frozen=True, slots=True)
class DeadlineInfo:
    """One window: `close` is the first epoch behind it."""

    period_start: int
    index: int
    open: int

    @property
    def close(self) -> int:
        return self.open + policy.CHALLENGE_WINDOW

    @property
    def last(self) -> int:
        return self.close - 1

    @property
    def challenge(self) -> int:
        return self.open - policy.CHALLENGE_LOOKBACK

    @property
    def fault_cutoff(self) -> int:
        return self.open - policy.FAULT_CUTOFF


def deadline_now(proving_period_start: int, epoch: int) -> DeadlineInfo:
    """The deadline whose window holds `epoch`; only the start's offset in a proving period matters."""
    start = epoch - (epoch - proving_period_start) % policy.PROVING_PERIOD
    index = (epoch - start) // policy.CHALLENGE_WINDOW
    return DeadlineInfo(start, index, start + index * policy.CHALLENGE_WINDOW)


def deadline_info(proving_period_start: int, index: int, epoch: int) -> DeadlineInfo:
    """The window of that deadline that is open at `epoch` or opens next."""
    now = deadline_now(proving_period_start, epoch)
    start = now.period_start if index >= now.index else now.period_start + policy.PROVING_PERIOD
    return DeadlineInfo(start, index, start + index * policy.CHALLENGE_WINDOW)


def is_mutable(proving_period_start: int, index: int, epoch: int) -> bool:
    """Whether a deadline is neither open nor the next to open."""
    info = deadline_info(proving_period_start, index, epoch)
    return epoch < info.open - policy.CHALLENGE_WINDOW


def new_miner(
    config: NetworkConfig,
    actor_id: int,
    owner: int,
    worker: int,
    epoch: int,
    *,
    peer_id: bytes = b"",
    multiaddrs: tuple[bytes, ...] = (),
) -> MinerState:
    """A miner without sectors; its proving period's offset is a hash of its id and birth (as actors/miner lib.rs)."""
    seed = Address.of_id(actor_id).to_bytes() + epoch.to_bytes(8, "big")
    digest = hashlib.blake2b(seed, digest_size=32).digest()
    offset = int.from_bytes(digest[:8], "big") % policy.PROVING_PERIOD
    now = deadline_now(offset, epoch)
    details = MinerDetails(
        owner,
        worker,
        (),
        config.sector_size,
        config.seal_proof,
        config.window_post_proof,
        config.partition_sectors,
        Beneficiary(owner),
        peer_id,
        multiaddrs,
    )
    return MinerState(details, now.period_start, now.index, Deadlines())


def power_of(state: MinerState, numbers: Iterable[int]) -> tuple[int, int]:
    """Raw and quality-adjusted power of these sectors together."""
    raw = qap = 0
    for number in numbers:
        one_raw, one_qap = policy.sector_power(state.sectors[number], state.details.sector_size)
        raw, qap = raw + one_raw, qap + one_qap
    return raw, qap


def available_balance(state: MinerState, balance: int) -> int:
    """What is neither locked, deposited, pledged nor owed; may be negative."""
    return (
        balance
        - state.locked_funds
        - state.pre_commit_deposits
        - state.initial_pledge
        - state.fee_debt
    )


def assign_deadline(state: MinerState, now: int) -> int:
    """The deadline for one more sector: mutable, fewest partitions, then least full, then lowest.

    A shortened form of actors/miner/src/deadline_assignment.rs with the same first criteria.
    """
    size = state.details.partition_sectors

    def rank(index: int) -> tuple[int, int, bool, int, int]:
        partitions = state.deadlines[index].partitions
        total = sum(len(partition.sectors) for partition in partitions)
        live = sum(len(partition.live) for partition in partitions)
        return live // size, total // size, total % size == 0, live, index

    start = state.proving_period_start
    return min((i for i in range(policy.DEADLINES) if is_mutable(start, i, now)), key=rank)


@dataclass
class Change:
    """A miner's state under change, with the power and pledge that f04 must hear of and what must burn."""

    runtime: Runtime
    state: MinerState
    raw: int = 0
    qap: int = 0
    burn: int = 0
    _pledge_before: int = field(init=False)
    _sectors_before: Amt[SectorOnChainInfo] = field(init=False)

    def __post_init__(self) -> None:
        self._pledge_before = self.state.initial_pledge + self.state.locked_funds
        self._sectors_before = self.state.sectors

    @property
    def pledge_delta(self) -> int:
        """Change of pledge and locked funds together."""
        return self.state.initial_pledge + self.state.locked_funds - self._pledge_before

    def add_power(self, numbers: Iterable[int]) -> None:
        """These sectors count from now on."""
        raw, qap = power_of(self.state, numbers)
        self.raw, self.qap = self.raw + raw, self.qap + qap

    def drop_power(self, numbers: Iterable[int]) -> None:
        """These sectors count no longer."""
        raw, qap = power_of(self.state, numbers)
        self.raw, self.qap = self.raw - raw, self.qap - qap

    def set_partition(self, deadline: int, index: int, partition: Partition) -> None:
        """Replace one partition; its summaries and its deadline's queue follow from its sets and the sectors."""
        state = self.state
        place = Placement(state.proving_period_start, deadline, state.details.sector_size)
        summary = summarised(partition, state.sectors, place)
        changed = placed(state.deadlines[deadline], index, summary)
        self.state = replace(state, deadlines=state.deadlines.with_({deadline: changed}))

    def _set_partitions_of_changed_sectors(self) -> None:
        """Summaries follow sectors that were changed in place, by an extension or an update."""
        changed = frozenset(self._sectors_before.replaced_in(self.state.sectors))
        if not changed:
            return
        for index, deadline in self.state.deadlines.items():
            for at, partition in enumerate(deadline.partitions):
                if not changed.isdisjoint(partition.live):
                    self.set_partition(index, at, partition)

    def add_debt(self, amount: int) -> None:
        """Charge a fee."""
        self.state = replace(self.state, fee_debt=self.state.fee_debt + amount)

    def pay_debt(self) -> None:
        """Pay fee debt from locked rewards first, then from free balance; what is paid will burn."""
        debt = self.state.fee_debt
        if debt == 0:
            return
        self.state, taken = vesting.unlock_unvested(self.state, debt)
        self.state = replace(self.state, fee_debt=debt - taken)
        spendable = available_balance(self.state, self.runtime.balance) + self.state.fee_debt
        free = min(max(spendable - taken, 0), self.state.fee_debt)
        self.state = replace(self.state, fee_debt=self.state.fee_debt - free)
        self.burn += taken + free

    def commit(self) -> None:
        """Store the state and tell the others: pledge, burn, power. Amounts of zero are not sent."""
        runtime = self.runtime
        self._set_partitions_of_changed_sectors()
        pledge_delta = self.pledge_delta
        runtime.set_state(self.state)
        if pledge_delta:
            told = cbor.encode(wire.big_bytes(pledge_delta))
            runtime.must_send(POWER, PowerMethod.UPDATE_PLEDGE_TOTAL, told)
        if self.burn:
            runtime.must_send(BURNT_FUNDS, 0, value=self.burn)
        if self.raw or self.qap:
            power = UpdateClaimedPowerParams(self.raw, self.qap).to_cbor()
            runtime.must_send(POWER, PowerMethod.UPDATE_CLAIMED_POWER, power)


def require_key(runtime: Runtime) -> MinerState:
    """The state, if owner, worker or a control address calls."""
    state: MinerState = runtime.state
    details = state.details
    runtime.require_caller(details.owner, details.worker, *details.controls)
    return state


def require_balance(runtime: Runtime, state: MinerState) -> None:
    """Give up when deposits, pledge and locked funds exceed the balance (exit 1000 in the actor; 19 for the caller)."""
    free = available_balance(state, runtime.balance) + state.fee_debt
    runtime.require(free >= 0, Exit.INSUFFICIENT_FUNDS, "the miner's balance is too low")

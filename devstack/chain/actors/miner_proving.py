"""Keeping sectors: window PoSt, faults, terminations, and the cron at the end of each deadline (actors.md §7, §8)."""

from __future__ import annotations

from collections.abc import Iterable

from devstack.chain.actors import policy, vesting
from devstack.chain.actors.miner_keys import with_due_worker
from devstack.chain.actors.miner_state import (
    Change,
    deadline_info,
    deadline_now,
    is_mutable,
    power_of,
    require_key,
)
from devstack.chain.actors.partitions import expire_partitions
from devstack.chain.actors.power_calls import enroll_deadline_cron
from devstack.chain.deadline_states import WindowPost
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import MinerState, Partition
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import events
from lotus_client.actors.market_sectors import OnMinerSectorsTerminateParams
from lotus_client.actors.methods import MARKET, MarketMethod
from lotus_client.actors.miner import (
    PoStPartition,
    SectorDeclaration,
    SectorDeclarations,
    SubmitWindowedPoStParams,
)
from lotus_client.bitfield import BitField

__all__ = [
    "declare_faults",
    "declare_recoveries",
    "end_deadline",
    "submit_post",
    "terminate_sectors",
]

_POST_DOMAIN = 9  # DomainSeparationTag PoStChainCommit
_DAY = policy.PROVING_PERIOD
_MAX_ADDRESSED = 25_000  # builtin-actors policy: addressed_sectors_max


def submit_post(runtime: Runtime, params: bytes) -> bytes:
    """Accept a window PoSt. Its bytes are not verified, as on chain; its place, time and randomness are."""
    post = SubmitWindowedPoStParams.from_cbor(params)
    state = require_key(runtime)
    now = deadline_now(state.proving_period_start, runtime.epoch)
    deadline = state.deadlines.get(post.deadline)
    indexes = [partition.index for partition in post.partitions]
    proof_type = state.details.window_post_proof
    for good, why in (
        (post.deadline == now.index and deadline, f"deadline {now.index} is open"),
        (
            len(post.proofs) == 1 and post.proofs[0][0] == proof_type and post.proofs[0][1],
            f"one proof of type {proof_type}",
        ),
        (1 <= len(indexes) <= policy.MAX_POST_PARTITIONS, "one to three partitions"),
        (len(set(indexes)) == len(indexes), "a partition is listed twice"),
        (now.challenge <= post.chain_commit_epoch < runtime.epoch, "commit epoch out of range"),
    ):
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, why)
    drawn = runtime.machine.environment.ticket_randomness(
        _POST_DOMAIN, post.chain_commit_epoch, b""
    )
    runtime.require(
        post.chain_commit_rand == drawn, Exit.ILLEGAL_ARGUMENT, "the randomness is not the chain's"
    )
    assert deadline is not None
    change = Change(runtime, state)
    recovers = False
    for partition in post.partitions:
        recovers |= _prove_partition(change, post.deadline, partition)
    posted = deadline.posted | frozenset(indexes)
    changed = replace(change.state.deadlines[post.deadline], posted=posted)
    if not recovers:  # one that recovers power is checked at once, the others only when disputed
        submission = WindowPost(frozenset(indexes), post.proofs)
        changed = replace(changed, submissions=changed.submissions.appended(submission))
    change.state = replace(
        change.state, deadlines=change.state.deadlines.with_({post.deadline: changed})
    )
    change.commit()
    return b""


def _prove_partition(change: Change, deadline_index: int, proven: PoStPartition) -> bool:
    """Record a proof; whether it recovers power."""
    runtime, deadline = change.runtime, change.state.deadlines[deadline_index]
    runtime.require(
        proven.index < len(deadline.partitions), Exit.NOT_FOUND, f"no partition {proven.index}"
    )
    runtime.require(proven.index not in deadline.posted, Exit.ILLEGAL_ARGUMENT, "already proven")
    partition = deadline.partitions[proven.index]
    skipped = frozenset(_members(proven.skipped))
    runtime.require(skipped <= partition.sectors, Exit.ILLEGAL_ARGUMENT, "skips unknown sectors")
    skipped &= partition.live
    recovered = partition.recoveries - skipped
    proving = (partition.live - partition.faults.keys() - skipped) | recovered
    runtime.require(proving, Exit.ILLEGAL_ARGUMENT, "every sector is skipped or faulty")
    change.drop_power(skipped & partition.active)
    change.add_power(recovered | (partition.unproven - skipped))
    new_faults = dict.fromkeys(skipped - partition.faults.keys(), runtime.epoch)
    change.set_partition(
        deadline_index,
        proven.index,
        replace(
            partition,
            unproven=frozenset(),
            recoveries=frozenset(),
            faults=partition.faults.without(recovered).with_(new_faults),
        ),
    )
    return bool(recovered)


def _members(field: BitField) -> list[int]:
    if field.count > _MAX_ADDRESSED:
        raise Abort(Exit.ILLEGAL_ARGUMENT, f"{field.count} sectors are too many for one message")
    return list(field)


def _declared(
    change: Change, one: SectorDeclaration, *, before_cutoff: bool
) -> tuple[Partition, frozenset[int]]:
    """The partition and live sectors that a declaration names, if it is in time."""
    runtime, state = change.runtime, change.state
    deadline = state.deadlines.get(one.deadline)
    runtime.require(deadline, Exit.ILLEGAL_ARGUMENT, f"no deadline {one.deadline}")
    assert deadline is not None
    if before_cutoff:
        info = deadline_info(state.proving_period_start, one.deadline, runtime.epoch)
        runtime.require(
            runtime.epoch < info.fault_cutoff, Exit.ILLEGAL_ARGUMENT, "late: the cutoff has passed"
        )
    runtime.require(
        one.partition < len(deadline.partitions), Exit.NOT_FOUND, f"no partition {one.partition}"
    )
    partition = deadline.partitions[one.partition]
    numbers = frozenset(_members(one.sectors))
    runtime.require(numbers, Exit.ILLEGAL_ARGUMENT, "no sectors")
    runtime.require(
        numbers <= partition.sectors, Exit.ILLEGAL_ARGUMENT, "sectors of another partition"
    )
    return partition, numbers & partition.live


def declare_faults(runtime: Runtime, params: bytes) -> bytes:
    """Sectors lose their power at once; the fee comes at the deadline's end."""
    wanted = SectorDeclarations.from_cbor(params)
    change = Change(runtime, require_key(runtime))
    for one in wanted.declarations:
        partition, numbers = _declared(change, one, before_cutoff=True)
        change.drop_power(numbers & partition.active)
        new = dict.fromkeys(numbers - partition.faults.keys(), runtime.epoch)
        change.set_partition(
            one.deadline,
            one.partition,
            replace(
                partition,
                faults=partition.faults.with_(new),
                unproven=partition.unproven - numbers,
                recoveries=partition.recoveries - numbers,
            ),
        )
    change.commit()
    return b""


def declare_recoveries(runtime: Runtime, params: bytes) -> bytes:
    """Faulty sectors shall be proven at their next deadline; their power returns with that proof."""
    wanted = SectorDeclarations.from_cbor(params)
    change = Change(runtime, require_key(runtime))
    change.pay_debt()
    runtime.require(change.state.fee_debt == 0, Exit.INSUFFICIENT_FUNDS, "fee debt is not covered")
    for one in wanted.declarations:
        partition, numbers = _declared(change, one, before_cutoff=True)
        recovering = numbers & partition.faults.keys()
        change.set_partition(
            one.deadline,
            one.partition,
            replace(partition, recoveries=partition.recoveries | recovering),
        )
    change.commit()
    return b""


def terminate_sectors(runtime: Runtime, params: bytes) -> bytes:
    """End sectors early: power and pledge go at once, the fee is burnt or owed. All are done in this message."""
    wanted = SectorDeclarations.from_cbor(params)
    state = require_key(runtime)
    change = Change(runtime, state)
    ended: list[int] = []
    for one in wanted.declarations:
        partition, numbers = _declared(change, one, before_cutoff=False)
        runtime.require(
            is_mutable(state.proving_period_start, one.deadline, runtime.epoch),
            Exit.ILLEGAL_ARGUMENT,
            "the deadline is open or the next to open",
        )
        _end_early(change, numbers)
        _end(change, one.deadline, one.partition, partition, numbers)
        ended += sorted(numbers)
    change.pay_debt()
    change.commit()
    _after_early_end(runtime, ended)
    return cbor.encode([True])


def _after_early_end(runtime: Runtime, numbers: list[int]) -> None:
    """Tell f05 of ended sectors that held data, then the world of all."""
    state: MinerState = runtime.state
    held = [state.sectors[number] for number in numbers]
    with_data = [one.number for one in held if one.deal_weight or one.verified_deal_weight]
    if with_data:
        ended = OnMinerSectorsTerminateParams(runtime.epoch, BitField.from_ints(with_data))
        runtime.must_send(MARKET, MarketMethod.ON_MINER_SECTORS_TERMINATE, ended.to_cbor())
    for number in numbers:
        runtime.emit(events.sector_event("sector-terminated", number))


def _end_early(change: Change, numbers: Iterable[int]) -> None:
    runtime, state = change.runtime, change.state
    for number in numbers:
        sector = state.sectors[number]
        qap = policy.sector_power(sector, state.details.sector_size)[1]
        actors = runtime.machine.actors
        change.add_debt(policy.termination_fee(actors, sector, qap, runtime.epoch))


def _end(
    change: Change, deadline: int, index: int, partition: Partition, numbers: frozenset[int]
) -> None:
    """Sectors are over: no power, no pledge. They stay listed in `sectors` as on chain before compaction."""
    change.drop_power(numbers & partition.active)
    released = sum(change.state.sectors[number].initial_pledge.value for number in numbers)
    change.state = replace(change.state, initial_pledge=change.state.initial_pledge - released)
    change.set_partition(
        deadline,
        index,
        replace(
            partition,
            terminated=partition.terminated | numbers,
            unproven=partition.unproven - numbers,
            faults=partition.faults.without(numbers),
            recoveries=partition.recoveries - numbers,
        ),
    )


def end_deadline(runtime: Runtime) -> None:
    """The deadline cron: clean up pre-commits, take faults and expiries, charge, vest, and enrol again."""
    state: MinerState = runtime.state
    now = deadline_now(state.proving_period_start, runtime.epoch)
    change = Change(runtime, vesting.settled(state))
    details = with_due_worker(state.details, runtime.epoch)
    change.state = replace(change.state, details=details)
    _expire_pre_commits(change)
    fee, ended = _close(change, now.index)
    change.add_debt(fee)
    change.state = vesting.unlock_due(change.state, runtime.epoch)
    change.pay_debt()
    following = deadline_now(state.proving_period_start, runtime.epoch + 1)
    after = change.state
    goes_on = bool(
        after.pre_commit_deposits
        or after.initial_pledge
        or after.locked_funds
        or any(deadline.partitions for deadline in after.deadlines.values())
    )
    change.state = replace(
        after,
        proving_period_start=following.period_start,
        current_deadline=following.index,
        deadline_cron_active=goes_on,
    )
    change.commit()
    _after_early_end(runtime, ended)
    if goes_on:
        enroll_deadline_cron(runtime, following.last)


def _expire_pre_commits(change: Change) -> None:
    state = change.state
    due = [epoch for epoch in state.clean_ups if epoch <= change.runtime.epoch]
    if not due:
        return
    queued = [number for epoch in due for number in state.clean_ups[epoch]]
    late = {
        number: state.pre_committed[number] for number in queued if number in state.pre_committed
    }
    lost = sum(pre_commit.deposit for pre_commit in late.values())
    change.state = replace(
        state,
        clean_ups=state.clean_ups.without(due),
        pre_committed=state.pre_committed.without(late),
        pre_commit_deposits=state.pre_commit_deposits - lost,
    )
    change.add_debt(lost)


def _close(change: Change, index: int) -> tuple[int, list[int]]:
    """Close a deadline: what its sectors owe for the day, and those that ended early."""
    deadline = change.state.deadlines[index]
    if not deadline.partitions:
        return 0, []
    ended: list[int] = []
    actors = change.runtime.machine.actors
    live = [number for partition in deadline.partitions for number in partition.live]
    faulty = [number for partition in deadline.partitions for number in partition.faults]
    fees = sum(change.state.sectors[number].daily_fee.value for number in live)
    day = policy.expected_reward(actors, power_of(change.state, live)[1], _DAY)
    owed = min(fees, day // 2) + policy.fault_fee(actors, power_of(change.state, faulty)[1])
    if not live:
        return 0, []
    for at, partition in enumerate(deadline.partitions):
        if at not in deadline.posted and (partition.live - partition.faults.keys()):
            change.set_partition(index, at, _missed(change, partition))
        elif partition.recoveries and at not in deadline.posted:
            change.set_partition(index, at, replace(partition, recoveries=frozenset()))
    closed = change.state.deadlines[index].closed(change.state.sectors)
    closed = expire_partitions(closed, change.runtime.epoch)
    change.state = replace(change.state, deadlines=change.state.deadlines.with_({index: closed}))
    for at, partition in enumerate(closed.partitions):
        ended += _expire(change, index, at, partition)
    return owed, ended


def _missed(change: Change, partition: Partition) -> Partition:
    """A partition without a proof: all its sectors are faulty."""
    change.drop_power(partition.active)
    now = change.runtime.epoch
    new = dict.fromkeys(partition.live - partition.faults.keys(), now)
    return replace(
        partition,
        faults=partition.faults.with_(new),
        unproven=frozenset(),
        recoveries=frozenset(),
    )


def _expire(change: Change, index: int, at: int, partition: Partition) -> list[int]:
    """End the sectors whose time is over (without an event, as on chain), and those faulty for 42 days; the latter."""
    now, sectors = change.runtime.epoch, change.state.sectors
    over = frozenset(number for number in partition.live if sectors[number].expiration <= now)
    aged = frozenset(
        number
        for number, since in partition.faults.items()
        if now - since >= policy.FAULT_MAX_AGE and number not in over
    )
    if over or aged:
        _end_early(change, aged)
        _end(change, index, at, partition, over | aged)
    return sorted(aged)

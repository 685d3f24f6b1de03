"""What must hold in every state, whatever messages ran: for tests, and for whoever changes the actors."""

from __future__ import annotations

from collections import Counter

from devstack.chain.actors import policy, vesting
from devstack.chain.actors.miner_state import power_of
from devstack.chain.actors.partitions import Placement, summarised
from devstack.chain.actors.power import CONSENSUS_MINER_MIN_POWER
from devstack.chain.market_state import MarketState
from devstack.chain.states import MinerState, StateTree
from devstack.chain.values import StampedEvent

__all__ = ["check_invariants", "event_types"]


def check_invariants(tree: StateTree) -> list[str]:
    """Every broken rule in words; empty when the state is sound (actors' state invariants, builtin-actors testing)."""
    problems = _money(tree) + _datacap(tree) + _market(tree)
    for actor_id, actor in tree.actors.items():
        if actor.code == "storageminer":
            problems += _miner(tree, actor_id)
    return problems + _power(tree)


def _money(tree: StateTree) -> list[str]:
    total = sum(actor.balance for actor in tree.actors.values())
    negative = [actor_id for actor_id, actor in tree.actors.items() if actor.balance < 0]
    problems = [f"f0{actor_id} has a negative balance" for actor_id in negative]
    if total != policy.TOTAL_SUPPLY:
        problems.append(f"all balances sum to {total}, not to the total supply")
    return problems


def _datacap(tree: StateTree) -> list[str]:
    token, registry = tree.actors[7].state, tree.actors[6].state
    problems = []
    if token.supply != sum(token.balances.values()):
        problems.append("DataCap supply is not the sum of balances")
    reserved = sum(item.size for item in registry.allocations.values())
    emptied = registry.root_key == 99  # network version 29 freezes f06's balance as it was
    if token.balances.get(6, 0) != reserved and not emptied:
        problems.append("f06's DataCap is not the sum of allocations")
    both = registry.allocations.keys() & registry.claims.keys()
    problems += [f"{one} is an allocation and a claim" for one in both]
    used = {**registry.allocations, **registry.claims}
    problems += [
        f"id {one} is not below the next id" for one in used if one >= registry.next_allocation_id
    ]
    return problems


def _market(tree: StateTree) -> list[str]:
    state: MarketState = tree.actors[5].state
    problems = []
    if tree.actors[5].balance < sum(state.escrow_table.values()):
        problems.append("f05 holds less than the escrow")  # it may hold more: anyone can send to it
    deals = state.proposals
    locked: Counter[int] = Counter()
    for deal_id, deal in deals.items():
        locked[deal.client.actor_id] += deal.client_collateral.value + _unpaid(state, deal_id)
        locked[deal.provider.actor_id] += deal.provider_collateral.value
    if {who: amount for who, amount in locked.items() if amount} != dict(state.locked_table):
        problems.append("locked balances are not what the deals lock")
    problems += [
        f"f0{who} has more locked than in escrow"
        for who, amount in state.locked_table.items()
        if amount > state.escrow_table.get(who, 0)
    ]
    totals = (
        sum(deal.client_collateral.value for deal in deals.values()),
        sum(deal.provider_collateral.value for deal in deals.values()),
        sum(_unpaid(state, deal_id) for deal_id in deals),
    )
    kept = (
        state.total_client_locked_collateral,
        state.total_provider_locked_collateral,
        state.total_client_storage_fee,
    )
    if totals != kept:
        problems.append("the market's totals are not the sums over its deals")
    if not (state.states.keys() | state.pending_deal_allocation_ids.keys()) <= deals.keys():
        problems.append("something is kept of a deal that is gone")
    if state.states.keys() & state.pending_deal_allocation_ids.keys():
        problems.append("an active deal has a pending allocation")
    placed = {
        deal_id: (provider, sector)
        for provider, sectors in state.provider_sectors.items()
        for sector, held in sectors.items()
        for deal_id in held
    }
    active = {
        deal_id: (deals[deal_id].provider.actor_id, one.sector_number)
        for deal_id, one in state.states.items()
        if deal_id in deals
    }
    if not placed.items() <= active.items():  # a terminated sector's list goes with its ended deals
        problems.append("a sector lists a deal that is not active in it")
    return problems


def _unpaid(state: MarketState, deal_id: int) -> int:
    """What of a deal's fee is still locked."""
    deal, active = state.proposals[deal_id], state.states.get(deal_id)
    paid_until = max(deal.start_epoch, active.last_updated_epoch if active else 0)
    return deal.storage_price_per_epoch.value * (deal.end_epoch - paid_until)


def _miner(tree: StateTree, actor_id: int) -> list[str]:
    state: MinerState = tree.actors[actor_id].state
    name, balance = f"miner f0{actor_id}", tree.actors[actor_id].balance
    problems = []
    if balance < state.pre_commit_deposits + state.locked_funds + state.initial_pledge:
        problems.append(f"{name}: balance below deposits, locked funds and pledge")
    if state.locked_funds != sum(amount for _, amount in vesting.all_steps(state)):
        problems.append(f"{name}: locked funds are not the sum of vesting steps")
    partitions = [one for deadline in state.deadlines.values() for one in deadline.partitions]
    live = [number for one in partitions for number in one.live]
    if state.initial_pledge != sum(state.sectors[one].initial_pledge.value for one in live):
        problems.append(f"{name}: pledge is not that of its live sectors")
    deposits = sum(one.deposit for one in state.pre_committed.values())
    if state.pre_commit_deposits != deposits:
        problems.append(f"{name}: deposits are not those of its pre-commits")
    if not (state.sectors.keys() | state.pre_committed.keys()) <= state.allocated:
        problems.append(f"{name}: a sector's number is not marked as used")
    active = [number for one in partitions for number in one.active]
    if tree.actors[4].state.claims[actor_id] != power_of(state, active):
        problems.append(f"{name}: claimed power is not that of its active sectors")
    problems += _summaries(state, name)
    waiting = {number for queued in state.clean_ups.values() for number in queued}
    if not state.pre_committed.keys() <= waiting:
        problems.append(f"{name}: a pre-commit is not queued for its clean-up")
    for one in partitions:
        if not (one.unproven | one.faults.keys() | one.recoveries) <= one.live:
            problems.append(f"{name}: a partition names sectors that are not live")
        if not one.recoveries <= one.faults.keys() or one.unproven & one.faults.keys():
            problems.append(f"{name}: a partition contradicts itself")
    return problems


def _summaries(state: MinerState, name: str) -> list[str]:
    """Powers, fees and expiration queues are those that follow from the sets of sectors."""
    problems = []
    for index, deadline in state.deadlines.items():
        place = Placement(state.proving_period_start, index, state.details.sector_size)
        for at, one in enumerate(deadline.partitions):
            if one.block != summarised(one, state.sectors, place).block:
                problems.append(f"{name}: summaries of partition {index}/{at} are out of date")
            if any(at not in deadline.expirations.get(epoch, ()) for epoch in one.expirations):
                problems.append(
                    f"{name}: an expiration of {index}/{at} is not in its deadline's queue"
                )
    return problems


def _power(tree: StateTree) -> list[str]:
    power = tree.actors[4].state
    sums = tuple(sum(pair[at] for pair in power.claims.values()) for at in (0, 1))
    problems = []
    if sums != (power.total_raw, power.total_qap):
        problems.append("total power is not the sum of claims")
    enough = sum(raw >= CONSENSUS_MINER_MIN_POWER for raw, _ in power.claims.values())
    if power.above_minimum != enough:
        problems.append("the count of miners above the minimum is wrong")
    queued = {miner for events in power.cron_queue.values() for miner in events.values()}
    for actor_id, actor in tree.actors.items():
        if actor.code == "storageminer" and actor.state.deadline_cron_active != (
            actor_id in queued
        ):
            problems.append(f"miner f0{actor_id}: cron is active or queued, not both")
    miners = [actor.state for actor in tree.actors.values() if actor.code == "storageminer"]
    if power.total_pledge != sum(one.initial_pledge + one.locked_funds for one in miners):
        problems.append("f04's pledge total is not the miners' pledge and locked funds")
    return problems


def event_types(events: tuple[StampedEvent, ...]) -> list[str]:
    """The `$type` of each event, in order; the text behind its one-byte CBOR head."""
    return [event.entries[0].value[1:].decode() for event in events]

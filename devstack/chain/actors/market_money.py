"""Storage market f05: escrow, what of it is locked in deals, and how deals end (actors.md §6).

Source of the sums: builtin-actors `actors/market/src/state.rs`.
"""

from __future__ import annotations

from collections.abc import Iterable

from devstack.chain.actors.market_deals import (
    without_deal,
    without_pending,
)
from devstack.chain.machine import Abort, Exit
from devstack.chain.market_state import UNDEFINED, DealState, MarketState
from devstack.chain.table import replace
from devstack.ipld import Hamt
from lotus_client.actors.market import DealProposal

__all__ = [
    "add_escrow",
    "free_balance",
    "lock_for_deal",
    "settle",
    "terminate",
    "time_out",
]


def _added(table: Hamt[int, int], who: int, amount: int) -> Hamt[int, int]:
    total = table.get(who, 0) + amount
    if total < 0:
        raise Abort(Exit.ILLEGAL_STATE, f"a balance of f0{who} would be negative")
    return table.with_({who: total}) if total else table.without([who])


def add_escrow(state: MarketState, who: int, amount: int) -> MarketState:
    """The state with that much more (or less) escrow of one actor."""
    return replace(state, escrow_table=_added(state.escrow_table, who, amount))


def free_balance(state: MarketState, who: int) -> int:
    """Escrow that no deal locks, in attoFIL."""
    return state.escrow_table.get(who, 0) - state.locked_table.get(who, 0)


def _lock(state: MarketState, who: int, amount: int) -> MarketState:
    return replace(state, locked_table=_added(state.locked_table, who, amount))


def lock_for_deal(state: MarketState, deal: DealProposal) -> MarketState:
    """The state with both sides' money for the deal locked; both have it, or publishing dropped the deal."""
    fee, collateral = deal.total_storage_fee, deal.client_collateral.value
    state = _lock(state, deal.client.actor_id, fee + collateral)
    state = _lock(state, deal.provider.actor_id, deal.provider_collateral.value)
    return _totals(state, collateral, deal.provider_collateral.value, fee)


def _totals(state: MarketState, client: int, provider: int, fee: int) -> MarketState:
    return replace(
        state,
        total_client_locked_collateral=state.total_client_locked_collateral + client,
        total_provider_locked_collateral=state.total_provider_locked_collateral + provider,
        total_client_storage_fee=state.total_client_storage_fee + fee,
    )


def _unlock_client(state: MarketState, deal: DealProposal, fee: int) -> MarketState:
    collateral = deal.client_collateral.value
    state = _lock(state, deal.client.actor_id, -fee - collateral)
    return _totals(state, -collateral, 0, -fee)


def _release_provider(state: MarketState, deal: DealProposal, *, slashed: bool) -> MarketState:
    provider, collateral = deal.provider.actor_id, deal.provider_collateral.value
    state = _totals(_lock(state, provider, -collateral), 0, -collateral, 0)
    return add_escrow(state, provider, -collateral) if slashed else state


def _pay(state: MarketState, deal: DealProposal, start: int, end: int) -> tuple[MarketState, int]:
    payment = deal.storage_price_per_epoch.value * max(end - start, 0)
    client = deal.client.actor_id
    state = add_escrow(_lock(state, client, -payment), client, -payment)
    state = add_escrow(state, deal.provider.actor_id, payment)
    return _totals(state, 0, 0, -payment), payment


def time_out(state: MarketState, deal_id: int) -> tuple[MarketState, int]:
    """A deal that was not activated in time is over: the state without it and what burns."""
    deal = state.proposals[deal_id]
    state = _unlock_client(state, deal, deal.total_storage_fee)
    state = _release_provider(state, deal, slashed=True)
    allocations = state.pending_deal_allocation_ids.without([deal_id])
    state = replace(state, pending_deal_allocation_ids=allocations)
    return without_deal(without_pending(state, deal), deal_id), deal.provider_collateral.value


def settle(state: MarketState, deal_id: int, now: int) -> tuple[MarketState, int, bool]:
    """Pay for an active deal up to now: the state, the payment, and whether the deal is complete and gone."""
    deal, activated = state.proposals[deal_id], state.states[deal_id]
    state = without_pending(state, deal)
    if deal.start_epoch > now:
        return _updated(state, deal_id, activated, now), 0, False
    start = max(deal.start_epoch, activated.last_updated_epoch)
    state, payment = _pay(state, deal, start, min(deal.end_epoch, now))
    if now < deal.end_epoch:
        return _updated(state, deal_id, activated, now), payment, False
    state = _unlock_client(_release_provider(state, deal, slashed=False), deal, 0)
    return without_deal(state, deal_id), payment, True


def _updated(state: MarketState, deal_id: int, activated: DealState, now: int) -> MarketState:
    changed = DealState(activated.sector_number, activated.sector_start_epoch, now)
    return replace(state, states=state.states.with_({deal_id: changed}))


def terminate(
    state: MarketState, deal_ids: Iterable[int], at: int
) -> tuple[MarketState, list[tuple[int, DealProposal]], int]:
    """End deals whose sector was terminated: the state, the ended deals, and the collateral that burns.

    Deals that were over at that epoch, or are gone already, stay as they are.
    """
    ended, burnt = [], 0
    for deal_id in deal_ids:
        deal = state.proposals.get(deal_id)
        if deal is None or deal.end_epoch <= at:
            continue
        activated = state.states.get(deal_id)
        if activated is None:
            raise Abort(Exit.ILLEGAL_ARGUMENT, f"no state for deal {deal_id}")
        if activated.last_updated_epoch == UNDEFINED:
            state = without_pending(state, deal)
        start = max(deal.start_epoch, activated.last_updated_epoch)
        state, _ = _pay(state, deal, start, min(deal.end_epoch, at))
        left = deal.storage_price_per_epoch.value * (deal.end_epoch - max(at, deal.start_epoch))
        state = _unlock_client(state, deal, left)
        state = _release_provider(state, deal, slashed=True)
        burnt += deal.provider_collateral.value
        state = without_deal(state, deal_id)
        ended.append((deal_id, deal))
    return state, ended, burnt

"""Storage market f05: which deals there are, and when cron looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from devstack.chain.machine import Abort, Exit
from devstack.chain.market_state import MarketState
from devstack.chain.table import replace
from lotus_client.actors.market import DealProposal
from lotus_client.types import EPOCHS_PER_DAY

__all__ = [
    "DEAL_EXPIRED",
    "DEAL_NOT_ACTIVATED",
    "add_to_sector",
    "first_cron_epoch",
    "proposal_of",
    "take_sector_deals",
    "without_deal",
    "without_pending",
]

# builtin-actors actors/market/src/lib.rs
DEAL_EXPIRED: Final = 32
DEAL_NOT_ACTIVATED: Final = 33
_UPDATES_INTERVAL: Final = 30 * EPOCHS_PER_DAY


def proposal_of(state: MarketState, deal_id: int) -> DealProposal:
    """A deal's proposal; an id that was used but is gone is an expired deal."""
    found = state.proposals.get(deal_id)
    if found is not None:
        return found
    if deal_id < state.next_id:
        raise Abort(DEAL_EXPIRED, f"deal {deal_id} expired")
    raise Abort(Exit.NOT_FOUND, f"no such deal {deal_id}")


def without_pending(state: MarketState, deal: DealProposal) -> MarketState:
    """The state in which the same proposal might be published again."""
    return replace(state, pending_proposals=state.pending_proposals.without([deal.cid]))


def without_deal(state: MarketState, deal_id: int) -> MarketState:
    """The state without the deal, also in its sector's list."""
    deal, activated = state.proposals[deal_id], state.states.get(deal_id)
    if activated is not None:
        provider = deal.provider.actor_id
        state = _drop_from_sector(state, provider, activated.sector_number, deal_id)
    return replace(
        state,
        proposals=state.proposals.without([deal_id]),
        states=state.states.without([deal_id]),
    )


def _with_sectors(
    state: MarketState, provider: int, changes: Mapping[int, tuple[int, ...]]
) -> MarketState:
    """The state with these sectors' deals; a sector or provider without any has no entry."""
    every = state.provider_sectors
    sectors = {**every.get(provider, {}), **changes}
    sectors = {sector: deals for sector, deals in sectors.items() if deals}
    every = every.with_({provider: sectors}) if sectors else every.without([provider])
    return replace(state, provider_sectors=every)


def _drop_from_sector(state: MarketState, provider: int, sector: int, deal_id: int) -> MarketState:
    held = state.provider_sectors.get(provider, {}).get(sector, ())
    if deal_id not in held:
        return state
    left = tuple(one for one in held if one != deal_id)
    return _with_sectors(state, provider, {sector: left})


def add_to_sector(
    state: MarketState, provider: int, sector: int, deal_ids: tuple[int, ...]
) -> MarketState:
    """The state with more deals in a provider's sector; no deals leave it as it is."""
    if not deal_ids:
        return state
    before = state.provider_sectors.get(provider, {}).get(sector, ())
    return _with_sectors(state, provider, {sector: tuple(sorted({*before, *deal_ids}))})


def take_sector_deals(
    state: MarketState, provider: int, wanted: list[int]
) -> tuple[MarketState, list[int]]:
    """The state without these sectors' lists, and the deals that were in them."""
    sectors = state.provider_sectors.get(provider, {})
    held = [sector for sector in wanted if sector in sectors]
    deals = [deal for sector in held for deal in sectors[sector]]
    return _with_sectors(state, provider, dict.fromkeys(held, ())), deals


def first_cron_epoch(deal_id: int, start: int) -> int:
    """When cron looks whether a deal was activated: at its start or up to 30 days later, spread by its id."""
    offset = deal_id % _UPDATES_INTERVAL
    due = start - start % _UPDATES_INTERVAL + offset
    return due if due >= start else due + _UPDATES_INTERVAL

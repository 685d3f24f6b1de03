"""Typed reads of the storage market in one state."""

from __future__ import annotations

from collections.abc import Iterator

from devstack.chain.market_state import DealState, MarketState
from devstack.chain.values import ChainLookupError
from lotus_client.actors.market import DealProposal, MarketBalance
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import ActorId, AllocationId, AttoFil

__all__ = ["MarketView"]


class MarketView:
    """Deals and escrow. Deals that were settled, terminated or never activated in time are gone."""

    def __init__(self, state: MarketState) -> None:
        self._state = state

    def deal(self, deal_id: int) -> tuple[DealProposal, DealState | None]:
        """The proposal, and the state once the deal is active.

        Raises:
            ChainLookupError: no such deal, in Lotus' words.
        """
        proposal = self._state.proposals.get(deal_id)
        if proposal is None:
            raise ChainLookupError(
                f"deal {deal_id} not found - deal may not have completed sealing before deal "
                "proposal start epoch, or deal may have been slashed"
            )
        return proposal, self._state.states.get(deal_id)

    def deals(self) -> dict[int, tuple[DealProposal, DealState | None]]:
        """All deals by id."""
        return {deal_id: self.deal(deal_id) for deal_id in sorted(self._state.proposals)}

    def balance(self, who: ActorId | None) -> MarketBalance:
        """Escrow, and what of it is locked; nothing for an unknown actor."""
        if who is None:
            return MarketBalance(AttoFil(0), AttoFil(0))
        escrow, locked = self._state.escrow_table, self._state.locked_table
        return MarketBalance(AttoFil(escrow.get(who, 0)), AttoFil(locked.get(who, 0)))

    def participants(self) -> Iterator[tuple[Address, MarketBalance]]:
        """Everybody with escrow, by id."""
        for who in sorted(self._state.escrow_table):
            yield Address.of_id(who), self.balance(ActorId(who))

    def is_pending(self, proposal: Cid) -> bool:
        """Whether a proposal is published and cron has not looked at it yet."""
        return proposal in self._state.pending_proposals

    def pending_allocation(self, deal_id: int) -> AllocationId | None:
        """The allocation of a verified deal that is not activated yet; None for any other."""
        found = self._state.pending_deal_allocation_ids.get(deal_id)
        return None if found is None else AllocationId(found)

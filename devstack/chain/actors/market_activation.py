"""Storage market f05: deals that came into proven sectors (actors.md §6)."""

from __future__ import annotations

from collections.abc import Iterable

from devstack.chain.actors.market_deals import DEAL_EXPIRED, add_to_sector, proposal_of
from devstack.chain.commd import CommDError, unsealed_cid
from devstack.chain.config import SEAL_PROOFS
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.market_state import DealState, MarketState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import events, wire
from lotus_client.actors.market import DealProposal
from lotus_client.actors.market_sectors import (
    ActivatedDeal,
    BatchActivateDealsParams,
    BatchActivateDealsReturn,
    PieceChange,
    SectorChanges,
    SectorContentChangedParams,
    SectorContentChangedReturn,
    SectorDealActivation,
    SectorDeals,
    VerifyDealsForActivationParams,
    VerifyDealsForActivationReturn,
)
from lotus_client.actors.wire import BatchReturn, ParamsError
from lotus_client.cbor import CborError
from lotus_client.cid import Cid

__all__ = ["activate_batch", "content_changed", "verify"]


def _require_miner(runtime: Runtime) -> None:
    is_miner = runtime.code_of(runtime.caller) == "storageminer"
    runtime.require(is_miner, Exit.FORBIDDEN, "only miners may")


def _sector_size(seal_type: int) -> int:
    sizes = {kind: size for size, (kind, _, _) in SEAL_PROOFS.items()}
    if seal_type not in sizes:
        raise Abort(Exit.ILLEGAL_ARGUMENT, f"sector size of seal type {seal_type} is unknown")
    return sizes[seal_type]


def _data_commitment(sector: SectorDeals, deals: Iterable[DealProposal]) -> Cid:
    pieces = [(deal.piece_cid, deal.piece_size) for deal in deals]
    try:
        return unsealed_cid(pieces, _sector_size(sector.sector_type))
    except CommDError as error:
        raise Abort(Exit.ILLEGAL_ARGUMENT, str(error)) from error


def _check_terms(runtime: Runtime, deal: DealProposal, commitment: int) -> None:
    """A deal may be activated by its provider, not after its start, in a sector that lives as long."""
    runtime.require(
        deal.provider.actor_id == runtime.caller, Exit.FORBIDDEN, f"{deal.provider} has the deal"
    )
    if runtime.epoch > deal.start_epoch:
        raise Abort(DEAL_EXPIRED, "the deal's start has passed")
    runtime.require(
        deal.end_epoch <= commitment, Exit.ILLEGAL_ARGUMENT, "the deal outlives the sector"
    )


def verify(runtime: Runtime, params: VerifyDealsForActivationParams) -> bytes:
    """The CommDs of sectors with these deals; the first deal that does not fit fails the call."""
    _require_miner(runtime)
    cids: list[Cid | None] = []
    for sector in params.sectors:
        ids = sector.deal_ids
        runtime.require(len(set(ids)) == len(ids), Exit.ILLEGAL_ARGUMENT, "a deal twice")
        deals = [proposal_of(runtime.state, deal_id) for deal_id in ids]
        for deal in deals:
            _check_terms(runtime, deal, sector.sector_expiry)
        total = sum(deal.piece_size for deal in deals)
        size = _sector_size(sector.sector_type)
        runtime.require(total <= size, Exit.ILLEGAL_ARGUMENT, "the deals exceed the sector")
        cids.append(_data_commitment(sector, deals) if deals else None)
    return VerifyDealsForActivationReturn(tuple(cids)).to_cbor()


def _ready(runtime: Runtime, state: MarketState, deal_id: int, commitment: int) -> DealProposal:
    """The proposal of a deal that may be activated now; Abort with the reason's code if it may not."""
    deal = proposal_of(state, deal_id)
    _check_terms(runtime, deal, commitment)
    runtime.require(
        deal_id not in state.states, Exit.ILLEGAL_ARGUMENT, f"deal {deal_id} is active already"
    )
    runtime.require(
        deal.cid in state.pending_proposals, Exit.ILLEGAL_STATE, f"deal {deal_id} is not pending"
    )
    return deal


def _activated(
    runtime: Runtime, state: MarketState, sector: int, deals: dict[int, DealProposal]
) -> MarketState:
    """The state with these deals active in a sector; emits an event for each."""
    for deal_id, deal in deals.items():
        runtime.emit(
            events.deal_event(
                "deal-activated", deal_id, deal.client.actor_id, deal.provider.actor_id
            )
        )
    begun = {deal_id: DealState(sector, runtime.epoch) for deal_id in deals}
    state = replace(
        state,
        states=state.states.with_(begun),
        pending_deal_allocation_ids=state.pending_deal_allocation_ids.without(deals),
    )
    return add_to_sector(state, runtime.caller, sector, tuple(deals))


def activate_batch(runtime: Runtime, params: BatchActivateDealsParams) -> bytes:
    """Each sector's deals are activated together or not at all."""
    _require_miner(runtime)
    codes: list[int] = []
    activations: list[SectorDealActivation] = []
    for sector in params.sectors:
        try:
            activations.append(_activate_sector(runtime, sector, compute_cid=params.compute_cid))
            codes.append(Exit.OK)
        except Abort as abort:
            codes.append(abort.code)
    results = BatchReturn.of_codes([int(code) for code in codes])
    return BatchActivateDealsReturn(results, tuple(activations)).to_cbor()


def _activate_sector(
    runtime: Runtime, sector: SectorDeals, *, compute_cid: bool
) -> SectorDealActivation:
    state: MarketState = runtime.state
    ids = sector.deal_ids
    runtime.require(len(set(ids)) == len(ids), Exit.ILLEGAL_ARGUMENT, "a deal twice")
    deals = {one: _ready(runtime, state, one, sector.sector_expiry) for one in ids}
    commitment = _data_commitment(sector, deals.values()) if compute_cid and deals else None
    done = tuple(
        ActivatedDeal(
            deal.client.actor_id,
            state.pending_deal_allocation_ids.get(deal_id, 0),
            deal.piece_cid,
            deal.piece_size,
        )
        for deal_id, deal in deals.items()
    )
    runtime.set_state(_activated(runtime, state, sector.sector_number, deals))
    return SectorDealActivation(done, commitment)


def content_changed(runtime: Runtime, params: SectorContentChangedParams) -> bytes:
    """A miner says what is in its sectors: each piece whose payload names a fitting deal activates it."""
    _require_miner(runtime)
    answers = tuple(
        tuple(_piece_added(runtime, sector, piece) for piece in sector.added)
        for sector in params.sectors
    )
    return SectorContentChangedReturn(answers).to_cbor()


def _piece_added(runtime: Runtime, sector: SectorChanges, piece: PieceChange) -> bool:
    state: MarketState = runtime.state
    try:
        deal_id = wire.unsigned(cbor.decode(piece.payload))
        deal = _ready(runtime, state, deal_id, sector.minimum_commitment_epoch)
    except (Abort, CborError, ParamsError):
        return False
    if (deal.piece_cid, deal.piece_size) != (piece.data, piece.size):
        return False
    runtime.set_state(_activated(runtime, state, sector.sector, {deal_id: deal}))
    return True

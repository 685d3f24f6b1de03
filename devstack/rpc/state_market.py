"""`State*` reads of the storage market: deals, escrow, and the allocations of deals not activated yet.

Sources: Lotus `node/impl/full/state.go`, `chain/stmgr/actors.go`, go-state-types `builtin/v18/market`.
"""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.chain import ChainLookupError
from devstack.chain.actors.policy import TOTAL_SUPPLY
from devstack.chain.market_state import UNDEFINED, DealState
from devstack.node import FullNode
from devstack.rpc.encode import (
    address_json,
    allocation_json,
    amount_json,
    cid_json,
    map_json,
)
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import ADDRESS, BOOL, CID, TIPSET_KEY, UINT64
from devstack.rpc.resolve import existing_id, state_at
from lotus_client.actors.market import DealProposal, MarketBalance
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid

__all__ = ["METHODS"]

Json = dict[str, Any]
MaybeAddress = Address | None

_NOT_ACTIVE = DealState(0, UNDEFINED)


def _proposal_json(deal: DealProposal) -> Json:
    """A proposal; a label of bytes prints as nothing, as in Lotus."""
    return {
        "PieceCID": cid_json(deal.piece_cid),
        "PieceSize": deal.piece_size,
        "VerifiedDeal": deal.verified_deal,
        "Client": address_json(deal.client),
        "Provider": address_json(deal.provider),
        "Label": deal.label if isinstance(deal.label, str) else "",
        "StartEpoch": deal.start_epoch,
        "EndEpoch": deal.end_epoch,
        "StoragePricePerEpoch": amount_json(deal.storage_price_per_epoch),
        "ProviderCollateral": amount_json(deal.provider_collateral),
        "ClientCollateral": amount_json(deal.client_collateral),
    }


def _deal_json(deal: tuple[DealProposal, DealState | None]) -> Json:
    proposal, active = deal
    state = active or _NOT_ACTIVE
    return {
        "Proposal": _proposal_json(proposal),
        "State": {
            "SectorNumber": state.sector_number,
            "SectorStartEpoch": state.sector_start_epoch,
            "LastUpdatedEpoch": state.last_updated_epoch,
            "SlashEpoch": state.slash_epoch,
        },
    }


def _balance_json(balance: MarketBalance) -> Json:
    return {"Escrow": amount_json(balance.balance), "Locked": amount_json(balance.locked)}


def _deal(node: FullNode, deal_id: int, key: TipSetKey) -> Json:
    try:
        return _deal_json(state_at(node, key).market.deal(deal_id))
    except ChainLookupError as error:
        raise RpcError(1, str(error)) from error


def _deals(node: FullNode, key: TipSetKey) -> Json:
    return map_json(state_at(node, key).market.deals(), _deal_json)


def _balance(node: FullNode, address: MaybeAddress, key: TipSetKey) -> Json:
    state = state_at(node, key)
    return _balance_json(state.market.balance(existing_id(state, address).actor_id))


def _participants(node: FullNode, key: TipSetKey) -> Json:
    held = state_at(node, key).market.participants()
    return {address_json(who): _balance_json(balance) for who, balance in held}


def _proposal_pending(node: FullNode, proposal: Cid, key: TipSetKey) -> bool:
    return state_at(node, key).market.is_pending(proposal)


def _collateral_bounds(node: FullNode, _size: int, _verified: bool, key: TipSetKey) -> Json:
    """On 2k networks the least is nothing: Lotus `params_2k.go` sets the supply target to 0."""
    state_at(node, key)
    return {"Min": "0", "Max": amount_json(TOTAL_SUPPLY)}


def _allocation_id(node: FullNode, deal_id: int, key: TipSetKey) -> int:
    return state_at(node, key).market.pending_allocation(deal_id) or 0


def _allocation(node: FullNode, deal_id: int, key: TipSetKey) -> Json | None:
    state = state_at(node, key)
    number = state.market.pending_allocation(deal_id)
    found = None if number is None else state.all_allocations().get(number)
    return None if found is None else allocation_json(found)


_READ = Permission.READ
_DEAL = (UINT64, TIPSET_KEY)

METHODS: tuple[Method[FullNode], ...] = (
    Method("StateMarketStorageDeal", _READ, _DEAL, _deal),
    Method("StateMarketDeals", _READ, (TIPSET_KEY,), _deals),
    Method("StateMarketBalance", _READ, (ADDRESS, TIPSET_KEY), _balance),
    Method("StateMarketParticipants", _READ, (TIPSET_KEY,), _participants),
    Method("StateMarketProposalPending", _READ, (CID, TIPSET_KEY), _proposal_pending),
    Method(
        "StateDealProviderCollateralBounds", _READ, (UINT64, BOOL, TIPSET_KEY), _collateral_bounds
    ),
    Method("StateGetAllocationIdForPendingDeal", _READ, _DEAL, _allocation_id),
    Method("StateGetAllocationForPendingDeal", _READ, _DEAL, _allocation),
)

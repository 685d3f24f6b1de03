"""Storage market f05: publishing deals. A deal that cannot be published is dropped, the others go on (actors.md §6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from devstack.chain.actors import policy
from devstack.chain.actors.authentication import authenticates
from devstack.chain.actors.market_deals import first_cron_epoch
from devstack.chain.actors.market_money import free_balance, lock_for_deal
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.market_state import MarketState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import events, wire
from lotus_client.actors.datacap import DATACAP_PRECISION, TransferFromParams, TransferFromReturn
from lotus_client.actors.market import (
    ClientDealProposal,
    DealProposal,
    MarketNotifyDealParams,
    PublishStorageDealsParams,
    PublishStorageDealsReturn,
)
from lotus_client.actors.methods import (
    DATACAP,
    VERIFIED_REGISTRY,
    DatacapMethod,
    MarketMethod,
    MinerMethod,
)
from lotus_client.actors.verifreg import (
    AllocationRequest,
    AllocationRequests,
    AllocationsResponse,
)
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.cid import FIL_COMMITMENT_UNSEALED, SHA2_256_TRUNC254_PADDED
from lotus_client.types import EPOCHS_PER_DAY

__all__ = ["control_addresses", "publish"]

_MAX_LABEL: Final = 256
_MIN_DURATION: Final = 180 * EPOCHS_PER_DAY
_MAX_DURATION: Final = 1278 * EPOCHS_PER_DAY
_TERM_BUFFER: Final = 90 * EPOCHS_PER_DAY
_TERM_MAX: Final = 5 * 365 * EPOCHS_PER_DAY
_ALLOCATION_WAIT: Final = 60 * EPOCHS_PER_DAY
_SMALLEST_PIECE: Final = 128


def control_addresses(runtime: Runtime, miner: int) -> tuple[int, int, tuple[int, ...]]:
    """Owner, worker and control ids, as the miner itself says."""
    raw = runtime.must_send(Address.of_id(miner), MinerMethod.CONTROL_ADDRESSES)
    owner, worker, controls = wire.fields(cbor.decode(raw), 3, "control addresses")
    ids = wire.items(controls, wire.address, "control addresses")
    return (
        wire.address(owner).actor_id,
        wire.address(worker).actor_id,
        tuple(one.actor_id for one in ids),
    )


@dataclass
class _Batch:
    """The deals of one message that will be published, and what they need together."""

    provider: int
    valid: list[DealProposal] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    locked: dict[int, int] = field(default_factory=dict)  # actor -> attoFIL
    datacap_left: dict[int, int] = field(default_factory=dict)  # client -> tokens

    def locks_with(self, deal: DealProposal) -> dict[int, int]:
        """What of each party is locked when this deal is taken too."""
        locks = dict(self.locked)
        client_needs = deal.total_storage_fee + deal.client_collateral.value
        for who, needs in (
            (deal.client.actor_id, client_needs),
            (deal.provider.actor_id, deal.provider_collateral.value),
        ):
            locks[who] = locks.get(who, 0) + needs
        return locks


def publish(runtime: Runtime, params: PublishStorageDealsParams) -> bytes:
    """Publish a provider's deals: lock the money, reserve DataCap, tell the clients."""
    runtime.require(params.deals, Exit.ILLEGAL_ARGUMENT, "no deals")
    named = params.deals[0].proposal.provider
    provider = _provider(runtime, named)
    _, worker, controls = control_addresses(runtime, provider)
    runtime.require_caller(worker, *controls)
    batch = _Batch(provider)
    fits = [_is_valid(runtime, deal) for deal in params.deals]
    for index, signed in enumerate(params.deals):
        if fits[index] and signed.proposal.provider in (named, Address.of_id(provider)):
            _take(runtime, batch, index, signed.proposal)
    runtime.require(batch.valid, Exit.ILLEGAL_ARGUMENT, "all deal proposals are invalid")
    allocations = _allocate(runtime, batch)
    ids = _store(runtime, batch, allocations)
    for deal_id, deal in zip(ids, batch.valid, strict=True):
        told = MarketNotifyDealParams(deal.to_cbor(), deal_id).to_cbor()
        sent = runtime.send(deal.client, MarketMethod.MARKET_NOTIFY_DEAL, told)
        if sent.exit_code:
            raise Abort(Exit.ILLEGAL_ARGUMENT, f"{deal.client} refuses to be told of its deal")
        kind, client = "deal-published", deal.client.actor_id
        runtime.emit(events.deal_event(kind, deal_id, client, provider))
    return PublishStorageDealsReturn(ids, BitField.from_ints(batch.indices)).to_cbor()


def _provider(runtime: Runtime, address: Address) -> int:
    found = runtime.machine.resolve(address)
    if found is None:
        raise Abort(Exit.NOT_FOUND, f"no provider {address}")
    is_miner = runtime.code_of(found) == "storageminer"
    runtime.require(is_miner, Exit.ILLEGAL_ARGUMENT, f"{address} is no storage provider")
    return found


def _is_valid(runtime: Runtime, signed: ClientDealProposal) -> bool:
    """Whether a proposal is well-formed, in its bounds, and its client's."""
    deal, now = signed.proposal, runtime.epoch
    label = deal.label if isinstance(deal.label, bytes) else deal.label.encode()
    size, price = deal.piece_size, deal.storage_price_per_epoch.value
    return (
        len(label) <= _MAX_LABEL
        and size >= _SMALLEST_PIECE
        and size & (size - 1) == 0
        and deal.piece_cid.codec == FIL_COMMITMENT_UNSEALED
        and deal.piece_cid.hash_code == SHA2_256_TRUNC254_PADDED
        and deal.start_epoch >= now
        and _MIN_DURATION <= deal.duration <= _MAX_DURATION
        and all(
            0 <= amount <= policy.TOTAL_SUPPLY  # the provider's least collateral is 0 on devnets
            for amount in (price, deal.provider_collateral.value, deal.client_collateral.value)
        )
        and _is_signed(runtime, signed)
    )


def _is_signed(runtime: Runtime, signed: ClientDealProposal) -> bool:
    client, signature = signed.proposal.client, signed.client_signature[1:]
    return authenticates(runtime, client, signature, signed.proposal.to_cbor())


def _take(runtime: Runtime, batch: _Batch, index: int, proposal: DealProposal) -> None:
    """Add a deal to the batch if both sides can pay for it, it is new, and its client has the DataCap."""
    client = runtime.machine.resolve(proposal.client)
    if client is None:
        return
    state: MarketState = runtime.state
    deal = proposal.with_ids(Address.of_id(client), Address.of_id(batch.provider))
    locks = batch.locks_with(deal)
    if any(free_balance(state, who) < needs for who, needs in locks.items()):
        return
    if deal.cid in state.pending_proposals or deal in batch.valid:
        return
    if deal.verified_deal:
        if client not in batch.datacap_left:
            batch.datacap_left[client] = _datacap(runtime, client)
        left = batch.datacap_left[client] - deal.piece_size * DATACAP_PRECISION
        if left < 0:
            return
        batch.datacap_left[client] = left
    batch.locked = locks
    batch.valid.append(deal)
    batch.indices.append(index)


def _datacap(runtime: Runtime, client: int) -> int:
    asked = cbor.encode(Address.of_id(client).to_bytes())
    sent = runtime.send(DATACAP, DatacapMethod.BALANCE, asked)
    runtime.require(sent.exit_code == 0, Exit.NOT_FOUND, "f07 does not say the balance")
    return wire.big(cbor.decode(sent.return_))


def _allocate(runtime: Runtime, batch: _Batch) -> dict[DealProposal, int]:
    """One transfer of DataCap per client for all its verified deals; their allocation ids."""
    allocations: dict[DealProposal, int] = {}
    for client in sorted(batch.datacap_left):
        mine = [
            deal for deal in batch.valid if deal.verified_deal and deal.client.actor_id == client
        ]
        if mine:
            ids = _transfer(runtime, client, mine)
            allocations |= dict(zip(mine, ids, strict=True))
    return allocations


def _transfer(runtime: Runtime, client: int, deals: list[DealProposal]) -> tuple[int, ...]:
    requests = AllocationRequests(tuple(_request(deal, runtime.epoch) for deal in deals))
    amount = sum(deal.piece_size for deal in deals) * DATACAP_PRECISION
    params = TransferFromParams(
        Address.of_id(client), VERIFIED_REGISTRY, amount, requests.to_cbor()
    )
    sent = runtime.send(DATACAP, DatacapMethod.TRANSFER_FROM, params.to_cbor())
    if sent.exit_code:
        raise Abort(Exit.ILLEGAL_STATE, f"f07 refused with {sent.exit_code} to move DataCap")
    answer = TransferFromReturn.from_cbor(sent.return_).recipient_data
    return AllocationsResponse.from_cbor(answer).new_allocations


def _request(deal: DealProposal, now: int) -> AllocationRequest:
    return AllocationRequest(
        provider=deal.provider.actor_id,
        data=deal.piece_cid,
        size=deal.piece_size,
        term_min=deal.duration,
        term_max=min(deal.duration + _TERM_BUFFER, _TERM_MAX),
        expiration=min(deal.start_epoch, now + _ALLOCATION_WAIT),
    )


def _store(
    runtime: Runtime, batch: _Batch, allocations: dict[DealProposal, int]
) -> tuple[int, ...]:
    state: MarketState = runtime.state
    ids = tuple(range(state.next_id, state.next_id + len(batch.valid)))
    deals = dict(zip(ids, batch.valid, strict=True))
    for deal in batch.valid:
        state = lock_for_deal(state, deal)
    schedule: dict[int, tuple[int, ...]] = {}
    for deal_id, deal in deals.items():
        due = first_cron_epoch(deal_id, deal.start_epoch)
        before = schedule.get(due, state.deal_ops_by_epoch.get(due, ()))
        schedule[due] = (*before, deal_id)
    reserved = {one: allocations[deal] for one, deal in deals.items() if deal in allocations}
    runtime.set_state(
        replace(
            state,
            next_id=state.next_id + len(ids),
            proposals=state.proposals.with_(deals),
            pending_proposals=state.pending_proposals.with_(
                dict.fromkeys((deal.cid for deal in batch.valid), True)
            ),
            deal_ops_by_epoch=state.deal_ops_by_epoch.with_(schedule),
            pending_deal_allocation_ids=state.pending_deal_allocation_ids.with_(reserved),
        )
    )
    return ids

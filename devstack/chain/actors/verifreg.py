"""Verified registry f06: verifiers, allocations, claims (actors.md §4).

Network version 29 (FIP-0118) disables everything that grants, allocates, claims or extends. The exit code of the
disabled methods is not known to us; 18 (forbidden) is our guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from devstack.chain.actors.dispatch import Action, call_method, taking
from devstack.chain.actors.verifreg_grants import GRANT_METHODS
from devstack.chain.machine import Abort, Exit, Runtime
from devstack.chain.states import VerifregState
from lotus_client import cbor
from lotus_client.actors import events
from lotus_client.actors.datacap import (
    DATACAP_PRECISION,
    BurnParams,
    ReceiverParams,
    TransferParams,
)
from lotus_client.actors.methods import DATACAP, DatacapMethod
from lotus_client.actors.methods import VerifregMethod as Method
from lotus_client.actors.verifreg import (
    AllocationClaim,
    AllocationRequest,
    AllocationRequests,
    AllocationsResponse,
    ClaimAllocationsParams,
    ClaimAllocationsReturn,
    ClaimTerm,
    ExtendClaimTermsParams,
    RemoveExpiredAllocationsReturn,
    RemoveExpiredParams,
    SectorAllocationClaims,
)
from lotus_client.actors.wire import BatchReturn
from lotus_client.address import Address
from lotus_client.state import Allocation, Claim
from lotus_client.types import (
    EPOCHS_PER_DAY,
    ActorId,
    AllocationId,
    ClaimId,
    Epoch,
    PaddedPieceSize,
    SectorNumber,
)

__all__ = ["invoke"]

T = TypeVar("T")

# builtin-actors runtime/src/runtime/policy.rs
TERM_MIN: Final = 180 * EPOCHS_PER_DAY
TERM_MAX: Final = 5 * 365 * EPOCHS_PER_DAY
MAX_ALLOCATION_EXPIRATION: Final = 60 * EPOCHS_PER_DAY


def invoke(runtime: Runtime, method: int, params: bytes) -> bytes:
    """f06's methods by their number, the exported ones too."""
    ended = runtime.network_version >= 29 and method in _METHODS and method not in _STILL_THERE
    if ended:
        raise Abort(Exit.FORBIDDEN, "the Fil+ methods ended with network version 29")
    return call_method(runtime, _METHODS, method, params)


def _receive(runtime: Runtime, received: ReceiverParams) -> bytes:
    """DataCap arrives: make the allocations and extensions it pays for, all of them or none."""
    runtime.require_caller(7)
    runtime.require(
        received.to == runtime.receiver, Exit.ILLEGAL_ARGUMENT, "tokens for someone else"
    )
    wanted = AllocationRequests.from_cbor(received.operator_data)
    state: VerifregState = runtime.state
    allocations = _allocations(runtime, state, received.from_, wanted.allocations)
    extended = [_paid_extension(runtime, state, term) for term in wanted.extensions]
    extension_bytes = sum(claim.size for claim in extended)
    total = sum(allocation.size for allocation in allocations) + extension_bytes
    runtime.require(
        total * DATACAP_PRECISION == received.amount,
        Exit.ILLEGAL_ARGUMENT,
        f"{total} bytes are asked for, the DataCap sent is another amount",
    )
    runtime.set_state(
        replace(
            state,
            allocations=state.allocations.with_({item.id: item for item in allocations}),
            next_allocation_id=state.next_allocation_id + len(allocations),
            claims=state.claims.with_({claim.id: claim for claim in extended}),
        )
    )
    _burn(runtime, extension_bytes)
    for allocation in allocations:
        runtime.emit(events.allocation_event("allocation", allocation))
    for claim in extended:
        runtime.emit(events.claim_event("claim-updated", claim))
    ids = tuple(allocation.id for allocation in allocations)
    return AllocationsResponse(BatchReturn(len(ids)), BatchReturn(len(extended)), ids).to_cbor()


def _allocations(
    runtime: Runtime, state: VerifregState, client: int, wanted: tuple[AllocationRequest, ...]
) -> list[Allocation]:
    for request in wanted:
        _check_request(runtime, request)
    return [
        Allocation(
            AllocationId(state.next_allocation_id + index),
            ActorId(client),
            ActorId(request.provider),
            request.data,
            PaddedPieceSize(request.size),
            Epoch(request.term_min),
            Epoch(request.term_max),
            Epoch(request.expiration),
        )
        for index, request in enumerate(wanted)
    ]


def _check_request(runtime: Runtime, request: AllocationRequest) -> None:
    now = runtime.epoch
    for good, why in (
        (request.size >= runtime.config.minimum_piece_size, "the piece is below the minimum"),
        (request.term_min >= TERM_MIN, f"term_min is at least {TERM_MIN}"),
        (request.term_max <= TERM_MAX, f"term_max is at most {TERM_MAX}"),
        (request.term_min <= request.term_max, "term_min is above term_max"),
        (now <= request.expiration <= now + MAX_ALLOCATION_EXPIRATION, "expiration out of range"),
        (runtime.code_of(request.provider) == "storageminer", "the provider is no miner"),
    ):
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, why)


def _paid_extension(runtime: Runtime, state: VerifregState, term: ClaimTerm) -> Claim:
    claim = state.claims.get(term.claim_id)
    if claim is None or claim.provider != term.provider:
        raise Abort(Exit.NOT_FOUND, f"no claim {term.claim_id}")
    longest = runtime.epoch + TERM_MAX - claim.term_start
    runtime.require(
        claim.term_max < term.term_max <= longest, Exit.ILLEGAL_ARGUMENT, "term_max out of range"
    )
    runtime.require(runtime.epoch <= claim.end, Exit.FORBIDDEN, "the claim has expired")
    return replace(claim, term_max=Epoch(term.term_max))


def _burn(runtime: Runtime, size: int) -> None:
    if size:
        burn = BurnParams(size * DATACAP_PRECISION)
        runtime.must_send(DATACAP, DatacapMethod.BURN, burn.to_cbor())


def _claim_allocations(runtime: Runtime, wanted: ClaimAllocationsParams) -> bytes:
    provider = runtime.caller
    runtime.require(
        runtime.code_of(provider) == "storageminer", Exit.FORBIDDEN, "only miners claim"
    )
    runtime.require(wanted.sectors, Exit.ILLEGAL_ARGUMENT, "no sectors")
    codes: list[int] = []
    spaces: list[int] = []
    taken: dict[int, Claim] = {}
    for sector in wanted.sectors:
        code, claims = _sector_claims(runtime, provider, sector, taken)
        codes.append(code)
        if code == 0:
            taken.update({claim.id: claim for claim in claims})
            spaces.append(sum(claim.size for claim in claims))
    runtime.require(
        not (wanted.all_or_nothing and any(codes)), Exit.ILLEGAL_ARGUMENT, f"claims failed {codes}"
    )
    state: VerifregState = runtime.state
    runtime.set_state(
        replace(
            state,
            allocations=state.allocations.without(taken),
            claims=state.claims.with_(taken),
        )
    )
    for claim in taken.values():
        runtime.emit(events.claim_event("claim", claim))
    _burn(runtime, sum(spaces))
    return ClaimAllocationsReturn(BatchReturn.of_codes(codes), tuple(spaces)).to_cbor()


def _sector_claims(
    runtime: Runtime, provider: int, sector: SectorAllocationClaims, taken: dict[int, Claim]
) -> tuple[int, list[Claim]]:
    claims: dict[int, Claim] = {}
    for wanted in sector.claims:
        allocation = runtime.state.allocations.get(wanted.allocation_id)
        if allocation is None or wanted.allocation_id in (taken | claims):
            return Exit.NOT_FOUND, []
        if not _can_claim(runtime.epoch, provider, sector, wanted, allocation):
            return Exit.FORBIDDEN, []
        claims[allocation.id] = Claim(
            ClaimId(allocation.id),
            ActorId(provider),
            allocation.client,
            allocation.data,
            allocation.size,
            allocation.term_min,
            allocation.term_max,
            Epoch(runtime.epoch),
            SectorNumber(sector.sector),
        )
    return Exit.OK, list(claims.values())


def _can_claim(
    now: int,
    provider: int,
    sector: SectorAllocationClaims,
    wanted: AllocationClaim,
    allocation: Allocation,
) -> bool:
    return (
        provider == allocation.provider
        and wanted.client == allocation.client
        and wanted.data == allocation.data
        and wanted.size == allocation.size
        and now <= allocation.expiration
        and allocation.term_min <= sector.expiry - now <= allocation.term_max
    )


def _remove_expired_allocations(runtime: Runtime, wanted: RemoveExpiredParams) -> bytes:
    state: VerifregState = runtime.state
    mine = {key: item for key, item in state.allocations.items() if item.client == wanted.owner}
    if wanted.ids:
        considered = wanted.ids
    else:
        considered = tuple(key for key, item in mine.items() if runtime.epoch >= item.expiration)
    codes, removed = _expired(considered, mine, lambda item: runtime.epoch >= item.expiration)
    runtime.set_state(
        replace(state, allocations=state.allocations.without(item.id for item in removed))
    )
    for allocation in removed:
        runtime.emit(events.allocation_event("allocation-removed", allocation))
    recovered = sum(allocation.size for allocation in removed)
    back = TransferParams(Address.of_id(wanted.owner), recovered * DATACAP_PRECISION)
    runtime.must_send(DATACAP, DatacapMethod.TRANSFER, back.to_cbor())
    results = BatchReturn.of_codes(codes)
    return RemoveExpiredAllocationsReturn(considered, results, recovered).to_cbor()


def _remove_expired_claims(runtime: Runtime, wanted: RemoveExpiredParams) -> bytes:
    state: VerifregState = runtime.state
    mine = {key: item for key, item in state.claims.items() if item.provider == wanted.owner}
    considered = wanted.ids or tuple(key for key, item in mine.items() if runtime.epoch >= item.end)
    codes, removed = _expired(considered, mine, lambda item: runtime.epoch >= item.end)
    runtime.set_state(replace(state, claims=state.claims.without(item.id for item in removed)))
    for claim in removed:
        runtime.emit(events.claim_event("claim-removed", claim))
    return cbor.encode([list(considered), BatchReturn.of_codes(codes).to_value()])


def _expired(
    considered: tuple[int, ...], owned: dict[int, T], is_expired: Callable[[T], bool]
) -> tuple[list[int], list[T]]:
    codes: list[int] = []
    removed: dict[int, T] = {}
    for key in considered:
        item = owned.get(key)
        if item is None or key in removed:
            codes.append(Exit.NOT_FOUND)
        elif not is_expired(item):
            codes.append(Exit.FORBIDDEN)
        else:
            codes.append(Exit.OK)
            removed[key] = item
    return codes, list(removed.values())


def _extend_claim_terms(runtime: Runtime, wanted: ExtendClaimTermsParams) -> bytes:
    codes = [_extend(runtime, term) for term in wanted.terms]
    return BatchReturn.of_codes(codes).to_cbor()


def _extend(runtime: Runtime, term: ClaimTerm) -> int:
    state: VerifregState = runtime.state
    if term.term_max > TERM_MAX:
        return Exit.ILLEGAL_ARGUMENT
    claim = state.claims.get(term.claim_id)
    if claim is None or claim.provider != term.provider:
        return Exit.NOT_FOUND
    if claim.client != runtime.caller:
        return Exit.FORBIDDEN
    if term.term_max < claim.term_max:
        return Exit.ILLEGAL_ARGUMENT
    longer = replace(claim, term_max=Epoch(term.term_max))
    runtime.set_state(replace(state, claims=state.claims.with_({claim.id: longer})))
    runtime.emit(events.claim_event("claim-updated", longer))
    return Exit.OK


def _get_claims(runtime: Runtime, wanted: RemoveExpiredParams) -> bytes:
    found = [runtime.state.claims.get(key) for key in wanted.ids]
    good = [claim if claim and claim.provider == wanted.owner else None for claim in found]
    codes = [Exit.OK if claim else Exit.NOT_FOUND for claim in good]
    values = [
        [
            claim.provider, claim.client, claim.data, claim.size, claim.term_min, claim.term_max,
            claim.term_start, claim.sector,
        ]
        for claim in good if claim
    ]  # fmt: skip
    return cbor.encode([BatchReturn.of_codes([int(code) for code in codes]).to_value(), values])


_receive_method = taking(ReceiverParams.from_cbor, _receive)
_remove_allocations = taking(RemoveExpiredParams.from_cbor, _remove_expired_allocations)
_claims_of = taking(RemoveExpiredParams.from_cbor, _get_claims)  # the same two fields
_extend_terms = taking(ExtendClaimTermsParams.from_cbor, _extend_claim_terms)
_remove_claims = taking(RemoveExpiredParams.from_cbor, _remove_expired_claims)

_METHODS: Final[dict[int, Action]] = {
    **GRANT_METHODS,
    Method.REMOVE_EXPIRED_ALLOCATIONS: _remove_allocations,
    Method.REMOVE_EXPIRED_ALLOCATIONS_EXPORTED: _remove_allocations,
    Method.CLAIM_ALLOCATIONS: taking(ClaimAllocationsParams.from_cbor, _claim_allocations),
    Method.GET_CLAIMS: _claims_of,
    Method.GET_CLAIMS_EXPORTED: _claims_of,
    Method.EXTEND_CLAIM_TERMS: _extend_terms,
    Method.EXTEND_CLAIM_TERMS_EXPORTED: _extend_terms,
    Method.REMOVE_EXPIRED_CLAIMS: _remove_claims,
    Method.REMOVE_EXPIRED_CLAIMS_EXPORTED: _remove_claims,
    Method.RECEIVE: _receive_method,
}
_STILL_THERE: Final = {Method.GET_CLAIMS, Method.GET_CLAIMS_EXPORTED}

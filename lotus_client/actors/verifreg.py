"""Verified registry f06 at network version 28. Source: builtin-actors `actors/verifreg/src/types.rs`.

DataCap here is whole bytes. From network version 29 these methods are switched off (FIP-0118).
"""

from __future__ import annotations

from dataclasses import dataclass

from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.wire import BatchReturn, Wire
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid

__all__ = [
    "AllocationClaim",
    "AllocationRequest",
    "AllocationRequests",
    "AllocationsResponse",
    "ClaimAllocationsParams",
    "ClaimAllocationsReturn",
    "ClaimExtensionRequest",
    "ClaimTerm",
    "DatacapParams",
    "ExtendClaimTermsParams",
    "RemoveDatacapParams",
    "RemoveDatacapRequest",
    "RemoveDatacapReturn",
    "RemoveExpiredAllocationsReturn",
    "RemoveExpiredParams",
    "SectorAllocationClaims",
]


@dataclass(frozen=True, slots=True)
class DatacapParams(Wire):
    """Params of AddVerifier (whom to let grant) and AddVerifiedClient (whom to grant), with DataCap bytes."""

    address: Address
    allowance: int

    def to_value(self) -> object:
        return [self.address.to_bytes(), wire.big_bytes(self.allowance)]

    @classmethod
    def from_value(cls, value: CborValue) -> DatacapParams:
        who, allowance = wire.fields(value, 2, "AddVerifier or AddVerifiedClient")
        return cls(wire.address(who), wire.big(allowance))


@dataclass(frozen=True, slots=True)
class AllocationRequest(Wire):
    """One piece that a provider may claim until `expiration`, for a sector term within the bounds."""

    provider: int
    data: Cid
    size: int
    term_min: int
    term_max: int
    expiration: int

    def to_value(self) -> object:
        return [
            self.provider, self.data, self.size, self.term_min, self.term_max, self.expiration
        ]  # fmt: skip

    @classmethod
    def from_value(cls, value: CborValue) -> AllocationRequest:
        provider, data, size, term_min, term_max, expiration = wire.fields(
            value, 6, "allocation request"
        )
        return cls(
            wire.unsigned(provider),
            wire.link(data),
            wire.unsigned(size),
            wire.integer(term_min),
            wire.integer(term_max),
            wire.integer(expiration),
        )


@dataclass(frozen=True, slots=True)
class ClaimTerm(Wire):
    """A claim and the later last epoch of its term, counted from its start."""

    provider: int
    claim_id: int
    term_max: int

    def to_value(self) -> object:
        return [self.provider, self.claim_id, self.term_max]

    @classmethod
    def from_value(cls, value: CborValue) -> ClaimTerm:
        provider, claim_id, term_max = wire.fields(value, 3, "claim term")
        return cls(wire.unsigned(provider), wire.unsigned(claim_id), wire.integer(term_max))


ClaimExtensionRequest = ClaimTerm  # the same three fields, paid for with DataCap


@dataclass(frozen=True, slots=True)
class AllocationRequests(Wire):
    """Operator data of the DataCap transfer to f06 that pays for allocations and claim extensions."""

    allocations: tuple[AllocationRequest, ...]
    extensions: tuple[ClaimTerm, ...] = ()

    def to_value(self) -> object:
        return [
            [request.to_value() for request in self.allocations],
            [request.to_value() for request in self.extensions],
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> AllocationRequests:
        allocations, extensions = wire.fields(value, 2, "allocation requests")
        return cls(
            wire.items(allocations, AllocationRequest.from_value, "allocations"),
            wire.items(extensions, ClaimTerm.from_value, "extensions"),
        )


@dataclass(frozen=True, slots=True)
class AllocationsResponse(Wire):
    """The new allocation ids, in the order of the requests."""

    allocation_results: BatchReturn
    extension_results: BatchReturn
    new_allocations: tuple[int, ...]

    def to_value(self) -> object:
        return [
            self.allocation_results.to_value(),
            self.extension_results.to_value(),
            list(self.new_allocations),
        ]

    @classmethod
    def from_value(cls, value: CborValue) -> AllocationsResponse:
        allocations, extensions, ids = wire.fields(value, 3, "allocations response")
        return cls(
            BatchReturn.from_value(allocations),
            BatchReturn.from_value(extensions),
            wire.items(ids, wire.unsigned, "new allocation ids"),
        )


@dataclass(frozen=True, slots=True)
class AllocationClaim(Wire):
    """One allocation that a sector fulfils."""

    client: int
    allocation_id: int
    data: Cid
    size: int

    def to_value(self) -> object:
        return [self.client, self.allocation_id, self.data, self.size]

    @classmethod
    def from_value(cls, value: CborValue) -> AllocationClaim:
        client, allocation_id, data, size = wire.fields(value, 4, "allocation claim")
        return cls(
            wire.unsigned(client),
            wire.unsigned(allocation_id),
            wire.link(data),
            wire.unsigned(size),
        )


@dataclass(frozen=True, slots=True)
class SectorAllocationClaims(Wire):
    """The allocations that one sector fulfils."""

    sector: int
    expiry: int
    claims: tuple[AllocationClaim, ...]

    def to_value(self) -> object:
        return [self.sector, self.expiry, [claim.to_value() for claim in self.claims]]

    @classmethod
    def from_value(cls, value: CborValue) -> SectorAllocationClaims:
        sector, expiry, claims = wire.fields(value, 3, "sector claims")
        return cls(
            wire.unsigned(sector),
            wire.integer(expiry),
            wire.items(claims, AllocationClaim.from_value, "claims"),
        )


@dataclass(frozen=True, slots=True)
class ClaimAllocationsParams(Wire):
    """What a miner actor claims; with `all_or_nothing` one bad sector fails the call."""

    sectors: tuple[SectorAllocationClaims, ...]
    all_or_nothing: bool

    def to_value(self) -> object:
        return [[sector.to_value() for sector in self.sectors], self.all_or_nothing]

    @classmethod
    def from_value(cls, value: CborValue) -> ClaimAllocationsParams:
        sectors, whole = wire.fields(value, 2, "ClaimAllocations")
        return cls(
            wire.items(sectors, SectorAllocationClaims.from_value, "sectors"), wire.boolean(whole)
        )


@dataclass(frozen=True, slots=True)
class ClaimAllocationsReturn(Wire):
    """One result per sector, and the claimed bytes of each sector that succeeded."""

    sector_results: BatchReturn
    claimed_space: tuple[int, ...]

    def to_value(self) -> object:
        claimed = [wire.big_bytes(space) for space in self.claimed_space]
        return [self.sector_results.to_value(), claimed]

    @classmethod
    def from_value(cls, value: CborValue) -> ClaimAllocationsReturn:
        results, spaces = wire.fields(value, 2, "ClaimAllocations return")
        return cls(BatchReturn.from_value(results), wire.items(spaces, wire.big, "claimed spaces"))


@dataclass(frozen=True, slots=True)
class RemoveExpiredParams(Wire):
    """Of RemoveExpiredAllocations (owner = client) and RemoveExpiredClaims (owner = provider); no ids = all."""

    owner: int
    ids: tuple[int, ...] = ()

    def to_value(self) -> object:
        return [self.owner, list(self.ids)]

    @classmethod
    def from_value(cls, value: CborValue) -> RemoveExpiredParams:
        owner, ids = wire.fields(value, 2, "RemoveExpired")
        return cls(wire.unsigned(owner), wire.items(ids, wire.unsigned, "ids"))


@dataclass(frozen=True, slots=True)
class RemoveExpiredAllocationsReturn(Wire):
    """Which ids were looked at, how each went, and the DataCap bytes that went back to the client."""

    considered: tuple[int, ...]
    results: BatchReturn
    datacap_recovered: int

    def to_value(self) -> object:
        recovered = wire.big_bytes(self.datacap_recovered)
        return [list(self.considered), self.results.to_value(), recovered]

    @classmethod
    def from_value(cls, value: CborValue) -> RemoveExpiredAllocationsReturn:
        considered, results, recovered = wire.fields(value, 3, "RemoveExpiredAllocations return")
        return cls(
            wire.items(considered, wire.unsigned, "considered ids"),
            BatchReturn.from_value(results),
            wire.big(recovered),
        )


@dataclass(frozen=True, slots=True)
class ExtendClaimTermsParams(Wire):
    """Longer terms for claims, without DataCap; only for the claims' own client."""

    terms: tuple[ClaimTerm, ...]

    def to_value(self) -> object:
        return [[term.to_value() for term in self.terms]]

    @classmethod
    def from_value(cls, value: CborValue) -> ExtendClaimTermsParams:
        (terms,) = wire.fields(value, 1, "ExtendClaimTerms")
        return cls(wire.items(terms, ClaimTerm.from_value, "terms"))


@dataclass(frozen=True, slots=True)
class RemoveDatacapRequest(Wire):
    """A verifier's signature (type byte and data) under a proposal to take a client's DataCap."""

    verifier: Address
    signature: bytes

    def to_value(self) -> object:
        return [self.verifier.to_bytes(), self.signature]

    @classmethod
    def from_value(cls, value: CborValue) -> RemoveDatacapRequest:
        verifier, signature = wire.fields(value, 2, "RemoveDataCapRequest")
        return cls(wire.address(verifier), wire.octets(signature))


@dataclass(frozen=True, slots=True)
class RemoveDatacapParams(Wire):
    """Method 7: two verifiers ask the root to take DataCap bytes from a client."""

    client: Address
    amount: int
    first: RemoveDatacapRequest
    second: RemoveDatacapRequest

    def to_value(self) -> object:
        requests = [self.first.to_value(), self.second.to_value()]
        return [self.client.to_bytes(), wire.big_bytes(self.amount), *requests]

    @classmethod
    def from_value(cls, value: CborValue) -> RemoveDatacapParams:
        client, amount, first, second = wire.fields(value, 4, "RemoveVerifiedClientDataCap")
        return cls(
            wire.address(client),
            wire.big(amount),
            RemoveDatacapRequest.from_value(first),
            RemoveDatacapRequest.from_value(second),
        )

    @staticmethod
    def signed_bytes(client: Address, amount: int, proposal: int) -> bytes:
        """What a verifier signs: the client's f0 address, the bytes to take, and its next proposal's id."""
        content = [client.to_bytes(), wire.big_bytes(amount), [proposal]]
        return b"fil_removedatacap:" + cbor.encode(content)


@dataclass(frozen=True, slots=True)
class RemoveDatacapReturn(Wire):
    """Whose DataCap went, and how much of it: no more than the client had."""

    client: Address
    removed: int

    def to_value(self) -> object:
        return [self.client.to_bytes(), wire.big_bytes(self.removed)]

    @classmethod
    def from_value(cls, value: CborValue) -> RemoveDatacapReturn:
        client, removed = wire.fields(value, 2, "RemoveVerifiedClientDataCap return")
        return cls(wire.address(client), wire.big(removed))

"""What actor events of f05, f06 and a miner say, as values. Source: builtin-actors `actors/{verifreg,market,miner}/src/emit.rs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.state import Allocation, Claim
from lotus_client.types import (
    ActorId,
    Epoch,
    PaddedPieceSize,
    SectorNumber,
)

__all__ = [
    "AllocationMade",
    "AllocationRemoved",
    "ClaimMade",
    "ClaimRemoved",
    "ClaimUpdated",
    "DealActivated",
    "DealCompleted",
    "DealPublished",
    "DealTerminated",
    "EventPlace",
    "SectorActivated",
    "SectorPiece",
    "SectorPrecommitted",
    "SectorTerminated",
    "SectorUpdated",
    "TypedEvent",
]


@dataclass(frozen=True, slots=True)
class EventPlace:
    """Where an event's message was *included*; its effect shows in the state read at the next tipset."""

    epoch: Epoch
    tipset: TipSetKey
    message: Cid


@dataclass(frozen=True, slots=True)
class ClaimMade:
    """f06 `claim`: an allocation was claimed for a sector."""

    at: EventPlace
    claim: Claim


@dataclass(frozen=True, slots=True)
class ClaimUpdated:
    """f06 `claim-updated`: the client lengthened the claim's maximum term."""

    at: EventPlace
    claim: Claim


@dataclass(frozen=True, slots=True)
class ClaimRemoved:
    """f06 `claim-removed`: an ended claim was deleted."""

    at: EventPlace
    claim: Claim


@dataclass(frozen=True, slots=True)
class AllocationMade:
    """f06 `allocation`: DataCap was reserved for a piece at a provider."""

    at: EventPlace
    allocation: Allocation


@dataclass(frozen=True, slots=True)
class AllocationRemoved:
    """f06 `allocation-removed`: it expired unclaimed."""

    at: EventPlace
    allocation: Allocation


@dataclass(frozen=True, slots=True)
class SectorPiece:
    """A piece as a sector event lists it."""

    cid: Cid
    padded_size: PaddedPieceSize


@dataclass(frozen=True, slots=True)
class SectorPrecommitted:
    """Miner `sector-precommitted`."""

    at: EventPlace
    sector: SectorNumber


@dataclass(frozen=True, slots=True)
class SectorActivated:
    """Miner `sector-activated`, with its pieces in their order; no CommD and no pieces for committed capacity."""

    at: EventPlace
    sector: SectorNumber
    unsealed_cid: Cid | None
    pieces: tuple[SectorPiece, ...]


@dataclass(frozen=True, slots=True)
class SectorUpdated:
    """Miner `sector-updated`: data was snapped into a capacity sector."""

    at: EventPlace
    sector: SectorNumber
    unsealed_cid: Cid | None
    pieces: tuple[SectorPiece, ...]


@dataclass(frozen=True, slots=True)
class SectorTerminated:
    """Miner `sector-terminated`. An expiry emits nothing."""

    at: EventPlace
    sector: SectorNumber


@dataclass(frozen=True, slots=True)
class DealPublished:
    """f05 `deal-published`."""

    at: EventPlace
    deal: int
    client: ActorId
    provider: ActorId


@dataclass(frozen=True, slots=True)
class DealActivated:
    """f05 `deal-activated`; follows the `sector-activated` of the same message."""

    at: EventPlace
    deal: int
    client: ActorId
    provider: ActorId


@dataclass(frozen=True, slots=True)
class DealTerminated:
    """f05 `deal-terminated`."""

    at: EventPlace
    deal: int
    client: ActorId
    provider: ActorId


@dataclass(frozen=True, slots=True)
class DealCompleted:
    """f05 `deal-completed`."""

    at: EventPlace
    deal: int
    client: ActorId
    provider: ActorId


TypedEvent: TypeAlias = (
    ClaimMade
    | ClaimUpdated
    | ClaimRemoved
    | AllocationMade
    | AllocationRemoved
    | SectorPrecommitted
    | SectorActivated
    | SectorUpdated
    | SectorTerminated
    | DealPublished
    | DealActivated
    | DealTerminated
    | DealCompleted
)

"""Held pieces as a pure fold of events.

A claim is one held piece. A piece that a sector event lists and no claim covers is a market deal's if that can be told for
certain, else a plain DDO piece. Offsets come from the order of the pieces in the sector event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fil_plus.event_kinds import (
    ClaimMade,
    ClaimRemoved,
    ClaimUpdated,
    DealActivated,
    SectorActivated,
    SectorPiece,
    SectorTerminated,
    SectorUpdated,
    TypedEvent,
)
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind, aligned_offsets
from lotus_client.cid import Cid
from lotus_client.state import Claim
from lotus_client.types import ActorId, ClaimId, Epoch, SectorNumber

__all__ = ["claimed_piece", "fold_pieces", "sector_of"]


def sector_of(event: TypedEvent) -> SectorNumber | None:
    """The sector an event is about; `None` for allocations and deals."""
    if isinstance(event, ClaimMade | ClaimUpdated | ClaimRemoved):
        return event.claim.sector
    if isinstance(event, SectorActivated | SectorUpdated | SectorTerminated):
        return event.sector
    return None


def fold_pieces(
    provider: ActorId,
    events: Iterable[TypedEvent],
    expirations: Mapping[SectorNumber, Epoch],
) -> dict[str, HeldPiece]:
    """The pieces that `events`, in chain order, leave at `provider`, by key; ended ones included with their end.

    `events` must contain all events of each sector it touches, and the deal events of the same messages.
    `expirations` are the sectors' ends: an unclaimed piece of a sector missing there is left out until the end is known.
    """
    state = _Fold()
    for event in events:
        state.take(event)
    pieces: dict[str, HeldPiece] = {}
    for sector in sorted(state.sectors):
        for piece in _pieces_of(provider, sector, state, expirations.get(sector)):
            pieces.setdefault(piece.key, piece)
    return pieces


def claimed_piece(
    claim: Claim, offset: int | None = None, removed: Epoch | None = None
) -> HeldPiece:
    """The piece that a claim is of, from the term's start to its end, or to the epoch it was removed at."""
    return HeldPiece(
        provider=claim.provider,
        piece_cid=claim.data,
        padded_size=claim.size,
        payload_size=None,
        sector=claim.sector,
        offset=offset,
        provenance=Provenance(ProvenanceKind.CLAIM, claim.id),
        client=claim.client,
        from_epoch=claim.term_start,
        to_epoch=_earliest(claim.end, removed),
    )


@dataclass(slots=True)
class _Content:
    """What a sector event put into a sector."""

    since: Epoch
    message: Cid
    pieces: tuple[SectorPiece, ...]


@dataclass(slots=True)
class _Sector:
    claims: dict[ClaimId, Claim] = field(default_factory=dict)
    removed: dict[ClaimId, Epoch] = field(default_factory=dict)
    content: _Content | None = None
    terminated: Epoch | None = None


@dataclass(slots=True)
class _Fold:
    sectors: dict[SectorNumber, _Sector] = field(default_factory=lambda: defaultdict(_Sector))
    deals: dict[Cid, list[DealActivated]] = field(default_factory=lambda: defaultdict(list))
    listed: dict[Cid, list[SectorNumber]] = field(default_factory=lambda: defaultdict(list))

    def take(self, event: TypedEvent) -> None:
        if isinstance(event, ClaimMade | ClaimUpdated):
            self.sectors[event.claim.sector].claims[event.claim.id] = event.claim
        elif isinstance(event, ClaimRemoved):
            sector = self.sectors[event.claim.sector]
            sector.claims.setdefault(event.claim.id, event.claim)
            sector.removed[event.claim.id] = event.at.epoch
        elif isinstance(event, SectorActivated | SectorUpdated):
            content = _Content(event.at.epoch, event.at.message, event.pieces)
            self.sectors[event.sector].content = content
            self.listed[event.at.message].append(event.sector)
        elif isinstance(event, SectorTerminated):
            self.sectors[event.sector].terminated = event.at.epoch
        elif isinstance(event, DealActivated):
            self.deals[event.at.message].append(event)

    def deals_of(self, sector: SectorNumber) -> dict[int, DealActivated]:
        """The deals of a sector's pieces by position, where they can be told for certain.

        The market is told of pieces by ascending sector and in piece order, so if a message activated as many
        deals as it lists pieces, the two lists run in step. Otherwise nothing is claimed.
        """
        content = self.sectors[sector].content
        if content is None:
            return {}
        listed = sorted(set(self.listed[content.message]))
        contents = [(number, self.sectors[number].content) for number in listed]
        positions = [
            (number, index)
            for number, other in contents
            if other is not None and other.message == content.message
            for index in range(len(other.pieces))
        ]
        deals = self.deals.get(content.message, [])
        if len(deals) != len(positions):
            return {}
        return {
            index: deal
            for (number, index), deal in zip(positions, deals, strict=True)
            if number == sector
        }


def _pieces_of(
    provider: ActorId, number: SectorNumber, state: _Fold, expiration: Epoch | None
) -> list[HeldPiece]:
    sector = state.sectors[number]
    listed = sector.content.pieces if sector.content else ()
    offsets = aligned_offsets(tuple(piece.padded_size for piece in listed))
    free = dict(enumerate(listed))  # positions that no claim has taken yet
    pieces = []
    for claim_id in sorted(sector.claims):
        claim = sector.claims[claim_id]
        wanted = SectorPiece(claim.data, claim.size)
        position = next((index for index, piece in free.items() if piece == wanted), None)
        if position is not None:
            del free[position]
        offset = None if position is None else offsets[position]
        pieces.append(claimed_piece(claim, offset, sector.removed.get(claim_id)))
    if sector.content is not None and expiration is not None:
        deals = state.deals_of(number)
        for index, piece in free.items():
            deal = deals.get(index)
            provenance = Provenance(ProvenanceKind.DDO, None)
            if deal is not None:
                provenance = Provenance(ProvenanceKind.MARKET_DEAL, deal.deal)
            pieces.append(
                HeldPiece(
                    provider=provider,
                    piece_cid=piece.cid,
                    padded_size=piece.padded_size,
                    payload_size=None,
                    sector=number,
                    offset=offsets[index],
                    provenance=provenance,
                    client=None if deal is None else deal.client,
                    from_epoch=sector.content.since,
                    to_epoch=expiration,
                )
            )
    if sector.terminated is not None:
        ended = sector.terminated
        pieces = [replace(piece, to_epoch=_earliest(piece.to_epoch, ended)) for piece in pieces]
    return pieces


def _earliest(end: Epoch, other: Epoch | None) -> Epoch:
    return end if other is None else min(end, other)

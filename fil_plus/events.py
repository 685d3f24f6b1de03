"""Actor events of f05, f06 and a miner as typed values, and the filters that ask a node for those of one provider.

Reading is strict: keys, order and CBOR types must be those the actors emit. Events of other types or emitters are
ignored, so a network upgrade that adds some does no harm.
Source: builtin-actors `actors/{verifreg,market,miner}/src/emit.rs`, FIP-0083.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fil_plus.event_kinds import (
    AllocationMade,
    AllocationRemoved,
    ClaimMade,
    ClaimRemoved,
    ClaimUpdated,
    DealActivated,
    DealCompleted,
    DealPublished,
    DealTerminated,
    EventPlace,
    SectorActivated,
    SectorPiece,
    SectorPrecommitted,
    SectorTerminated,
    SectorUpdated,
    TypedEvent,
)
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.cbor import CborValue
from lotus_client.cid import Cid
from lotus_client.state import ActorEvent, Allocation, Claim, EventEntry
from lotus_client.types import (
    ActorId,
    AllocationId,
    ClaimId,
    Epoch,
    PaddedPieceSize,
    SectorNumber,
)

__all__ = [
    "EventError",
    "EventFilter",
    "claim_entries",
    "parse_event",
    "provider_filters",
]

_MARKET: Final = Address.of_id(5)
_REGISTRY: Final = Address.of_id(6)
_CBOR_CODEC: Final = 0x51
_KEY_INDEXED: Final = 1
_KEY_AND_VALUE_INDEXED: Final = 3

_CLAIM_KEYS: Final = (
    "id",
    "client",
    "provider",
    "piece-cid",
    "piece-size",
    "term-min",
    "term-max",
    "term-start",
    "sector",
)
_ALLOCATION_KEYS: Final = (*_CLAIM_KEYS[:7], "expiration")
_DEAL_KEYS: Final = _CLAIM_KEYS[:3]


class EventError(ValueError):
    """An event of a known type that is not built as its actor builds it; says where and what."""


_CLAIMS: Final[dict[str, type[ClaimMade | ClaimUpdated | ClaimRemoved]]] = {
    "claim": ClaimMade,
    "claim-updated": ClaimUpdated,
    "claim-removed": ClaimRemoved,
}
_ALLOCATIONS: Final[dict[str, type[AllocationMade | AllocationRemoved]]] = {
    "allocation": AllocationMade,
    "allocation-removed": AllocationRemoved,
}
_SECTORS: Final[dict[str, type[SectorPrecommitted | SectorTerminated]]] = {
    "sector-precommitted": SectorPrecommitted,
    "sector-terminated": SectorTerminated,
}
_SECTORS_WITH_PIECES: Final[dict[str, type[SectorActivated | SectorUpdated]]] = {
    "sector-activated": SectorActivated,
    "sector-updated": SectorUpdated,
}
_DEALS: Final[dict[str, type[DealPublished | DealActivated | DealTerminated | DealCompleted]]] = {
    "deal-published": DealPublished,
    "deal-activated": DealActivated,
    "deal-terminated": DealTerminated,
    "deal-completed": DealCompleted,
}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What to ask `GetActorEventsRaw` for: emitters, and per key the values (sent as CBOR) of which one must match."""

    emitters: tuple[Address, ...]
    fields: Mapping[str, tuple[CborValue, ...]]


def provider_filters(provider: ActorId) -> tuple[EventFilter, ...]:
    """The filters that together give all events of one provider: registry, market, and its own miner actor.

    They cannot be one: keys of a filter must all match, and sector events do not name their provider.
    """
    of_provider = (provider,)
    return (
        EventFilter((_REGISTRY,), {"$type": (*_ALLOCATIONS, *_CLAIMS), "provider": of_provider}),
        EventFilter((_MARKET,), {"$type": tuple(_DEALS), "provider": of_provider}),
        EventFilter((Address.of_id(provider),), {"$type": (*_SECTORS, *_SECTORS_WITH_PIECES)}),
    )


def parse_event(event: ActorEvent, provider: ActorId) -> TypedEvent | None:
    """The typed event, or `None` if it is of another type, emitter or provider.

    Raises:
        EventError: of a known type and emitter, but malformed.
    """
    kind = _kind_of(event)
    place = EventPlace(event.height, event.tipset, event.message)
    if event.emitter == _REGISTRY and kind in _CLAIMS:
        claim = _read_claim(_Fields(event, kind, _CLAIM_KEYS))
        return _CLAIMS[kind](place, claim) if claim.provider == provider else None
    if event.emitter == _REGISTRY and kind in _ALLOCATIONS:
        allocation = _read_allocation(_Fields(event, kind, _ALLOCATION_KEYS))
        return _ALLOCATIONS[kind](place, allocation) if allocation.provider == provider else None
    if event.emitter == _MARKET and kind in _DEALS:
        fields = _Fields(event, kind, _DEAL_KEYS)
        of_provider = ActorId(fields.number("provider"))
        if of_provider != provider:
            return None
        client = ActorId(fields.number("client"))
        return _DEALS[kind](place, fields.number("id"), client, of_provider)
    if event.emitter == Address.of_id(provider):
        if kind in _SECTORS:
            fields = _Fields(event, kind, ("sector",))
            return _SECTORS[kind](place, SectorNumber(fields.number("sector")))
        if kind in _SECTORS_WITH_PIECES:
            return _read_sector(_SECTORS_WITH_PIECES[kind], place, event, kind)
    return None


def claim_entries(kind: str, claim: Claim) -> tuple[EventEntry, ...]:
    """The entries with which f06 announces `claim`; `kind` is `claim`, `claim-updated` or `claim-removed`.

    Used where claims are read from state because the node keeps no events, so that both ways give one kind of record.
    """
    values: tuple[CborValue, ...] = (
        claim.id,
        claim.client,
        claim.provider,
        claim.data,
        claim.size,
        claim.term_min,
        claim.term_max,
        claim.term_start,
        claim.sector,
    )
    indexed = {"id", "client", "provider", "piece-cid", "sector"}
    return (
        _entry(_KEY_AND_VALUE_INDEXED, "$type", kind),
        *(
            _entry(_KEY_AND_VALUE_INDEXED if key in indexed else _KEY_INDEXED, key, value)
            for key, value in zip(_CLAIM_KEYS, values, strict=True)
        ),
    )


def _entry(flags: int, key: str, value: CborValue) -> EventEntry:
    return EventEntry(flags, key, _CBOR_CODEC, cbor.encode(value))


def _kind_of(event: ActorEvent) -> str | None:
    """The `$type`, or None for an event without one (contracts log with raw keys)."""
    if not event.entries or event.entries[0].key != "$type":
        return None
    if event.entries[0].codec != _CBOR_CODEC:
        return None
    try:
        kind = cbor.decode(event.entries[0].value)
    except cbor.CborError:
        return None
    return kind if isinstance(kind, str) else None


class _Fields:
    """The entries behind `$type`, checked against the expected keys in their order."""

    def __init__(self, event: ActorEvent, kind: str, keys: tuple[str, ...]) -> None:
        self._where = f"{kind} event of {event.emitter} in message {event.message}"
        names = tuple(entry.key for entry in event.entries[1:])
        if names != keys:
            raise EventError(f"{self._where} has keys {names}, expected {keys}")
        self._entries = event.entries[1:]
        self._names = names

    def number(self, key: str) -> int:
        """The entry's value as a number that is not negative."""
        return self.number_at(self._names.index(key))

    def number_at(self, index: int) -> int:
        value = self._value(index)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise EventError(f"{self._where}: {self._names[index]} is {value!r}, not a number")
        return value

    def cid_at(self, index: int) -> Cid:
        value = self._value(index)
        if not isinstance(value, Cid):
            raise EventError(f"{self._where}: {self._names[index]} is {value!r}, not a CID")
        return value

    def cid(self, key: str) -> Cid:
        return self.cid_at(self._names.index(key))

    def optional_cid_at(self, index: int) -> Cid | None:
        return None if self._value(index) is None else self.cid_at(index)

    def _value(self, index: int) -> CborValue:
        entry = self._entries[index]
        if entry.codec != _CBOR_CODEC:
            raise EventError(f"{self._where}: {entry.key} has codec {entry.codec}, expected CBOR")
        try:
            return cbor.decode(entry.value)
        except cbor.CborError as error:
            raise EventError(f"{self._where}: {entry.key}: {error}") from error

    def padded_size_at(self, index: int) -> PaddedPieceSize:
        size = self.number_at(index)
        if size < 128 or size & (size - 1):
            raise EventError(f"{self._where}: piece-size {size} is not a power of two from 128 up")
        return PaddedPieceSize(size)


def _read_claim(fields: _Fields) -> Claim:
    return Claim(
        id=ClaimId(fields.number("id")),
        provider=ActorId(fields.number("provider")),
        client=ActorId(fields.number("client")),
        data=fields.cid("piece-cid"),
        size=fields.padded_size_at(4),
        term_min=Epoch(fields.number("term-min")),
        term_max=Epoch(fields.number("term-max")),
        term_start=Epoch(fields.number("term-start")),
        sector=SectorNumber(fields.number("sector")),
    )


def _read_allocation(fields: _Fields) -> Allocation:
    return Allocation(
        id=AllocationId(fields.number("id")),
        client=ActorId(fields.number("client")),
        provider=ActorId(fields.number("provider")),
        data=fields.cid("piece-cid"),
        size=fields.padded_size_at(4),
        term_min=Epoch(fields.number("term-min")),
        term_max=Epoch(fields.number("term-max")),
        expiration=Epoch(fields.number("expiration")),
    )


def _read_sector(
    event_type: type[SectorActivated | SectorUpdated],
    place: EventPlace,
    event: ActorEvent,
    kind: str,
) -> SectorActivated | SectorUpdated:
    pairs = max(len(event.entries) - 3, 0) // 2
    fields = _Fields(
        event, kind, ("sector", "unsealed-cid", *(("piece-cid", "piece-size") * pairs))
    )
    pieces = tuple(
        SectorPiece(fields.cid_at(index), fields.padded_size_at(index + 1))
        for index in range(2, 2 + 2 * pairs, 2)
    )
    sector = SectorNumber(fields.number("sector"))
    return event_type(place, sector, fields.optional_cid_at(1), pieces)

"""Actor events as ordered CBOR entries, exactly as the actors emit them.

A value that may be searched for has flags 3 (key and value indexed), any other 1 (key only).
Source: builtin-actors `actors/{verifreg,market,miner}/src/emit.rs`; order and flags as FIP-0083.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lotus_client import cbor
from lotus_client.actors.wire import big_bytes
from lotus_client.cid import Cid
from lotus_client.state import Allocation, Claim, EventEntry

__all__ = [
    "CBOR_CODEC",
    "DEAL_EVENTS",
    "allocation_event",
    "claim_event",
    "deal_event",
    "entries_value",
    "sector_content_event",
    "sector_event",
    "verifier_balance_event",
]

CBOR_CODEC: Final = 0x51
_KEY: Final = 1
_KEY_AND_VALUE: Final = 3

DEAL_EVENTS: Final = ("deal-published", "deal-activated", "deal-terminated", "deal-completed")
Entries = tuple[EventEntry, ...]


def _indexed(key: str, value: object) -> EventEntry:
    return EventEntry(_KEY_AND_VALUE, key, CBOR_CODEC, cbor.encode(value))


def _plain(key: str, value: object) -> EventEntry:
    return EventEntry(_KEY, key, CBOR_CODEC, cbor.encode(value))


def verifier_balance_event(verifier: int, balance: int, client: int | None = None) -> Entries:
    """`verifier-balance`, in whole DataCap bytes; with the client when it was a grant."""
    entries = (
        _indexed("$type", "verifier-balance"),
        _indexed("verifier", verifier),
        _plain("balance", big_bytes(balance)),
    )
    return entries if client is None else (*entries, _indexed("client", client))


def allocation_event(kind: str, allocation: Allocation) -> Entries:
    """`allocation` or `allocation-removed`."""
    return (
        _indexed("$type", kind),
        _indexed("id", allocation.id),
        _indexed("client", allocation.client),
        _indexed("provider", allocation.provider),
        _indexed("piece-cid", allocation.data),
        _plain("piece-size", allocation.size),
        _plain("term-min", allocation.term_min),
        _plain("term-max", allocation.term_max),
        _plain("expiration", allocation.expiration),
    )


def claim_event(kind: str, claim: Claim) -> Entries:
    """`claim`, `claim-updated` or `claim-removed`."""
    return (
        _indexed("$type", kind),
        _indexed("id", claim.id),
        _indexed("client", claim.client),
        _indexed("provider", claim.provider),
        _indexed("piece-cid", claim.data),
        _plain("piece-size", claim.size),
        _plain("term-min", claim.term_min),
        _plain("term-max", claim.term_max),
        _plain("term-start", claim.term_start),
        _indexed("sector", claim.sector),
    )


def deal_event(kind: str, deal: int, client: int, provider: int) -> Entries:
    """One of `DEAL_EVENTS`."""
    return (
        _indexed("$type", kind),
        _indexed("id", deal),
        _indexed("client", client),
        _indexed("provider", provider),
    )


def sector_event(kind: str, sector: int) -> Entries:
    """`sector-precommitted` or `sector-terminated`."""
    return (_indexed("$type", kind), _indexed("sector", sector))


def sector_content_event(
    kind: str, sector: int, unsealed_cid: Cid | None, pieces: Sequence[tuple[Cid, int]]
) -> Entries:
    """`sector-activated` or `sector-updated`, with a piece-cid and piece-size pair per piece (padded sizes)."""
    content = [
        entry
        for cid, size in pieces
        for entry in (_indexed("piece-cid", cid), _plain("piece-size", size))
    ]
    head = (
        _indexed("$type", kind),
        _indexed("sector", sector),
        _indexed("unsealed-cid", unsealed_cid),
    )
    return (*head, *content)


def entries_value(entries: Entries) -> list[object]:
    """What an event list block holds for the entries: `[flags, key, codec, value]` each."""
    return [[entry.flags, entry.key, entry.codec, entry.value] for entry in entries]

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fil_plus.event_kinds import (
    AllocationMade,
    ClaimMade,
    ClaimRemoved,
    DealActivated,
    SectorActivated,
    SectorPiece,
    SectorTerminated,
)
from fil_plus.events import EventError, claim_entries, parse_event, provider_filters
from fil_plus.pieces import aligned_offsets
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.chain import TipSetKey
from lotus_client.cid import dag_cbor_cid
from lotus_client.state import ActorEvent, EventEntry
from lotus_client.types import ActorId, Epoch
from tests.fakes_chain import (
    MARKET,
    PROVIDER,
    REGISTRY,
    claim_event,
    deal_event,
    entry,
    make_claim,
    piece_cid,
    sector_event,
)

MESSAGE = dag_cbor_cid(b"\x80")
KEY = TipSetKey((MESSAGE,))


def event(emitted):
    return ActorEvent(emitted.emitter, emitted.entries, False, Epoch(7), KEY, MESSAGE)


def parsed(emitted):
    return parse_event(event(emitted), PROVIDER)


def test_a_claim_is_read_whole():
    claim = make_claim(12, 7, 100)
    made = parsed(claim_event("claim", claim))
    assert isinstance(made, ClaimMade)
    assert made.claim == claim
    assert (made.at.epoch, made.at.tipset, made.at.message) == (7, KEY, MESSAGE)
    assert isinstance(parsed(claim_event("claim-removed", claim)), ClaimRemoved)


def test_an_allocation_is_read_whole():
    entries = (
        entry("$type", "allocation"),
        entry("id", 3),
        entry("client", 101),
        entry("provider", PROVIDER),
        entry("piece-cid", piece_cid(1)),
        entry("piece-size", 2048, 1),
        entry("term-min", 1, 1),
        entry("term-max", 2, 1),
        entry("expiration", 3, 1),
    )
    made = parse_event(ActorEvent(REGISTRY, entries, False, Epoch(7), KEY, MESSAGE), PROVIDER)
    assert isinstance(made, AllocationMade)
    assert (made.allocation.id, made.allocation.expiration) == (3, 3)


def test_sector_events_list_their_pieces_in_order():
    pieces = ((piece_cid(1), 128), (piece_cid(2), 1024))
    made = parsed(sector_event("sector-activated", 9, *pieces))
    assert isinstance(made, SectorActivated)
    assert made.pieces == tuple(SectorPiece(cid, size) for cid, size in pieces)
    empty = parsed(sector_event("sector-activated", 9))
    assert isinstance(empty, SectorActivated)
    assert (empty.pieces, empty.unsealed_cid) == ((), None)
    assert isinstance(parsed(sector_event("sector-terminated", 9)), SectorTerminated)


def test_deals_are_read():
    made = parsed(deal_event("deal-activated", 5))
    assert isinstance(made, DealActivated)
    assert (made.deal, made.client) == (5, 102)


@pytest.mark.parametrize(
    "emitted",
    [
        claim_event("claim", make_claim(1, 1, 1, provider=ActorId(9))),
        replace(claim_event("claim", make_claim(1, 1, 1)), emitter=MARKET),
        replace(sector_event("sector-terminated", 1), emitter=Address.of_id(1000)),
        replace(sector_event("sector-terminated", 1), entries=(entry("$type", "new-thing"),)),
        replace(sector_event("sector-terminated", 1), entries=()),
        replace(sector_event("sector-terminated", 1), entries=(entry("t1", b"x" * 32),)),
        replace(
            sector_event("sector-terminated", 1), entries=(EventEntry(3, "$type", 0x51, b"\xff"),)
        ),
    ],
)
def test_what_is_not_ours_or_not_known_is_left_alone(emitted):
    assert parsed(emitted) is None


CLAIM = claim_event("claim", make_claim(1, 1, 1)).entries
SECTOR = sector_event("sector-activated", 1, (piece_cid(1), 128)).entries


@pytest.mark.parametrize(
    ("emitter", "entries"),
    [
        (REGISTRY, CLAIM[:-1]),
        (REGISTRY, (*CLAIM, entry("more", 1))),
        (REGISTRY, (CLAIM[0], CLAIM[2], CLAIM[1], *CLAIM[3:])),
        (REGISTRY, (CLAIM[0], entry("id", "1"), *CLAIM[2:])),
        (REGISTRY, (CLAIM[0], entry("id", True), *CLAIM[2:])),
        (REGISTRY, (CLAIM[0], entry("id", -1), *CLAIM[2:])),
        (REGISTRY, (*CLAIM[:4], entry("piece-cid", b"x"), *CLAIM[5:])),
        (REGISTRY, (*CLAIM[:5], entry("piece-size", 129), *CLAIM[6:])),
        (REGISTRY, (*CLAIM[:9], EventEntry(3, "sector", 0x55, b"\x01"))),
        (REGISTRY, (*CLAIM[:9], EventEntry(3, "sector", 0x51, b"\x18"))),
        (Address.of_id(PROVIDER), SECTOR[:-1]),
        (Address.of_id(PROVIDER), SECTOR[:2]),
        (Address.of_id(PROVIDER), (*SECTOR[:4], entry("piece-size", 0))),
    ],
)
def test_a_malformed_event_of_a_known_type_is_refused(emitter, entries):
    with pytest.raises(EventError):
        parse_event(ActorEvent(emitter, tuple(entries), False, Epoch(1), KEY, MESSAGE), PROVIDER)


def test_claim_entries_are_flagged_as_the_registry_flags_them():
    flags = {item.key: item.flags for item in claim_entries("claim", make_claim(1, 1, 1))}
    assert [key for key, flag in flags.items() if flag == 3] == [
        "$type",
        "id",
        "client",
        "provider",
        "piece-cid",
        "sector",
    ]


def test_the_filters_match_the_documented_base64_values():
    registry, market, miner = provider_filters(ActorId(1000))
    types = [base64.b64encode(cbor.encode(name)).decode() for name in registry.fields["$type"]]
    assert "ZWNsYWlt" in types
    assert "bWNsYWltLXJlbW92ZWQ=" in types
    assert [cbor.encode(value) for value in registry.fields["provider"]] == [
        base64.b64decode("GQPo")
    ]
    assert (registry.emitters, market.emitters) == ((REGISTRY,), (MARKET,))
    assert miner.emitters == (Address.of_id(1000),)
    assert "provider" not in miner.fields


@given(st.lists(st.sampled_from([128, 256, 512, 4096]), max_size=12))
def test_offsets_are_aligned_and_pieces_do_not_overlap(sizes):
    offsets = aligned_offsets(tuple(sizes))
    end = 0
    for offset, size in zip(offsets, sizes, strict=True):
        assert offset % size == 0
        assert end <= offset < end + size
        end = offset + size

from deals.held import fold_pieces
from fil_plus.event_kinds import EventPlace
from fil_plus.events import parse_event
from fil_plus.pieces import Provenance, ProvenanceKind
from lotus_client.chain import TipSetKey
from lotus_client.cid import dag_cbor_cid
from lotus_client.state import ActorEvent
from lotus_client.types import Epoch, SectorNumber
from tests.fakes_chain import (
    PROVIDER,
    claim_event,
    deal_event,
    make_claim,
    piece_cid,
    sector_event,
)

MIB = 1 << 20
ENDS = {SectorNumber(7): Epoch(600_000), SectorNumber(8): Epoch(700_000)}


def typed(epoch, *emitted):
    """The events of one message at `epoch`."""
    message = dag_cbor_cid(epoch.to_bytes(4, "big"))
    found = []
    for item in emitted:
        event = ActorEvent(
            item.emitter, item.entries, False, Epoch(epoch), TipSetKey((message,)), message
        )
        value = parse_event(event, PROVIDER)
        assert value is not None
        assert value.at == EventPlace(Epoch(epoch), TipSetKey((message,)), message)
        found.append(value)
    return found


def fold(*groups, ends=ENDS):
    return fold_pieces(PROVIDER, [event for group in groups for event in group], ends)


def test_a_claim_gets_its_offset_from_the_order_of_the_sectors_pieces():
    small, large = make_claim(1, 7, 100, size=MIB), make_claim(2, 7, 100, size=4 * MIB)
    pieces = fold(
        typed(
            100,
            claim_event("claim", small),
            claim_event("claim", large),
            sector_event("sector-activated", 7, (small.data, MIB), (large.data, 4 * MIB)),
        )
    )
    assert {key: piece.offset for key, piece in pieces.items()} == {
        "claim:1": 0,
        "claim:2": 4 * MIB,
    }
    assert pieces["claim:1"].from_epoch == 100
    assert pieces["claim:1"].to_epoch == 100 + 1_000_000


def test_a_claim_whose_sector_event_was_not_seen_has_no_offset():
    pieces = fold(typed(100, claim_event("claim", make_claim(1, 7, 100))))
    assert pieces["claim:1"].offset is None


def test_a_piece_without_claim_is_a_ddo_piece_until_the_sector_ends():
    pieces = fold(typed(50, sector_event("sector-activated", 7, (piece_cid(9), MIB))))
    (piece,) = pieces.values()
    assert piece.key == f"ddo:7:{piece_cid(9)}"
    assert piece.provenance == Provenance(ProvenanceKind.DDO, None)
    assert (piece.from_epoch, piece.to_epoch, piece.client) == (50, 600_000, None)


def test_a_piece_without_claim_waits_for_the_sectors_end():
    assert fold(typed(50, sector_event("sector-activated", 7, (piece_cid(9), MIB))), ends={}) == {}


def test_a_message_that_activates_one_deal_for_each_piece_says_which_is_which():
    pieces = fold(
        typed(
            50,
            sector_event("sector-activated", 7, (piece_cid(1), MIB), (piece_cid(2), MIB)),
            sector_event("sector-activated", 8, (piece_cid(3), MIB)),
            deal_event("deal-activated", 41),
            deal_event("deal-activated", 42),
            deal_event("deal-activated", 43),
        )
    )
    assert {piece.piece_cid: key for key, piece in pieces.items()} == {
        piece_cid(1): "market_deal:41",
        piece_cid(2): "market_deal:42",
        piece_cid(3): "market_deal:43",
    }
    assert pieces["market_deal:41"].client == 102


def test_deals_that_can_not_be_told_apart_are_not_guessed():
    pieces = fold(
        typed(
            50,
            sector_event("sector-activated", 7, (piece_cid(1), MIB), (piece_cid(2), MIB)),
            deal_event("deal-activated", 41),
        )
    )
    assert {piece.provenance.kind for piece in pieces.values()} == {ProvenanceKind.DDO}


def test_the_same_piece_twice_in_two_claims_has_two_offsets():
    first, second = make_claim(1, 7, 100), make_claim(2, 7, 100, data=piece_cid(1))
    pieces = fold(
        typed(
            100,
            claim_event("claim", first),
            claim_event("claim", second),
            sector_event("sector-activated", 7, (piece_cid(1), MIB), (piece_cid(1), MIB)),
        )
    )
    assert sorted(piece.offset for piece in pieces.values()) == [0, MIB]


def test_snapped_data_begins_with_the_update():
    pieces = fold(
        typed(50, sector_event("sector-activated", 7)),
        typed(80, sector_event("sector-updated", 7, (piece_cid(1), MIB))),
    )
    (piece,) = pieces.values()
    assert piece.from_epoch == 80


def test_a_longer_term_moves_the_end_and_a_removal_ends_it():
    claim = make_claim(1, 7, 100)
    longer = make_claim(1, 7, 100, term_max=2_000_000)
    made = typed(100, claim_event("claim", claim))
    updated = typed(200, claim_event("claim-updated", longer))
    assert fold(made, updated)["claim:1"].to_epoch == 2_000_100
    removed = typed(300, claim_event("claim-removed", longer))
    assert fold(made, updated, removed)["claim:1"].to_epoch == 300


def test_a_terminated_sector_ends_all_its_pieces():
    pieces = fold(
        typed(
            100,
            claim_event("claim", make_claim(1, 7, 100)),
            sector_event("sector-activated", 7, (piece_cid(1), MIB), (piece_cid(2), MIB)),
        ),
        typed(150, sector_event("sector-terminated", 7)),
    )
    assert {piece.to_epoch for piece in pieces.values()} == {150}

from __future__ import annotations

from devstack.chain import EventFilter, Network
from devstack.chain.invariants import event_types
from lotus_client import cbor
from lotus_client.address import Address
from lotus_client.types import Epoch
from tests.unit.devstack.chain_story import DAY, MIB, PROVIDER, Story, piece_cid


def test_a_verified_piece_becomes_a_claim_then_power_then_rewards() -> None:
    network = Network()
    story = Story(network)
    story.client_with_datacap()
    claim_id = story.verified_sector(7, piece_cid(1), 8 * MIB)
    story.sound()

    view = network.pending_state()
    claim = view.claims(PROVIDER)[claim_id]
    assert (claim.sector, claim.size, claim.data) == (7, 8 * MIB, piece_cid(1))
    assert view.allocations(network.key("alice").address) == {}
    assert view.datacap(network.key("alice").address) == 56 * MIB
    sector = view.sectors(PROVIDER)[7]
    assert sector.verified_deal_weight == 8 * MIB * (sector.expiration - sector.activation)
    assert view.miner_power(PROVIDER).miner.qap == 0  # not before the first window PoSt

    network.prove_automatically(PROVIDER)
    proven_at = next(
        network.head.height
        for _ in range(DAY + 60)
        if network.mine_epoch() and network.pending_state().miner_power(PROVIDER).miner.qap
    )
    assert network.pending_state().miner_power(PROVIDER).miner.qap == 80 * MIB
    network.advance(899)
    assert network.pending_state().miner_funds(PROVIDER).locked_funds.value == 0  # look-back
    network.advance(100)
    won = [
        header
        for height in range(network.head.height + 1)
        for header in network.tipset_by_height(Epoch(height)).blocks
        if header.miner == PROVIDER
    ]
    assert won
    assert min(header.height for header in won) >= proven_at + 900
    assert network.pending_state().miner_funds(PROVIDER).locked_funds.value > 0
    assert network.pending_state().faults(PROVIDER) == frozenset()
    story.sound()


def test_events_of_the_story_come_in_the_actors_order() -> None:
    network = Network()
    story = Story(network)
    story.client_with_datacap()
    story.verified_sector(7, piece_cid(1), 8 * MIB)
    network.advance(2)
    found = network.actor_events(EventFilter(from_height=Epoch(0)))
    kinds = [cbor.decode(event.entries[0].value) for event in found]
    assert kinds == [
        "verifier-balance", "verifier-balance", "allocation", "sector-precommitted", "claim",
        "sector-activated",
    ]  # fmt: skip
    prove = found[-1]
    assert prove.emitter == PROVIDER
    lookup = network.search_message(prove.message)
    assert lookup is not None
    assert lookup.receipt.events_root is not None
    both = network.events_of_root(lookup.receipt.events_root)
    assert event_types(both) == ["claim", "sector-activated"]
    assert prove.tipset == network.tipset(lookup.tipset).parents


def test_event_filters_match_indexed_values_only() -> None:
    network = Network()
    story = Story(network)
    story.client_with_datacap()
    story.verified_sector(7, piece_cid(1), 8 * MIB)
    network.advance(2)

    def count(**fields: object) -> int:
        wanted = tuple((key.replace("_", "-").replace("type", "$type"), ((0x51, cbor.encode(value)),))
                       for key, value in fields.items())  # fmt: skip
        return len(network.actor_events(EventFilter(fields=wanted, from_height=Epoch(0))))

    assert count(type="claim", provider=1001) == 1
    assert count(type="claim", provider=1002) == 0
    assert count(type="claim", piece_size=8 * MIB) == 0  # its value is not indexed
    only_miner = EventFilter(addresses=(PROVIDER,), from_height=Epoch(0))
    assert {event.emitter for event in network.actor_events(only_miner)} == {PROVIDER}
    assert network.actor_events(EventFilter(addresses=(Address.of_id(5),))) == []

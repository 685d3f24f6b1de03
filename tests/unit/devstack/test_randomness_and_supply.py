from __future__ import annotations

import hashlib

import pytest

from devstack.chain import FIL, ChainLookupError, Network
from devstack.chain.randomness import (
    beacon_digest,
    beacon_entry,
    draw_from_digest,
    latest_beacon_entry,
    ticket_digest,
)
from devstack.chain.supply import spendable_supply, supply_details
from lotus_client.types import AttoFil, Epoch


@pytest.fixture
def network() -> Network:
    network = Network()
    network.advance(5)
    network.mine_epoch(null=True)
    network.mine_epoch(null=True)
    network.advance(3)
    return network


def test_a_block_after_null_rounds_carries_their_beacon_entries(network: Network) -> None:
    after = network.tipset_after_height(Epoch(6))
    assert [entry.round for entry in after.blocks[0].beacon_entries] == [6, 7, 8]
    assert latest_beacon_entry(network, network.head).round == network.head.height


def test_the_beacon_of_a_null_round_is_found_in_the_block_after_it(network: Network) -> None:
    entry = beacon_entry(network.config.seed, 6)
    digest = hashlib.blake2b(entry.data, digest_size=32).digest()
    assert beacon_digest(network, 6) == digest
    assert beacon_digest(network, 6, network.tipset_after_height(Epoch(6)).key) == digest


def test_tickets_of_null_rounds_are_those_before_them(network: Network) -> None:
    assert ticket_digest(network, 7) == ticket_digest(network, 5) != ticket_digest(network, 8)


def test_a_draw_depends_on_purpose_epoch_and_entropy(network: Network) -> None:
    digest = ticket_digest(network, 5)
    draws = {
        draw_from_digest(digest, domain, epoch, entropy)
        for domain in (5, 6)
        for epoch in (5, 6)
        for entropy in (b"", b"t01000")
    }
    assert len(draws) == 8
    assert network.ticket_randomness(5, Epoch(5), b"x") == draw_from_digest(digest, 5, 5, b"x")


def test_nothing_is_drawn_from_the_future_or_from_genesis(network: Network) -> None:
    for source in (ticket_digest, beacon_digest):
        with pytest.raises(ChainLookupError, match="cannot draw randomness from the future"):
            source(network, network.head.height + 1)
    with pytest.raises(ChainLookupError, match="didn't find beacon for round 0"):
        beacon_digest(network, 0)
    with pytest.raises(ChainLookupError, match="without finding beacon entry"):
        latest_beacon_entry(network, network.genesis)


def test_the_parts_of_the_supply_add_up(network: Network) -> None:
    network.send("alice", network.key("bob").address, value=AttoFil(FIL))
    network.advance(3)
    tree = network.state().tree
    found = supply_details(tree)
    summed = found.vested + found.mined + found.reserve_disbursed - found.burnt - found.locked
    assert found.circulating == summed
    assert found.mined == tree.actors[2].state.total_storage_power_reward > 0
    assert found.burnt > 0


def test_pledge_rewards_and_the_reserve_are_not_spendable(network: Network) -> None:
    tree = network.state().tree
    spendable = spendable_supply(tree, network.head.height)
    held = sum(actor.balance for actor in tree.actors.values())
    miner = tree.actors[1000]
    locked = miner.state.initial_pledge + miner.state.locked_funds
    outside = sum(tree.actors[actor_id].balance for actor_id in (2, 90, 99))
    assert held == 2_000_000_000 * FIL
    assert spendable == held - outside - locked

"""Forks of any shape, what they do to messages, and which of them finality forbids."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devstack.chain import ForkRefused, ForkShape, Network, NetworkConfig
from devstack.chain.finality import FINALITY
from lotus_client.address import Address
from lotus_client.chain import HeadChange
from lotus_client.types import AttoFil, Epoch

BOB = Address.of_id(103)


def pay(network: Network) -> object:
    return network.send("alice", BOB, value=AttoFil(7))


def test_a_reorg_drops_messages_into_the_mempool_and_the_chain_includes_them_again() -> None:
    network = Network()
    cid = network.send("alice", BOB, value=AttoFil(7))
    network.advance(2)
    network.reorg(2)
    assert network.search_message(cid) is None
    assert cid in network.mpool
    assert network.mine_until(cid).receipt.exit_code == 0


def test_a_reorg_that_reincludes_messages_executes_them_on_the_new_chain() -> None:
    network = Network()
    cid = network.send("alice", BOB, value=AttoFil(7))
    network.advance(2)
    before = network.search_message(cid, network.head.key)
    network.reorg(2, ForkShape(reinclude=True))
    after = network.search_message(cid)
    assert before is None or after is not None
    assert after is not None
    assert after.receipt.exit_code == 0
    assert cid not in network.mpool


def test_a_fork_with_null_rounds_has_no_tipset_at_these_heights() -> None:
    network = Network()
    network.advance(10)
    base = network.tipset_by_height(Epoch(6))
    changes = network.reorg(4, ForkShape(null_rounds=3))
    first = next(change.tipset for change in changes if change.type == "apply")
    assert first.parents == base.key
    assert first.height == 10
    assert network.tipset_by_height(Epoch(8)).key == base.key
    assert network.head.height > 10


def test_a_side_chain_becomes_the_head_only_once_it_is_heavier() -> None:
    network = Network()
    network.advance(8)
    head = network.head
    tip = network.forks.side_chain(3, ForkShape(length=1))
    assert network.head == head
    assert network.tipset(tip.key) == tip
    with pytest.raises(ForkRefused, match="not heavier"):
        network.forks.adopt(tip)
    heard: list[list[HeadChange]] = []
    network.subscribe(heard.append)
    while network.weight_of(tip) <= network.weight_of(head):
        tip = network.forks.grow(tip, 1)
    changes = network.forks.adopt(tip)
    assert network.head == tip
    assert heard == [changes]
    assert [change.type for change in changes[:3]] == ["revert"] * 3
    network.advance(3)  # mining goes on from there
    assert network.path(tip.key, network.head.key)[-1].tipset == network.head


def test_set_head_goes_to_a_lighter_chain_and_back() -> None:
    network = Network()
    network.advance(5)
    old, lighter = network.head, network.tipset_by_height(Epoch(2))
    assert [change.type for change in network.set_head(lighter.key)] == ["revert"] * 3
    assert network.epoch == 2
    assert [change.type for change in network.set_head(old.key)] == ["apply"] * 3
    assert network.head == old


def test_a_fork_below_ec_finality_is_refused_in_lotus_words() -> None:
    network = Network(NetworkConfig(genesis_sectors=2))
    network.advance(FINALITY + 5)
    before = network.head
    with pytest.raises(ForkRefused, match="fork longer than threshold"):
        network.reorg(FINALITY + 1)
    assert network.head == before
    network.reorg(FINALITY)
    assert network.head != before


def test_simulated_f3_finality_trails_the_head_never_goes_back_and_guards_the_chain() -> None:
    network = Network(NetworkConfig(f3_lag=5))
    network.advance(20)
    assert network.finalized().height == 15
    network.reorg(4)  # the head is now at 21 or above
    final = network.finalized()
    assert final.height >= 15
    network.set_head(network.tipset_by_height(Epoch(final.height + 1)).key)
    assert network.finalized() == final
    network.advance(10)
    with pytest.raises(ForkRefused, match="checkpointed block"):
        network.reorg(8)


def test_without_f3_finality_is_nine_hundred_epochs() -> None:
    network = Network(NetworkConfig(genesis_sectors=2))
    assert network.finality.f3() is None
    network.advance(FINALITY + 3)
    assert network.finalized().height == 3


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 2), st.booleans(), st.integers(1, 4)),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_the_forks_the_canonical_chain_is_whole_and_pays_once(
    steps: list[tuple[int, int, bool, int]],
) -> None:
    network = Network()
    network.advance(5)
    sent = []
    for depth, nulls, reinclude, epochs in steps:
        sent.append(network.send("alice", BOB, value=AttoFil(7)))
        network.advance(epochs)
        network.reorg(depth, ForkShape(null_rounds=nulls, reinclude=reinclude))
    for cid in sent:
        assert network.mine_until(cid).receipt.exit_code == 0
    heights = [height for height, one in network.store.rounds() if one is not None]
    one = network.head
    for height in reversed(heights[1:]):
        assert one.height == height
        one = network.tipset(one.parents)
    nonce = network.pending_state().actor(network.key("alice").address).nonce
    assert nonce == len(sent)

"""Several nodes: gossip, partitions, and the reorganisation when they end."""

from __future__ import annotations

import pytest

from devstack.chain import Network, NetworkConfig
from devstack.swarm import Swarm
from lotus_client.address import Address
from lotus_client.chain import HeadChange
from lotus_client.types import AttoFil

BOB = Address.of_id(103)


def three() -> tuple[list[Network], Swarm]:
    first = Network(NetworkConfig(genesis_sectors=8))
    chains = [first, first.replica(), first.replica()]
    return chains, Swarm(chains)


def mine(swarm: Swarm, epochs: int) -> None:
    for _ in range(epochs):
        swarm.mine_epoch()


def test_connected_nodes_have_one_head_one_state_and_one_mempool() -> None:
    chains, swarm = three()
    cid = chains[2].send("alice", BOB, value=AttoFil(7))
    assert all(cid in chain.mpool for chain in chains)
    mine(swarm, 3)
    assert len({chain.head.key for chain in chains}) == 1
    assert all(chain.search_message(cid) is not None for chain in chains)
    assert not any(cid in chain.mpool for chain in chains)
    roots = {chain.pending_state().actor(BOB).head for chain in chains}
    assert len(roots) == 1


def test_a_partition_forks_the_chain_and_healing_reorganises_the_lighter_side() -> None:
    chains, swarm = three()
    mine(swarm, 5)
    common = chains[0].head
    swarm.partition([[0], [1, 2]], shares=[1, 4])
    lost = chains[0].send("alice", BOB, value=AttoFil(7))
    assert lost not in chains[1].mpool
    mine(swarm, 30)
    heavy = chains[1].head
    assert chains[2].head == heavy
    assert chains[0].head != heavy
    assert chains[1].exchange.knows(chains[0].head.key) is False
    assert chains[0].search_message(lost) is not None
    heard: list[HeadChange] = []
    chains[0].subscribe(heard.extend)
    assert swarm.heal() == []
    assert [chain.head for chain in chains] == [heavy] * 3
    reverts = [change for change in heard if change.type == "revert"]
    assert reverts
    assert reverts[-1].tipset.parents == common.key
    assert chains[0].search_message(lost) is None
    assert all(lost in chain.mpool for chain in chains)
    mine(swarm, 3)
    assert chains[2].search_message(lost) is not None


def test_a_side_with_a_part_of_the_power_has_null_rounds() -> None:
    chains, swarm = three()
    swarm.partition([[0], [1, 2]], shares=[1, 9])
    mine(swarm, 40)
    nulls = [height for height, one in chains[0].store.rounds() if one is None]
    assert nulls
    assert chains[0].epoch == chains[1].epoch == 40


def test_a_node_alone_has_no_power_and_stands_still() -> None:
    chains, swarm = three()
    swarm.partition([[0, 1]])
    mine(swarm, 5)
    assert chains[2].head == chains[2].genesis
    assert chains[0].head == chains[1].head
    assert chains[0].head.height == 5
    swarm.heal()
    assert chains[2].head == chains[0].head


def test_a_node_refuses_a_heavier_chain_that_begins_below_its_finality() -> None:
    first = Network(NetworkConfig(genesis_sectors=8, f3_lag=4))
    chains = [first, first.replica()]
    swarm = Swarm(chains)
    mine(swarm, 6)
    swarm.partition([[0], [1]], shares=[1, 3])
    mine(swarm, 60)
    before = chains[0].head
    assert swarm.heal() == [0]
    assert chains[0].head == before


@pytest.mark.parametrize(
    ("groups", "shares"),
    [([[0], [0]], None), ([[0], [7]], None), ([[0], []], None), ([[0], [1]], [1]), ([[0]], [0])],
)
def test_a_partition_that_makes_no_sense_is_refused(
    groups: list[list[int]], shares: list[int] | None
) -> None:
    _, swarm = three()
    with pytest.raises(ValueError, match=r"partition|nodes are|share"):
        swarm.partition(groups, shares)

"""How time passes: null rounds, and epochs that are skipped because nothing happens in them."""

from __future__ import annotations

import asyncio

from devstack.chain import Network, NetworkConfig
from devstack.node import FullNode
from lotus_client.address import Address
from lotus_client.types import AttoFil

DAY = 2880


def wins_of(network: Network, miner: Address) -> list[int]:
    found = []
    for height, tipset in network.store.rounds():
        if tipset is not None and any(block.miner == miner for block in tipset.blocks):
            found.append(height)
    return found


def test_long_null_rounds_before_a_window_post_do_not_stop_the_chain() -> None:
    network = Network()
    network.advance(5)
    for _ in range(300):
        network.mine_epoch(null=True)
    assert network.advance(3).height == 308


def test_skipping_a_day_keeps_every_sector_proven_in_few_tipsets() -> None:
    network = Network()
    before = network.pending_state().miner_power(network.genesis_miner)
    for _ in range(2 * DAY):
        network.skip_epoch(network.providers[0])
    assert network.epoch == 2 * DAY
    assert network.pending_state().miner_power(network.genesis_miner) == before
    assert not network.pending_state().faults(network.genesis_miner)
    mined = sum(1 for _, tipset in network.store.rounds() if tipset is not None)
    assert mined < DAY // 10


def test_no_message_waits_while_epochs_are_skipped() -> None:
    network = Network()
    network.skip_epoch(network.providers[0])
    cid = network.send("alice", Address.of_id(103), value=AttoFil(1))
    mined = network.skip_epoch(network.providers[0])
    assert mined is not None
    assert cid in {signed.cid for signed in network.messages_in_tipset(mined.key)}


def test_skipping_for_a_miner_stops_at_its_win() -> None:
    network = Network(NetworkConfig(genesis_sectors=4))
    node_miner = network.genesis_miner

    async def run() -> int:
        network.subscribe(lambda _: None)
        node = FullNode(network)
        head = await node.advance(
            5000,
            lambda tipset: any(block.miner == node_miner for block in tipset.blocks),
            skip_for=node_miner,
        )
        node.close()
        return head.height

    height = asyncio.run(run())
    assert wins_of(network, node_miner)[-1] == height


def test_cron_runs_for_skipped_epochs_as_for_mined_ones() -> None:
    mined, skipped = Network(), Network()
    mined.advance(200)
    for _ in range(200):
        skipped.skip_epoch(skipped.providers[0])
    skipped.advance(1)
    mined.advance(1)
    ours, theirs = (one.pending_state() for one in (skipped, mined))
    reward = [state.actor_state(Address.of_id(2)) for state in (ours, theirs)]
    assert reward[0].this_epoch_reward == reward[1].this_epoch_reward
    assert reward[0].epoch == reward[1].epoch
    periods = [state.proving_deadline(mined.genesis_miner) for state in (ours, theirs)]
    assert periods[0] == periods[1]

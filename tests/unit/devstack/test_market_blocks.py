"""Deals in state, read block by block from a header's state root (layouts of builtin-actors `actors/market/src/state.rs`)."""

from __future__ import annotations

import pytest

from devstack.chain import Network
from devstack.chain.actors.market_deals import first_cron_epoch
from lotus_client import cbor
from lotus_client.actors.market import ClientDealProposal, DealProposal, PublishStorageDealsParams
from lotus_client.actors.methods import MARKET, MarketMethod, MinerMethod
from lotus_client.actors.miner import (
    DataActivationNotification,
    PieceActivationManifest,
    ProveCommitSectorsParams,
    SectorActivationManifest,
    VerifiedAllocationKey,
)
from lotus_client.address import Address
from lotus_client.cid import Cid
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import DAY, MIB, PROVIDER, Story, piece_cid
from tests.unit.devstack.state_reader import Reader
from tests.walker import number, read, read_amt, read_hamt

SIZE = 8 * MIB


def proposal(network: Network, piece: int, *, verified: bool) -> DealProposal:
    return DealProposal(
        piece_cid(piece),
        SIZE,
        verified,
        network.key("alice").address,
        PROVIDER,
        "label" if verified else b"\xff",
        start := network.head.height + 200,
        start + 200 * DAY,
        AttoFil(3),
        AttoFil(500),
        AttoFil(200),
    )


@pytest.fixture(scope="module")
def network() -> Network:
    """Deal 0 is verified and active in sector 7, deals 1 (verified) and 2 wait."""
    network = Network()
    story = Story(network)
    client = story.client_with_datacap()
    alice = network.key("alice")
    for who, whose, value in (("alice", alice.address, 10**12), ("owner-1", PROVIDER, 10**6)):
        params = cbor.encode(whose.to_bytes())
        story.ok(who, MARKET, MarketMethod.ADD_BALANCE, params, value)
    deals = [proposal(network, piece, verified=piece < 3) for piece in (1, 2, 3)]
    signed = tuple(
        ClientDealProposal(deal, alice.sign(deal.to_cbor()).to_bytes()) for deal in deals
    )
    params = PublishStorageDealsParams(signed).to_cbor()
    story.ok("worker-1", MARKET, MarketMethod.PUBLISH_STORAGE_DEALS, params)
    assert story.pre_commit(7, [(piece_cid(1), SIZE)], life=250 * DAY).receipt.exit_code == 0
    network.advance(12)
    notify = (DataActivationNotification(MARKET, cbor.encode(0)),)
    piece = PieceActivationManifest(piece_cid(1), SIZE, VerifiedAllocationKey(client, 1), notify)
    manifest = SectorActivationManifest(7, (piece,))
    prove = ProveCommitSectorsParams((manifest,), (b"proof",), require_notification_success=True)
    story.ok("worker-1", PROVIDER, MinerMethod.PROVE_COMMIT_SECTORS3, prove.to_cbor())
    network.advance(2)
    story.sound()
    return network


@pytest.fixture(scope="module")
def reader(network: Network) -> Reader:
    return Reader(network, network.head.blocks[0].parent_state_root)


def test_proposals_and_states_are_lists_by_deal_id(network: Network, reader: Reader) -> None:
    state, market = reader.state(5), network.state().market
    proposals = read_amt(reader.get, state[0])
    assert {one: DealProposal.from_value(value) for one, value in proposals.items()} == {
        one: deal for one, (deal, _) in market.deals().items()
    }
    active = market.deal(0)[1]
    assert active is not None
    assert read_amt(reader.get, state[1]) == {0: [7, active.sector_start_epoch, -1, -1]}
    assert [read(reader.get, root)[0] for root in state[:2]] == [5, 6]
    assert state[5] == 3


def test_pending_proposals_are_a_set_of_deal_cids(network: Network, reader: Reader) -> None:
    pending = read_hamt(reader.get, reader.state(5)[2])
    deals = network.state().market.deals()
    assert {Cid(key): value for key, value in pending.items()} == {
        deal.cid: None for deal, _ in deals.values()
    }


def test_balances_are_by_address_and_add_up_to_the_totals(network: Network, reader: Reader) -> None:
    state, view = reader.state(5), network.state()
    alice = Address.of_id(view.actor_id(network.key("alice").address) or 0)
    fee = 3 * 200 * DAY
    escrow = {who: number(one) for who, one in reader.by_address(state[3]).items()}
    assert escrow == {alice: 10**12, PROVIDER: 10**6}
    locked = {who: number(one) for who, one in reader.by_address(state[4]).items()}
    assert locked == {alice: 3 * (fee + 200), PROVIDER: 3 * 500}
    assert [number(one) for one in state[8:11]] == [3 * 200, 3 * 500, 3 * fee]


def test_cron_has_its_deals_by_epoch_and_miners_theirs_by_sector(
    network: Network, reader: Reader
) -> None:
    state, deals = reader.state(5), network.state().market.deals()
    due = read_hamt(reader.get, state[6])
    expected: dict[bytes, set[int]] = {}
    for deal_id, (deal, _) in deals.items():
        epoch = first_cron_epoch(deal_id, deal.start_epoch)
        key = cbor_varint(epoch)
        expected.setdefault(key, set()).add(deal_id)
    assert {key: set(reader.by_number(root)) for key, root in due.items()} == expected
    assert state[7] == network.head.height - 1
    assert reader.by_number(state[11]) == {1: 2}  # deal 1's allocation; deal 0's was claimed
    (sectors,) = reader.by_number(state[12]).values()
    assert reader.by_number(sectors) == {7: [0]}


def cbor_varint(value: int) -> bytes:
    """A signed varint: zigzag, seven bits a byte."""
    value <<= 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))

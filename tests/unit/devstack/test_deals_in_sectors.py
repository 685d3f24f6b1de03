"""Sectors with deals in them, and what f05 and f06 hear of them."""

from __future__ import annotations

import pytest

from devstack.chain.actors.miner_state import deadline_info
from devstack.chain.machine import Exit, Sent
from lotus_client.actors import miner as wire
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import piece_cid, sealed_cid
from tests.unit.devstack.direct import DAY
from tests.unit.devstack.fil_plus_story import with_datacap
from tests.unit.devstack.market import START, TERM, Market
from tests.unit.devstack.miner_data import (
    GENESIS,
    SIZE,
    manifest,
    movable,
    place,
    pre_commit,
    prove,
    prove_commit,
    state_of,
    update,
)


@pytest.fixture
def market() -> Market:
    market = Market()
    market.fund()
    with_datacap(market.chain)
    return market


def sealed(market: Market, *pieces: wire.PieceActivationManifest, require: bool = True) -> Sent:
    pre_commit(market.chain, 5, *pieces, life=250 * DAY)  # an allocation of 200 days ends at 290
    market.chain.at(market.chain.epoch + 12)
    return prove_commit(market.chain, 5, *pieces, require=require)


def test_a_sealed_verified_deal_is_claimed_activated_and_then_told_of(market: Market) -> None:
    chain = market.chain
    deal = market.proposal(1, piece_size=SIZE, verified_deal=True)
    market.published(deal)
    allocation = market.state.pending_deal_allocation_ids[0]
    piece = manifest(1, SIZE, (chain.ids["alice"], allocation), deal=0)
    assert sealed(market, piece).exit_code == 0
    assert chain.events == ["claim", "sector-activated", "deal-activated"]
    assert market.state.states[0].sector_number == 5
    assert chain.state(6).claims[allocation].sector == 5
    chain.sound()


def test_a_rejected_notification_fails_the_message_only_where_success_is_required(
    market: Market,
) -> None:
    piece = manifest(1, SIZE, deal=9)
    assert sealed(market, piece, require=True).exit_code == 1004
    assert prove_commit(market.chain, 5, piece).exit_code == 0
    assert market.chain.events == ["sector-activated"]


def test_notifications_go_to_the_market_only(market: Market) -> None:
    notice = wire.DataActivationNotification(Address.of_id(80), b"")
    piece = wire.PieceActivationManifest(piece_cid(1), SIZE, None, (notice,))
    assert sealed(market, piece, require=True).exit_code == Exit.ILLEGAL_ARGUMENT
    assert prove_commit(market.chain, 5, piece).exit_code == 0


def test_an_update_may_bring_a_deal_too(market: Market) -> None:
    chain = market.chain
    market.add("genesis-worker", Address.of_id(GENESIS), 10**6)
    (number,) = movable(chain)
    deal = market.proposal(1, piece_size=SIZE, provider=Address.of_id(GENESIS))
    assert market.publish(deal, who="genesis-worker").exit_code == 0
    sent = prove(
        chain, update(chain, number, manifest(1, SIZE, deal=0)), require_notification_success=True
    )
    assert sent.exit_code == 0
    assert chain.events == ["sector-updated", "deal-activated"]
    assert market.state.provider_sectors == {GENESIS: {number: (0,)}}


def test_terminating_a_sector_ends_its_deal_and_then_tells_of_the_sector(market: Market) -> None:
    chain = market.chain
    market.published(market.proposal(1, piece_size=SIZE))
    assert sealed(market, manifest(1, SIZE, deal=0)).exit_code == 0
    chain.at(START + 10)
    deadline, partition = place(chain, 5, 1001)
    info = deadline_info(state_of(chain, 1001).proving_period_start, deadline, chain.epoch)
    one = wire.SectorDeclaration(deadline, partition, BitField.from_ints([5]))
    params = wire.SectorDeclarations((one,)).to_cbor()
    chain.at(info.open - 30)
    near = chain.call("worker-1", 1001, Method.TERMINATE_SECTORS, params)
    assert near.exit_code == Exit.ILLEGAL_ARGUMENT
    chain.at(info.open + 120)
    raw = chain.ok("worker-1", 1001, Method.TERMINATE_SECTORS, params)
    assert raw.hex() == "81f5"
    assert chain.events == ["deal-terminated", "sector-terminated"]
    assert market.state.proposals == {}
    chain.sound()


def test_pre_commits_may_name_deals_that_fit_but_are_not_proven_any_more(market: Market) -> None:
    chain = market.chain
    market.published(market.proposal(1, piece_size=SIZE))

    def commit(number: int, deal: int, commd: int | None, kind: int = 1) -> int:
        cid = None if commd is None else piece_cid(commd)
        info = wire.SectorPreCommitInfo(
            chain.config.seal_proof,
            number,
            sealed_cid(number),
            chain.epoch - 1,
            chain.epoch + 250 * DAY,
            cid if kind else sealed_cid(1),
            (deal,),
        )
        params = wire.PreCommitSectorBatchParams((info,)).to_cbor()
        return chain.call("worker-1", 1001, Method.PRE_COMMIT_SECTOR_BATCH2, params).exit_code

    assert commit(5, 9, 1) == Exit.NOT_FOUND
    assert commit(5, 0, 2) == Exit.ILLEGAL_ARGUMENT
    assert commit(5, 0, None) == Exit.ILLEGAL_ARGUMENT
    assert commit(5, 0, 1, kind=0) == Exit.ILLEGAL_ARGUMENT
    assert commit(5, 0, 1) == 0
    chain.at(chain.epoch + 12)
    assert prove_commit(chain, 5, manifest(1)).exit_code == Exit.ILLEGAL_ARGUMENT


def test_a_deals_sector_outlives_it_and_the_payment_is_taken_by_settling(market: Market) -> None:
    market.published(market.proposal(1, piece_size=SIZE))
    assert sealed(market, manifest(1, SIZE, deal=0)).exit_code == 0
    market.chain.at(START + TERM)
    settled = market.settle(0).settlements[0]
    assert (settled.payment, settled.completed) == (AttoFil(3 * TERM), True)

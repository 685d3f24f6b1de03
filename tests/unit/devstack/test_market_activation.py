"""Deals that are activated by the sectors of their pieces."""

from __future__ import annotations

import pytest

from devstack.chain.commd import unsealed_cid
from devstack.chain.machine import Exit, Sent
from lotus_client import cbor
from lotus_client.actors import market_sectors as sectors
from lotus_client.actors.methods import MarketMethod as Method
from lotus_client.actors.wire import BatchReturn
from lotus_client.bitfield import BitField
from tests.unit.devstack.chain_story import piece_cid
from tests.unit.devstack.direct import MIB
from tests.unit.devstack.fil_plus_story import PROVIDER, with_datacap
from tests.unit.devstack.market import SEAL_8_MIB, START, TERM, Market


@pytest.fixture
def market() -> Market:
    market = Market()
    market.fund()
    return market


def test_a_sector_with_the_deals_piece_activates_it_once(market: Market) -> None:
    with_datacap(market.chain)
    market.published(market.proposal(verified_deal=True))
    assert market.activate(0)
    assert market.chain.events == ["deal-activated"]
    state = market.state.states[0]
    assert (state.sector_number, state.sector_start_epoch) == (7, market.chain.epoch)
    assert (state.last_updated_epoch, state.slash_epoch) == (-1, -1)
    assert market.state.pending_deal_allocation_ids == {}
    assert market.state.provider_sectors == {PROVIDER: {7: (0,)}}
    assert not market.activate(0)
    market.chain.sound()


@pytest.mark.parametrize(
    "changes",
    [
        {"deal": 5},
        {"number": 2},
        {"size": 2 * MIB},
        {"expiry": START + TERM - 1},
        {"miner": 1000},
    ],
)
def test_a_piece_that_does_not_fit_its_deal_is_not_accepted(
    market: Market, changes: dict[str, int]
) -> None:
    market.published(market.proposal())
    assert not market.activate(**({"deal": 0} | changes))
    assert market.chain.events == []


def test_a_payload_that_is_no_deal_id_is_not_accepted(market: Market) -> None:
    market.published(market.proposal())
    pieces = tuple(
        sectors.PieceChange(piece_cid(1), MIB, payload)
        for payload in (b"", b"\x20", b"\x40", cbor.encode(0))
    )
    change = sectors.SectorChanges(7, START + TERM, pieces)
    params = sectors.SectorContentChangedParams((change,)).to_cbor()
    raw = market.chain.ok(PROVIDER, 5, Method.SECTOR_CONTENT_CHANGED, params)
    assert raw.hex() == "8184f4f4f4f5"


def test_a_deal_can_be_activated_until_its_start(market: Market) -> None:
    market.published(market.proposal(1), market.proposal(2))
    market.chain.at(START)
    assert market.activate(0)
    market.chain.at(START + 1)
    assert not market.activate(1, 2)


def test_only_miners_speak_of_sectors(market: Market) -> None:
    for method, params in (
        (Method.SECTOR_CONTENT_CHANGED, sectors.SectorContentChangedParams(())),
        (Method.BATCH_ACTIVATE_DEALS, sectors.BatchActivateDealsParams((), compute_cid=False)),
        (Method.VERIFY_DEALS_FOR_ACTIVATION, sectors.VerifyDealsForActivationParams(())),
        (Method.ON_MINER_SECTORS_TERMINATE, sectors.OnMinerSectorsTerminateParams(1, BitField())),
    ):
        sent = market.chain.call("worker-1", 5, method, params.to_cbor())
        assert sent.exit_code == Exit.FORBIDDEN
    assert market.chain.call("alice", 5, Method.CRON_TICK).exit_code == Exit.FORBIDDEN


def test_deals_are_verified_with_the_data_commitment_they_make(market: Market) -> None:
    market.published(market.proposal(1), market.proposal(2))
    end = START + TERM

    def verify(*wanted: sectors.SectorDeals) -> Sent:
        params = sectors.VerifyDealsForActivationParams(wanted).to_cbor()
        return market.chain.call(PROVIDER, 5, Method.VERIFY_DEALS_FOR_ACTIVATION, params)

    good = verify(
        sectors.SectorDeals(7, SEAL_8_MIB, end, (0, 1)), sectors.SectorDeals(8, SEAL_8_MIB, end, ())
    )
    commd = unsealed_cid([(piece_cid(1), MIB), (piece_cid(2), MIB)], 8 * MIB)
    answer = sectors.VerifyDealsForActivationReturn.from_cbor(good.return_)
    assert answer.unsealed_cids == (commd, None)
    assert verify(sectors.SectorDeals(7, SEAL_8_MIB, end, (0, 0))).exit_code == 16
    assert verify(sectors.SectorDeals(7, SEAL_8_MIB, end, (5,))).exit_code == Exit.NOT_FOUND
    assert verify(sectors.SectorDeals(7, SEAL_8_MIB, end - 1, (0,))).exit_code == 16
    assert verify(sectors.SectorDeals(7, 99, end, (0,))).exit_code == 16
    assert verify(sectors.SectorDeals(7, 5, end, (0,))).exit_code == 16  # a 2 KiB sector


def test_a_batch_activates_whole_sectors_or_not(market: Market) -> None:
    with_datacap(market.chain)
    market.published(market.proposal(1, verified_deal=True), market.proposal(2), market.proposal(3))
    end = START + TERM
    wanted = (
        sectors.SectorDeals(7, SEAL_8_MIB, end, (0, 1)),
        sectors.SectorDeals(8, SEAL_8_MIB, end, (2, 1)),
        sectors.SectorDeals(9, SEAL_8_MIB, end, (9,)),
        sectors.SectorDeals(10, SEAL_8_MIB, end - 1, (2,)),
        sectors.SectorDeals(11, SEAL_8_MIB, end, (2, 2)),
        sectors.SectorDeals(12, SEAL_8_MIB, end, ()),
    )
    params = sectors.BatchActivateDealsParams(wanted, compute_cid=True).to_cbor()
    raw = market.chain.ok(PROVIDER, 5, Method.BATCH_ACTIVATE_DEALS, params)
    answer = sectors.BatchActivateDealsReturn.from_cbor(raw)
    assert answer.activation_results == BatchReturn(2, ((1, 16), (2, 17), (3, 16), (4, 16)))
    first, empty = answer.activations
    assert [one.allocation_id for one in first.activated] == [1, 0]
    assert first.unsealed_cid == unsealed_cid([(piece_cid(1), MIB), (piece_cid(2), MIB)], 8 * MIB)
    assert (empty.activated, empty.unsealed_cid) == ((), None)
    assert sorted(market.state.states) == [0, 1]

"""What deals pay, how they end, and what can be asked about them."""

from __future__ import annotations

import pytest

from devstack.chain.actors.market_deals import first_cron_epoch
from devstack.chain.machine import Exit
from lotus_client import cbor
from lotus_client.actors import market_sectors as sectors
from lotus_client.actors.methods import MarketMethod as Method
from lotus_client.actors.wire import BatchReturn
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import piece_cid
from tests.unit.devstack.direct import MIB
from tests.unit.devstack.fil_plus_story import PROVIDER, with_datacap
from tests.unit.devstack.market import EXPIRED, NOT_ACTIVATED, START, TERM, Market


@pytest.fixture
def market() -> Market:
    market = Market()
    market.fund()
    return market


def test_payments_run_from_start_to_end_and_then_the_deal_is_complete(market: Market) -> None:
    market.published(market.proposal())
    market.activate(0)
    early = market.settle(0)
    assert early.settlements == (sectors.DealSettlement(AttoFil(0), completed=False),)
    market.chain.at(START + 10)
    assert market.settle(0).settlements[0].payment == AttoFil(30)
    market.chain.at(START + 15)
    assert market.settle(0).settlements[0].payment == AttoFil(15)
    assert market.balance(Address.of_id(PROVIDER)) == (10**9 + 45, 500)
    market.chain.sound()
    market.chain.at(START + TERM + 99)
    last = market.settle(0).settlements[0]
    assert (last.payment, last.completed) == (AttoFil(3 * (TERM - 15)), True)
    assert market.chain.events == ["deal-completed"]
    assert market.balance(Address.of_id(PROVIDER)) == (10**9 + 3 * TERM, 0)
    assert market.balance(market.chain.id("alice")) == (10**9 - 3 * TERM, 0)
    assert market.state.provider_sectors == {}
    gone = market.settle(0, 7)
    assert gone.results == BatchReturn(0, ((0, EXPIRED), (1, EXPIRED)))
    market.chain.sound()


def test_a_deal_that_is_never_sealed_costs_the_provider_its_collateral(market: Market) -> None:
    with_datacap(market.chain)
    market.published(market.proposal(1, verified_deal=True), market.proposal(2))
    waiting = market.settle(0)
    assert waiting.settlements == (sectors.DealSettlement(AttoFil(0), completed=False),)
    market.chain.at(START)
    burnt = market.chain.balance(99)
    assert market.settle(0).results == BatchReturn(0, ((0, EXPIRED),))
    assert market.chain.balance(99) == burnt + 500
    assert market.balance(market.chain.id("alice")) == (10**9, 3 * TERM + 200)
    assert market.state.pending_deal_allocation_ids == {}
    assert 1 in market.chain.state(6).allocations  # it stays until somebody removes it
    market.chain.at(first_cron_epoch(1, START))
    market.tick()
    assert market.state.proposals == {}
    assert market.state.pending_proposals == {}
    assert market.chain.balance(99) == burnt + 1000
    market.chain.sound()


def test_cron_looks_at_an_active_deal_once_and_only_stops_calling_it_pending(
    market: Market,
) -> None:
    market.published(market.proposal())
    market.activate(0)
    market.chain.at(first_cron_epoch(0, START))
    market.tick()
    assert market.state.pending_proposals == {}
    assert market.state.states[0].last_updated_epoch == -1
    assert market.state.deal_ops_by_epoch == {}
    assert market.state.last_cron == market.chain.epoch
    market.chain.sound()


@pytest.mark.parametrize(
    ("deal", "start", "due"),
    [(0, 0, 0), (0, 1, 86400), (7, 7, 7), (7, 8, 86407), (86401, 1, 1), (5, 86400, 86405)],
)
def test_cron_spreads_deals_over_thirty_days(deal: int, start: int, due: int) -> None:
    assert first_cron_epoch(deal, start) == due


def terminate(market: Market, *numbers: int) -> None:
    params = sectors.OnMinerSectorsTerminateParams(
        market.chain.epoch, BitField.from_ints(numbers)
    ).to_cbor()
    market.chain.ok(PROVIDER, 5, Method.ON_MINER_SECTORS_TERMINATE, params)


def test_a_terminated_sector_ends_its_deals_and_pays_what_was_earned(market: Market) -> None:
    market.published(market.proposal(1), market.proposal(2), market.proposal(3))
    market.activate(0, 1)
    market.activate(1, 2)
    market.activate(2, 3, sector=8)
    market.chain.at(START + 100)
    market.settle(1)
    market.chain.at(START + 150)
    burnt = market.chain.balance(99)
    terminate(market, 7, 99)
    assert market.chain.events == ["deal-terminated", "deal-terminated"]
    assert sorted(market.state.proposals) == [2]
    assert market.chain.balance(99) == burnt + 1000
    earned = 2 * 150 * 3
    assert market.balance(Address.of_id(PROVIDER)) == (10**9 + earned - 1000, 500)
    assert market.balance(market.chain.id("alice")) == (10**9 - earned, 3 * TERM + 200)
    market.chain.sound()


def test_a_deal_terminated_before_its_start_earns_nothing(market: Market) -> None:
    market.published(market.proposal())
    market.activate(0)
    terminate(market, 7)
    assert market.balance(market.chain.id("alice")) == (10**9, 0)
    assert market.balance(Address.of_id(PROVIDER)) == (10**9 - 500, 0)
    assert market.state.pending_proposals == {}
    market.chain.sound()


def test_a_deal_that_was_over_is_not_terminated_with_its_sector(market: Market) -> None:
    market.published(market.proposal())
    market.activate(0)
    market.chain.at(START + TERM)
    terminate(market, 7)
    assert market.chain.events == []
    assert market.settle(0).settlements[0].completed


def test_a_deal_can_be_asked_about_until_it_is_gone(market: Market) -> None:
    market.published(market.proposal())
    expected = {
        Method.GET_DEAL_DATA_COMMITMENT: [piece_cid(1), MIB],
        Method.GET_DEAL_CLIENT: market.chain.ids["alice"],
        Method.GET_DEAL_PROVIDER: PROVIDER,
        Method.GET_DEAL_LABEL: "label",
        Method.GET_DEAL_TERM: [START, TERM],
        Method.GET_DEAL_TOTAL_PRICE: cbor.encode_bigint(3 * TERM),
        Method.GET_DEAL_CLIENT_COLLATERAL: cbor.encode_bigint(200),
        Method.GET_DEAL_PROVIDER_COLLATERAL: cbor.encode_bigint(500),
        Method.GET_DEAL_VERIFIED: False,
        Method.GET_DEAL_ACTIVATION: [-1, -1],
    }
    for method, value in expected.items():
        assert cbor.decode(market.get(method, 0).return_) == value
        assert market.get(method, 1).exit_code == Exit.NOT_FOUND
    assert market.get(Method.GET_DEAL_SECTOR, 0).exit_code == NOT_ACTIVATED
    assert market.get(Method.GET_DEAL_SECTOR, 1).exit_code == Exit.NOT_FOUND
    market.activate(0)
    assert cbor.decode(market.get(Method.GET_DEAL_SECTOR, 0).return_) == 7
    assert cbor.decode(market.get(Method.GET_DEAL_ACTIVATION, 0).return_) == [10, -1]
    market.chain.at(START + TERM)
    market.settle(0)
    for method in (*expected, Method.GET_DEAL_SECTOR):
        assert market.get(method, 0).exit_code == EXPIRED

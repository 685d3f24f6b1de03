"""Escrow in the market actor, and the deals that are published with it."""

from __future__ import annotations

import pytest

from devstack.chain.machine import Exit
from lotus_client import cbor
from lotus_client.actors import market as wire
from lotus_client.actors.methods import MarketMethod as Method
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.devstack.direct import DAY, MIB
from tests.unit.devstack.fil_plus_story import PROVIDER, with_datacap
from tests.unit.devstack.market import START, TERM, Market


@pytest.fixture
def market() -> Market:
    market = Market()
    market.fund()
    return market


def test_escrow_is_added_for_anyone_and_withdrawn_by_its_owner(market: Market) -> None:
    alice, provider = market.chain.id("alice"), Address.of_id(PROVIDER)
    market.add("bob", market.chain.key("alice").address, 50)
    assert market.balance(alice) == (10**9 + 50, 0)
    none = market.chain.call("bob", 5, Method.ADD_BALANCE, cbor.encode(alice.to_bytes()))
    assert none.exit_code == Exit.ILLEGAL_ARGUMENT
    take = wire.MarketWithdrawParams(alice, AttoFil(30)).to_cbor()
    stranger = market.chain.call("bob", 5, Method.WITHDRAW_BALANCE, take)
    assert stranger.exit_code == Exit.FORBIDDEN
    raw = market.chain.ok("alice", 5, Method.WITHDRAW_BALANCE, take)
    assert raw == cbor.encode(cbor.encode_bigint(30))
    before = market.chain.balance(market.chain.ids["owner-1"])
    all_of_it = wire.MarketWithdrawParams(provider, AttoFil(10**30)).to_cbor()
    raw = market.chain.ok("worker-1", 5, Method.WITHDRAW_BALANCE_EXPORTED, all_of_it)
    assert raw == cbor.encode(cbor.encode_bigint(10**9))
    assert market.chain.balance(market.chain.ids["owner-1"]) == before + 10**9
    negative = wire.MarketWithdrawParams(alice, AttoFil(-1)).to_cbor()
    sent = market.chain.call("alice", 5, Method.WITHDRAW_BALANCE, negative)
    assert sent.exit_code == Exit.ILLEGAL_ARGUMENT
    market.chain.sound()


def test_what_deals_lock_stays(market: Market) -> None:
    market.published(market.proposal())
    locked = 3 * TERM + 200
    assert market.balance(market.chain.id("alice")) == (10**9, locked)
    assert market.balance(Address.of_id(PROVIDER)) == (10**9, 500)
    take = wire.MarketWithdrawParams(market.chain.id("alice"), AttoFil(10**30)).to_cbor()
    raw = market.chain.ok("alice", 5, Method.WITHDRAW_BALANCE, take)
    assert raw == cbor.encode(cbor.encode_bigint(10**9 - locked))
    market.chain.sound()


def test_a_published_deal_is_numbered_kept_by_ids_and_told_of(market: Market) -> None:
    deal = market.proposal()
    answer = market.published(deal, market.proposal(2))
    assert answer.ids == (0, 1)
    assert answer.valid_deals == BitField.from_ints([0, 1])
    assert market.chain.events == ["deal-published", "deal-published"]
    kept = deal.with_ids(market.chain.id("alice"), Address.of_id(PROVIDER))
    assert market.state.proposals[0] == kept
    assert kept.cid in market.state.pending_proposals
    assert market.published(market.proposal(3)).ids == (2,)
    market.chain.sound()


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "l" * 257},
        {"label": b"l" * 257},
        {"piece_size": MIB + 128},
        {"piece_size": 64},
        {"start_epoch": 9},
        {"end_epoch": START + 180 * DAY - 1},
        {"end_epoch": START + 1278 * DAY + 1},
        {"end_epoch": START},
        {"storage_price_per_epoch": AttoFil(-1)},
        {"provider_collateral": AttoFil(-1)},
        {"client_collateral": AttoFil(2 * 10**27 + 1)},
        {"provider_collateral": AttoFil(10**9 + 1)},
        {"client_collateral": AttoFil(10**9)},
        {"provider": Address.of_id(1000)},
        {"client": Address.of_actor_data(b"nobody")},
        {"verified_deal": True},
    ],
)
def test_a_deal_that_cannot_be_is_dropped_and_the_others_go_on(
    market: Market, changes: dict[str, object]
) -> None:
    answer = market.published(market.proposal(1), market.proposal(2, **changes), market.proposal(3))
    assert answer.ids == (0, 1)
    assert answer.valid_deals == BitField.from_ints([0, 2])
    if "provider" not in changes:
        alone = market.publish(market.proposal(2, **changes))
        assert alone.exit_code == Exit.ILLEGAL_ARGUMENT
    market.chain.sound()


def test_the_same_deal_is_published_once(market: Market) -> None:
    answer = market.published(market.proposal(), market.proposal())
    assert answer.valid_deals == BitField.from_ints([0])
    assert market.publish(market.proposal()).exit_code == Exit.ILLEGAL_ARGUMENT


def test_a_deal_needs_its_clients_signature(market: Market) -> None:
    assert market.publish(market.proposal(), signer="bob").exit_code == Exit.ILLEGAL_ARGUMENT


def test_a_multisig_that_cannot_authenticate_is_no_client(market: Market) -> None:
    deal = market.proposal(client=Address.of_id(80))
    assert market.publish(deal).exit_code == Exit.ILLEGAL_ARGUMENT


def test_only_the_providers_worker_publishes(market: Market) -> None:
    assert market.publish(market.proposal(), who="owner-1").exit_code == Exit.FORBIDDEN
    assert market.publish(market.proposal(), who="alice").exit_code == Exit.FORBIDDEN
    assert market.publish().exit_code == Exit.ILLEGAL_ARGUMENT
    nobody = market.proposal(provider=Address.of_actor_data(b"nobody"))
    assert market.publish(nobody).exit_code == Exit.NOT_FOUND
    account = market.proposal(provider=market.chain.id("bob"))
    assert market.publish(account).exit_code == Exit.ILLEGAL_ARGUMENT


def test_verified_deals_reserve_datacap_until_it_is_used_up(market: Market) -> None:
    with_datacap(market.chain, 2 * MIB)
    deals = [market.proposal(number, verified_deal=True) for number in (1, 2, 3)]
    answer = market.published(*deals)
    assert answer.valid_deals == BitField.from_ints([0, 1])
    assert market.chain.events == ["allocation", "allocation", "deal-published", "deal-published"]
    assert market.state.pending_deal_allocation_ids == {0: 1, 1: 2}
    allocation = market.chain.state(6).allocations[1]
    assert (allocation.client, allocation.provider) == (market.chain.ids["alice"], PROVIDER)
    assert (allocation.term_min, allocation.term_max) == (TERM, TERM + 90 * DAY)
    assert allocation.expiration == START
    market.chain.sound()


def test_verified_deals_fail_once_datacap_is_frozen(market: Market) -> None:
    with_datacap(market.chain, 2 * MIB)
    market.chain.at(market.chain.epoch, version=29)
    sent = market.publish(market.proposal(verified_deal=True))
    assert sent.exit_code == Exit.ILLEGAL_STATE
    assert market.publish(market.proposal()).exit_code == 0

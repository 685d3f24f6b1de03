from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from devstack.chain.actors.market_deals import first_cron_epoch
from devstack.chain.commd import unsealed_cid
from devstack.chain.machine import Exit, Sent
from lotus_client import cbor
from lotus_client.actors import market as wire
from lotus_client.actors import market_sectors as sectors
from lotus_client.actors.methods import MarketMethod as Method
from lotus_client.actors.wire import BatchReturn
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import piece_cid
from tests.unit.devstack.direct import DAY, MIB, Direct
from tests.unit.devstack.fil_plus_story import PROVIDER, with_datacap

EXPIRED, NOT_ACTIVATED = 32, 33
SEAL_8_MIB = 6
START, TERM = 1000, 200 * DAY


@dataclass
class Market:
    chain: Direct = field(default_factory=Direct)

    def add(self, who: str, whose: Address, value: int) -> None:
        params = cbor.encode(whose.to_bytes())
        self.chain.ok(who, 5, Method.ADD_BALANCE, params, value)

    def fund(self, client: int = 10**9, provider: int = 10**9) -> None:
        self.add("alice", self.chain.id("alice"), client)
        self.add("owner-1", Address.of_id(PROVIDER), provider)

    def proposal(self, number: int = 1, **changes: object) -> wire.DealProposal:
        fields: dict[str, object] = {
            "piece_cid": piece_cid(number),
            "piece_size": MIB,
            "verified_deal": False,
            "client": self.chain.key("alice").address,
            "provider": Address.of_id(PROVIDER),
            "label": "label",
            "start_epoch": START,
            "end_epoch": START + TERM,
            "storage_price_per_epoch": AttoFil(3),
            "provider_collateral": AttoFil(500),
            "client_collateral": AttoFil(200),
        } | changes
        return wire.DealProposal(**fields)  # type: ignore[arg-type]

    def publish(
        self, *deals: wire.DealProposal, who: str = "worker-1", signer: str = "alice"
    ) -> Sent:
        signed = tuple(
            wire.ClientDealProposal(deal, self.chain.key(signer).sign(deal.to_cbor()).to_bytes())
            for deal in deals
        )
        params = wire.PublishStorageDealsParams(signed).to_cbor()
        return self.chain.call(who, 5, Method.PUBLISH_STORAGE_DEALS, params)

    def published(self, *deals: wire.DealProposal) -> wire.PublishStorageDealsReturn:
        sent = self.publish(*deals)
        assert sent.exit_code == 0
        return wire.PublishStorageDealsReturn.from_cbor(sent.return_)

    def activate(self, deal: int, number: int = 1, sector: int = 7, **changes: int) -> bool:
        fields = {"size": MIB, "expiry": START + TERM + DAY, "miner": PROVIDER} | changes
        piece = sectors.PieceChange(piece_cid(number), fields["size"], cbor.encode(deal))
        change = sectors.SectorChanges(sector, fields["expiry"], (piece,))
        params = sectors.SectorContentChangedParams((change,)).to_cbor()
        raw = self.chain.ok(fields["miner"], 5, Method.SECTOR_CONTENT_CHANGED, params)
        return sectors.SectorContentChangedReturn.from_cbor(raw).sectors == ((True,),)

    def settle(self, *deals: int) -> sectors.SettleDealPaymentsReturn:
        params = cbor.encode(BitField.from_ints(deals).encode())
        raw = self.chain.ok("dave", 5, Method.SETTLE_DEAL_PAYMENTS, params)
        return sectors.SettleDealPaymentsReturn.from_cbor(raw)

    def balance(self, whose: Address) -> tuple[int, int]:
        raw = self.chain.ok("dave", 5, Method.GET_BALANCE, cbor.encode(whose.to_bytes()))
        found = wire.MarketBalance.from_cbor(raw)
        return found.balance.value, found.locked.value

    def get(self, method: int, deal: int) -> Sent:
        return self.chain.call("dave", 5, method, cbor.encode(deal))

    def tick(self) -> None:
        self.chain.ok(3, 5, Method.CRON_TICK)

    @property
    def state(self):  # type: ignore[no-untyped-def]
        return self.chain.state(5)


@pytest.fixture
def market() -> Market:
    market = Market()
    market.fund()
    return market


# balances -----------------------------------------------------------------------------------------------------------


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


# publishing ---------------------------------------------------------------------------------------------------------


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


# activation ---------------------------------------------------------------------------------------------------------


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


# settling -----------------------------------------------------------------------------------------------------------


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


# getters ------------------------------------------------------------------------------------------------------------


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

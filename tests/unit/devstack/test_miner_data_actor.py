"""Sectors that get data, longer lives or an early end, and what f05 and f06 hear of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from devstack.chain.actors import policy
from devstack.chain.actors.miner_state import deadline_info, is_mutable
from devstack.chain.commd import unsealed_cid
from devstack.chain.machine import Exit, Sent
from devstack.chain.states import MinerState
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import miner as wire
from lotus_client.actors import miner_updates as updates
from lotus_client.actors.methods import MARKET
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.actors.wire import BatchReturn
from lotus_client.address import Address
from lotus_client.bitfield import BitField
from lotus_client.types import AttoFil
from tests.unit.devstack.chain_story import piece_cid, sealed_cid
from tests.unit.devstack.direct import DAY, MIB, Direct
from tests.unit.devstack.fil_plus_story import new_ids, request, transfer, with_datacap
from tests.unit.devstack.test_market_actor import START, TERM, Market

GENESIS, WORKER, SIZE = 1000, "genesis-worker", 8 * MIB
UPDATE_8_MIB = 1


@pytest.fixture
def chain() -> Direct:
    return Direct()


def state_of(chain: Direct, miner: int = GENESIS) -> MinerState:
    state: MinerState = chain.state(miner)
    return state


def place(chain: Direct, number: int, miner: int = GENESIS) -> tuple[int, int]:
    for index, deadline in state_of(chain, miner).deadlines.items():
        for at, partition in enumerate(deadline.partitions):
            if number in partition.sectors:
                return index, at
    raise AssertionError(f"sector {number} is nowhere")


def movable(chain: Direct, count: int = 1) -> list[int]:
    """Sectors of the genesis miner whose deadline may be changed now, of as many deadlines."""
    start = state_of(chain).proving_period_start
    return [index for index in range(48) if is_mutable(start, index, chain.epoch)][:count]


def manifest(
    cid_number: int,
    size: int = SIZE,
    allocation: tuple[int, int] | None = None,
    deal: int | None = None,
) -> wire.PieceActivationManifest:
    key = None if allocation is None else wire.VerifiedAllocationKey(*allocation)
    notify = () if deal is None else (wire.DataActivationNotification(MARKET, cbor.encode(deal)),)
    return wire.PieceActivationManifest(piece_cid(cid_number), size, key, notify)


# replica updates ----------------------------------------------------------------------------------------------------


def update(chain: Direct, number: int, *pieces: wire.PieceActivationManifest, **changes: object):  # type: ignore[no-untyped-def]
    deadline, partition = place(chain, number)
    fields = {
        "sector": number,
        "deadline": deadline,
        "partition": partition,
        "new_sealed_cid": sealed_cid(number + 1000),
        "pieces": pieces,
    } | changes
    return updates.SectorUpdateManifest(**fields)  # type: ignore[arg-type]


def prove(chain: Direct, *wanted: updates.SectorUpdateManifest, **changes: object) -> Sent:
    fields = {
        "sector_updates": wanted,
        "sector_proofs": (b"proof",) * len(wanted),
        "update_proofs_type": UPDATE_8_MIB,
    } | changes
    params = updates.ProveReplicaUpdatesParams(**fields).to_cbor()  # type: ignore[arg-type]
    return chain.call(WORKER, GENESIS, Method.PROVE_REPLICA_UPDATES3, params)


def test_a_verified_update_gives_power_at_once_and_keeps_place_and_expiration(
    chain: Direct,
) -> None:
    client = with_datacap(chain)
    (number,) = movable(chain)
    (allocation,) = new_ids(
        transfer(chain, request(chain, 1, SIZE, provider=GENESIS, term_max=5 * 365 * DAY))
    )
    before = state_of(chain)
    old = before.sectors[number]
    raw, qap = chain.state(4).claims[GENESIS]
    sent = prove(chain, update(chain, number, manifest(1, SIZE, (client, allocation))))
    assert (sent.exit_code, sent.return_.hex()) == (0, "820180")
    assert chain.events == ["claim", "sector-updated"]
    new = state_of(chain).sectors[number]
    assert (new.expiration, new.activation) == (old.expiration, old.activation)
    assert new.sector_key_cid == old.sealed_cid
    assert new.sealed_cid == sealed_cid(number + 1000)
    assert new.power_base_epoch == chain.epoch
    assert new.verified_deal_weight == SIZE * (old.expiration - chain.epoch)
    assert new.deal_weight == 0
    assert new.initial_pledge.value >= old.initial_pledge.value
    assert new.daily_fee.value == old.daily_fee.value * 10
    assert chain.state(4).claims[GENESIS] == (raw, qap + 9 * SIZE)
    assert chain.state(6).claims[allocation].sector == number
    chain.sound()


def test_plain_data_adds_weight_but_no_power_and_pieces_are_told_in_the_event(
    chain: Direct,
) -> None:
    (number,) = movable(chain)
    claim = chain.state(4).claims[GENESIS]
    pieces = (manifest(1, MIB), manifest(2, MIB))
    assert prove(chain, update(chain, number, *pieces)).exit_code == 0
    sector = state_of(chain).sectors[number]
    assert sector.deal_weight == 2 * MIB * (sector.expiration - chain.epoch)
    assert chain.state(4).claims[GENESIS] == claim
    (event,) = chain.machine.events
    commd = unsealed_cid([(piece_cid(1), MIB), (piece_cid(2), MIB)], SIZE)
    assert cbor.decode(event.entries[2].value) == commd
    assert [entry.key for entry in event.entries[3:]] == ["piece-cid", "piece-size"] * 2
    chain.sound()


def test_an_update_needs_a_healthy_empty_sector_in_a_deadline_that_is_not_near(
    chain: Direct,
) -> None:
    number, other = movable(chain, 2)
    piece = manifest(1)
    deadline, partition = place(chain, number)
    elsewhere = [
        update(chain, number, piece, deadline=place(chain, other)[0]),
        update(chain, number, piece, partition=partition + 7),
        updates.SectorUpdateManifest(5000, deadline, partition, sealed_cid(1), (piece,)),
    ]
    for one in elsewhere:
        assert prove(chain, one).exit_code == Exit.NOT_FOUND
    bad = [
        update(chain, number, piece, deadline=48),
        update(chain, number, piece, new_sealed_cid=piece_cid(1)),
        update(chain, number, manifest(1, 2 * SIZE)),
    ]
    for one in bad:
        assert prove(chain, one).exit_code == Exit.ILLEGAL_ARGUMENT
    assert prove(chain, update(chain, number, piece), sector_proofs=(b"invalid",)).exit_code == 16
    mixed = prove(chain, bad[0], update(chain, other, piece))
    assert BatchReturn.from_cbor(mixed.return_) == BatchReturn(1, ((0, 16),))
    again = prove(chain, update(chain, other, manifest(2)))
    assert again.exit_code == Exit.ILLEGAL_ARGUMENT  # it has data now
    strict = prove(chain, bad[0], update(chain, number, piece), require_activation_success=True)
    assert strict.exit_code == Exit.ILLEGAL_ARGUMENT
    info = deadline_info(state_of(chain).proving_period_start, deadline, chain.epoch)
    chain.at(info.open - 1)
    assert prove(chain, update(chain, number, piece)).exit_code == Exit.ILLEGAL_ARGUMENT


def test_updates_have_one_proof_each_of_the_right_type(chain: Direct) -> None:
    (number,) = movable(chain)
    one = update(chain, number, manifest(1))
    for changes in (
        {"sector_proofs": ()},
        {"sector_proofs": (b"a", b"b")},
        {"aggregate_proof": b"a"},
        {"aggregate_proof_type": 1},
        {"update_proofs_type": 3},
    ):
        assert prove(chain, one, **changes).exit_code == Exit.ILLEGAL_ARGUMENT
    assert prove(chain).exit_code == Exit.ILLEGAL_ARGUMENT
    twice = prove(chain, one, one)
    assert BatchReturn.from_cbor(twice.return_) == BatchReturn(1, ((1, Exit.ILLEGAL_ARGUMENT),))
    params = updates.ProveReplicaUpdatesParams((one,), (b"p",), update_proofs_type=1).to_cbor()
    stranger = chain.call("alice", GENESIS, Method.PROVE_REPLICA_UPDATES3, params)
    assert stranger.exit_code == Exit.FORBIDDEN


def test_a_claim_that_fails_leaves_its_sector_as_it_was(chain: Direct) -> None:
    client = with_datacap(chain)
    first, second = movable(chain, 2)
    wrong = update(chain, first, manifest(1, SIZE, (client, 99)))
    sent = prove(chain, wrong, update(chain, second, manifest(2)))
    assert BatchReturn.from_cbor(sent.return_) == BatchReturn(1, ((0, Exit.NOT_FOUND),))
    assert state_of(chain).sectors[first].sector_key_cid is None
    assert prove(chain, wrong).exit_code == Exit.ILLEGAL_ARGUMENT
    chain.sound()


def test_from_network_version_29_any_update_lifts_to_ten_times_the_power(chain: Direct) -> None:
    (number,) = movable(chain)
    chain.at(chain.epoch, version=29)
    raw, qap = chain.state(4).claims[GENESIS]
    sent = prove(chain, update(chain, number, manifest(1, SIZE, (100, 1))))  # the claim is ignored
    assert sent.exit_code == 0
    sector = state_of(chain).sectors[number]
    assert sector.flags & policy.FULL_QA_POWER
    assert sector.verified_deal_weight == 0
    assert chain.state(4).claims[GENESIS] == (raw, qap + 9 * SIZE)
    chain.sound()


# extensions ---------------------------------------------------------------------------------------------------------


def extend(
    chain: Direct,
    expiration: int,
    plain: Sequence[int] = (),
    claims: Sequence[updates.SectorClaim] = (),
    **changes: int,
) -> int:
    deadline, partition = place(chain, [*plain, *(one.sector for one in claims)][0])
    one = updates.ExpirationExtension(
        changes.get("deadline", deadline),
        changes.get("partition", partition),
        BitField.from_ints(plain),
        tuple(claims),
        expiration,
    )
    params = updates.ExtendSectorExpirationParams((one,)).to_cbor()
    who = "genesis-worker"
    return chain.call(who, GENESIS, Method.EXTEND_SECTOR_EXPIRATION2, params).exit_code


def test_a_sector_without_data_lives_longer_at_the_same_power(chain: Direct) -> None:
    chain.at(100 * DAY)
    before, claim = state_of(chain), chain.state(4).claims[GENESIS]
    old = before.sectors[3]
    assert extend(chain, old.expiration + 50 * DAY, [3]) == 0
    new = state_of(chain).sectors[3]
    assert new.expiration == old.expiration + 50 * DAY
    assert new.power_base_epoch == chain.epoch
    assert new.initial_pledge == old.initial_pledge
    assert chain.state(4).claims[GENESIS] == claim
    assert chain.events == []
    chain.sound()


def test_extensions_stay_in_their_bounds_and_to_active_sectors(chain: Direct) -> None:
    chain.at(100 * DAY)
    old = state_of(chain).sectors[3].expiration
    most = chain.epoch + policy.MAX_SECTOR_EXTENSION
    assert extend(chain, old - 1, [3]) == Exit.ILLEGAL_ARGUMENT
    assert extend(chain, most + 1, [3]) == Exit.ILLEGAL_ARGUMENT
    assert extend(chain, most, [3, 5000]) == Exit.NOT_FOUND
    assert extend(chain, most, [3, 4]) == Exit.FORBIDDEN  # 4 is in another partition
    assert extend(chain, most, [3], partition=9) == Exit.NOT_FOUND
    assert extend(chain, most, [3], deadline=48) == Exit.ILLEGAL_ARGUMENT
    twice = updates.SectorClaim(3)
    assert extend(chain, most, [3], [twice]) == Exit.ILLEGAL_ARGUMENT
    assert extend(chain, most, [], [twice, twice]) == Exit.ILLEGAL_ARGUMENT
    assert extend(chain, most, [3]) == 0
    chain.at(old + 3000 * DAY)
    assert extend(chain, old + 4000 * DAY, [3]) == Exit.ILLEGAL_ARGUMENT


def with_claim(chain: Direct, term_max: int, size: int = SIZE) -> tuple[int, int]:
    """A genesis sector with one claim of alice's; sector and claim."""
    client = with_datacap(chain)
    (number,) = movable(chain)
    (allocation,) = new_ids(
        transfer(chain, request(chain, 1, size, provider=GENESIS, term_max=term_max))
    )
    pieces = [manifest(1, size, (client, allocation))]
    assert prove(chain, update(chain, number, *pieces)).exit_code == 0
    return number, allocation


def test_claims_of_an_extended_sector_must_all_be_listed_and_reach_its_end(chain: Direct) -> None:
    number, claim = with_claim(chain, 5 * 365 * DAY)
    start = chain.epoch
    chain.at(600 * DAY)
    longer = 1800 * DAY
    power = chain.state(4).claims[GENESIS]
    keep = updates.SectorClaim(number, (claim,))
    assert extend(chain, longer, [number]) == Exit.ILLEGAL_ARGUMENT
    assert extend(chain, longer, [], [updates.SectorClaim(number)]) == Exit.ILLEGAL_ARGUMENT
    unknown = updates.SectorClaim(number, (claim, 99))
    assert extend(chain, longer, [], [unknown]) == Exit.ILLEGAL_ARGUMENT
    other = next(
        one for one in state_of(chain).sectors if one % 48 == number % 48 and one != number
    )
    stolen = updates.SectorClaim(other, (claim,))
    assert extend(chain, longer, [], [stolen]) == Exit.ILLEGAL_ARGUMENT
    dropped = updates.SectorClaim(number, (), (claim,))
    assert extend(chain, longer, [], [dropped]) == Exit.FORBIDDEN  # not in its last 30 days
    too_long = start + 5 * 365 * DAY + 1
    assert extend(chain, too_long, [], [keep]) in (Exit.FORBIDDEN, Exit.ILLEGAL_ARGUMENT)
    assert extend(chain, longer, [], [keep]) == 0
    sector = state_of(chain).sectors[number]
    assert sector.verified_deal_weight == SIZE * (longer - chain.epoch)
    assert chain.state(4).claims[GENESIS] == power
    chain.sound()


def test_plain_weight_shrinks_to_the_rest_of_the_old_term(chain: Direct) -> None:
    (number,) = movable(chain)
    assert prove(chain, update(chain, number, manifest(1))).exit_code == 0
    old = state_of(chain).sectors[number]
    chain.at(100 * DAY)
    assert extend(chain, old.expiration + 50 * DAY, [number]) == 0
    assert state_of(chain).sectors[number].deal_weight == SIZE * (old.expiration - chain.epoch)
    chain.sound()


def test_a_claim_that_ends_before_the_new_expiration_cannot_be_kept(chain: Direct) -> None:
    number, claim = with_claim(chain, 1300 * DAY)
    chain.at(600 * DAY)
    keep = updates.SectorClaim(number, (claim,))
    assert extend(chain, 1400 * DAY, [], [keep]) == Exit.FORBIDDEN
    assert extend(chain, 1300 * DAY, [], [keep]) == 0


def test_a_dropped_claim_takes_its_power_in_the_last_thirty_days(chain: Direct) -> None:
    number, claim = with_claim(chain, 5 * 365 * DAY)
    expiration = state_of(chain).sectors[number].expiration
    fee = state_of(chain).sectors[number].daily_fee.value
    raw, qap = chain.state(4).claims[GENESIS]
    chain.at(expiration - 29 * DAY)
    dropped = updates.SectorClaim(number, (), (claim,))
    assert extend(chain, expiration + 300 * DAY, [], [dropped]) == 0
    sector = state_of(chain).sectors[number]
    assert sector.verified_deal_weight == 0
    assert sector.daily_fee.value == fee // 10
    assert chain.state(4).claims[GENESIS] == (raw, qap - 9 * SIZE)
    assert claim in chain.state(6).claims
    chain.sound()


def test_from_network_version_29_the_recorded_ratio_stays_whatever_is_listed(chain: Direct) -> None:
    number, _ = with_claim(chain, 5 * 365 * DAY)
    power = chain.state(4).claims[GENESIS]
    chain.at(600 * DAY, version=29)
    assert extend(chain, 1500 * DAY, [number]) == 0
    assert chain.state(4).claims[GENESIS] == power
    chain.sound()


# deals in sectors ---------------------------------------------------------------------------------------------------


def pre_commit(
    chain: Direct, number: int, *pieces: wire.PieceActivationManifest, life: int = 400 * DAY
) -> None:
    commd = unsealed_cid([(piece.cid, piece.size) for piece in pieces], SIZE)
    info = wire.SectorPreCommitInfo(
        chain.config.seal_proof,
        number,
        sealed_cid(number),
        chain.epoch - 1,
        chain.epoch + life,
        commd,
    )
    params = wire.PreCommitSectorBatchParams((info,)).to_cbor()
    chain.ok("worker-1", 1001, Method.PRE_COMMIT_SECTOR_BATCH2, params)


def prove_commit(
    chain: Direct, number: int, *pieces: wire.PieceActivationManifest, require: bool = False
) -> Sent:
    params = wire.ProveCommitSectorsParams(
        (wire.SectorActivationManifest(number, pieces),),
        (b"proof",),
        require_notification_success=require,
    )
    return chain.call("worker-1", 1001, Method.PROVE_COMMIT_SECTORS3, params.to_cbor())


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


def test_data_needs_pledge_that_the_miner_has(chain: Direct) -> None:
    with_datacap(chain)
    (number,) = movable(chain)
    actor = chain.machine.actors[GENESIS]
    state = state_of(chain)
    locked = state.initial_pledge + state.locked_funds + state.pre_commit_deposits
    spare = actor.balance - locked
    chain.machine.set_actor(GENESIS, replace(actor, balance=locked))
    chain.machine.add_balance(chain.ids["dave"], spare)
    (allocation,) = new_ids(
        transfer(chain, request(chain, 1, SIZE, provider=GENESIS, term_max=5 * 365 * DAY))
    )
    piece = manifest(1, SIZE, (chain.ids["alice"], allocation))
    assert prove(chain, update(chain, number, piece)).exit_code == Exit.INSUFFICIENT_FUNDS
    assert allocation in chain.state(6).allocations
    chain.sound()

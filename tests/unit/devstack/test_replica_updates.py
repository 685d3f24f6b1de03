"""Sectors that get data after they were sealed."""

from __future__ import annotations

import pytest

from devstack.chain.actors import policy
from devstack.chain.actors.miner_state import deadline_info
from devstack.chain.commd import unsealed_cid
from devstack.chain.machine import Exit
from devstack.chain.table import replace
from lotus_client import cbor
from lotus_client.actors import miner_updates as updates
from lotus_client.actors.methods import MinerMethod as Method
from lotus_client.actors.wire import BatchReturn
from tests.unit.devstack.chain_story import piece_cid, sealed_cid
from tests.unit.devstack.direct import DAY, MIB, Direct
from tests.unit.devstack.fil_plus_story import new_ids, request, transfer, with_datacap
from tests.unit.devstack.miner_data import (
    GENESIS,
    SIZE,
    manifest,
    movable,
    place,
    prove,
    state_of,
    update,
)


@pytest.fixture
def chain() -> Direct:
    return Direct()


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

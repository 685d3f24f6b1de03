"""Sectors that live longer, with and without claims."""

from __future__ import annotations

import pytest

from devstack.chain.actors import policy
from devstack.chain.machine import Exit
from lotus_client.actors import miner_updates as updates
from tests.unit.devstack.direct import DAY, Direct
from tests.unit.devstack.miner_data import (
    GENESIS,
    SIZE,
    extend,
    manifest,
    movable,
    prove,
    state_of,
    update,
    with_claim,
)


@pytest.fixture
def chain() -> Direct:
    return Direct()


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

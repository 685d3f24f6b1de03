"""Periods: sums of their wins, proofs of every part, and what is left after costs."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fil_plus.attribution import split_win
from fil_plus.costs import capital_cost, daily_fee_cost, net_period, payee_cost
from fil_plus.periods import (
    inclusion_proof,
    merkle_root,
    period_leaves,
    summarise_period,
    verify_inclusion,
)
from fil_plus.terms import Basis
from fil_plus.win_values import WinSplit
from lotus_client.types import AttoFil, Epoch
from tests.fakes_chain import SECTOR_SIZE, make_sector
from tests.unit.fil_plus.attribution_samples import (
    ALICE,
    BOB,
    MIB,
    held,
    inputs,
    produced,
    split,
    used,
)


@st.composite
def wins(draw):
    sizes = draw(st.lists(st.sampled_from([128, 2048, MIB, 2 * MIB]), min_size=1, max_size=6))
    pieces = tuple(held(number + 1, size=size) for number, size in enumerate(sizes))
    verified = draw(st.integers(0, SECTOR_SIZE))
    payees = st.sampled_from([ALICE, BOB])
    keys = st.sampled_from([piece.key for piece in pieces])
    jobs = st.sampled_from(["j-1", "j-2", "j-3"])
    bps = st.integers(0, 10_000)
    basis = st.sampled_from([Basis.VERIFIED_EXTRA, Basis.QAP_SHARE])
    makers = draw(
        st.lists(
            st.builds(
                lambda key, payee, job, counted, basis, output, most: produced(
                    key, payee, job, counted, basis=basis, output_bps=output, max_share_bps=most
                ),
                keys,
                payees,
                jobs,
                st.integers(0, 4 * MIB),
                basis,
                bps,
                bps,
            ),
            max_size=6,
        )
    )
    users = draw(
        st.lists(
            st.builds(
                lambda key, payee, job, basis, bps, most: used(
                    key, payee, job, basis=basis, input_bps=bps, max_share_bps=most
                ),
                keys,
                payees,
                jobs,
                basis,
                bps,
                bps,
            ),
            max_size=6,
        )
    )
    budgets = draw(
        st.lists(
            st.builds(
                lambda key, job, amount, most: produced(
                    key,
                    BOB,
                    job,
                    basis=Basis.FIXED_BUDGET,
                    budget=AttoFil(amount),
                    max_share_bps=most,
                ),
                keys,
                jobs,
                st.integers(0, 10**20),
                bps,
            ),
            max_size=3,
        )
    )
    return inputs(
        credited=AttoFil(draw(st.integers(0, 10**21))),
        gas_reward=AttoFil(draw(st.integers(0, 10**18))),
        sectors=(make_sector(1, 1000, verified=verified), make_sector(2, 1000)),
        pieces=pieces,
        produced=(*makers, *budgets),
        used=tuple(users),
    )


@given(wins())
def test_the_parts_and_the_providers_rest_are_the_whole(win):
    result = split_win(win)
    assert isinstance(result, WinSplit)
    amounts = [part.amount.value for part in result.parts]
    assert all(amount > 0 for amount in amounts)
    assert sum(amounts) + result.provider.value == result.shareable.value
    assert result.provider.value >= 0


@settings(max_examples=30)
@given(st.lists(wins(), max_size=3))
def test_a_period_is_the_sum_of_its_wins_and_every_part_can_be_proven(inputs_of_wins):
    splits = [
        split_win(replace(win, win=f"w-{number}", epoch=Epoch(2880 + number)))
        for number, win in enumerate(inputs_of_wins)
    ]
    record = summarise_period(1, splits)
    assert (
        sum(item.amount.value for item in record.sums) + record.provider.value
        == record.shareable.value
    )
    leaves = period_leaves(splits)
    assert record.leaves == len(leaves)
    assert record == summarise_period(1, splits[::-1])
    for index, leaf in enumerate(leaves):
        proof = inclusion_proof(leaves, index)
        assert verify_inclusion(leaf, index, len(leaves), proof, record.root)
        assert not verify_inclusion(leaf + b"x", index, len(leaves), proof, record.root)
        assert not verify_inclusion(leaf, index, len(leaves), (*proof, bytes(32)), record.root)


def test_merkle_roots_are_those_of_certificate_transparency():
    # the seven-leaf tree of the reference tests of RFC 6962 implementations
    leaves = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")]
    assert merkle_root([]).hex() == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert merkle_root(leaves[:1]).hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert merkle_root(leaves[:3]).hex() == (
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )
    assert merkle_root(leaves).hex() == (
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"
    )


def test_a_win_is_counted_once_and_in_its_own_period():
    win = split()
    with pytest.raises(ValueError, match="twice"):
        summarise_period(1, [win, win])
    with pytest.raises(ValueError, match="period"):
        summarise_period(2, [win])


@given(st.integers(0, 10**20), st.integers(0, 10**20), st.integers(0, 10**20))
def test_netting_loses_nothing_and_never_pays_a_loss(gross, cost, deficit):
    result = net_period(AttoFil(gross), AttoFil(cost), AttoFil(-deficit))
    assert result.net.value + result.deficit.value == gross - cost - deficit
    assert result.net.value >= 0 >= result.deficit.value
    assert 0 in (result.net.value, result.deficit.value)


def test_costs_follow_the_verified_bytes_and_round_up():
    pledge = AttoFil(10**18)
    full = 10 * SECTOR_SIZE
    year = capital_cost(pledge, SECTOR_SIZE, full, apr_bps=1000, epochs=365 * 2880)
    assert year == AttoFil(9 * 10**16)
    assert capital_cost(pledge, 1, full, apr_bps=0, epochs=2880) == AttoFil(0)
    assert daily_fee_cost(AttoFil(7), SECTOR_SIZE, full, epochs=2880) == AttoFil(7)
    assert payee_cost(AttoFil(7), share_bps=1000, counted_bytes=1, padded_size=2) == AttoFil(1)

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fil_plus.attribution import (
    PartSource,
    ProducedPiece,
    UnknownReason,
    UsedPiece,
    WinInputs,
    WinSplit,
    WinUnknown,
    cap_counted_bytes,
    split_win,
)
from fil_plus.costs import capital_cost, daily_fee_cost, net_period, payee_cost
from fil_plus.periods import (
    inclusion_proof,
    merkle_root,
    period_leaves,
    summarise_period,
    verify_inclusion,
)
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from fil_plus.power import divide_verified_space, sector_qap
from fil_plus.terms import Basis, ShareTerms
from lotus_client.address import Address
from lotus_client.types import (
    ActorId,
    AttoFil,
    Epoch,
    NetworkVersion,
    PaddedPieceSize,
    SectorNumber,
)
from tests.fakes_chain import PROVIDER, SECTOR_SIZE, make_sector, piece_cid

MIB = 1 << 20
REWARD = 11 * 10**18
ALICE, BOB = Address.of_id(201), Address.of_id(202)


def held(number, *, sector=1, size=MIB, kind=ProvenanceKind.CLAIM, start=1000, end=10**7):
    return HeldPiece(
        provider=PROVIDER,
        piece_cid=piece_cid(number),
        padded_size=PaddedPieceSize(size),
        payload_size=None,
        sector=SectorNumber(sector),
        offset=0,
        provenance=Provenance(kind, number if kind is ProvenanceKind.CLAIM else None),
        client=ActorId(101),
        from_epoch=Epoch(start),
        to_epoch=Epoch(end),
    )


def produced(key="claim:1", payee=ALICE, job="j-1", counted=MIB, **terms):
    paid = terms.pop("budget_paid", AttoFil(0))
    basis = terms.pop("basis", Basis.VERIFIED_EXTRA)
    return ProducedPiece(key, payee, job, counted, ShareTerms(basis, **terms), paid)


def used(key="claim:1", payee=BOB, job="j-2", *, group=None, work=None, at=3000, **terms):
    basis = terms.pop("basis", Basis.VERIFIED_EXTRA)
    terms.setdefault("input_bps", 500)
    return UsedPiece(
        key, payee, group or str(payee), job, work or job, Epoch(at), ShareTerms(basis, **terms)
    )


def inputs(**changes):
    sectors = changes.pop("sectors", (make_sector(1, 1000, verified=MIB), make_sector(2, 1000)))
    win = WinInputs(
        win="bafyblock",
        epoch=Epoch(5000),
        provider=PROVIDER,
        credited=AttoFil(REWARD),
        gas_reward=AttoFil(0),
        include_tips=False,
        network_version=NetworkVersion(28),
        solstice_epoch=None,
        lookback_epoch=Epoch(4100),
        miner_qap=sum(sector_qap(sector, SECTOR_SIZE) for sector in sectors or ()),
        sector_size=SECTOR_SIZE,
        sectors=sectors,
        pieces=(held(1),),
    )
    return replace(win, **changes)


def split(**changes):
    result = split_win(inputs(**changes))
    assert isinstance(result, WinSplit)
    assert (
        sum(part.amount.value for part in result.parts) + result.provider.value
        == result.shareable.value
    )
    return result


QAP = 2 * SECTOR_SIZE + 9 * MIB  # of the two sectors above


def test_a_producer_gets_its_share_of_the_extra_that_its_claim_causes():
    result = split(produced=(produced(),))
    assert [part.amount.value for part in result.parts] == [REWARD * 9 * MIB // (10 * QAP)]
    assert result.parts[0].source is PartSource.PRODUCED


def test_a_win_without_an_output_claim_pays_nothing():
    assert split().parts == ()
    assert split(produced=(produced("claim:99"),)).parts == ()


def test_padding_earns_nothing():
    result = split(produced=(produced(counted=MIB // 4),))
    assert result.parts[0].amount.value == REWARD * 9 * (MIB // 4) // (10 * QAP)
    assert split(produced=(produced(counted=0),)).parts == ()


def test_two_jobs_in_one_piece_can_not_count_more_bytes_than_it_has():
    both = split(produced=(produced(), produced(payee=BOB, job="j-9")))
    assert [part.payee for part in both.parts] == [ALICE]


def test_tips_are_shared_only_if_the_operator_says_so():
    assert split(gas_reward=AttoFil(10)).shareable == AttoFil(REWARD - 10)
    assert split(gas_reward=AttoFil(10), include_tips=True).shareable == AttoFil(REWARD)


def test_a_piece_not_yet_held_at_the_look_back_earns_nothing():
    assert split(pieces=(held(1, start=4101),), produced=(produced(),)).parts == ()


def test_a_piece_in_a_sector_that_was_not_active_earns_nothing():
    active = (make_sector(2, 1000),)
    assert split(sectors=active, produced=(produced(),)).parts == ()


def test_qap_share_counts_unverified_bytes_too():
    plain = held(3, sector=2, kind=ProvenanceKind.DDO)
    share = produced(plain.key, basis=Basis.QAP_SHARE)
    result = split(pieces=(plain,), produced=(share,))
    assert result.parts[0].amount.value == REWARD * MIB // (10 * QAP)
    by_extra = split(pieces=(plain,), produced=(produced(plain.key),))
    assert by_extra.parts == ()


def test_use_is_worth_nothing_unless_terms_say_so():
    assert split(used=(used(input_bps=0),)).parts == ()


def test_a_user_pool_is_divided_by_payee_group_then_by_job():
    uses = (
        used(payee=ALICE, job="a-1", group="g"),
        used(payee=ALICE, job="a-2", group="g"),
        used(payee=BOB, job="b-1"),
    )
    amounts = {part.job: part.amount.value for part in split(used=uses).parts}
    pool = REWARD * 9 * MIB * 500
    assert amounts["b-1"] == pool // (10_000 * QAP * 2)
    assert amounts["a-1"] == amounts["a-2"] == pool // (10_000 * QAP * 4)


def test_rerunning_the_same_work_adds_nothing():
    once = split(used=(used(),)).parts
    again = split(used=(used(), used(job="j-3", work="j-2"))).parts
    assert again == once


@pytest.mark.parametrize(("at", "paid"), [(5000, True), (5001, False), (4001, True), (4000, False)])
def test_a_use_counts_inside_its_window(at, paid):
    result = split(used=(used(at=at),), input_window_epochs=1000)
    assert bool(result.parts) is paid


def test_the_bonus_for_use_gives_way_to_the_producers_share():
    result = split(produced=(produced(output_bps=1800),), used=(used(input_bps=500),))
    amounts = {part.source: part.amount.value for part in result.parts}
    assert amounts[PartSource.USED] == REWARD * 9 * MIB * 200 // (10_000 * QAP)


def test_no_terms_exceed_the_largest_share():
    result = split(produced=(produced(output_bps=9000),))
    assert result.parts[0].amount.value == REWARD * 9 * MIB * 2000 // (10_000 * QAP)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network_version": NetworkVersion(30)}, UnknownReason.NETWORK_VERSION_UNKNOWN),
        ({"credited": None}, UnknownReason.CREDITED_UNKNOWN),
        ({"miner_qap": None}, UnknownReason.POWER_UNKNOWN),
        ({"sectors": None, "miner_qap": QAP}, UnknownReason.SECTORS_UNKNOWN),
        ({"miner_qap": QAP + 1}, UnknownReason.POWER_MISMATCH),
    ],
)
def test_what_is_not_known_is_unknown_and_never_zero(changes, reason):
    result = split_win(inputs(produced=(produced(),), **changes))
    assert isinstance(result, WinUnknown)
    assert result.reason is reason


SOLSTICE = {"network_version": NetworkVersion(29), "solstice_epoch": Epoch(2000)}


def test_a_sector_from_before_solstice_keeps_its_ratio():
    assert split(produced=(produced(),), **SOLSTICE).parts == split(produced=(produced(),)).parts


def test_data_in_a_sector_made_or_lifted_under_solstice_causes_no_extra():
    for new in (make_sector(1, 2000, verified=MIB), make_sector(1, 1000, flags=2)):
        result = split(sectors=(new,), produced=(produced(),), **SOLSTICE)
        assert result.parts == ()


DDO = held(3, kind=ProvenanceKind.DDO, start=4000)


def budget(amount, epochs=0, **more):
    terms = {"basis": Basis.FIXED_BUDGET, "budget": AttoFil(amount), "budget_epochs": epochs}
    return produced(DDO.key, **terms, **more)


def test_a_fixed_budget_pays_a_plain_piece_under_solstice():
    new = (make_sector(1, 4000, flags=2),)
    result = split(sectors=new, pieces=(DDO,), produced=(budget(10**15),), **SOLSTICE)
    assert [part.amount.value for part in result.parts] == [10**15]
    assert split(sectors=new, pieces=(DDO,), produced=(budget(0),), **SOLSTICE).parts == ()


def test_a_fixed_budget_comes_due_evenly_and_is_paid_once():
    share = split(pieces=(DDO,), produced=(budget(10**15, epochs=1000),))
    assert share.parts[0].amount.value == 10**14  # 100 of 1000 epochs
    paid = budget(10**15, epochs=1000, budget_paid=AttoFil(10**14))
    assert split(pieces=(DDO,), produced=(paid,)).parts == ()


def test_a_budget_in_two_pieces_of_one_job_is_one_budget():
    other = held(4, kind=ProvenanceKind.DDO, start=4000)
    both = (budget(10**15), replace(budget(10**15), piece_key=other.key))
    result = split(pieces=(DDO, other), produced=both)
    assert sum(part.amount.value for part in result.parts) == 10**15


def test_a_budget_takes_no_more_of_a_win_than_the_largest_share():
    result = split(pieces=(DDO,), produced=(budget(10**20),))
    assert result.parts[0].amount.value == REWARD // 5


def test_a_dropped_claim_has_no_part_of_the_verified_space():
    sector = make_sector(1, 1000, verified=MIB, lifetime=10**6)
    kept, dropped = held(1), held(2, end=1000 + 10**6 - 1)
    division = divide_verified_space(sector, (kept, dropped))
    assert division.by_piece == {"claim:1": MIB}


def test_space_of_unknown_claims_stays_unattributed():
    division = divide_verified_space(make_sector(1, 1000, verified=4 * MIB), (held(1),))
    assert (division.by_piece, division.unattributed) == ({"claim:1": MIB}, 3 * MIB)


def test_output_above_the_approved_size_counts_nothing():
    assert cap_counted_bytes([("a", 60), ("b", 60), ("c", 5)], 100) == (
        ("a", 60),
        ("b", 40),
        ("c", 0),
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

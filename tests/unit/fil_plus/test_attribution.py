"""How a win is split among producers, users and the provider."""

from dataclasses import replace

import pytest

from fil_plus.attribution import cap_counted_bytes, split_win
from fil_plus.pieces import ProvenanceKind
from fil_plus.power import divide_verified_space
from fil_plus.terms import Basis
from fil_plus.win_values import PartSource, UnknownReason, WinUnknown
from lotus_client.types import AttoFil, Epoch, NetworkVersion
from tests.fakes_chain import make_sector
from tests.unit.fil_plus.attribution_samples import (
    ALICE,
    BOB,
    MIB,
    QAP,
    REWARD,
    held,
    inputs,
    produced,
    split,
    used,
)


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

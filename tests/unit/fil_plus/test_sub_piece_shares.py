"""What a result, or an input, inside an aggregate gets of a win: its own bytes' part, and together never more than the piece's."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fil_plus.attribution import used_ranges
from fil_plus.periods import part_leaf, period_leaves, summarise_period
from fil_plus.pieces import SubPiece, split_key
from fil_plus.terms import Basis, ShareTerms
from fil_plus.win_values import Part, PartSource, ProducedPiece, UsedPiece, WinSplit
from lotus_client.address import Address
from lotus_client.types import AttoFil, Epoch, PaddedPieceSize
from tests.fakes_chain import piece_cid
from tests.unit.fil_plus.attribution_samples import (
    ALICE,
    BOB,
    MIB,
    QAP,
    REWARD,
    produced,
    split,
    used,
)

KIB = 1 << 10


def sub(number: int, offset: int = 0, size: int = 128 * KIB) -> SubPiece:
    return SubPiece(offset, PaddedPieceSize(size), piece_cid(number))


def inside(place: SubPiece, **values: object) -> ProducedPiece:
    made = produced(**values)
    return ProducedPiece(
        made.piece_key, made.payee, made.job, made.counted_bytes, made.terms, sub_piece=place
    )


def used_inside(place: SubPiece, counted: int | None, **values: object) -> UsedPiece:
    made = used(**values)
    return UsedPiece(
        made.piece_key,
        made.payee,
        made.payee_group,
        made.job,
        made.work,
        made.used_at,
        made.terms,
        place,
        counted,
    )


def test_two_results_in_one_aggregate_each_get_their_own_bytes_part():
    one, two = sub(11), sub(12, 128 * KIB)
    result = split(
        produced=(
            inside(one, counted=100 * KIB),
            inside(two, payee=BOB, job="j-9", counted=50 * KIB),
        )
    )
    assert [(part.payee, part.sub_piece, part.amount.value) for part in result.parts] == [
        (ALICE, one, REWARD * 9 * 100 * KIB // (10 * QAP)),
        (BOB, two, REWARD * 9 * 50 * KIB // (10 * QAP)),
    ]


def test_no_more_counts_than_the_sub_piece_has_room_for_and_not_its_padding():
    small = sub(11, size=1024)
    (part,) = split(produced=(inside(small, counted=MIB),)).parts
    assert part.amount.value == REWARD * 9 * 1016 // (10 * QAP)


def test_two_results_of_one_job_in_one_aggregate_are_two_parts_with_two_leaves():
    one, two = sub(11), sub(12, 128 * KIB)
    result = split(produced=(inside(two, counted=KIB), inside(one, counted=KIB)))
    assert [part.sub_piece for part in result.parts] == [one, two]
    assert len(set(period_leaves([result]))) == 2


def test_a_use_of_a_sub_piece_is_of_its_payload_and_is_shared_with_who_used_the_whole():
    place = sub(11)
    whole, own = used(payee=BOB, job="j-2"), used_inside(place, 64 * KIB, payee=ALICE, job="j-3")
    (alone,) = split(used=(own,)).parts
    assert alone.amount.value == REWARD * 9 * 64 * KIB * 500 // (10_000 * QAP)
    result = split(used=(whole, own))
    amounts = {part.job: part.amount.value for part in result.parts}
    assert amounts["j-3"] == REWARD * 9 * 64 * KIB * 500 // (2 * 10_000 * QAP)
    of_whole = Fraction(9 * 500 * (2 * MIB - 64 * KIB), 2 * 10_000 * QAP)
    assert amounts["j-2"] == REWARD * of_whole.numerator // of_whole.denominator
    assert [part.sub_piece for part in result.parts if part.job == "j-2"] == [None]


def test_a_use_whose_payload_is_not_known_gets_nothing():
    assert split(used=(used_inside(sub(11), None),)).parts == ()


def test_output_and_input_of_the_same_bytes_stay_below_the_most_and_others_do_not_count():
    one, two = sub(11), sub(12, 128 * KIB)
    made = inside(one, counted=KIB, output_bps=1800)
    terms = {"input_bps": 500, "max_share_bps": 2000}
    same, other = (used_inside(place, KIB, **terms) for place in (one, two))
    bps = REWARD * 9 * KIB
    uses = [
        part.amount.value
        for use in (same, other)
        for part in split(produced=(made,), used=(use,)).parts
        if part.source is PartSource.USED
    ]
    assert uses == [bps * 200 // (10_000 * QAP), bps * 500 // (10_000 * QAP)]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(0, 2 * MIB), st.sampled_from([ALICE, BOB])),
        max_size=10,
    ),
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 2 * MIB), st.sampled_from([ALICE, BOB])),
        max_size=10,
    ),
)
def test_whatever_lies_in_an_aggregate_never_gets_more_than_the_piece_causes(
    results: list[tuple[int, int, Address]], uses: list[tuple[int, int, Address]]
):
    places = [sub(number, number * 128 * KIB) for number in range(8)]
    shares = [
        inside(places[at], payee=payee, job=f"p{n}", counted=counted)
        for n, (at, counted, payee) in enumerate(results)
    ]
    reads = [
        used(payee=payee, job=f"u{n}")
        if at == 8
        else used_inside(places[at], counted, payee=payee, job=f"u{n}")
        for n, (at, counted, payee) in enumerate(uses)
    ]
    result = split(produced=tuple(shares), used=tuple(reads))
    paid = dict.fromkeys(PartSource, 0)
    for part in result.parts:
        paid[part.source] += part.amount.value
    assert paid[PartSource.PRODUCED] <= REWARD * 9 * MIB * 1000 // (10_000 * QAP)
    assert paid[PartSource.USED] <= REWARD * 9 * MIB * 500 // (10_000 * QAP)
    ranges = used_ranges(reads, MIB)
    assert sum(one.counted_bytes for one in ranges) <= MIB
    assert {use.job for one in ranges for use in one.uses} == {use.job for use in reads}


def part(number: int, key: str, source: PartSource = PartSource.PRODUCED, **values: object) -> Part:
    return Part(
        Address.of_id(200 + number),
        f"j-{number}",
        key,
        source,
        Basis.VERIFIED_EXTRA,
        AttoFil(10**15 + number),
        **values,
    )


def test_roots_of_periods_without_sub_pieces_are_what_they_were_before_there_were_any():
    """Golden: computed by the version before sub-pieces."""
    total = AttoFil(10**18)
    parts = (part(1, "claim:1"), part(2, "claim:1", PartSource.USED))
    first = WinSplit("bafyblock1", Epoch(5000), total, parts, AttoFil(10**18 - 2 * 10**15 - 3))
    second = WinSplit(
        "bafyblock2", Epoch(5100), total, (part(1, "claim:2"),), AttoFil(10**18 - 10**15 - 1)
    )
    assert summarise_period(1, [first, second]).root.hex() == (
        "8ff60aa221408b583df61198ca0775b19aeb491b8966e8e44bcf8d3402cfba8a"
    )


def test_a_leaf_of_a_sub_piece_has_its_label_as_a_ninth_field():
    whole = part_leaf("bafyblock1", Epoch(5000), part(1, "claim:1"))
    place = sub(11, 128 * KIB)
    leaf = part_leaf("bafyblock1", Epoch(5000), part(1, "claim:1", sub_piece=place))
    label = f"{place.piece_cid}@131072+131072".encode()
    assert leaf == b"\x89" + whole[1:] + b"\x78" + bytes([len(label)]) + label


@pytest.mark.parametrize("held", ["claim:12", "ddo:7:baga6ea4seaq"])
def test_the_key_of_a_sub_piece_names_its_piece_and_its_place(held: str):
    key = sub(11, 128 * KIB).key_in(held)
    assert key == f"{held}@131072+131072"
    assert split_key(key) == (held, (131072, 131072))
    assert split_key(held) == (held, None)


@pytest.mark.parametrize(
    "text", ["", "@", "claim:1@", "claim:1@1", "claim:1@-1+2", "claim:1@²+1", "@1+" + "9" * 40]
)
def test_what_is_no_key_of_a_sub_piece_is_taken_as_it_is(text: str):
    assert split_key(text) == (text, None)


def test_terms_stay_those_of_the_job():
    terms = ShareTerms(Basis.FIXED_BUDGET, budget=AttoFil(10**15), budget_epochs=1)
    made = produced()
    budget = ProducedPiece("claim:1", made.payee, made.job, KIB, terms, sub_piece=sub(11))
    (paid,) = split(produced=(budget,)).parts
    assert (paid.amount, paid.sub_piece) == (AttoFil(10**15), sub(11))

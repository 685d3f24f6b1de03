"""What is left of gaps once some of their epochs are known."""

from hypothesis import given
from hypothesis import strategies as st

from deals.gaps import Gap, GapKind, joined, without
from lotus_client.types import Epoch

CHAIN, EVENTS = GapKind.CHAIN, GapKind.EVENTS


def gap(first: int, end: int, kind: GapKind = CHAIN) -> Gap:
    return Gap(Epoch(first), Epoch(end), kind, "pruned")


def test_a_gap_is_cut_at_both_ends_of_what_is_known() -> None:
    assert without([gap(5, 20)], gap(8, 12)) == (gap(5, 8), gap(12, 20))
    assert without([gap(5, 20)], gap(0, 30)) == ()
    assert without([gap(5, 20)], gap(20, 30)) == (gap(5, 20),)


def test_events_that_are_known_leave_blocks_unknown() -> None:
    assert without([gap(5, 20), gap(5, 20, EVENTS)], gap(5, 20, EVENTS)) == (gap(5, 20),)


spans = st.tuples(st.integers(0, 40), st.integers(1, 20), st.sampled_from(GapKind))


def epochs(gaps: tuple[Gap, ...]) -> set[tuple[GapKind, int]]:
    return {(one.kind, epoch) for one in gaps for epoch in range(one.from_epoch, one.to_epoch)}


@given(st.lists(spans, max_size=6), spans)
def test_exactly_the_known_epochs_of_that_kind_go(
    some: list[tuple[int, int, GapKind]], known: tuple[int, int, GapKind]
) -> None:
    gaps = joined(gap(start, start + length, kind) for start, length, kind in some)
    filled = gap(known[0], known[0] + known[1], known[2])
    assert epochs(without(gaps, filled)) == epochs(gaps) - epochs((filled,))

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devstack.chain.vesting_table import RecentAwards, VestingFunds, VestingSteps, schedule
from lotus_client import cbor
from tests.walker import number

AWARDS = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 10**24)), min_size=1, max_size=6)


@given(AWARDS, st.lists(st.tuples(st.integers(1, 900), st.integers(1, 10**19)), max_size=4))
def test_the_blocks_hold_the_sum_of_all_schedules(
    awards: list[tuple[int, int]], settled: list[tuple[int, int]]
) -> None:
    steps = VestingSteps(tuple(sorted(dict(settled).items())))
    expected = dict(steps.entries)
    recent = None
    for count, (epoch, amount) in enumerate(sorted(awards), 1):
        recent = RecentAwards(epoch, amount, epoch, count, recent)
        for at, part in schedule(amount, epoch, 7):
            expected[at] = expected.get(at, 0) + part
    funds = VestingFunds(steps, recent)
    head, tail_cid = funds.to_value(7)  # type: ignore[misc]
    (tail,) = funds.tail(7)
    assert tail.cid == tail_cid
    (rest,) = cbor.decode(tail.block)  # type: ignore[misc]
    read = [(epoch, number(amount)) for epoch, amount in (head, *rest)]
    assert read == sorted(expected.items())
    assert funds.entries(7) == tuple(read)


def test_nothing_locked_is_null() -> None:
    assert VestingFunds().to_value(0) is None
    assert VestingFunds().tail(0) == ()

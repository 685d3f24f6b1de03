"""Vesting steps packed into one number are the steps added one by one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.chain.step_table import StepTable, schedule
from lotus_client import cbor

_AMOUNTS = st.integers(1, 1 << 80)
_OFFSET = 17
_HALF_DAY = 1440


def _block(steps: dict[int, int]) -> bytes:
    pairs = [[epoch, cbor.encode_bigint(steps[epoch])] for epoch in sorted(steps)]
    return cbor.encode([pairs[1:]])


@given(st.lists(st.tuples(_AMOUNTS, st.integers(0, 5000)), min_size=1, max_size=8))
def test_awards_added_to_a_table_give_the_block_of_their_steps(
    awards: list[tuple[int, int]],
) -> None:
    expected: Counter[int] = Counter()
    table: StepTable | None = None
    for amount, epoch in sorted(awards, key=lambda award: award[1]):
        expected.update(dict(schedule(amount, epoch, _OFFSET)))
        quick = table and table.plus_award(amount, epoch, _OFFSET)
        table = quick or StepTable.of(expected)
        assert table.tail == _block(expected)
        assert dict(zip(table.epochs, table.amounts, strict=True)) == expected
        assert table.first == expected[min(expected)]


@pytest.mark.parametrize("days", [0, 1, 40])
@given(amounts=st.lists(st.integers(10**18, 10**19), min_size=2, max_size=20))
def test_awards_of_the_newest_half_day_are_added_in_place(days: int, amounts: list[int]) -> None:
    """Also when the table has the steps of many days, of as many sizes."""
    expected: Counter[int] = Counter()
    for half_day in range(2 * days + 1):
        start = half_day * _HALF_DAY + _OFFSET + 1
        expected.update(dict(schedule(10**22, start, _OFFSET)))
    table = StepTable.of(expected)
    for amount in amounts:
        expected.update(dict(schedule(amount, start + 3, _OFFSET)))
        added = table.plus_award(amount, start + 3, _OFFSET)
        assert added is not None
        assert added.tail == _block(expected)
        table = added


def test_an_amount_that_grows_a_byte_is_not_added_in_place() -> None:
    table = StepTable.of(dict(schedule(180 * 255, 1, 1)))
    assert table.plus_award(180, 1, 1) is None


def test_an_award_with_other_steps_is_not_added_in_place() -> None:
    table = StepTable.of(dict(schedule(10**18, 1, 1)))
    assert table.plus_award(10**17, _HALF_DAY + 1, 1) is None

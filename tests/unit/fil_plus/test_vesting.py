"""What is released by closed form is what the vesting table's entries add up to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fil_plus.vesting import locked_part, released, vesting_entries
from lotus_client.types import AttoFil, Epoch


@given(
    st.integers(0, 10**24),
    st.integers(0, 10**7),
    st.integers(-10, 190 * 2880),
    st.integers(0, 10**7),
)
def test_released_is_the_sum_of_the_entries_that_have_passed(
    amount: int, at: int, after: int, start: int
) -> None:
    credited, now = AttoFil(amount), Epoch(at + after)
    locked = locked_part(credited)
    table = vesting_entries(locked, Epoch(at), Epoch(start))
    passed = sum(part.value for epoch, part in table if epoch < now)
    expected = 0 if after < 0 else amount - locked.value + passed
    assert released(credited, Epoch(at), now, Epoch(start)).value == expected
    assert released(credited, Epoch(at), now, Epoch(start % 2880)).value == expected

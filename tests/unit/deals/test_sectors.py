import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals.sectors import SectorInterval, active_at, apply_snapshot, lookback_height
from lotus_client.types import Epoch
from tests.fakes_chain import make_sector


@pytest.mark.parametrize(("election", "height"), [(5000, 4101), (901, 2), (900, 1), (10, 1)])
def test_an_election_looks_at_the_state_behind_the_tipset_after_its_look_back(election, height):
    assert lookback_height(Epoch(election)) == height


def test_a_read_holds_until_the_next_one():
    one, two = make_sector(1, 10), make_sector(2, 10)
    table = apply_snapshot([], [one], Epoch(100), None)
    table = apply_snapshot(table, [one, two], Epoch(200), None)
    table = apply_snapshot(table, [two], Epoch(300), None)
    assert table == [
        SectorInterval(one, Epoch(100), Epoch(300)),
        SectorInterval(two, Epoch(200), None),
    ]
    assert active_at(table, Epoch(99)) == ()
    assert active_at(table, Epoch(299)) == (one, two)


def test_a_changed_record_begins_a_new_interval():
    before = make_sector(1, 10)
    after = replace(before, expiration=Epoch(before.expiration + 5))
    table = apply_snapshot([], [before], Epoch(100), None)
    table = apply_snapshot(table, [after], Epoch(200), None)
    assert active_at(table, Epoch(199)) == (before,)
    assert active_at(table, Epoch(200)) == (after,)


sets = st.sets(st.integers(0, 4))


@given(st.dictionaries(st.integers(0, 50), sets, min_size=1), st.randoms())
def test_reads_in_any_order_give_the_same_table(reads, random):
    order = list(reads)
    random.shuffle(order)
    table, known = [], []
    for at in order:
        until = min((other for other in known if other > at), default=None)
        sectors = [make_sector(number, 0) for number in sorted(reads[at])]
        table = apply_snapshot(table, sectors, Epoch(at), None if until is None else Epoch(until))
        known.append(at)
    for epoch in range(min(reads), 55):
        latest = max(at for at in reads if at <= epoch)
        assert {info.number for info in active_at(table, Epoch(epoch))} == reads[latest]
    for number in range(5):
        rows = sorted(
            (row for row in table if row.info.number == number), key=lambda row: row.from_epoch
        )
        for left, right in itertools.pairwise(rows):
            assert left.to_epoch is not None
            assert left.to_epoch < right.from_epoch  # equal neighbours are one interval

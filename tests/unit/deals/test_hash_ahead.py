from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals import hash_ahead
from deals.blocks import BadBlock, check_block
from deals.hash_ahead import hashed_ahead
from lotus_client.cid import RAW, Cid


@pytest.fixture(autouse=True, scope="module")
def small_groups() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_ahead, "_GROUP", 100)
        yield


def refuse(_: Cid, error: Exception) -> bytes:
    raise error


def of(*blocks: bytes) -> Iterator[tuple[Cid, bytes]]:
    return ((Cid.of_sha2_256(RAW, block), block) for block in blocks)


@given(st.lists(st.binary(max_size=150), max_size=12), st.data())
def test_blocks_come_in_order_up_to_the_first_that_is_not_right(
    blocks: list[bytes], data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(0, max(0, len(blocks) - 1))))
    given_in = [
        (Cid.of_sha2_256(RAW, block), block + b"!" if number in bad else block)
        for number, block in enumerate(blocks)
    ]
    found: list[tuple[Cid, bytes]] = []
    error = None
    try:
        found.extend(hashed_ahead(iter(given_in), check_block, refuse))
    except BadBlock as raised:
        error = raised
    first = min((number for number in bad if number < len(blocks)), default=None)
    assert found == given_in[:first]
    assert (error.cid if error else None) == (None if first is None else given_in[first][0])


@given(st.lists(st.binary(min_size=1, max_size=150), min_size=1, max_size=12))
def test_wrong_blocks_are_asked_for_again(blocks: list[bytes]) -> None:
    right = dict(of(*blocks))
    wrong = ((cid, data + b"!") for cid, data in of(*blocks))
    assert list(hashed_ahead(wrong, check_block, lambda cid, _: right[cid])) == list(of(*blocks))


@pytest.mark.parametrize("size", [3, 150])
def test_what_ends_the_reading_is_raised_behind_the_blocks_before_it(size: int) -> None:
    def cut_short() -> Iterator[tuple[Cid, bytes]]:
        yield from of(*(bytes([number]) * size for number in range(5)))
        raise OSError("cut short")

    found: list[tuple[Cid, bytes]] = []
    with pytest.raises(OSError, match="cut short"):
        found.extend(hashed_ahead(cut_short(), check_block, refuse))
    assert [data[0] for _, data in found] == [0, 1, 2, 3, 4]


def test_large_blocks_are_hashed_in_another_thread_and_few_are_read_ahead() -> None:
    threads = set()
    read = 0

    def reading() -> Iterator[tuple[Cid, bytes]]:
        nonlocal read
        for one in of(*(bytes([number]) * 100 for number in range(20))):
            read += 1
            yield one

    def check(cid: Cid, data: bytes) -> None:
        threads.add(threading.current_thread())
        check_block(cid, data)

    blocks = hashed_ahead(reading(), check, refuse)
    next(blocks)
    assert read == 2
    assert len(list(blocks)) == 19
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    assert not any(thread.is_alive() for thread in threads)


def test_who_stops_taking_blocks_leaves_no_thread() -> None:
    before = threading.active_count()
    blocks = hashed_ahead(of(*(bytes([number]) * 100 for number in range(20))), check_block, refuse)
    next(blocks)
    del blocks
    assert threading.active_count() == before

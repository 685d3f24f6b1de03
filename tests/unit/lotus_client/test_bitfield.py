from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client.bitfield import MAX_ENCODED_SIZE, BitField, BitFieldError

numbers = st.sets(st.integers(0, 400))
wide = st.lists(st.tuples(st.integers(0, 2**63), st.integers(1, 2**40)), max_size=8).map(
    lambda pairs: BitField.from_ranges((start, start + size) for start, size in pairs)
)


@given(wide)
def test_a_set_survives_encoding_and_decoding(field: BitField) -> None:
    assert BitField.decode(field.encode()) == field
    assert BitField.from_run_lengths(field.run_lengths()) == field


@given(wide)
def test_the_encoding_never_ends_in_a_zero_byte(field: BitField) -> None:
    assert not field.encode().endswith(b"\0")


@given(numbers, numbers)
def test_set_arithmetic_agrees_with_python_sets(left: set[int], right: set[int]) -> None:
    a, b = BitField.from_ints(left), BitField.from_ints(right)
    assert set(a | b) == left | right
    assert set(a - b) == left - right
    assert set(a & b) == left & right
    assert a.count == len(left)
    assert all((n in a) == (n in left) for n in range(402))


def test_known_bits_of_the_format() -> None:
    # version 00, first run present (1), run of 1 (`1`): bits 0,0,1,1 lowest first
    assert BitField.from_ints([0]).encode() == bytes([0b1100])
    # the JSON sample in go-bitfield's rleplus.go
    assert BitField.from_ints([0, 1, 2, 8, 9]).run_lengths() == [0, 3, 5, 2]
    assert BitField().encode() == b""
    assert BitField().run_lengths() == [0]


def test_a_hostile_run_length_allocates_nothing() -> None:
    field = BitField.decode(BitField(((0, 2**64 - 1),)).encode())
    assert field.count == 2**64 - 1


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        field = BitField.decode(data)
    except BitFieldError:
        return
    assert BitField.decode(field.encode()) == field


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01", "version"),
        (bytes(MAX_ENCODED_SIZE + 1), "limit"),
        (bytes([0b00010100, 0b1000]), "length 0"),
        (b"\x04" + b"\xff" * 12, "64"),
    ],
)
def test_malformed_fields_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BitFieldError, match=reason):
        BitField.decode(data)


def test_json_runs_that_are_no_lengths_are_refused() -> None:
    for runs in ([1, 0], [-1], [True, 2], ["3"], [0, 2**64 + 1]):
        with pytest.raises(BitFieldError):
            BitField.from_run_lengths(runs)  # type: ignore[arg-type]

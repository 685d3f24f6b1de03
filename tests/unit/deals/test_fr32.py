from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deals.fr32 import (
    check_padded_piece_size,
    pad,
    pad_quads,
    pad_stream,
    padded_length,
    padded_piece_size_for,
    padded_range,
    unpad_quads,
    unpadded_length,
)

quads = st.integers(0, 150).flatmap(lambda n: st.binary(min_size=n * 127, max_size=n * 127))


def by_definition(data: bytes) -> bytes:
    """Fr32 straight from its definition: 254-bit words of each 1016-bit quad."""
    out = b""
    for at in range(0, len(data), 127):
        number = int.from_bytes(data[at : at + 127], "little")
        for word in range(4):
            out += (number >> 254 * word & (1 << 254) - 1).to_bytes(32, "little")
    return out


@settings(suppress_health_check=[HealthCheck.data_too_large])  # sizes are meant to be large
@given(quads)
def test_padding_follows_the_definition_and_can_be_undone(data: bytes) -> None:
    padded = pad_quads(data)
    assert padded == by_definition(data)
    assert unpad_quads(padded) == data


@given(st.binary(max_size=2000))
def test_the_two_top_bits_of_every_word_are_clear(data: bytes) -> None:
    padded = pad(data)
    assert all(byte < 0x40 for byte in padded[31::32])
    assert len(padded) == padded_length(len(data))


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_a_range_can_be_read_from_its_padded_range(data: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    stop = draw.draw(st.integers(start, len(data)))
    first, last = padded_range(start, stop)
    chunk = unpad_quads(pad(data)[first:last])
    skip = start - unpadded_length(first)
    assert chunk[skip : skip + stop - start] == data[start:stop]


def test_streaming_gives_the_same_bytes_as_padding_at_once() -> None:
    data = bytes(range(256)) * 5000
    assert b"".join(pad_stream(io.BytesIO(data))) == pad(data)


@pytest.mark.parametrize(
    ("payload", "padded"),
    [(0, 128), (1, 128), (127, 128), (128, 256), (254, 256), (255, 512), (127 << 13, 1 << 20)],
)
def test_a_piece_is_the_power_of_two_that_holds_its_payload(payload: int, padded: int) -> None:
    assert padded_piece_size_for(payload) == padded


@pytest.mark.parametrize("size", [0, 64, 127, 129, -128, 1 << 63])
def test_sizes_that_are_no_padded_piece_size_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="padded piece size"):
        check_padded_piece_size(size)


def test_bytes_that_are_not_whole_quads_are_refused() -> None:
    with pytest.raises(ValueError, match="127-byte"):
        pad_quads(bytes(126))
    with pytest.raises(ValueError, match="128-byte"):
        unpad_quads(bytes(127))
    with pytest.raises(ValueError, match="padded quads"):
        unpadded_length(100)
    with pytest.raises(ValueError, match="range"):
        padded_range(5, 4)
    with pytest.raises(ValueError, match="payload"):
        padded_piece_size_for(-1)

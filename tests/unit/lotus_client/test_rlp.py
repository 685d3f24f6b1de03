from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client import rlp

ITEMS = st.recursive(
    st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=20
)


@pytest.mark.parametrize(
    ("item", "encoded"),
    [  # the examples of ethereum.org's page on RLP
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        (b"", "80"),
        ([], "c0"),
        (b"\x00", "00"),
        (b"\x0f", "0f"),
        (b"\x04\x00", "820400"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (
            b"Lorem ipsum dolor sit amet, consectetur adipisicing elit",
            "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f6e7365637465747572206164697069736963696e6720656c6974",
        ),
    ],
)
def test_the_published_examples_encode_and_decode(item: rlp.RlpItem, encoded: str) -> None:
    assert rlp.encode(item).hex() == encoded
    assert rlp.decode(bytes.fromhex(encoded)) == item


@given(ITEMS)
def test_what_is_encoded_decodes_to_itself(item: rlp.RlpItem) -> None:
    assert rlp.decode(rlp.encode(item)) == item


@given(st.binary(max_size=80))
def test_bytes_are_refused_or_are_the_one_encoding_of_what_they_mean(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except rlp.RlpError:
        return
    assert rlp.encode(item) == data


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "83646f",  # cut short
        "8100",  # a small byte with a length before it
        "b800",  # a long form of a short length
        "b90001" + "00",  # a length with leading zeros
        "80" + "80",  # something follows
        "c283",  # an item beyond its list
        "c1" * 40 + "c0",  # nested without end
    ],
)
def test_other_than_canonical_rlp_is_refused(encoded: str) -> None:
    with pytest.raises(rlp.RlpError):
        rlp.decode(bytes.fromhex(encoded))


@given(st.integers(min_value=0, max_value=1 << 300))
def test_numbers_have_no_leading_zeros(value: int) -> None:
    raw = rlp.of_integer(value)
    assert raw[:1] != b"\0"
    assert rlp.integer(raw) == value
    with pytest.raises(rlp.RlpError):
        rlp.integer(b"\0" + raw)

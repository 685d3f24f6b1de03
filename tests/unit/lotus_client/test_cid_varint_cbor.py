"""CIDs, varints and DAG-CBOR: published examples, a second implementation, and hostile bytes."""

from __future__ import annotations

from enum import IntEnum

import dag_cbor
import multiformats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client import cbor
from lotus_client.cbor import CborError, decode_bigint, encode_bigint
from lotus_client.cid import RAW, Cid, CidError, dag_cbor_cid
from lotus_client.varint import VarintError, decode_uvarint, encode_uvarint
from tests.unit.lotus_client.chain_data import chain4

cids = st.binary(max_size=40).map(dag_cbor_cid)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 64), (1 << 64) - 1),
    st.binary(max_size=40),
    st.text(max_size=20),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(scalars, cids),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def as_theirs(value: object) -> object:
    """`value` with our CIDs replaced by the other library's."""
    if isinstance(value, Cid):
        return multiformats.CID.decode(value.raw)
    if isinstance(value, list):
        return [as_theirs(item) for item in value]
    if isinstance(value, dict):
        return {key: as_theirs(item) for key, item in value.items()}
    return value


@given(values)
def test_another_implementation_encodes_the_same_bytes(value: object) -> None:
    assert cbor.encode(value) == dag_cbor.encode(as_theirs(value))  # type: ignore[arg-type]


def test_values_of_kindred_types_encode_as_their_plain_ones() -> None:
    class Code(IntEnum):
        LOW = 7
        HIGH = 70_000

    kindred = [Code.LOW, Code.HIGH, bytearray(b"ab"), memoryview(b"cd"), (1, (2,)), True]
    plain = [7, 70_000, b"ab", b"cd", [1, [2]], True]
    assert cbor.encode(kindred) == cbor.encode(plain)
    assert cbor.encode(True) != cbor.encode(1)


@given(st.lists(values, max_size=30))
def test_a_list_is_joined_from_the_encodings_of_its_items(items: list[object]) -> None:
    assert cbor.join_list([cbor.encode(item) for item in items]) == cbor.encode(items)


@given(cids, st.integers(1, 70), st.sampled_from("abz234567A=_ 0189é\ud800"))
def test_text_is_a_cid_only_in_its_one_form(cid: Cid, place: int, character: str) -> None:
    text = str(cid)
    assert Cid.parse(text) == cid
    changed = text[:place] + character + text[place + 1 :]
    try:
        assert str(Cid.parse(changed)) == changed
    except CidError:
        assert changed != text


@given(values)
def test_a_value_survives_its_bytes(value: object) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(st.one_of(st.binary(max_size=60), values.map(cbor.encode)), st.data())
def test_any_bytes_are_a_value_or_a_cbor_error(raw: bytes, data: st.DataObject) -> None:
    if raw:
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + data.draw(st.binary(min_size=1, max_size=1)) + raw[at + 1 :]
    try:
        value = cbor.decode(raw)
    except CborError:
        return
    # maps of real blocks come in other orders, everything else has one form only
    assert cbor.decode(cbor.encode(value)) == value


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        ("", "cut short"),
        ("1817", "shortest"),
        ("190017", "shortest"),
        ("9fff", "indefinite"),
        ("5f4101ff", "indefinite"),
        ("f7", "simple"),
        ("f97c00", "simple"),
        ("fb7ff8000000000000", "NaN"),
        ("a10102", "text"),
        ("a2616101616102", "repeated"),
        ("c100", "tag"),
        ("d82a4101", "no CID"),
        ("d82a6101", "no CID"),
        ("9bffffffffffffffff", "claims"),
        ("5bffffffffffffffff", "cut short"),
        ("0000", "follow"),
        ("61ff", "UTF-8"),
        ("81" * 200 + "00", "deeper"),
    ],
)
def test_cbor_that_is_not_strict_is_refused_with_its_reason(wire: str, why: str) -> None:
    with pytest.raises(CborError, match=why):
        cbor.decode(bytes.fromhex(wire))


def test_what_cbor_cannot_hold_is_a_type_or_value_error() -> None:
    endless: list[object] = []
    endless.append(endless)
    for bad, error in [
        (object(), TypeError),
        ({1: 2}, TypeError),
        (1 << 64, ValueError),
        (float("nan"), ValueError),
        ("\ud800", ValueError),
        (endless, ValueError),
    ]:
        with pytest.raises(error):
            cbor.encode(bad)


@given(st.integers(-(1 << 200), 1 << 200))
def test_a_big_integer_survives_its_bytes(number: int) -> None:
    assert decode_bigint(encode_bigint(number)) == number


@pytest.mark.parametrize("raw", [b"\x00", b"\x01", b"\x02\x01", b"\x00\x00\x01", "1", None])
def test_a_big_integer_has_one_form(raw: object) -> None:
    with pytest.raises(CborError):
        decode_bigint(raw)  # type: ignore[arg-type]


def test_one_fil_has_its_published_bytes() -> None:
    assert encode_bigint(10**18).hex() == "000de0b6b3a7640000"


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=5), st.binary(max_size=5))
def test_a_varint_survives_anywhere_in_a_buffer(number: int, before: bytes, after: bytes) -> None:
    wire = encode_uvarint(number)
    assert decode_uvarint(before + wire + after, len(before)) == (number, len(before) + len(wire))


@pytest.mark.parametrize("wire", ["", "80", "8000", "ff" * 10, "ff" * 9 + "02", "80" * 11 + "01"])
def test_a_varint_that_is_cut_padded_or_too_long_is_refused(wire: str) -> None:
    with pytest.raises(VarintError):
        decode_uvarint(bytes.fromhex(wire))


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_number_beyond_64_bits_has_no_varint(number: int) -> None:
    with pytest.raises(ValueError, match="uvarint"):
        encode_uvarint(number)


@pytest.mark.parametrize("text", [str(cid) for cid in chain4()])
def test_a_real_cid_parses_and_is_the_hash_of_its_block(text: str) -> None:
    cid = Cid.parse(text)
    assert str(cid) == text
    assert dag_cbor_cid(chain4()[cid]) == cid


@given(st.binary(max_size=60))
def test_another_implementation_prints_the_same_cid(data: bytes) -> None:
    ours = Cid.of_sha2_256(RAW, data)
    theirs = multiformats.CID.decode(ours.raw)
    assert theirs.encode("base32") == str(ours)
    assert Cid.parse(theirs.encode("base58btc")) == ours
    assert (ours.version, ours.codec, ours.hash_code) == (1, RAW, 0x12)
    assert ours.digest == theirs.raw_digest


def test_a_version_0_cid_keeps_its_text() -> None:
    text = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
    cid = Cid.parse(text)
    assert (cid.version, str(cid)) == (0, text)
    assert Cid.from_bytes(cid.raw) == cid


@given(st.one_of(st.text(), st.from_regex(r"[bzfuQ][0-9a-zA-Z]*", fullmatch=True)))
def test_any_text_is_a_cid_or_a_cid_error(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except CidError:
        return
    assert Cid.from_bytes(cid.raw) == cid


@given(st.binary(max_size=60))
def test_any_bytes_are_a_cid_or_a_cid_error(raw: bytes) -> None:
    try:
        cid = Cid.from_bytes(raw)
    except CidError:
        return
    assert cid.raw == raw
    assert cid.codec >= 0
    assert cid.hash_code >= 0


def test_a_hostile_text_costs_no_time() -> None:
    with pytest.raises(CidError, match="longer"):
        Cid.parse("z" + "2" * 5_000_000)

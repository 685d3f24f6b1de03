"""The persistent maps against the roots that the reference implementations publish.

Vectors: `filecoin-project/ref-fvm` `ipld/hamt/tests/hamt_tests.rs` and `ipld/amt/tests/amt_tests.rs` (Apache-2.0 OR MIT).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.ipld import Amt, AmtKind, Hamt, HamtKind
from lotus_client import cbor
from lotus_client.varint import encode_uvarint
from tests.walker import read_amt, read_hamt

# ref-fvm's test values are `BytesKey`s and byte strings: CBOR byte strings
BYTES: HamtKind[bytes, bytes] = HamtKind(bytes, cbor.encode)
NUMBERS: HamtKind[int, int] = HamtKind(encode_uvarint, cbor.encode)
ARRAY: AmtKind[bytes] = AmtKind(3, cbor.encode)
FIRST: AmtKind[bytes] = AmtKind(3, cbor.encode, first_layout=True)


def _names(numbers: range) -> dict[bytes, bytes]:
    return {str(number).encode(): str(number).encode() for number in numbers}


def _blocks(root: object) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    todo = [root]
    while todo:
        one = todo.pop()
        found[one.cid.raw] = one.block  # type: ignore[attr-defined]
        todo += one.links()  # type: ignore[attr-defined]
    return found


def test_an_empty_hamt_has_the_well_known_root() -> None:
    assert str(Hamt(BYTES).cid) == "bafy2bzaceamp42wmmgr2g2ymg46euououzfyck7szknvfacqscohrvaikwfay"


@pytest.mark.parametrize("width", [5])
def test_hamt_roots_are_ref_fvms_when_keys_are_set_and_deleted_again(width: int) -> None:
    first = Hamt(BYTES, _names(range(200)))
    assert str(first.cid) == "bafy2bzaceczhz54xmmz3xqnbmvxfbaty3qprr6dq7xh5vzwqbirlsnbd36z7a"
    both = first.with_(_names(range(200, 400)))
    assert str(both.cid) == "bafy2bzacecxcp736xkl2mcyjlors3tug6vdlbispbzxvb75xlrhthiw2xwxvw"
    assert both.without(_names(range(200, 400))).cid == first.cid
    assert len(both) == 400


def test_hamt_roots_are_ref_fvms_when_children_shrink() -> None:
    full = Hamt(NUMBERS, dict.fromkeys(range(100, 195), 42))
    assert str(full.cid) == "bafy2bzacebqox3gtng4ytexyacr6zmaliyins3llnhbnfbcrqmhzuhmuuawqk"
    less = full.without([104, 108])
    assert str(less.cid) == "bafy2bzacedlyeuub3mo4aweqs7zyxrbldsq2u4a2taswubudgupglu2j4eru6"


def test_hamt_root_of_bit_width_one_is_ref_fvms() -> None:
    narrow: HamtKind[bytes, bytes] = HamtKind(bytes, cbor.encode, bit_width=1)
    filled = Hamt(narrow, {str(number).encode(): b"filler" for number in range(30)})
    assert str(filled.cid) == "bafy2bzacebjilcrsqa4uyxuh36gllup4rlgnvwgeywdm5yqq2ks4jrsj756qq"


@pytest.mark.parametrize(
    ("items", "root"),
    [
        ({2: b"foo"}, "bafy2bzacedv5uu5za6oqtnozjvju5lhbgaybayzhw4txiojw7hd47ktgbv5wc"),
        (
            {2: b"foo", 11: b"bar", 79: b"baz"},
            "bafy2bzacecughjbclx3lbqwibrwc6pe7nttlc3qewedsrayghsvh5j5lpofiq",
        ),
        (
            dict.fromkeys(range(5000), b"foo foo bar"),
            "bafy2bzacecfquuqzqzlox25aynodzw2qhxijdzfvno6tibyes3kb6nd3f7uxa",
        ),
        ({24: b"dog"}, "bafy2bzacebnnxpurpb3zqqr22i7ch4uruz6hgykn3ryzoo4hh3ox2m2kufsvg"),
        ({0: b"cat"}, "bafy2bzacecmxrjeri2ojuy3riae2mpbnztx2hqggqgkcrxao2nwpga77j2vqe"),
        ({1: b"thing"}, "bafy2bzacebmkyah6kppbszluix3g332hntzx6wfdcqcr5hjdsaxri5jhgrdmo"),
        (
            dict.fromkeys((2**64 - 2, 2**64 - 3), b"what is up"),
            "bafy2bzacecl3zuubhdvkojg6uhbu4mebaehx554q6algfjitqiivvnrqprkxo",
        ),
    ],
)
def test_amt_roots_are_ref_fvms(items: dict[int, bytes], root: str) -> None:
    assert str(Amt(ARRAY, items).cid) == root


def test_amt_root_of_the_first_layout_is_ref_fvms() -> None:
    assert (
        str(Amt(FIRST, {2: b"foo"}).cid)
        == "bafy2bzaceansvim5z2rzifilsbzsjuoul2adx7iad7x3b4paj3qsexqf6ovxk"
    )


def test_amt_height_shrinks_with_deletions() -> None:
    array = Amt(ARRAY, {0: b"cat", 1: b"cat", 23: b"dog", 24: b"dog"}).without([0, 1, 23])
    assert array.cid == Amt(ARRAY, {24: b"dog"}).cid
    assert (
        Amt(ARRAY, {1: b"thing", 37: b"other"}).without([37]).cid == Amt(ARRAY, {1: b"thing"}).cid
    )


OPERATIONS = st.lists(st.tuples(st.integers(0, 600), st.one_of(st.none(), st.binary(max_size=3))))


@given(OPERATIONS)
def test_any_history_gives_the_hamt_that_a_fresh_one_would_be(
    operations: list[tuple[int, bytes | None]],
) -> None:
    kind: HamtKind[int, bytes] = HamtKind(encode_uvarint, cbor.encode, bit_width=2)
    model: dict[int, bytes] = {}
    made = Hamt(kind)
    for key, value in operations:
        if value is None:
            model.pop(key, None)
            made = made.without([key])
        else:
            model[key] = value
            made = made.with_({key: value})
    assert (dict(made), len(made)) == (model, len(model))
    assert made.cid == Hamt(kind, model).cid
    read = read_hamt(_blocks(made).__getitem__, made.cid.raw, bit_width=2)
    assert read == {encode_uvarint(key): value for key, value in model.items()}


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 90), st.integers(0, 2**63)),
            st.one_of(st.none(), st.binary(max_size=3)),
        )
    )
)
def test_any_history_gives_the_amt_that_a_fresh_one_would_be(
    operations: list[tuple[int, bytes | None]],
) -> None:
    kind: AmtKind[bytes] = AmtKind(2, cbor.encode)
    model: dict[int, bytes] = {}
    made = Amt(kind)
    for key, value in operations:
        if value is None:
            model.pop(key, None)
            made = made.without([key])
        else:
            model[key] = value
            made = made.with_({key: value})
    assert (dict(made), len(made)) == (model, len(model))
    assert made.cid == Amt(kind, model).cid
    assert read_amt(_blocks(made).__getitem__, made.cid.raw) == model


@given(
    st.dictionaries(st.integers(0, 300), st.binary(max_size=2)),
    st.dictionaries(st.integers(0, 3000), st.binary(min_size=3, max_size=4)),
    st.lists(st.integers(0, 300)),
)
def test_replaced_values_are_found_without_those_that_came_or_went(
    before: dict[int, bytes], changes: dict[int, bytes], gone: list[int]
) -> None:
    old = Amt(ARRAY, before)
    new = old.with_(changes).without(gone)
    assert old.replaced_in(new) == sorted(before.keys() & changes.keys() - set(gone))
    assert old.replaced_in(old) == []

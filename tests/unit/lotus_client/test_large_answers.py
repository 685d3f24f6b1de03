"""Answers read in parts: the same values as from the whole, and bounded memory whatever is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_client import codec
from lotus_client.errors import LotusDecodeError, LotusError, LotusRpcError
from lotus_client.transport.base import Shape
from lotus_client.transport.large import ItemReader
from lotus_client.types import ClaimId
from tests.unit.lotus_client.test_codec import ALLOCATION, CLAIM


def read(raw: bytes, shape: Shape, size: int = 64, most: int = 1 << 20) -> list[Any]:
    reader = ItemReader("m", shape, most)
    found: list[Any] = []
    for start in range(0, len(raw), size):
        found += reader.feed(raw[start : start + size])
    reader.finish()
    return found


def answer(result: Any, *, first: bool = False) -> bytes:
    body = {"result": result, "id": 1, "jsonrpc": "2.0"} if first else {"id": 1, "jsonrpc": "2.0", "result": result}  # fmt: skip
    return json.dumps(body).encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(result=st.lists(VALUES, max_size=10), size=st.integers(1, 50), first=st.booleans())
def test_a_list_in_parts_is_the_list(result: list[Any], size: int, first: bool) -> None:
    assert read(answer(result, first=first), "list", size) == result


@given(result=st.dictionaries(st.text(max_size=5), VALUES, max_size=10), size=st.integers(1, 50))
def test_an_object_in_parts_is_the_object(result: dict[str, Any], size: int) -> None:
    assert dict(read(answer(result), "map", size)) == result


@pytest.mark.parametrize("shape", ["map", "list"])
def test_null_is_gos_empty_list_and_map(shape: Shape) -> None:
    assert read(answer(None), shape) == []


def test_the_nodes_error_is_raised_as_its_class() -> None:
    raw = b'{"id":1,"jsonrpc":"2.0","error":{"code":1,"message":"oops"}}'
    with pytest.raises(LotusRpcError, match="oops"):
        read(raw, "map")


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"<html>", b"[1]", b'{"id":1}', b'{"result":7}', b'{"result":"text"}', answer([1, 2]),
        answer({"1": CLAIM})[:-5], answer({"1": CLAIM, "2": CLAIM})[:-60], b'{"result":{"1":NaN}}', b'{"result":{"1":1,}}',
        b'{"result":{"1":' + b"9" * 5000 + b"}}", b'{"result":{"\xff":1}}',
    ],
)  # fmt: skip
def test_what_is_no_whole_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(LotusDecodeError):
        read(raw, "map")


@pytest.mark.parametrize(
    "inside",
    [b"[" * 50_000, b'"' + b"x" * 50_000, b'{"a":' * 10_000, b" " * 50_000, b"1" * 50_000],
    ids=["deep lists", "a text", "deep objects", "spaces", "a number"],
)
@pytest.mark.parametrize("before", [b'{"result":{', b'{"result":{"1":1,', b'{"other":'])
def test_one_element_without_end_is_refused_soon(before: bytes, inside: bytes) -> None:
    start = before + (b"" if before.startswith(b'{"other') else b'"2":')
    reader = ItemReader("m", "map", max_item_bytes=10_000)
    fed = 0

    def feed_all() -> None:
        nonlocal fed
        reader.feed(start)
        for place in range(0, len(inside), 1000):
            fed = place
            reader.feed(inside[place : place + 1000])
        reader.finish()

    with pytest.raises(LotusDecodeError):
        feed_all()
    assert fed <= 11_000


@pytest.mark.parametrize("sign", [b"", b"-"])
@pytest.mark.parametrize("size", [1, 7, 999, 1000, 1001, 4301, 100_000])
@pytest.mark.parametrize("digits", [601, 2001, 4300, 4301, 5000, 20_000])
@pytest.mark.parametrize("offset", [0, 500])
def test_a_number_that_would_crash_the_parser_never_reaches_it(
    sign: bytes, size: int, digits: int, offset: int
) -> None:
    raw = b'{"result":{"1":' + b" " * offset + sign + b"9" * digits + b"}}"
    if digits <= 4300:  # what Python can convert may pass or not; both are safe
        assert outcome(lambda: read(raw, "map", size)) is not None
        return
    with pytest.raises(LotusDecodeError, match="longer than any real one"):
        read(raw, "map", size)


def outcome(read_claim: Any) -> Any:
    try:
        return read_claim()
    except LotusError as error:
        return str(error)


STRANGE = st.none() | st.booleans() | st.floats() | st.text(max_size=4) | st.integers() | st.lists(st.integers(), max_size=2)  # fmt: skip


@given(
    changes=st.dictionaries(st.sampled_from(sorted(CLAIM)), STRANGE, max_size=2),
    gone=st.sets(st.sampled_from(sorted(CLAIM)), max_size=1),
    cid=st.none() | st.text(max_size=6),
)
def test_the_quick_reader_and_the_careful_one_agree_on_every_claim(
    changes: dict[str, Any], gone: set[str], cid: str | None
) -> None:
    raw = {**CLAIM, **changes}
    if cid is not None:
        raw["Data"] = {"/": cid}
    for name in gone:
        del raw[name]
    quick = outcome(lambda: codec.quick_claim("7", raw, "m"))
    careful = outcome(lambda: codec.claim_from_json(codec.At(raw, "m.7"), ClaimId(7)))
    assert quick == careful


@pytest.mark.parametrize("raw", [None, 7, "x", [CLAIM], {}])
def test_a_claim_that_is_no_object_names_its_place(raw: Any) -> None:
    with pytest.raises(LotusDecodeError, match=r"m\.7"):
        codec.quick_claim("7", raw, "m")


@pytest.mark.parametrize("name", ["", "x", "-1", "1.0", "9" * 21, "٣"])
def test_a_claim_or_allocation_whose_key_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(LotusDecodeError, match="number as the key"):
        codec.quick_claim(name, CLAIM, "m")
    with pytest.raises(LotusDecodeError, match="number as the key"):
        codec.quick_allocation(name, ALLOCATION, "m")

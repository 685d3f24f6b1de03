"""The index that a CARv2 brings with it: what is found through it before the CAR was walked over, and what a lying one does."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals.car import CarError, CarLimits, CarReader, CarWriter
from deals.car_own_index import own_index
from deals.indexed_blocks import IndexedBlocks, IndexPlace
from lotus_client.cid import RAW, Cid
from lotus_client.varint import encode_uvarint
from tests.unit.deals.test_car import wrap_v2

DATA = Path(__file__).parents[2] / "data" / "car"
BLOCKS = [bytes([number]) * 5000 for number in range(20)]


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def car_and_places() -> tuple[bytes, dict[Cid, int]]:
    out = io.BytesIO()
    writer = CarWriter(out, [Cid.of_sha2_256(RAW, BLOCKS[0])])
    for block in BLOCKS:
        writer.put(Cid.of_sha2_256(RAW, block), block)
    car = out.getvalue()
    return car, {head.place.cid: head.start for head in CarReader(io.BytesIO(car)).heads()}


CAR, PLACES = car_and_places()


def index_of(places: dict[Cid, int], kind: int = 0x0401) -> bytes:
    """As go-car writes it: sorted by digest, all of one length here."""
    records = b"".join(sorted(cid.digest + u64(at) for cid, at in places.items()))
    bucket = u32(1) + u32(40) + u64(len(records)) + records
    functions = u32(1) + u64(0x12) if kind == 0x0401 else b""
    return encode_uvarint(kind) + functions + bucket


class CountingReads(io.BytesIO):
    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def place_in(folder: Path) -> IndexPlace:
    return IndexPlace(folder, "x", bytes(32), 1 << 18)


@pytest.mark.parametrize("kind", [0x0400, 0x0401])
def test_blocks_are_found_through_it_without_a_walk(kind: int, tmp_path: Path) -> None:
    stream = CountingReads(wrap_v2(CAR, padding=7, index=index_of(PLACES, kind)))
    with IndexedBlocks(stream, place_in(tmp_path)) as blocks:
        wanted = Cid.of_sha2_256(RAW, BLOCKS[17])
        assert blocks.get(wanted) == BLOCKS[17]
        # its header, the index, the head of one section and its block
        assert stream.read_bytes < 20 * 40 + 5000 + 500
        assert dict(blocks.get_many(PLACES)) == {
            Cid.of_sha2_256(RAW, block): block for block in BLOCKS
        }


@pytest.mark.parametrize("name", ["sample-rw-bs-v2.car", "sample-unixfs-v2.car"])
def test_the_indexes_that_go_car_wrote_name_every_block(name: str) -> None:
    stream = io.BytesIO((DATA / name).read_bytes())
    pairs = own_index(stream, CarLimits())
    assert pairs is not None
    stream.seek(0)
    heads = {head.place.cid.digest: head.start for head in CarReader(stream).heads()}
    assert {digest: entry.start for digest, entry in pairs} == heads


@pytest.mark.parametrize(
    "index",
    [
        index_of(dict.fromkeys(PLACES, 0)),  # all blocks are said to lie at the header
        index_of({cid: at + 1 for cid, at in PLACES.items()}),
        index_of(dict(list(PLACES.items())[:3])),  # most are left out
        index_of(dict.fromkeys(PLACES, 1 << 63)),
        index_of(dict(zip(PLACES, list(PLACES.values())[::-1], strict=True))),
        index_of(PLACES)[:-5],
        index_of(PLACES, 0x0402),
        encode_uvarint(0x0400) + u32(1) + u32(8) + u64(8) + bytes(8),
        encode_uvarint(0x0400) + u32(1) + u32(40) + u64(1 << 62) + bytes(80),
        encode_uvarint(0x0401) + u32(1 << 31),
        b"\x80\x00",
    ],
)
def test_an_index_that_lies_costs_a_walk_and_no_block(index: bytes, tmp_path: Path) -> None:
    car = wrap_v2(CAR, index=index)
    with IndexedBlocks(io.BytesIO(car), place_in(tmp_path)) as blocks:
        for block in BLOCKS:
            assert blocks.get(Cid.of_sha2_256(RAW, block)) == block


@given(st.binary(max_size=200))
def test_any_bytes_are_an_index_or_refused(junk: bytes) -> None:
    for start in (b"", encode_uvarint(0x0400) + u32(1), encode_uvarint(0x0401) + u32(1) + u64(18)):
        car = wrap_v2(CAR, index=start + junk or b"\0")
        pairs = own_index(io.BytesIO(car), CarLimits())
        assert pairs is not None
        with suppress(CarError):
            assert all(entry.start < len(car) for _, entry in pairs)

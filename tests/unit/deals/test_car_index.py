"""The kept index of a piece's CAR: what is found with it, and that a file which is not right is made anew."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deals import car_index
from deals.blocks import BlockMismatch, MissingBlock
from deals.car import CarBlocks, CarError, CarReader, CarWriter
from deals.car_index import IndexEntry, load_index, save_index
from deals.indexed_blocks import IndexedBlocks, IndexPlace, build_index
from lotus_client.cid import DAG_CBOR, IDENTITY, RAW, Cid

COMMITMENT = bytes(range(32))
SIZE = 1 << 17  # of the piece, padded


@pytest.fixture
def place(tmp_path: Path) -> IndexPlace:
    return IndexPlace(tmp_path / "roots", "piece.car-index", COMMITMENT, SIZE)


def file_of(place: IndexPlace) -> Path:
    return place.folder / place.name


def car_of(blocks: list[bytes], codec: int = RAW) -> tuple[bytes, list[Cid]]:
    out = io.BytesIO()
    cids = [Cid.of_sha2_256(codec, block) for block in blocks]
    writer = CarWriter(out, cids[:1])
    for cid, block in zip(cids, blocks, strict=True):
        writer.put(cid, block)
    return out.getvalue(), cids


BLOCKS = [bytes([number]) * (number * 37 % 500 + 1) for number in range(200)]
CAR, CIDS = car_of(BLOCKS)


def test_every_block_is_found_and_given_as_without_an_index(place: IndexPlace):
    plain = CarBlocks(io.BytesIO(CAR))
    for _ in range(2):  # made, then found
        with IndexedBlocks(io.BytesIO(CAR + bytes(1000)), place) as blocks:
            assert [blocks.get(cid) for cid in CIDS] == [plain.get(cid) for cid in CIDS] == BLOCKS


def test_more_records_than_are_sorted_at_a_time_are_merged(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(car_index, "_RUN", 7)
    records = [(bytes([n * 151 % 256, n]) * 16, IndexEntry(n, n + 1)) for n in range(100)]
    save_index(tmp_path, "x", COMMITMENT, records)
    with load_index(tmp_path, "x", COMMITMENT) as index:
        assert index.count == 100
        for digest, entry in records:
            assert list(index.find(digest)) == [entry]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@given(st.lists(st.binary(max_size=40), max_size=30), st.binary(max_size=40))
def test_all_entries_of_a_digest_are_found_in_the_order_of_the_car(
    tmp_path_factory, digests, other
):
    folder = tmp_path_factory.mktemp("index")
    entries = [(digest, IndexEntry(at, 5)) for at, digest in enumerate(digests)]
    save_index(folder, "x", COMMITMENT, entries)
    with load_index(folder, "x", COMMITMENT) as index:
        for wanted in (*digests, other):
            key = wanted[:16].ljust(16, b"\0")
            same = [entry for digest, entry in entries if digest[:16].ljust(16, b"\0") == key]
            assert list(index.find(wanted)) == same


def test_a_block_that_is_not_there_is_said_to_be_missing(place: IndexPlace):
    for _ in range(2):
        with IndexedBlocks(io.BytesIO(CAR), place) as blocks, pytest.raises(MissingBlock):
            blocks.get(Cid.of_sha2_256(RAW, b"absent"))


def test_the_same_digest_under_another_codec_is_another_block(place: IndexPlace):
    wanted = Cid.of_sha2_256(DAG_CBOR, BLOCKS[3])
    text = rf"block {wanted} at byte \d+: the section there is of {CIDS[3]}"
    with IndexedBlocks(io.BytesIO(CAR), place) as blocks, pytest.raises(BlockMismatch, match=text):
        blocks.get(wanted)


def test_an_identity_cid_is_its_own_block(place: IndexPlace):
    with IndexedBlocks(io.BytesIO(CAR), place) as blocks:
        assert blocks.get(Cid.of_digest(RAW, IDENTITY, b"inline")) == b"inline"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw[:50],
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: b"X" + raw[1:],
        lambda raw: raw[:30] + bytes([raw[30] ^ 1]) + raw[31:],
        lambda raw: b"something else altogether" * 20,
    ],
)
def test_a_file_that_is_cut_changed_or_not_ours_is_made_anew(place: IndexPlace, spoil):
    build_index(io.BytesIO(CAR), place)
    whole = file_of(place).read_bytes()
    file_of(place).write_bytes(spoil(whole))
    assert place.load() is None
    with IndexedBlocks(io.BytesIO(CAR), place) as blocks:
        assert blocks.get(CIDS[5]) == BLOCKS[5]
    assert file_of(place).read_bytes() == whole


def test_an_index_of_another_piece_is_not_used(place: IndexPlace):
    build_index(io.BytesIO(CAR), IndexPlace(place.folder, place.name, bytes(32), SIZE))
    assert place.load() is None


@given(st.integers(0, 200 * 28 - 1), st.integers(0, 7))
def test_records_that_lie_cost_a_walk_and_never_give_other_bytes(tmp_path_factory, at, bit):
    place = IndexPlace(tmp_path_factory.mktemp("index"), "x", COMMITMENT, SIZE)
    build_index(io.BytesIO(CAR), place)
    raw = bytearray(file_of(place).read_bytes())
    raw[-1 - at] ^= 1 << bit
    file_of(place).write_bytes(raw)
    with IndexedBlocks(io.BytesIO(CAR), place) as blocks:
        assert [blocks.get(cid) for cid in CIDS] == BLOCKS


def test_an_index_made_of_a_broken_source_is_made_anew_when_the_source_is_mended(place):
    half = CAR[: len(CAR) // 2]
    cut = next(place.offset + place.size for place in CarReader(io.BytesIO(half)).places())
    with IndexedBlocks(io.BytesIO(CAR[:cut]), place) as blocks, pytest.raises(MissingBlock):
        blocks.get(CIDS[-1])
    with IndexedBlocks(io.BytesIO(CAR), place) as blocks:
        assert blocks.get(CIDS[-1]) == BLOCKS[-1]


def test_a_broken_car_leaves_no_index_and_no_temporary_file(place: IndexPlace):
    with pytest.raises(CarError, match=r"\(byte \d+\)"):
        build_index(io.BytesIO(CAR[:-5]), place)
    assert list(place.folder.iterdir()) == []


def test_a_place_beyond_every_file_costs_a_walk(place: IndexPlace):
    far = [(CIDS[0].digest, IndexEntry(1 << 63, 40))]
    save_index(place.folder, place.name, COMMITMENT, far)
    with IndexedBlocks(io.BytesIO(CAR), place) as blocks:
        assert blocks.get(CIDS[0]) == BLOCKS[0]

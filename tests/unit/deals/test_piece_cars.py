"""The CARs of an aggregate: all their blocks and roots are found, and an index that lies costs nobody anything."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deals.blocks import MissingBlock
from deals.car import CarError, CarReader, CarWriter
from deals.commp import commp
from deals.data_segment import IndexEntry, aggregate, index_place
from deals.fr32 import pad, unpad_quads, unpadded_length
from deals.indexed_blocks import IndexedBlocks, IndexPlace
from deals.piece_cars import PieceCars, leading_entries
from lotus_client.cid import RAW, Cid
from lotus_client.types import PaddedPieceSize
from sp_plugin.piece_content import content_of

SIZE = 1 << 16


def car_of(seed: int, sizes: tuple[int, ...] = (600, 40, 2)) -> tuple[bytes, list[Cid]]:
    out = io.BytesIO()
    blocks = [(bytes((seed, number)) * size)[:size] for number, size in enumerate(sizes)]
    cids = [Cid.of_sha2_256(RAW, block) for block in blocks]
    writer = CarWriter(out, cids[:1])
    for cid, block in zip(cids, blocks, strict=True):
        writer.put(cid, block)
    return out.getvalue(), cids


def aggregate_of(*cars: bytes, size: int = SIZE) -> bytes:
    """The unpadded bytes of an aggregate."""
    parts = [commp(io.BytesIO(car)) for car in cars]
    made = aggregate([(part.root, part.padded_size) for part in parts], size)
    piece = bytearray(unpadded_length(size))
    for car, entry in zip(cars, made.entries, strict=True):
        at = unpadded_length(entry.offset)
        piece[at : at + len(car)] = car
    put_index(piece, made.index_padded(), size)
    return bytes(piece)


def put_index(piece: bytearray, padded: bytes, size: int = SIZE) -> None:
    start = unpadded_length(index_place(size)[0])
    payload = unpad_quads(padded.ljust(-(-len(padded) // 128) * 128, b"\0"))
    piece[start : start + len(payload)] = payload


def test_all_blocks_and_roots_of_an_aggregate_are_found(tmp_path: Path):
    (one, ones), (two, twos), (three, threes) = car_of(1), car_of(2), car_of(3, (9999,))
    piece = aggregate_of(one, two, three)
    place = IndexPlace(tmp_path, "x", bytes(32), SIZE)
    found = content_of(io.BytesIO(piece), SIZE, index=place)
    assert found.roots == (ones[0], twos[0], threes[0])
    assert found.payload_size == len(one) + len(two) + len(three)
    assert len(found.marks) == len(ones) + len(twos) + len(threes)
    with IndexedBlocks(io.BytesIO(piece), place) as blocks:
        for cid in ones + twos + threes:
            assert Cid.of_sha2_256(RAW, blocks.get(cid)) == cid


def test_a_lost_index_file_is_made_anew_over_all_segments(tmp_path: Path):
    (one, _), (two, twos) = car_of(1), car_of(2)
    place = IndexPlace(tmp_path, "x", bytes(32), SIZE)
    with IndexedBlocks(io.BytesIO(aggregate_of(one, two)), place) as blocks:
        assert blocks.get(twos[1]) == bytes((2, 1)) * 20
        with pytest.raises(MissingBlock):
            blocks.get(Cid.of_sha2_256(RAW, b"not in it"))


def test_a_car_that_fills_its_segment_does_not_run_into_the_next():
    def filled(seed: int) -> tuple[bytes, list[Cid]]:
        for size in range(1800, 2032):
            car, cids = car_of(seed, (size,))
            if len(car) == 2032:
                return car, cids
        raise AssertionError("no size fits")

    (one, ones), (two, twos) = filled(1), filled(2)
    cars = PieceCars(io.BytesIO(aggregate_of(one, two)), SIZE)
    assert [head.place.cid for head in cars.heads()] == ones + twos


def test_what_is_no_car_in_an_aggregate_is_passed_over_and_the_rest_stands():
    (one, ones), (two, twos) = car_of(1), car_of(2)
    broken = two[: len(two) // 2]
    found = content_of(io.BytesIO(aggregate_of(b"plain bytes" * 40, one, broken)), SIZE)
    assert found.roots == (ones[0],)
    assert found.payload_size is None  # not known, and not too small a number
    assert len(found.marks) >= len(ones)
    assert twos[0] not in found.roots


def test_entries_that_overlap_are_not_walked_twice():
    car, cids = car_of(1)
    piece = bytearray(aggregate_of(car))
    size = commp(io.BytesIO(car)).padded_size
    same = [IndexEntry(bytes(32), 0, PaddedPieceSize(width)) for width in (size, 2 * size, 128)]
    put_index(piece, b"".join(entry.to_bytes() for entry in same * 8))
    entries = leading_entries(io.BytesIO(piece), SIZE)
    assert [entry.size for entry in entries] == [size]
    assert [head.place.cid for head in PieceCars(io.BytesIO(piece), SIZE).heads()] == cids


def test_an_index_full_of_entries_on_one_place_costs_one_walk():
    size = 1 << 20
    piece = bytearray(unpadded_length(size))
    entry = IndexEntry(bytes(32), 0, PaddedPieceSize(128)).to_bytes()
    put_index(piece, entry * index_place(size)[1], size)
    assert len(leading_entries(io.BytesIO(piece), size)) == 1


def test_a_piece_without_an_index_is_one_car():
    car, cids = car_of(1)
    cars = PieceCars(io.BytesIO(car.ljust(unpadded_length(SIZE), b"\0")), SIZE)
    assert [head.place.cid for head in cars.heads()] == cids
    assert cars.payload_size == len(car)


def test_a_broken_car_without_an_index_is_an_error_as_ever():
    car, _ = car_of(1)
    with pytest.raises(CarError):
        list(PieceCars(io.BytesIO(car[:-5]), SIZE).heads())


def test_places_are_counted_from_the_start_of_the_piece():
    (one, _), (two, _) = car_of(1), car_of(2)
    piece = aggregate_of(one, two)
    for head in PieceCars(io.BytesIO(piece), SIZE).heads():
        place = head.place
        assert Cid.of_sha2_256(RAW, piece[place.offset : place.offset + place.size]) == place.cid


def test_padding_of_the_index_is_that_of_the_piece():
    piece = aggregate_of(car_of(1)[0])
    start, _ = index_place(SIZE)
    assert pad(piece)[start : start + 64] != bytes(64)
    assert CarReader(io.BytesIO(piece)).roots

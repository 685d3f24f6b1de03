from __future__ import annotations

import csv
import io
import json
import os
import sys
import threading
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.commp import (
    CommpHasher,
    TreeTooLarge,
    commp,
    data_commitment,
    feed,
    place_pieces,
    raise_commitment,
    tree_root,
    zero_commitment,
)
from deals.fr32 import pad
from deals.kernels import Kernel, current_kernel
from deals.piece_cid import encode_piece_cid_v1
from tests.piece_samples import DATA

COMMP = DATA / "commp"
ROW = b"".join(bytes([value]) * 127 for value in range(4))


def vectors(name: str) -> list[tuple[int, int, str]]:
    with (COMMP / name).open() as file:
        return [(int(size), int(padded), cid) for size, padded, cid in csv.reader(file)]


@pytest.mark.parametrize(("name", "byte"), [("zero.txt", b"\0"), ("0xCC.txt", b"\xcc")])
def test_constant_payloads_have_the_commitments_of_the_go_library(name: str, byte: bytes) -> None:
    for size, padded, cid in vectors(name):
        found = commp(io.BytesIO(byte * size))
        assert (str(found.piece_cid), found.padded_size) == (cid, padded), size


def test_zero_commitments_are_those_of_go_data_segment() -> None:
    known = (COMMP / "zerocomm.bin").read_bytes()
    for level in range(58):
        assert zero_commitment(level) == known[32 * level : 32 * level + 32]
    with pytest.raises(ValueError, match="level"):
        zero_commitment(58)


def test_the_508_byte_family_has_its_published_cids() -> None:
    payloads = {
        "127 bytes each of 0x00,0x01,0x02,0x03": ROW,
        "the 508 bytes then 508 zeros": ROW + bytes(508),
        "the 508 bytes then 4 zeros": ROW + bytes(4),
        "the 508 bytes then 5 zeros": ROW + bytes(5),
    }
    table = json.loads((COMMP / "piece_cids.json").read_text())["v2_from_v1"]
    checked = 0
    for row in table:
        if payload := payloads.get(row["data"]):
            found = commp(io.BytesIO(payload))
            assert str(found.piece_cid) == row["piece_cid_v1"]
            assert str(found.piece_cid_v2) == row["piece_cid_v2"]
            checked += 1
    assert checked == 4


@pytest.mark.parametrize(
    "name", ["cat.png.car", "verifiable-data-aggregation.png.car", "index.data"]
)
def test_files_of_the_data_segment_sample_have_their_recorded_commitments(name: str) -> None:
    folder = COMMP / "go-data-segment"
    recorded = (folder / f"{name}.commp").read_text().split()[1]
    with (folder / name).open("rb") as file:
        assert str(commp(file).piece_cid) == recorded


def test_an_aggregate_has_the_same_root_streamed_and_combined() -> None:
    folder = COMMP / "go-data-segment"
    cat, other, index = (
        (folder / name).read_bytes()
        for name in ("cat.png.car", "verifiable-data-aggregation.png.car", "index.data")
    )
    deal = cat.ljust(520192, b"\0") + other.ljust(260096, b"\0")
    deal = deal.ljust(1040384 - 508, b"\0") + index
    found = commp(io.BytesIO(deal))
    # the CID that go-data-segment's own tests assert for these two CARs and their index in a 1 MiB deal
    assert (
        str(found.piece_cid) == "baga6ea4seaqnqkeoqevjjjfe46wo2lpfclcbmkyms4wkz5srou3vzmr3w3c72bq"
    )
    pieces = [commp(io.BytesIO(part)) for part in (cat, other)]
    gap = [(zero_commitment(size.bit_length() - 6), size) for size in _gap_before_index()]
    parts = [(piece.root, int(piece.padded_size)) for piece in pieces]
    parts += [*gap, (commp(io.BytesIO(index)).root, 512)]
    assert data_commitment(parts, 1 << 20) == found.root


def _gap_before_index() -> list[int]:
    """Zero pieces from 768 KiB up to the last 512 bytes of 1 MiB."""
    return [1 << bits for bits in range(17, 8, -1)]


@pytest.mark.parametrize("size", [0, 1, 64, 127])
def test_payloads_shorter_than_the_go_library_takes_follow_frc_0069(size: int) -> None:
    found = commp(io.BytesIO(bytes(size)))
    assert found.root == zero_commitment(2)
    assert found.padded_size == 128


def test_zeros_have_the_published_root_of_a_32_gib_piece_without_hashing_them() -> None:
    root = raise_commitment(zero_commitment(2), 128, 32 << 30)
    assert str(encode_piece_cid_v1(root)) == (
        "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq"
    )


def naive_root(payload: bytes) -> bytes:
    """The whole tree in memory, zeros and all."""
    padded = pad(payload) or bytes(128)
    size = 1 << (len(padded) - 1).bit_length()
    return tree_root(padded.ljust(size, b"\0"), size.bit_length() - 6)


@given(st.binary(max_size=5000), st.integers(0, 3000))
def test_zeros_behind_a_payload_change_nothing_but_the_size(data: bytes, zeros: int) -> None:
    payload = data + bytes(zeros)
    assert commp(io.BytesIO(payload)).root == naive_root(payload)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 700_000), min_size=1, max_size=4), st.integers(0, 255))
def test_feeding_in_portions_gives_the_commitment_of_the_whole(sizes: list[int], seed: int) -> None:
    hasher = CommpHasher()
    payload = b""
    for number, size in enumerate(sizes):
        part = bytes([(seed + number) % 256, 7, 0]) * (size // 3)
        hasher.update(part)
        payload += part
    assert hasher.finish() == commp(io.BytesIO(payload))
    assert hasher.finish().root == naive_root(payload)


def test_three_and_a_half_subtrees_fold_to_the_root_of_the_whole_tree() -> None:
    payload = bytes(range(251)) * ((7 << 19) // 128 * 127 // 251)
    assert commp(io.BytesIO(payload)).root == naive_root(payload)


def test_raising_equals_appending_zeros() -> None:
    small = commp(io.BytesIO(ROW))
    large = commp(io.BytesIO(ROW.ljust(127 * 64, b"\0")))
    assert small.raised_to(8192).root == large.root
    assert small.raised_to(8192).payload_size == 508
    with pytest.raises(ValueError, match="lowered"):
        small.raised_to(128)


pieces_of_a_sector = st.lists(st.sampled_from([128, 256, 512, 1024]), max_size=6)


@given(pieces_of_a_sector)
def test_combining_pieces_equals_hashing_the_laid_out_sector(sizes: list[int]) -> None:
    sector = bytearray(8192)
    given_pieces = []
    for number, size in enumerate(sizes):
        payload = bytes([number + 1]) * (size // 128 * 127)
        given_pieces.append((commp(io.BytesIO(payload)).root, size, payload))
    placed = place_pieces([(root, size) for root, size, _ in given_pieces])
    for place, (_, size, payload) in zip(placed, given_pieces, strict=True):
        sector[place.offset : place.offset + size] = pad(payload)
    combined = data_commitment([(root, size) for root, size, _ in given_pieces], 8192)
    assert combined == tree_root(bytes(sector), 8)


def test_pieces_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TreeTooLarge):
        data_commitment([(bytes(32), 512), (bytes(32), 1024)], 1024)


def test_an_error_in_the_progress_callback_stops_the_work() -> None:
    class Stop(Exception):
        pass

    def stop(_: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        commp(io.BytesIO(bytes(10)), on_progress=stop)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux")
def test_threads_in_the_background_let_others_go_first_and_this_one_does_not() -> None:
    seen: list[int] = []

    class Looking:
        def __getattr__(self, name: str) -> object:
            return getattr(current_kernel(), name)

        def payload_root(self, data: bytes, level: int) -> bytes:
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return current_kernel().payload_root(data, level)

    before = os.getpriority(os.PRIO_PROCESS, 0)
    hasher = CommpHasher(cast("Kernel", Looking()), in_background=True)
    feed(hasher, io.BytesIO(bytes(9 << 20)))
    assert seen[:2] == [10, 10]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before

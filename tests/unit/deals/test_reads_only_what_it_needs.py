"""A volume of one file in a large piece: the bytes that are read of the sector's file are counted, and bits in it are flipped."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deals import unsealed
from deals.blocks import BadBlock, MissingBlock
from deals.car import CarError, CarReader
from deals.car_sections import SectionHead
from deals.dag_pb import PbLink, PbNode
from deals.fr32 import pad, padded_range, unpad_quads
from deals.indexed_blocks import IndexedBlocks, IndexPlace, build_index
from deals.unixfs_write import pack_car
from deals.unsealed import UnsealedFile
from deals.volumes import materialise
from lotus_client.cid import Cid
from tests.piece_samples import write_files

GIB = 1 << 30
PIECE = 32 * GIB
WANTED = ("data", "wanted.bin")
FILE = hashlib.shake_256(b"wanted").digest(
    700_000
)  # three chunks of 256 KiB, and the node above them

# What a block costs beyond its bytes: a head of 64 bytes, and whole quads of 128 around both.
PER_BLOCK = 4 * 128


@dataclass(frozen=True, slots=True)
class Piece:
    """A sparse sector file of 32 GiB with one piece, whose CAR has many files at its start; zeros follow."""

    path: Path
    place: IndexPlace
    root: Cid
    car: bytes
    needed: tuple[SectionHead, ...]  # of the blocks on the way to the file, and of the file's

    def volume(self, cache: Path):
        with UnsealedFile.open(self.path, PIECE) as file:
            reader = file.read_piece(0, PIECE)
            with IndexedBlocks(reader, self.place) as blocks:
                return materialise(blocks, self.root, WANTED, cache)


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Piece:
    folder = tmp_path_factory.mktemp("piece")
    files = {f"data/{n:03}.bin": os.urandom(90_000) for n in range(300)}
    out = io.BytesIO()
    packed = pack_car(write_files(folder / "in", files | {"/".join(WANTED): FILE}), out)
    path = folder / "s-t01001-1"
    with path.open("wb") as file:
        file.truncate(PIECE)
        file.write(pad(out.getvalue()))
    place = IndexPlace(folder / "roots", "x", bytes(32), PIECE)
    needed = tuple(_needed(out.getvalue(), packed.root))
    made = Piece(path, place, packed.root, out.getvalue(), needed)
    with UnsealedFile.open(path, PIECE) as file:
        build_index(file.read_piece(0, PIECE), place)
    return made


def _needed(car: bytes, root: Cid) -> Iterator[SectionHead]:
    heads = {head.place.cid: head for head in CarReader(io.BytesIO(car)).heads()}

    def node(cid: Cid) -> PbNode:
        place = heads[cid].place
        return PbNode.decode(car[place.offset : place.offset + place.size])

    def named(cid: Cid, name: str) -> PbLink:
        return next(link for link in node(cid).links if link.name == name)

    folder = named(root, WANTED[0]).cid
    file = named(folder, WANTED[1]).cid
    for cid in (root, folder, file, *(link.cid for link in node(file).links)):
        yield heads[cid]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all reads of sector files."""
    sizes: list[int] = []
    read = unsealed._pread_into

    def counting(fd: int, buffer: memoryview, offset: int) -> int:
        size = read(fd, buffer, offset)
        sizes.append(size)
        return size

    monkeypatch.setattr(unsealed, "_pread_into", counting)
    return sizes


def test_with_a_kept_index_only_the_files_blocks_and_those_on_its_path_are_read(
    piece: Piece, tmp_path: Path, counted: list[int]
):
    volume = piece.volume(tmp_path)
    assert volume.path.read_bytes() == FILE
    assert volume.blocks_read == tuple(head.place.cid for head in piece.needed)
    blocks = sum(head.place.size for head in piece.needed)
    assert (
        blocks * 128 // 127 <= sum(counted) <= blocks * 128 // 127 + PER_BLOCK * len(piece.needed)
    )


def test_without_one_the_heads_of_all_blocks_are_read_too(
    piece: Piece, tmp_path: Path, counted: list[int]
):
    cold = Piece(
        piece.path, IndexPlace(tmp_path, "y", bytes(32), PIECE), piece.root, piece.car, piece.needed
    )
    assert cold.volume(tmp_path / "cache").path.read_bytes() == FILE
    every = sum(1 for _ in CarReader(io.BytesIO(piece.car)).places())
    blocks = sum(head.place.size for head in piece.needed)
    # the CAR's header is read through a buffer of 512 quads, once more to see that it brings no index; each walked head, and the zero behind the last, is one or two quads
    most = blocks * 128 // 127 + PER_BLOCK * len(piece.needed) + (every + 1) * 256 + 3 * 65_536
    assert sum(counted) <= most < len(piece.car) // 10


def _flip(path: Path, at: int, bit: int) -> None:
    """Flip a bit of unpadded byte `at` where it lies in the padded file."""
    first, last = padded_range(at, at + 1)
    with path.open("r+b") as file:
        file.seek(first)
        payload = bytearray(unpad_quads(file.read(last - first)))
        payload[at - first // 128 * 127] ^= 1 << bit
        file.seek(first)
        file.write(pad(bytes(payload)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_in_any_byte_that_is_needed_stops_with_the_blocks_cid_and_offset(
    piece: Piece, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    head = data.draw(st.sampled_from(piece.needed))
    # heads are short, so they get their own share of the draws
    inside = st.integers(head.start, head.place.offset - 1) | st.integers(
        head.place.offset, head.end - 1
    )
    at, bit = data.draw(inside), data.draw(st.integers(0, 7))
    cache = tmp_path_factory.mktemp("cache")
    _flip(piece.path, at, bit)
    try:
        with pytest.raises(BadBlock) as caught:
            piece.volume(cache)
    finally:
        _flip(piece.path, at, bit)
        restored = piece.volume(cache)
    said = str(caught.value)
    assert f"block {head.place.cid}" in said
    assert f"byte {head.start}" in said or f"byte {head.place.offset}" in said
    assert restored.path.read_bytes() == FILE


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_without_an_index_it_stops_too_and_names_the_block_or_the_byte(
    piece: Piece, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    head = data.draw(st.sampled_from(piece.needed))
    at, bit = data.draw(st.integers(head.start, head.start + 60)), data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("cold")
    cold = Piece(piece.path, IndexPlace(folder, "y", bytes(32), PIECE), piece.root, piece.car, ())
    _flip(piece.path, at, bit)
    try:
        with pytest.raises((BadBlock, MissingBlock, CarError), match=r"byte \d+|block b"):
            cold.volume(folder / "cache")
    finally:
        _flip(piece.path, at, bit)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bits_outside_of_what_is_needed_do_not_matter(
    piece: Piece, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    needed = {at for head in piece.needed for at in range(head.start, head.end)}
    outside = st.integers(0, len(piece.car) - 1).filter(lambda at: at not in needed)
    at, bit = data.draw(outside), data.draw(st.integers(0, 7))
    _flip(piece.path, at, bit)
    try:
        assert piece.volume(tmp_path_factory.mktemp("cache")).path.read_bytes() == FILE
    finally:
        _flip(piece.path, at, bit)

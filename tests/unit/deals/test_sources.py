from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path

import pytest

from deals.car import CarBlocks
from deals.locate import PieceNotFound, aligned_candidates, candidate_offsets, confirm_offset
from deals.sources import (
    PieceNotHere,
    PieceUnavailable,
    Unavailable,
    UnknownSourceKind,
    make_source,
    source_kind,
    source_kinds,
)
from deals.sources.several import SeveralSources
from deals.sources.storage_path import StoragePathSource, unsealed_path
from deals.unsealed import UnsealedFile, UnsealedWriter
from lotus_client.cid import RAW, Cid
from lotus_client.types import ActorId, SectorNumber
from tests.piece_samples import SamplePiece, held, sample_piece, store_unsealed

SECTOR = 1 << 16


@pytest.fixture
def sample(tmp_path: Path) -> SamplePiece:
    return sample_piece(tmp_path / "made", {"a.txt": b"hello", "b": bytes(range(250)) * 40})


async def test_a_piece_is_read_from_whichever_path_has_it(
    sample: SamplePiece, tmp_path: Path
) -> None:
    piece = held(sample, offset=1 << 14)
    empty, full = tmp_path / "one", tmp_path / "two"
    UnsealedWriter(unsealed_path(empty, piece.provider, piece.sector), SECTOR)
    store_unsealed(full, piece, sample.car, SECTOR)
    with await StoragePathSource([empty, full], SECTOR).open(piece) as reader:
        blocks = CarBlocks(reader)
        assert blocks.roots == (sample.root,)
        assert blocks.end == len(sample.car)


async def test_each_reason_for_no_bytes_is_told_apart(sample: SamplePiece, tmp_path: Path) -> None:
    source = StoragePathSource([tmp_path], SECTOR)
    with pytest.raises(PieceNotHere, match="claim:12: no unsealed file of sector 1"):
        await source.open(held(sample))
    path = unsealed_path(tmp_path, ActorId(1001), SectorNumber(1))
    UnsealedWriter(path, SECTOR)
    cases = [
        (held(sample, offset=None), Unavailable.OFFSET_UNKNOWN),
        (held(sample), Unavailable.NOT_UNSEALED),
        (held(sample, offset=128), Unavailable.CORRUPT),
    ]
    for piece, reason in cases:
        with pytest.raises(PieceUnavailable) as caught:
            await source.open(piece)
        assert caught.value.reason is reason
    os.truncate(path, 100)
    with pytest.raises(PieceUnavailable, match="fewer") as caught:
        await source.open(held(sample))
    assert caught.value.reason is Unavailable.CORRUPT


async def test_several_sources_are_asked_until_one_has_the_piece(
    sample: SamplePiece, tmp_path: Path
) -> None:
    piece = held(sample)
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    store_unsealed(full, piece, sample.car, SECTOR)
    sources = [StoragePathSource([folder], SECTOR) for folder in (empty, full)]
    with await SeveralSources(sources).open(piece) as reader:
        assert reader.read(len(sample.car)) == sample.car
    with pytest.raises(PieceNotHere):
        await SeveralSources(sources[:1]).open(piece)
    nowhere = dataclasses.replace(piece, offset=None)
    with pytest.raises(PieceUnavailable) as caught:
        await SeveralSources(sources).open(nowhere)
    assert caught.value.reason is Unavailable.OFFSET_UNKNOWN
    assert any("unsealed" in problem for problem in SeveralSources(sources).problems())


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_reading_leaves_no_descriptor_open(sample: SamplePiece, tmp_path: Path) -> None:
    piece = held(sample)
    store_unsealed(tmp_path, piece, sample.car, SECTOR)
    source = StoragePathSource([tmp_path], SECTOR)
    before = open_descriptors()
    for _ in range(5):
        (await source.open(piece)).close()
        with pytest.raises(PieceUnavailable):
            await source.open(dataclasses.replace(piece, offset=SECTOR // 2))
    assert open_descriptors() <= before


def test_the_kind_of_a_source_is_found_by_its_name(tmp_path: Path) -> None:
    assert "storage_path" in source_kinds()
    source = make_source("storage_path", {"paths": [str(tmp_path)], "sector_size": SECTOR})
    assert source.problems() == (f"storage path {tmp_path} has no directory 'unsealed'",)
    gone = make_source("storage_path", {"paths": [str(tmp_path / "x")], "sector_size": SECTOR})
    assert "mounted" in gone.problems()[0]
    with pytest.raises(UnknownSourceKind, match="storage_path"):
        make_source("carrier_pigeon", {})
    with pytest.raises(ValueError, match="twice"):
        source_kind("storage_path")(lambda options: source)


def test_all_bad_options_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"unknown option 'pth'.*'paths'.*'sector_size'"):
        make_source("storage_path", {"pth": 1})
    with pytest.raises(ValueError, match="at least one"):
        make_source("storage_path", {"paths": [], "sector_size": SECTOR})
    with pytest.raises(ValueError, match="power of two"):
        make_source("storage_path", {"paths": ["/x"], "sector_size": 1000})


def test_the_place_of_a_piece_follows_from_the_order_of_its_sector(sample: SamplePiece) -> None:
    wanted, size = sample.commitment.piece_cid, int(sample.commitment.padded_size)
    other = held(sample).piece_cid
    small = Cid.parse("baga6ea4seaqdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy")
    assert candidate_offsets([(small, 128), (wanted, size)], other, size) == (size,)
    assert candidate_offsets([(wanted, size), (wanted, size)], wanted, size) == (0, size)
    assert candidate_offsets([(small, 128)], wanted, size) == ()
    v2 = sample.commitment.piece_cid_v2
    assert candidate_offsets([(wanted, size)], v2, size) == (0,)
    with pytest.raises(ValueError, match="piece CID"):
        candidate_offsets([(Cid.of_sha2_256(RAW, b""), 128)], wanted, size)


def test_a_place_is_believed_only_when_its_bytes_have_the_commp(
    sample: SamplePiece, tmp_path: Path
) -> None:
    piece = held(sample, offset=1 << 14)
    path = store_unsealed(tmp_path, piece, sample.car, SECTOR)
    UnsealedWriter(path, SECTOR).write_piece(1 << 15, piece.padded_size, io.BytesIO(b"other"))
    with UnsealedFile.open(path, SECTOR) as file:
        found = confirm_offset(file, [0, 1 << 15, 1 << 14], piece.piece_cid, int(piece.padded_size))
        assert found == 1 << 14
        assert 1 << 14 in aligned_candidates(file, piece.padded_size)
        with pytest.raises(PieceNotFound, match=r"none of 2 places.*1 of them not unsealed"):
            confirm_offset(file, [0, 1 << 15], piece.piece_cid, int(piece.padded_size))
        with pytest.raises(ValueError, match=r"too many|more than 64"):
            aligned_candidates(file, 128)

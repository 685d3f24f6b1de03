"""The whole way of a byte: packed, padded into a sector, proven, and laid out for a job."""

from __future__ import annotations

import random
from pathlib import Path

from deals.car import CarBlocks
from deals.commp import data_commitment
from deals.locate import candidate_offsets
from deals.sources.storage_path import StoragePathSource
from deals.verify import PieceVerified, verify_piece
from deals.volumes import materialise, remove_volume
from tests.piece_samples import held, sample_piece, store_unsealed

SECTOR = 8 << 20


async def test_files_come_out_of_a_sector_as_they_went_in(tmp_path: Path) -> None:
    files = {"readme": b"two pieces", "data/noise": random.Random(1).randbytes(1_500_000)}
    first = sample_piece(tmp_path / "first", {"other": b"first piece"})
    second = sample_piece(tmp_path / "second", files)
    order = [(s.commitment.piece_cid, int(s.commitment.padded_size)) for s in (first, second)]
    (offset,) = candidate_offsets(order, *order[1])
    assert offset == order[1][1]  # aligned to its own size, behind the small one
    piece = held(second, offset=offset)
    store_unsealed(tmp_path / "storage", held(first), first.car, SECTOR)
    store_unsealed(tmp_path / "storage", piece, second.car, SECTOR)
    source = StoragePathSource([tmp_path / "storage"], SECTOR)

    assert isinstance(await verify_piece(source, piece), PieceVerified)
    with await source.open(piece) as reader:
        blocks = CarBlocks(reader)
        volume = materialise(blocks, blocks.roots[0], (), tmp_path / "cache")
        assert set(volume.blocks_read) == set(blocks.places)
    assert (volume.path / "readme").read_bytes() == files["readme"]
    assert (volume.path / "data" / "noise").read_bytes() == files["data/noise"]
    assert volume.size_bytes == sum(map(len, files.values()))
    remove_volume(tmp_path / "cache", volume.target)

    roots = [(s.commitment.root, int(s.commitment.padded_size)) for s in (first, second)]
    assert len(data_commitment(roots, SECTOR)) == 32

"""Small pieces for tests: a directory of files, its CAR, its commitment, and an unsealed file that holds it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deals.commp import PieceCommitment, commp
from deals.sources.storage_path import unsealed_path
from deals.unixfs_write import KUBO, Layout, pack_car
from deals.unsealed import UnsealedWriter
from fil_plus.pieces import HeldPiece, Provenance, ProvenanceKind
from lotus_client.cid import Cid
from lotus_client.types import ActorId, Epoch, PaddedPieceSize, SectorNumber

DATA = Path(__file__).parent / "data"


def content(size: int) -> bytes:
    """The bytes that `tests/data/unixfs/golden.json` speaks of."""
    return bytes((i * 131 + (i >> 8) * 17) & 255 for i in range(size))


@dataclass(frozen=True, slots=True)
class SamplePiece:
    """A CAR of files and its piece commitment."""

    root: Cid
    car: bytes
    commitment: PieceCommitment


def write_files(directory: Path, files: Mapping[str, bytes]) -> Path:
    """`files` by relative path, written below `directory`."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def sample_piece(directory: Path, files: Mapping[str, bytes], layout: Layout = KUBO) -> SamplePiece:
    """A piece whose payload is the CAR of `files`, which are first written to `directory`."""
    out = io.BytesIO()
    packed = pack_car(write_files(directory, files), out, layout)
    car = out.getvalue()
    return SamplePiece(packed.root, car, commp(io.BytesIO(car)))


def held(sample: SamplePiece, *, offset: int | None = 0, sector: int = 1) -> HeldPiece:
    """The sample as a claim of provider t01001."""
    return HeldPiece(
        provider=ActorId(1001),
        piece_cid=sample.commitment.piece_cid,
        padded_size=PaddedPieceSize(sample.commitment.padded_size),
        payload_size=len(sample.car),
        sector=SectorNumber(sector),
        offset=offset,
        provenance=Provenance(ProvenanceKind.CLAIM, 12),
        client=ActorId(1002),
        from_epoch=Epoch(0),
        to_epoch=Epoch(1000),
    )


def store_unsealed(storage: Path, piece: HeldPiece, payload: bytes, sector_size: int) -> Path:
    """Writes the piece into its sector's unsealed file below `storage`, and gives the file's path."""
    assert piece.offset is not None
    path = unsealed_path(storage, piece.provider, piece.sector)
    UnsealedWriter(path, sector_size).write_piece(
        piece.offset, piece.padded_size, io.BytesIO(payload)
    )
    return path

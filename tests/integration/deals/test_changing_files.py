"""Bytes that another process changes while they are read: what is given out is the piece's, or an error is raised."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from deals.checkpoint import Checkpoint
from deals.piece_cid import root_of
from deals.sources import SourceError
from deals.sources.failing_over import FailingOver
from deals.sources.several import SeveralSources
from deals.sources.storage_path import StoragePathSource
from deals.subtree_roots import SubtreeRoots, VerifiedReader
from deals.verify import PieceVerified
from deals.verify_places import verify_places
from fil_plus.pieces import HeldPiece
from tests.piece_samples import SamplePiece, held, sample_piece, store_unsealed

SECTOR = 16 << 20
SECONDS = 6.0


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePiece:
    data = random.Random(5).randbytes(12 << 20)
    return sample_piece(tmp_path_factory.mktemp("made"), {"a.bin": data})


@pytest.fixture
def spoiled(sample: SamplePiece, tmp_path: Path) -> Iterator[tuple[SeveralSources, HeldPiece]]:
    """The piece's file, being spoiled by a process; nothing else has it."""
    piece = held(sample)
    file = store_unsealed(tmp_path / "store", piece, sample.car, SECTOR)
    good = tmp_path / "good"
    shutil.copyfile(file, good)
    command = [sys.executable, "-m", "tests.rewriting_process", str(file), str(good), "7"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    try:
        yield SeveralSources([StoragePathSource([tmp_path / "store"], SECTOR)]), piece
    finally:
        process.kill()
        process.wait()


async def roots(sample: SamplePiece, folder: Path) -> SubtreeRoots:
    piece = held(sample)
    store_unsealed(folder, piece, sample.car, SECTOR)
    places = SeveralSources([StoragePathSource([folder], SECTOR)]).places((piece,))
    outcome, _ = await verify_places(places, piece, checkpoint(sample, folder))
    assert isinstance(outcome, PieceVerified)
    return outcome.subtree_roots


def checkpoint(sample: SamplePiece, folder: Path) -> Checkpoint:
    commitment = sample.commitment
    root = root_of(commitment.piece_cid)
    return Checkpoint(folder, "partial", root, commitment.padded_size, every=1)


async def test_every_range_that_is_given_out_is_the_pieces(
    sample: SamplePiece, spoiled: tuple[SeveralSources, HeldPiece], tmp_path: Path
) -> None:
    sources, piece = spoiled
    proof = await roots(sample, tmp_path / "right")
    chance, given, refused = random.Random(3), 0, 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        start = chance.randrange(len(sample.car) - 70_000)
        try:
            source = await FailingOver.open(sources.places((piece,)), piece)
            verified = VerifiedReader(cast("BinaryIO", source), proof, another=source.another)
            with BufferedReader(verified) as reader:
                reader.seek(start)
                data = await asyncio.to_thread(reader.read, 70_000)
        except (SourceError, OSError):
            refused += 1
            continue
        assert data == sample.car[start : start + 70_000]
        given += 1
    assert given, f"nothing was ever given, {refused} readings refused"


async def test_a_reading_of_the_whole_is_right_or_called_wrong(
    sample: SamplePiece, spoiled: tuple[SeveralSources, HeldPiece], tmp_path: Path
) -> None:
    sources, piece = spoiled
    until = time.monotonic() + SECONDS
    outcomes: dict[str, int] = {}
    while time.monotonic() < until:
        try:
            outcome, _ = await verify_places(
                sources.places((piece,)), piece, checkpoint(sample, tmp_path)
            )
        except SourceError as error:
            outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1
            continue
        outcomes[type(outcome).__name__] = outcomes.get(type(outcome).__name__, 0) + 1
        if isinstance(outcome, PieceVerified):  # then the roots are those of the true bytes
            assert outcome.subtree_roots.commitment() == sample.commitment.root
    assert sum(outcomes.values()) > 1, outcomes

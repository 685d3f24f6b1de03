from __future__ import annotations

import asyncio
import dataclasses
import io
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from deals.commp import commp
from deals.piece_cid import root_of
from deals.sources import PieceNotHere, PieceUnavailable, Unavailable
from deals.sources.storage_path import StoragePathSource
from deals.verify import PieceMismatch, PieceVerified, verify_piece
from fil_plus.pieces import HeldPiece
from lotus_client.types import PaddedPieceSize
from tests.piece_samples import SamplePiece, held, sample_piece, store_unsealed

SECTOR = 1 << 22


@pytest.fixture
def sample(tmp_path: Path) -> SamplePiece:
    return sample_piece(tmp_path / "made", {"b": bytes(range(251)) * 5000})


class Given:
    """A source that gives the reader it was made with."""

    def __init__(self, reader: BinaryIO) -> None:
        self.reader = reader

    async def open(self, piece: HeldPiece) -> BinaryIO:
        return self.reader

    def problems(self) -> tuple[str, ...]:
        return ()


async def test_an_unsealed_piece_is_verified_with_progress(
    sample: SamplePiece, tmp_path: Path
) -> None:
    piece = held(sample, offset=1 << 21)
    store_unsealed(tmp_path, piece, sample.car, SECTOR)
    heard: list[tuple[int, int]] = []
    result = await verify_piece(
        StoragePathSource([tmp_path], SECTOR),
        piece,
        on_progress=lambda done, total: heard.append((done, total)),
    )
    await asyncio.sleep(0)
    whole = (1 << 21) // 128 * 127
    assert isinstance(result, PieceVerified)
    assert (result.piece_cid, result.bytes_read) == (piece.piece_cid, whole)
    assert result.subtree_roots.commitment() == root_of(piece.piece_cid)
    assert heard[-1] == (whole, whole)


async def test_other_bytes_are_a_mismatch_that_says_both_commps(
    sample: SamplePiece, tmp_path: Path
) -> None:
    damaged = bytearray(sample.car)
    damaged[1000] ^= 1
    piece = held(sample)
    store_unsealed(tmp_path, piece, bytes(damaged), SECTOR)
    result = await verify_piece(StoragePathSource([tmp_path], SECTOR), piece)
    found = commp(io.BytesIO(bytes(damaged))).piece_cid
    assert result == PieceMismatch(piece.piece_cid, found)
    assert str(piece.piece_cid) in str(result)
    assert str(found) in str(result)


async def test_a_source_may_leave_out_the_zeros_at_the_end(sample: SamplePiece) -> None:
    raised = sample.commitment.raised_to(1 << 23)
    piece = dataclasses.replace(
        held(sample), piece_cid=raised.piece_cid_v2, padded_size=PaddedPieceSize(1 << 23)
    )
    result = await verify_piece(Given(io.BytesIO(sample.car)), piece)
    assert isinstance(result, PieceVerified)


async def test_more_bytes_than_the_piece_holds_are_refused(sample: SamplePiece) -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            return len(buffer)

    with pytest.raises(PieceUnavailable) as caught:
        await verify_piece(Given(Endless()), held(sample))  # type: ignore[arg-type]
    assert caught.value.reason is Unavailable.WRONG_LENGTH


async def test_what_goes_wrong_while_reading_is_the_sources_fault(sample: SamplePiece) -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            raise OSError(5, "Input/output error")

    with pytest.raises(PieceUnavailable, match="Input/output") as caught:
        await verify_piece(Given(Failing()), held(sample))  # type: ignore[arg-type]
    assert caught.value.reason is Unavailable.READ_FAILED


async def test_a_piece_that_is_not_there_is_said(sample: SamplePiece, tmp_path: Path) -> None:
    with pytest.raises(PieceNotHere):
        await verify_piece(StoragePathSource([tmp_path], SECTOR), held(sample))


async def test_cancelling_stops_the_reading_and_closes_the_reader(sample: SamplePiece) -> None:
    class Slow(io.RawIOBase):
        """Gives a byte a time, when the test lets it."""

        def __init__(self) -> None:
            super().__init__()
            self.started = threading.Event()
            self.go_on = threading.Event()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            self.started.set()
            self.go_on.wait(10)
            return len(buffer)

    reader = Slow()
    task = asyncio.create_task(verify_piece(Given(reader), held(sample)))  # type: ignore[arg-type]
    await asyncio.to_thread(reader.started.wait, 10)
    task.cancel()
    await asyncio.sleep(0)
    reader.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reader.closed

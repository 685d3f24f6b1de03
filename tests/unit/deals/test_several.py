"""Several sources: order, back-off, going on elsewhere, and verification that is taken up again."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from deals.checkpoint import Checkpoint
from deals.piece_cid import root_of
from deals.sources import PieceNotHere, PieceUnavailable, SourceFailed, Unavailable
from deals.sources.failing_over import FailingOver
from deals.sources.several import SeveralSources
from deals.subtree_roots import VerifiedReader
from deals.verify import PieceMismatch, PieceVerified
from deals.verify_places import verify_places
from fil_plus.pieces import HeldPiece
from tests.piece_samples import SamplePiece, held, sample_piece

MIB = 1 << 20


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SamplePiece:
    data = random.Random(2).randbytes(14 * MIB)
    return sample_piece(tmp_path_factory.mktemp("made"), {"a.bin": data})


class Breaking(io.BytesIO):
    """Fails when reading comes to `at`; remembers the first byte that was read."""

    def __init__(self, data: bytes, at: int | None, first: list[int]) -> None:
        super().__init__(data)
        self._at, self._first = at, first

    def read(self, size: int | None = -1) -> bytes:
        self._first.append(self.tell())
        if self._at is not None and self.tell() >= self._at:
            raise SourceFailed("broke off", retry_after=5.0)
        return super().read(size)


class Source:
    """Gives these bytes, up to where it breaks off, or raises."""

    def __init__(
        self, data: bytes, *, breaks_at: int | None = None, error: Exception | None = None
    ) -> None:
        self.data, self.breaks_at, self.error = data, breaks_at, error
        self.opened = 0
        self.positions: list[int] = []

    async def open(self, piece: HeldPiece) -> BinaryIO:
        self.opened += 1
        if self.error is not None:
            raise self.error
        return Breaking(self.data, self.breaks_at, self.positions)

    def problems(self) -> tuple[str, ...]:
        return ()


def checkpoint(sample: SamplePiece, folder: Path) -> Checkpoint:
    root = root_of(sample.commitment.piece_cid)
    return Checkpoint(folder, "partial", root, sample.commitment.padded_size, every=1)


async def no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


async def test_a_busy_source_is_left_alone_for_as_long_as_it_asks(sample: SamplePiece) -> None:
    now = [0.0]
    busy = PieceUnavailable("claim:12", Unavailable.READ_FAILED, "HTTP 429", retry_after=20.0)
    first, second = Source(b"", error=busy), Source(sample.car)
    sources = SeveralSources([first, second], clock=lambda: now[0])
    for _ in range(3):
        (await sources.open(held(sample))).close()
    assert (first.opened, second.opened) == (1, 3)
    assert sources.states()[0].paused_seconds == 20
    assert "left alone for 20 s after: claim:12: HTTP 429" in sources.problems()[0]
    now[0] = 20.5
    (await sources.open(held(sample))).close()
    assert first.opened == 2


async def test_pauses_grow_when_none_is_asked_for_and_end_when_bytes_come(
    sample: SamplePiece,
) -> None:
    now = [0.0]
    away = PieceUnavailable("claim:12", Unavailable.READ_FAILED, "away", retry_after=0.0)
    source = Source(sample.car, error=away)
    sources = SeveralSources([source], clock=lambda: now[0])
    pauses = []
    for _ in range(12):
        with pytest.raises(PieceUnavailable):
            await sources.open(held(sample))
        pauses.append(sources.states()[0].paused_seconds)
        now[0] += pauses[-1]
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 300
    source.error = None
    with await sources.open(held(sample)) as reader:
        assert reader.read(4) == sample.car[:4]
    assert sources.states()[0].failures == 0


async def test_what_is_said_of_one_piece_costs_a_source_nothing(sample: SamplePiece) -> None:
    source = Source(b"", error=PieceUnavailable("k", Unavailable.NOT_UNSEALED, "sealed"))
    sources = SeveralSources([source, Source(b"", error=PieceNotHere("k", "no"))])
    for _ in range(2):
        with pytest.raises(PieceUnavailable, match="sealed"):
            await sources.open(held(sample))
    assert source.opened == 2


async def test_a_verification_goes_on_at_the_next_source_where_the_first_broke_off(
    sample: SamplePiece, tmp_path: Path
) -> None:
    first, second = Source(sample.car, breaks_at=9 * MIB), Source(sample.car)
    places = SeveralSources([first, second]).places((held(sample),))
    outcome, place = await verify_places(places, held(sample), checkpoint(sample, tmp_path))
    assert isinstance(outcome, PieceVerified)
    assert place.source is second
    assert min(second.positions) >= 4 * MIB * 127 // 128
    assert not checkpoint(sample, tmp_path).load()  # nothing is left to take up


async def test_bytes_of_another_file_that_were_read_before_a_restart_are_read_again(
    sample: SamplePiece, tmp_path: Path
) -> None:
    wrong = Source(bytes(len(sample.car)), breaks_at=9 * MIB)
    kept = checkpoint(sample, tmp_path)
    with pytest.raises(PieceUnavailable, match="broke off"):
        await verify_places(
            SeveralSources([wrong]).places((held(sample),)), held(sample), kept, sleep=no_pause
        )
    assert len(checkpoint(sample, tmp_path).load()) >= 32
    source = Source(sample.car)
    outcome, _ = await verify_places(
        SeveralSources([source]).places((held(sample),)), held(sample), kept
    )
    assert isinstance(outcome, PieceVerified)
    assert source.opened == 2  # from where it came to, then from the start


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-5], lambda data: data[:60] + b"x" + data[61:]]
)
def test_a_checkpoint_that_is_damaged_or_of_another_piece_counts_as_none(
    sample: SamplePiece, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    kept = checkpoint(sample, tmp_path)
    kept.reached(bytes(64))
    assert kept.load() == bytes(64)
    assert Checkpoint(tmp_path, "partial", bytes(32), sample.commitment.padded_size).load() == b""
    file = tmp_path / "partial"
    file.write_bytes(spoil(file.read_bytes()))
    assert kept.load() == b""


async def test_the_wrong_bytes_of_one_place_are_read_at_another_and_wrong_ones_alone_are_told(
    sample: SamplePiece, tmp_path: Path
) -> None:
    good, bad = Source(sample.car), Source(bytes(len(sample.car)))
    piece = held(sample)
    only_bad = SeveralSources([bad]).places((piece,))
    outcome, _ = await verify_places(only_bad, piece, checkpoint(sample, tmp_path))
    assert isinstance(outcome, PieceMismatch)
    both = SeveralSources([bad, good]).places((piece,))
    outcome, _ = await verify_places(both, piece, checkpoint(sample, tmp_path))
    assert isinstance(outcome, PieceVerified)
    source = await FailingOver.open(both, piece)
    reader = VerifiedReader(cast("BinaryIO", source), outcome.subtree_roots, another=source.another)
    assert await asyncio.to_thread(reader.read, 1000) == sample.car[:1000]
    source = await FailingOver.open(only_bad, piece)
    reader = VerifiedReader(cast("BinaryIO", source), outcome.subtree_roots, another=source.another)
    with pytest.raises(OSError, match="not those of the piece"):
        await asyncio.to_thread(reader.read, 1000)

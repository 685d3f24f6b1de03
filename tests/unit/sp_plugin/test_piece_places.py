"""How the offset of a piece is found: the chain's order, the miner's list with its fillers, or CommP over aligned places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deals.sources.several import SeveralSources
from deals.sources.storage_path import StoragePathSource
from lotus_client.errors import LotusUnavailable
from lotus_client.miner_client import SectorPiece, SectorStatus
from lotus_client.types import PaddedPieceSize, SectorNumber
from sp_plugin.locating import locate
from sp_plugin.piece_places import KnownBy, PiecePlaces
from tests.piece_samples import SamplePiece, held, sample_piece, store_unsealed

SECTOR = 1 << 16


@pytest.fixture
def sample(tmp_path: Path) -> SamplePiece:
    return sample_piece(tmp_path / "made", {"a.txt": b"hello" * 100})


class Books:
    """A miner that lists a filler and then the piece."""

    def __init__(self, sample: SamplePiece, *, away: bool = False) -> None:
        self._sample, self._away = sample, away

    async def sector_status(self, number: SectorNumber) -> SectorStatus:
        if self._away:
            raise LotusUnavailable("SectorsStatus", "no answer")
        size = PaddedPieceSize(self._sample.commitment.padded_size)
        filler = sample_piece_cid = self._sample.commitment.piece_cid
        pieces = (
            SectorPiece(filler, PaddedPieceSize(size * 2), 0, True, None, None),
            SectorPiece(sample_piece_cid, size, size * 2, False, None, None),
        )
        return SectorStatus(number, "Proving", None, b"", 8, pieces)


def places(folder: Path, books: Books | None) -> PiecePlaces:
    source = StoragePathSource([folder], SECTOR)
    return PiecePlaces(SeveralSources([source]), source, books, SECTOR)


async def test_the_miners_list_tells_what_the_chain_does_not(
    sample: SamplePiece, tmp_path: Path
) -> None:
    unplaced = held(sample, offset=None)
    copy = await places(tmp_path, Books(sample)).locate(unplaced, None)
    assert copy.known_by is KnownBy.SECTORS_STATUS
    assert copy.piece.offset == 2 * sample.commitment.padded_size
    known = await places(tmp_path, Books(sample)).locate(held(sample, offset=0), None)
    assert (known.known_by, known.piece.offset) == (KnownBy.MANIFEST, 0)


async def test_without_a_list_the_aligned_places_are_searched_only_when_asked(
    sample: SamplePiece, tmp_path: Path
) -> None:
    offset = 3 * sample.commitment.padded_size
    store_unsealed(tmp_path, held(sample, offset=offset), sample.car, SECTOR)
    for books in (None, Books(sample, away=True)):
        here = places(tmp_path, books)
        unplaced = held(sample, offset=None)
        assert (await here.locate(unplaced, None)).known_by is KnownBy.NOTHING
        found = await here.locate(unplaced, None, search=True)
        assert (found.known_by, found.piece.offset) == (KnownBy.COMMP, offset)


async def test_a_piece_that_nobody_can_give_comes_with_what_to_do(
    sample: SamplePiece, tmp_path: Path
) -> None:
    piece = held(sample)
    nothing = PiecePlaces(None, None, None, SECTOR)
    found = await locate(nothing, [piece], {}, piece)
    assert not found.is_readable
    assert "provider.storage_paths" in found.advice
    found = await locate(places(tmp_path, None), [piece], {}, piece)
    assert found.advice.endswith("`sp-plugin pieces unseal claim:12`")
    store_unsealed(tmp_path, piece, sample.car, SECTOR)
    unplaced = replace(piece, offset=None)
    found = await locate(places(tmp_path, None), [unplaced], {}, unplaced)
    assert "pieces verify claim:12" in found.advice
    found = await locate(places(tmp_path, None), [piece], {}, piece)
    assert (found.is_readable, found.advice) == (True, "")

"""What is believed of a piece's bytes, when whoever gives them changes them between two reads."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from deals.aggregates import commitment_of_file, plan_aggregate, write_aggregate
from deals.commp import commp
from deals.sources import PieceNotHere
from deals.sources.several import SeveralSources
from fil_plus.pieces import HeldPiece
from lotus_client.types import ActorId, Epoch
from sp_plugin.inputs.base import InputSealed
from sp_plugin.pieces import Pieces
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.piece_checks import CheckState, PieceCheck, PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository
from tests.piece_samples import SamplePiece, held, sample_piece

PROVIDER = ActorId(1001)


class Source:
    """Gives another payload at each opening."""

    def __init__(self, *payloads: bytes) -> None:
        self._payloads = list(payloads)

    async def open(self, piece: HeldPiece) -> BinaryIO:
        return io.BytesIO(self._payloads.pop(0))

    def problems(self) -> tuple[str, ...]:
        return ()


class Index:
    """Holds one piece."""

    def __init__(self, piece: HeldPiece) -> None:
        self._piece = piece

    async def held_pieces(
        self, provider: ActorId, *, at: Epoch | None = None
    ) -> tuple[HeldPiece, ...]:
        return (self._piece,)

    async def set_payload_size(self, provider: ActorId, key: str, payload_size: int) -> None:
        self._piece = replace(self._piece, payload_size=payload_size)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")
    async with made.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield made
    await made.close()


def pieces_of(store: Store, folder: Path, sample: SamplePiece, *payloads: bytes) -> Pieces:
    return Pieces(
        PROVIDER,
        Index(held(sample)),
        PieceCheckRepository(store, PROVIDER),
        HeldBlockRepository(store),
        segments=SubPieceRepository(store),
        source=Source(*payloads),
        sector_size=1 << 23,
        cache_dir=folder / "cache",
        roots_dir=folder / "roots",
        epoch=lambda: Epoch(5),
        clock=lambda: 1,
    )


async def test_roots_are_taken_from_verified_bytes_only(store: Store, tmp_path: Path):
    sample = sample_piece(tmp_path / "right", {"a.txt": b"right"})
    other = sample_piece(tmp_path / "wrong", {"a.txt": b"wrong"})
    pieces = pieces_of(store, tmp_path, sample, sample.car, other.car)
    check = await pieces.verify("claim:12")
    assert (check.state, check.roots) == (CheckState.UNAVAILABLE, ())
    assert "are not those of the piece that was verified" in check.detail


async def test_a_verified_piece_that_changes_later_gives_no_byte(store: Store, tmp_path: Path):
    sample = sample_piece(tmp_path / "right", {"a.txt": b"right"})
    other = sample_piece(tmp_path / "wrong", {"a.txt": b"wrong"})
    pieces = pieces_of(store, tmp_path, sample, sample.car, sample.car, sample.car, other.car)
    check = await pieces.verify("claim:12")
    assert (check.state, check.roots) == (CheckState.VERIFIED, (sample.root,))
    with await pieces.open("claim:12") as reader:
        assert reader.read(len(sample.car)) == sample.car
    with await pieces.open("claim:12") as reader, pytest.raises(OSError, match="not those"):
        reader.read(1)


async def test_a_file_of_any_car_in_an_aggregate_can_be_given_to_a_job(
    store: Store, tmp_path: Path
):
    parts = [sample_piece(tmp_path / name, {"a.txt": name.encode()}) for name in ("one", "two")]
    payload, promised = aggregate_of(tmp_path, *(part.car for part in parts))
    sample = SamplePiece(parts[0].root, payload, commp(io.BytesIO(payload)))
    assert sample.commitment.root == promised
    pieces = pieces_of(store, tmp_path, sample, *[payload] * 6)
    check = await pieces.verify("claim:12")
    assert (check.state, check.roots) == (
        CheckState.VERIFIED,
        tuple(part.root for part in parts),
    )
    for name, part in zip(("one", "two"), parts, strict=True):
        found = await pieces.find_root(part.root)
        assert found is not None
        volume = await pieces.materialise(found, part.root, "a.txt", tmp_path)
        assert volume.host_path.read_bytes() == name.encode()


async def test_who_asks_while_an_older_look_finds_nothing_is_answered_by_a_new_one(
    store: Store, tmp_path: Path
):
    sample = sample_piece(tmp_path / "right", {"a.txt": b"right"})
    pieces = pieces_of(store, tmp_path, sample)
    looking, copy_came = asyncio.Event(), asyncio.Event()

    class Slow(Source):
        async def open(self, piece: HeldPiece) -> BinaryIO:
            if not looking.is_set():
                looking.set()
                await copy_came.wait()
                raise PieceNotHere(piece.key, "it was not here when we looked")
            return io.BytesIO(sample.car)

    pieces.where = replace(pieces.where, sources=SeveralSources([Slow()]))
    older = asyncio.create_task(pieces.verify("claim:12"))
    await looking.wait()
    asked = asyncio.create_task(pieces.verify("claim:12"))
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    copy_came.set()
    assert (await asked).state is CheckState.VERIFIED
    assert (await older).state is CheckState.VERIFIED


async def test_who_asks_while_an_older_look_is_written_down_is_answered_by_a_new_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sample = sample_piece(tmp_path / "right", {"a.txt": b"right"})
    pieces = pieces_of(store, tmp_path, sample)
    is_here, saving = False, asyncio.Event()

    class Late(Source):
        async def open(self, piece: HeldPiece) -> BinaryIO:
            if not is_here:
                raise PieceNotHere(piece.key, "it was not here when we looked")
            return io.BytesIO(sample.car)

    save = pieces._checks.save

    async def slowly(check: PieceCheck) -> None:
        saving.set()
        await asyncio.sleep(0.01)
        await save(check)

    monkeypatch.setattr(pieces._checks, "save", slowly)
    pieces.where = replace(pieces.where, sources=SeveralSources([Late()]))
    older = asyncio.create_task(pieces.verify("claim:12"))
    await saving.wait()
    is_here = True
    assert (await pieces.verify("claim:12")).state is CheckState.VERIFIED
    assert (await older).state is CheckState.VERIFIED


async def test_files_that_are_written_out_stand_still_while_jobs_do(store: Store, tmp_path: Path):
    sample = sample_piece(tmp_path / "right", {"a.txt": b"right"})
    pieces = pieces_of(store, tmp_path, sample, *[sample.car] * 4)
    assert (await pieces.verify("claim:12")).state is CheckState.VERIFIED
    wanted = await pieces.find_piece(sample.commitment.piece_cid, None)
    assert wanted is not None
    pieces.volumes.pause.turn(on=True)
    making = asyncio.create_task(pieces.materialise(wanted, None, None, tmp_path / "into"))
    await asyncio.sleep(0.1)
    assert not making.done()
    assert not list((tmp_path / "cache").rglob("a.txt"))
    await asyncio.wait_for(asyncio.to_thread(int), 1)  # nobody else waits for that
    pieces.volumes.pause.turn(on=False)
    volume = await asyncio.wait_for(making, 5)
    assert (volume.host_path / "a.txt").read_bytes() == b"right"


async def test_what_stands_still_is_interrupted_when_the_sidecar_stops(
    store: Store, tmp_path: Path
):
    sample = sample_piece(tmp_path / "right", {"a.txt": b"right"})
    pieces = pieces_of(store, tmp_path, sample, *[sample.car] * 4)
    assert (await pieces.verify("claim:12")).state is CheckState.VERIFIED
    wanted = await pieces.find_piece(sample.commitment.piece_cid, None)
    assert wanted is not None
    pieces.volumes.pause.turn(on=True)
    making = asyncio.create_task(pieces.materialise(wanted, None, None, tmp_path / "into"))
    await asyncio.sleep(0.05)
    pieces.volumes.pause.close()
    with pytest.raises(InputSealed, match="stopping"):
        await asyncio.wait_for(making, 5)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert (await pieces.get("claim:12")).is_verified  # nothing is wrong with it


def aggregate_of(folder: Path, *cars: bytes) -> tuple[bytes, bytes]:
    """An aggregate's bytes and its commitment, as `pieces aggregate` makes it."""
    files = [folder / f"{number}.car" for number in range(len(cars))]
    for file, car in zip(files, cars, strict=True):
        file.write_bytes(car)
    plan = plan_aggregate([commitment_of_file(file) for file in files])
    out = io.BytesIO()
    write_aggregate(plan, files, out)
    return out.getvalue(), plan.commitment()

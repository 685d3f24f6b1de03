"""Pieces inside verified aggregates: named by their own CID, read from wherever one lies, and never more than their own bytes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from deals.car import CarReader, CarWriter
from deals.commp import commp
from deals.data_segment import IndexEntry, index_place
from deals.denylist import Denylist, parse_denylist
from deals.fr32 import pad, unpad_quads, unpadded_length
from deals.piece_cid import encode_piece_cid_v2
from deals.sources.storage_path import StoragePathSource
from deals.sub_pieces import confirm_segments
from fil_plus.pieces import HeldPiece
from lotus_client.cid import RAW, Cid
from lotus_client.types import ActorId, ClaimId, Epoch
from sp_plugin.errors import NotFound
from sp_plugin.inputs.base import InputMissing
from sp_plugin.pieces import Pieces
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.piece_checks import CheckState, PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository, outer_of, piece_indexes, sub_pieces
from tests.piece_samples import SamplePiece, held, sample_piece, store_unsealed
from tests.unit.sp_plugin.lineage_world import Chain
from tests.unit.sp_plugin.test_pieces import aggregate_of

PROVIDER = ActorId(1001)
SECTOR = 1 << 20


class World:
    """A provider's sectors with real unsealed files, and the pieces over them."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory, self.store, self.chain, self.now = directory, store, Chain(), 1
        self.denied = Denylist()
        self.in_datasets: set[Cid] | None = None  # the piece CIDs that datasets name; None: all
        (directory / "storage" / "unsealed").mkdir(parents=True)
        self.segments = SubPieceRepository(store)
        self.pieces = self.started()

    def started(self) -> Pieces:
        """The pieces anew, as after a restart."""
        return Pieces(
            PROVIDER,
            self.chain,
            PieceCheckRepository(self.store, PROVIDER),
            HeldBlockRepository(self.store),
            segments=self.segments,
            source=StoragePathSource([self.directory / "storage"], SECTOR),
            sector_size=SECTOR,
            cache_dir=self.directory / "cache",
            roots_dir=self.directory / "roots",
            denylist=lambda: self.denied,
            admits=lambda known: self.in_datasets is None or known.piece_cid in self.in_datasets,
            epoch=lambda: Epoch(100),
            clock=lambda: self.now,
        )

    def hold(self, payload: bytes, sector: int) -> HeldPiece:
        sample = SamplePiece(Cid.of_sha2_256(RAW, b""), payload, commp(io.BytesIO(payload)))
        piece = held(sample, sector=sector)
        piece = replace(piece, provenance=replace(piece.provenance, id=sector))
        store_unsealed(self.directory / "storage", piece, payload, SECTOR)
        self.chain.pieces.append(piece)
        return piece

    def lose(self, piece: HeldPiece) -> None:
        (self.directory / "storage/unsealed" / f"s-t01001-{piece.sector}").unlink()

    async def verify(self, piece: HeldPiece) -> None:
        assert (await self.pieces.verify(piece.key)).state is CheckState.VERIFIED

    async def text(self, cid: Cid, claim: int | None = None) -> tuple[str, str | None]:
        """What a job that names the piece reads of a.txt, and in which piece."""
        ref = await self.pieces.find_piece(cid, None if claim is None else ClaimId(claim))
        assert ref is not None
        volume = await self.pieces.materialise(ref, None, "a.txt", self.directory)
        return volume.host_path.read_text(), volume.piece_key


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield World(tmp_path, store)
    await store.close()


@pytest.fixture
def parts(tmp_path: Path) -> list[SamplePiece]:
    return [sample_piece(tmp_path / name, {"a.txt": name.encode()}) for name in ("one", "two")]


async def test_a_segment_is_named_by_its_key_or_its_cid_of_either_version(
    world: World, parts: list[SamplePiece]
):
    outer = world.hold(aggregate_of(world.directory, *(part.car for part in parts))[0], 7)
    await world.verify(outer)
    two = parts[1]
    own = two.commitment
    known = await world.pieces.get(str(own.piece_cid))
    assert known.part is not None
    assert known.key == f"claim:7@{known.part.part.offset}+{own.padded_size}"
    assert (known.payload_size, known.roots) == (len(two.car), (two.root,))
    assert known.offset == known.part.part.offset
    for name in (known.key, str(own.piece_cid_v2)):
        assert await world.pieces.get(name) == known
    larger = encode_piece_cid_v2(own.root, 2 * own.padded_size, len(two.car))
    for name in (str(larger), f"claim:7@0+{own.padded_size * 2}", "claim:7@1", "claim:8@0+128"):
        with pytest.raises(NotFound):
            await world.pieces.get(name)
    assert await world.text(own.piece_cid_v2) == ("two", known.key)
    assert await world.text(own.piece_cid, claim=7) == ("two", known.key)
    assert await world.pieces.find_piece(own.piece_cid, ClaimId(8)) is None
    with await world.pieces.open(known.key) as reader:
        assert reader.read() == two.car.ljust(unpadded_length(own.padded_size), b"\0")


async def test_whole_pieces_come_first_then_whatever_can_be_read(
    world: World, parts: list[SamplePiece]
):
    one, two = parts
    whole = world.hold(one.car, 1)
    first = world.hold(aggregate_of(world.directory, one.car, two.car)[0], 2)
    third = sample_piece(world.directory / "three", {"a.txt": b"three"})
    second = world.hold(aggregate_of(world.directory, third.car, one.car)[0], 3)
    cid = one.commitment.piece_cid
    for piece in (whole, first, second):
        await world.verify(piece)
    read = []
    for gone in (None, whole, first):
        if gone is not None:
            world.lose(gone)
        read.append(await world.text(cid))
        with await world.pieces.open(str(cid)) as reader:
            assert reader.read(len(one.car)) == one.car
    assert [text for text, _ in read] == ["one"] * 3
    assert [str(key).partition("@")[0] for _, key in read] == ["claim:1", "claim:2", "claim:3"]
    world.lose(second)
    with pytest.raises(InputMissing, match="claim:"):
        await world.text(cid)


async def test_a_job_over_a_segment_gets_no_block_of_its_neighbours(
    world: World, parts: list[SamplePiece], tmp_path: Path
):
    """The first segment's directory links to a file whose block lies in the second."""
    sample, out = sample_piece(tmp_path / "linked", {"a.txt": b"two"}), io.BytesIO()
    writer = CarWriter(out, [sample.root])
    for place, block in CarReader(io.BytesIO(sample.car)):
        if block != b"two":
            writer.put(place.cid, block)
    outer = world.hold(aggregate_of(world.directory, out.getvalue(), parts[1].car)[0], 7)
    await world.verify(outer)
    rows = await world.segments.of(outer_of(outer))
    with pytest.raises(InputMissing, match="is not in this CAR"):
        await world.text(rows[0].part.piece_cid)
    assert (await world.text(rows[1].part.piece_cid))[0] == "two"


async def test_a_root_is_read_from_the_segment_alone_if_only_that_is_in_a_dataset(
    world: World, parts: list[SamplePiece]
):
    outer = world.hold(aggregate_of(world.directory, *(part.car for part in parts))[0], 7)
    await world.verify(outer)
    keys = []
    two = parts[1].commitment.piece_cid
    for named in (None, {outer.piece_cid, two}, {two}, set()):
        world.in_datasets = named
        found = await world.pieces.find_root(parts[1].root)
        assert found is not None
        keys.append(found.key.partition("@")[0] + ("@" if "@" in found.key else ""))
    assert keys == ["claim:7", "claim:7", "claim:7@", "claim:7"]


async def test_of_equal_pieces_the_one_in_a_dataset_is_taken(
    world: World, parts: list[SamplePiece]
):
    whole = world.hold(parts[0].car, 1)
    outer = world.hold(aggregate_of(world.directory, *(part.car for part in parts))[0], 7)
    for piece in (whole, outer):
        await world.verify(piece)
    cid = parts[0].commitment.piece_cid
    world.pieces._admits = lambda known: known.piece.key == outer.key
    found = await world.pieces.find_piece(cid, None)
    assert found is not None
    assert found.key.startswith("claim:7@")


async def test_a_denied_segment_is_refused_by_its_own_name_and_inside_the_piece_around(
    world: World, parts: list[SamplePiece]
):
    outer = world.hold(aggregate_of(world.directory, *(part.car for part in parts))[0], 7)
    await world.verify(outer)
    two = parts[1].commitment
    around = await world.pieces.find_piece(outer.piece_cid, None)
    assert around is not None
    for name in (two.piece_cid, two.piece_cid_v2):
        world.denied = parse_denylist([f"/ipfs/{name}"], "list")
        with pytest.raises(InputMissing, match="is on the denylist"):
            await world.text(two.piece_cid)
        with pytest.raises(InputMissing, match="is on the denylist"):
            await world.pieces.materialise(around, parts[1].root, "a.txt", world.directory)
        assert (await world.text(parts[0].commitment.piece_cid))[0] == "one"
    world.denied = parse_denylist([f"/ipfs/{outer.piece_cid}"], "list")
    with pytest.raises(InputMissing, match="is on the denylist"):
        await world.text(parts[0].commitment.piece_cid)


async def test_a_lying_entry_is_not_kept_and_the_operator_can_read_why(
    world: World, parts: list[SamplePiece]
):
    payload = bytearray(aggregate_of(world.directory, *(part.car for part in parts))[0])
    size = len(payload) // 127 * 128
    start, _ = index_place(size)
    index = bytearray(pad(bytes(payload[unpadded_length(start) :])))
    lie = IndexEntry(commp(io.BytesIO(b"lie" * 90)).root, 0, parts[0].commitment.padded_size)
    index[:64] = lie.to_bytes()
    payload[unpadded_length(start) :] = unpad_quads(bytes(index))
    outer = world.hold(bytes(payload), 7)
    await world.verify(outer)
    assert await world.pieces.inside(str(parts[0].commitment.piece_cid)) == []
    assert len(await world.pieces.inside(str(parts[1].commitment.piece_cid))) == 1
    reading = await world.segments.reading(outer_of(outer))
    assert reading is not None
    assert (reading.segments, reading.fault_count) == (1, 1)
    assert f"index entry 0 (padded byte {start}): it says baga6ea4sea" in reading.faults[0]


async def test_an_aggregate_inside_an_aggregate_is_one_piece_of_unknown_payload(
    world: World, parts: list[SamplePiece]
):
    inner, _ = aggregate_of(world.directory, *(part.car for part in parts))
    third = sample_piece(world.directory / "three", {"a.txt": b"three"})
    outer = world.hold(aggregate_of(world.directory, inner, third.car)[0], 7)
    await world.verify(outer)
    rows = await world.segments.of(outer_of(outer))
    assert [row.part.piece_cid for row in rows] == [
        commp(io.BytesIO(inner)).piece_cid,
        third.commitment.piece_cid,
    ]
    assert [row.payload_size for row in rows] == [None, len(third.car)]
    assert await world.pieces.inside(str(parts[1].commitment.piece_cid)) == []
    assert (await world.text(rows[0].part.piece_cid))[0] == "one"


async def test_pieces_verified_by_an_earlier_version_are_looked_into(
    world: World, parts: list[SamplePiece]
):
    outer = world.hold(aggregate_of(world.directory, *(part.car for part in parts))[0], 7)
    await world.verify(outer)
    for gone in (False, True):
        async with world.store.transaction() as connection:
            await connection.execute(delete(sub_pieces))
            await connection.execute(delete(piece_indexes))
        if gone:
            world.lose(outer)
        world.pieces = world.started()
        rounds = [await world.pieces.verify_next() for _ in range(3)]
        assert rounds == [True, gone, False]  # what is gone is looked for once more
        found = await world.pieces.inside(str(parts[0].commitment.piece_cid))
        assert len(found) == (0 if gone else 1)
    check = (await world.pieces.get(outer.key)).check
    assert check is not None
    assert check.state is CheckState.UNAVAILABLE


async def test_a_save_that_is_cut_off_leaves_what_was_there(world: World, parts: list[SamplePiece]):
    outer = world.hold(aggregate_of(world.directory, *(part.car for part in parts))[0], 7)
    await world.verify(outer)
    reader = await world.pieces.open(outer.key)
    roots = await world.pieces.subtree_roots(await world.pieces.get(outer.key))
    assert roots is not None
    with reader:
        found = confirm_segments(reader, roots)
    twice = replace(found, segments=(*found.segments, found.segments[0]))
    with pytest.raises(IntegrityError):
        await world.segments.save(outer_of(outer), twice, [], read_at=2)
    async with world.store.reading() as connection:
        count = (await connection.execute(select(func.count()).select_from(sub_pieces))).scalar()
    assert count == 2
    assert (await world.segments.named([parts[0].commitment.piece_cid]))[0].payload_size is not None

"""What a run brought: new leaves only, once, and not before it can be known."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deals.aggregates import plan_aggregate, write_aggregate
from deals.commp import commp
from deals.sources.storage_path import StoragePathSource
from fil_plus.pieces import HeldPiece
from lotus_client.types import ActorId, Epoch
from sp_plugin.jobs.states import DesiredState, ExecutionState, JobState
from sp_plugin.lineage import Lineage
from sp_plugin.pieces import Pieces
from sp_plugin.pruning import Pruning
from sp_plugin.store.base import Store, metadata
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.jobs import ExecutionRecord, JobRecord
from sp_plugin.store.outputs import OutputRepository
from sp_plugin.store.piece_checks import CheckState, PieceCheckRepository
from sp_plugin.store.sub_pieces import SubPieceRepository
from tests.piece_samples import SamplePiece, content, held, sample_piece, store_unsealed
from tests.unit.sp_plugin.test_policy import BUNDLE

PROVIDER = ActorId(1001)
SECTOR = 1 << 20
KIB = 1 << 10
DAY = 86_400 * 10**9


@dataclass
class Jobs:
    """What the lineage reads of the queue."""

    runs: dict[str, ExecutionRecord] = field(default_factory=dict)

    outputs: OutputRepository | None = None

    async def untraced(self, after: tuple[int, str], limit: int) -> list[ExecutionRecord]:
        assert self.outputs is not None
        known = {record.execution_id for record in await self.outputs.all()}
        runs = sorted(self.runs.values(), key=lambda run: (run.modified_at, run.id))
        return [run for run in runs if run.id not in known and (run.modified_at, run.id) > after][
            :limit
        ]

    async def execution(self, execution_id: str) -> ExecutionRecord | None:
        return next((run for run in self.runs.values() if run.id == execution_id), None)

    async def job(self, job_id: str) -> JobRecord:
        return JobRecord(
            id=job_id, name=job_id, namespace="default", submitter=None, spec={},
            state=JobState.COMPLETED, message="", priority=0, stop_requested=False, timed_out=False,
            first_queued_at=1, total_deadline=None, deadline=None,
            bundle_digest=BUNDLE.digest().hex(), bundle=BUNDLE.to_json(), attempts=1, revision=1,
            created_at=1, modified_at=1,
        )  # fmt: skip


@dataclass
class Chain:
    """What the lineage reads of the follower's index."""

    pieces: list[HeldPiece] = field(default_factory=list)

    async def held_pieces(
        self, provider: ActorId, *, at: Epoch | None = None
    ) -> tuple[HeldPiece, ...]:
        return tuple(p for p in self.pieces if at is None or p.from_epoch <= at < p.to_epoch)

    async def set_payload_size(self, provider: ActorId, key: str, payload_size: int) -> None:
        self.sizes = {**getattr(self, "sizes", {}), key: payload_size}


class World:
    """A provider's disk and store; `run` leaves a completed run's results there."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory, self.store = directory, store
        self.jobs, self.chain, self.epoch = Jobs(), Chain(), Epoch(100)
        for name in ("storage/unsealed", "results", "staging"):
            (directory / name).mkdir(parents=True)
        self.start()

    def start(self) -> None:
        """The parts anew, as after a restart."""
        self.outputs = self.jobs.outputs = OutputRepository(self.store)
        self.pieces = Pieces(
            PROVIDER,
            self.chain,
            PieceCheckRepository(self.store, PROVIDER),
            HeldBlockRepository(self.store),
            segments=SubPieceRepository(self.store),
            source=StoragePathSource([self.directory / "storage"], SECTOR),
            sector_size=SECTOR,
            cache_dir=self.directory / "cache",
            roots_dir=self.directory / "roots",
            epoch=lambda: self.epoch,
            clock=lambda: 1,
        )
        self.lineage = Lineage(
            PROVIDER,
            queue=self.jobs,  # type: ignore[arg-type]
            outputs=self.outputs,
            chain=self.chain,  # type: ignore[arg-type]
            pieces=self.pieces,
            blocks=HeldBlockRepository(self.store),
            results_dir=self.directory / "results",
            staging_dir=self.directory / "staging",
            epoch=lambda: self.epoch,
        )

    def sample(self, **files: bytes) -> SamplePiece:
        name = f"files{len(list(self.directory.iterdir()))}"
        return sample_piece(self.directory / name, files)

    def hold(self, sample: SamplePiece, *, sector: int, since: int) -> HeldPiece:
        """Seal a piece; its bytes are there and not verified yet."""
        piece = held(sample, sector=sector)
        piece = replace(
            piece,
            provenance=replace(piece.provenance, id=sector),
            from_epoch=Epoch(since),
            to_epoch=Epoch(10_000),
        )
        store_unsealed(self.directory / "storage", piece, sample.car, SECTOR)
        self.chain.pieces.append(piece)
        return piece

    def unsealed(self, piece: HeldPiece) -> Path:
        return self.directory / "storage/unsealed" / f"s-t01001-{piece.sector}"

    def run(
        self,
        name: str,
        sample: SamplePiece,
        *,
        over: Sequence[HeldPiece] = (),
        ended: int | None = None,
    ) -> None:
        home = self.directory / "results" / f"e-{name}"
        home.mkdir()
        (home / "results.car").write_bytes(sample.car)
        inputs = [{"piece_key": piece.key, "blocks_read": 3} for piece in over]
        record: dict[str, object] = {
            "inputs": inputs,
            "published": {"piece_cid": str(sample.commitment.piece_cid)},
        }
        if ended is not None:
            record["epoch"] = ended
        self.jobs.runs[name] = ExecutionRecord(
            id=f"e-{name}", job_id=name, attempt=1, node_id="n", token=1, lease_until=None,
            state=ExecutionState.COMPLETED, desired_state=DesiredState.RUNNING, message="",
            outcome="finished", exit_code=0, run_output=None, published=None, run_record=record,
            revision=1, created_at=len(self.jobs.runs), modified_at=1 + len(self.jobs.runs),
        )  # fmt: skip

    async def counted(self) -> dict[str, int]:
        await self.lineage.step()
        return {
            r.execution_id.removeprefix("e-"): r.counted_bytes for r in await self.outputs.all()
        }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = Store(f"sqlite+aiosqlite:///{tmp_path}/state.db")
    async with store.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    yield World(tmp_path, store)
    await store.close()


OLD, NEW, OTHER = content(3000), bytes(5000), b"x" * 700


async def test_blocks_of_the_input_count_nothing_and_new_ones_count_once(world: World):
    piece = world.hold(world.sample(old=OLD), sector=1, since=0)
    await world.pieces.verify(piece.key)
    world.run("a", world.sample(old=OLD, new=NEW, again=NEW), over=[piece])
    assert await world.counted() == {"a": len(NEW)}


async def test_a_result_sealed_before_its_run_was_looked_at_counts(world: World):
    result = world.sample(new=NEW)
    world.run("a", result, ended=50)
    world.hold(result, sector=3, since=60)
    assert await world.pieces.verify_next()
    assert await world.counted() == {"a": len(NEW)}


async def test_a_result_that_was_sealed_before_its_run_counts_nothing(world: World):
    result = world.sample(new=NEW)
    world.hold(result, sector=3, since=40)
    assert await world.pieces.verify_next()
    world.run("a", result, ended=50)
    assert await world.counted() == {"a": 0}


async def test_blocks_of_any_verified_piece_count_nothing_read_or_not(world: World):
    elsewhere = world.hold(world.sample(old=OLD), sector=2, since=5)
    assert await world.pieces.verify_next()
    assert (await world.pieces.get(elsewhere.key)).check.state is CheckState.VERIFIED
    world.run("a", world.sample(copied=OLD, new=NEW))
    assert await world.counted() == {"a": len(NEW)}


async def test_an_output_that_was_sealed_before_it_was_looked_at_still_counts(world: World):
    result = world.sample(new=NEW)
    lost = world.hold(world.sample(old=OLD), sector=1, since=0)
    world.unsealed(lost).unlink()
    world.run("a", result, over=[lost])
    assert await world.counted() == {}
    sealed = world.hold(result, sector=3, since=500)
    world.epoch = Epoch(600)
    await world.pieces.verify(sealed.key)
    assert await world.counted() == {}
    (reason,) = await world.lineage.untraced()
    assert reason.startswith(f"run e-a: its input {lost.key} cannot be read: ")
    store_unsealed(world.directory / "storage", lost, world.sample(old=OLD).car, SECTOR)
    await world.pieces.verify(lost.key)
    assert await world.counted() == {"a": len(NEW)}
    assert await world.lineage.untraced() == []


async def test_a_run_over_an_unreadable_piece_waits_and_later_runs_do_not_count_its_blocks_again(
    world: World,
):
    lost = world.hold(world.sample(old=OLD), sector=1, since=0)
    saved = world.unsealed(lost).rename(world.directory / "saved")
    world.run("a", world.sample(old=OLD, new=NEW), over=[lost])
    world.run("b", world.sample(new=NEW, other=OTHER))
    assert await world.counted() == {"b": len(OTHER)}
    world.start()
    saved.rename(world.unsealed(lost))
    await world.pieces.verify(lost.key)
    assert await world.counted() == {"a": len(NEW), "b": len(OTHER)}


async def test_of_two_equal_outputs_only_the_first_shares(world: World):
    result = world.sample(new=NEW)
    world.run("a", result)
    world.run("b", result)
    assert await world.counted() == {"a": len(NEW), "b": 0}
    world.hold(result, sector=3, since=500)
    assert [item.job for item in await world.lineage.produced()] == ["a"]


async def test_looking_is_the_same_however_often_and_whoever_does_it(world: World):
    world.run("a", world.sample(new=NEW))
    world.run("b", world.sample(new=NEW, other=OTHER))
    first = world.lineage
    world.start()
    await asyncio.gather(first.step(), world.lineage.step(), first.step())
    assert await world.counted() == {"a": len(NEW), "b": len(OTHER)}


async def test_an_interrupted_index_is_made_whole_at_the_next_start(world: World):
    blocks = HeldBlockRepository(world.store)
    await blocks.add("run:e-a", [], epoch=Epoch(90), is_run=True)
    piece = world.hold(world.sample(old=OLD), sector=1, since=0)
    await world.pieces.verify(piece.key)
    async with world.store.transaction() as connection:
        await connection.exec_driver_sql("UPDATE block_origins SET complete = 0")
        await connection.exec_driver_sql("DELETE FROM held_blocks")
    world.start()
    assert not await world.pieces.verify_next()
    world.run("a", world.sample(old=OLD, new=NEW))
    assert await world.counted() == {"a": len(NEW)}


async def test_results_that_are_gone_are_read_from_the_staged_piece_or_said_to_be_missing(
    world: World,
):
    result = world.sample(new=NEW)
    world.run("a", result)
    shutil.rmtree(world.directory / "results" / "e-a")
    world.chain.pieces.append(replace(held(result), from_epoch=Epoch(500)))
    assert await world.counted() == {}
    assert "its results are gone" in (await world.lineage.untraced())[0]
    (world.directory / "staging" / f"{result.commitment.piece_cid}.car").write_bytes(result.car)
    assert await world.counted() == {"a": len(NEW)}


async def test_old_results_are_removed_once_they_are_traced_and_strangers_are_left_alone(
    world: World,
):
    now = 10 * DAY
    pruning = Pruning(
        world.directory / "results", world.jobs, world.outputs, keep_days=5, clock=lambda: now
    )  # type: ignore[arg-type]
    world.run("old", world.sample(new=NEW))
    world.run("young", world.sample(other=OTHER))
    world.jobs.runs["young"] = replace(world.jobs.runs["young"], modified_at=6 * DAY)
    (world.directory / "results" / "e-unknown").mkdir()
    await pruning.step()
    assert len(list((world.directory / "results").iterdir())) == 3
    await world.lineage.step()
    await pruning.step()
    left = sorted(path.name for path in (world.directory / "results").iterdir())
    assert left == ["e-unknown", "e-young"]
    assert await world.counted() == {"old": len(NEW), "young": len(OTHER)}


async def test_a_result_in_an_aggregate_is_found_by_reading_it_and_shares_as_a_sub_piece(
    world: World,
):
    mine, other = world.sample(new=NEW), world.sample(other=OTHER)
    world.run("a", mine)
    world.run("b", other)
    assert await world.counted() == {"a": len(NEW), "b": len(OTHER)}
    assert await world.lineage.untraced() == []
    world.epoch = Epoch(600)
    outer = world.hold(aggregate_of(world, mine, other), sector=3, since=500)
    (reason,) = await world.lineage.untraced()
    assert reason == "piece claim:3 was not read yet, and results may lie in it"
    assert await world.lineage.produced() == []
    await world.pieces.verify(outer.key)
    assert await world.lineage.untraced() == []
    found = await world.lineage.produced()
    assert [(item.job, item.piece_key, item.counted_bytes) for item in found] == [
        ("a", "claim:3", len(NEW)),
        ("b", "claim:3", len(OTHER)),
    ]
    places = [item.sub_piece for item in found]
    assert [place and place.piece_cid for place in places] == [
        mine.commitment.piece_cid,
        other.commitment.piece_cid,
    ]


async def test_an_aggregate_that_cannot_be_read_is_not_waited_for(world: World):
    mine = world.sample(new=NEW)
    world.run("a", mine)
    await world.counted()
    world.epoch = Epoch(600)
    outer = world.hold(aggregate_of(world, mine), sector=3, since=500)
    world.unsealed(outer).unlink()
    assert len(await world.lineage.untraced()) == 1
    await world.pieces.verify(outer.key)
    assert await world.lineage.untraced() == []
    assert await world.lineage.produced() == []


async def test_a_whole_piece_comes_before_the_same_result_in_an_aggregate(world: World):
    mine = world.sample(new=NEW)
    world.run("a", mine)
    await world.counted()
    world.epoch = Epoch(600)
    outer = world.hold(aggregate_of(world, mine), sector=3, since=500)
    await world.pieces.verify(outer.key)
    assert [item.piece_key for item in await world.lineage.produced()] == ["claim:3"]
    whole = world.hold(mine, sector=4, since=550)
    (item,) = await world.lineage.produced()
    assert (item.piece_key, item.sub_piece) == (whole.key, None)
    world.chain.pieces.clear()  # a reorg took both
    assert await world.lineage.produced() == []
    world.chain.pieces.append(outer)
    (item,) = await world.lineage.produced()
    assert item.sub_piece is not None


async def test_a_result_goes_on_earning_where_it_is_held_again_once_the_first_place_is_over(
    world: World,
):
    mine = world.sample(new=NEW)
    world.run("a", mine)
    await world.counted()
    world.hold(mine, sector=1, since=550)  # until epoch 10,000
    again = world.hold(aggregate_of(world, mine), sector=2, since=9000)
    world.epoch = Epoch(9500)
    await world.pieces.verify(again.key)
    world.chain.pieces[1] = replace(again, to_epoch=Epoch(90_000))
    keys = []
    for epoch in (10_500, 10_000 + 3 * 2880, 10_001 + 3 * 2880, 100_000):
        world.epoch = Epoch(epoch)
        keys += [item.piece_key for item in await world.lineage.produced()]
    assert keys == ["claim:1", "claim:1", "claim:2", "claim:1"]


async def test_a_use_of_a_sub_piece_is_of_its_payload_and_of_no_bytes_once_it_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    terms = replace(BUNDLE.terms, input_bps=100)
    monkeypatch.setattr(f"{__name__}.BUNDLE", replace(BUNDLE, terms=terms))
    first, second = world.sample(old=OLD), world.sample(other=OTHER)
    outer = world.hold(aggregate_of(world, first, second), sector=3, since=0)
    await world.pieces.verify(outer.key)
    inside = (await world.pieces.inside(str(second.commitment.piece_cid)))[0]
    world.run("a", world.sample(new=NEW, again=OLD), over=[Keyed(inside.key)])
    assert await world.counted() == {"a": len(NEW)}
    (use,) = await world.lineage.used()
    assert (use.piece_key, use.counted_bytes) == ("claim:3", len(second.car))
    assert use.sub_piece == inside.part.part
    async with world.store.transaction() as connection:
        await connection.exec_driver_sql("DELETE FROM sub_pieces")
    (use,) = await world.lineage.used()
    assert (use.piece_key, use.sub_piece) == (inside.key, None)


@dataclass
class Keyed:
    """What a run was over, by the key that its record has."""

    key: str


def aggregate_of(world: World, *samples: SamplePiece) -> SamplePiece:
    """An aggregate of samples, as a sample."""
    folder = world.directory / f"parts{len(list(world.directory.iterdir()))}"
    folder.mkdir()
    files = [folder / f"{number}.car" for number in range(len(samples))]
    for file, sample in zip(files, samples, strict=True):
        file.write_bytes(sample.car)
    out = io.BytesIO()
    write_aggregate(plan_aggregate([sample.commitment for sample in samples]), files, out)
    payload = out.getvalue()
    return SamplePiece(samples[0].root, payload, commp(io.BytesIO(payload)))

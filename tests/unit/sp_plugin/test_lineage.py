"""What a run brought: new leaves only, once, and not before it can be known."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lotus_client.types import Epoch
from sp_plugin.inputs.base import Materialised
from sp_plugin.jobs.brought import note_brought
from sp_plugin.pruning import Pruning
from sp_plugin.store.held_blocks import HeldBlockRepository
from sp_plugin.store.piece_checks import CheckState
from tests.piece_samples import held, store_unsealed
from tests.unit.sp_plugin.lineage_world import DAY, NEW, OLD, OTHER, SECTOR, World, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as made:
        yield made


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


async def test_blocks_from_inputs_of_no_piece_count_nothing(world: World):
    world.run("a", world.sample(copied=OLD, new=NEW))
    (world.directory / "fetched").mkdir()
    (world.directory / "fetched" / "rain.csv").write_bytes(OLD)
    home = world.directory / "results" / "e-a"
    note_brought(home, [Materialised(world.directory / "fetched", len(OLD))])
    assert await world.counted() == {"a": len(NEW)}


async def test_a_damaged_note_of_what_was_brought_is_waited_for_not_ignored(world: World):
    world.run("a", world.sample(new=NEW))
    note = world.directory / "results" / "e-a" / "inputs.cids"
    note.write_text("bafynonsense\n")
    assert await world.counted() == {}
    note.unlink()
    assert await world.counted() == {"a": len(NEW)}

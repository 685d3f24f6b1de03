"""Results and uses inside aggregates: found by reading, shared as sub-pieces, a whole piece first."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deals.aggregates import plan_aggregate, write_aggregate
from deals.commp import commp
from lotus_client.types import Epoch
from tests.piece_samples import SamplePiece
from tests.unit.sp_plugin.lineage_world import NEW, OLD, OTHER, World, opened
from tests.unit.sp_plugin.test_policy import BUNDLE


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as made:
        yield made


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
    monkeypatch.setattr("tests.unit.sp_plugin.lineage_world.BUNDLE", replace(BUNDLE, terms=terms))
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

"""Which volumes stay in the cache when it, or the disk, is full."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from deals.car import CarBlocks
from deals.unixfs import UnixFs
from deals.volume_cache import cached_volumes, free_bytes, trim_cache
from deals.volumes import Volume, VolumeLimits, materialise, remove_home
from sp_plugin.input_cache import InputCache
from tests.piece_samples import content, sample_piece

NOW = 1_000_000.0
SIZE = 10_000


@pytest.fixture
def volumes(tmp_path: Path) -> list[Volume]:
    """Four volumes of 10,000 bytes each, the first used first."""
    sample = sample_piece(
        tmp_path / "files", {f"{n}.bin": bytes([n]) + content(SIZE - 1) for n in range(4)}
    )
    blocks = CarBlocks(io.BytesIO(sample.car))
    made = [materialise(blocks, sample.root, (f"{n}.bin",), tmp_path / "cache") for n in range(4)]
    for number, volume in enumerate(made):
        os.utime(volume.path.parent / "volume.json", (NOW + number, NOW + number))
    assert UnixFs(blocks)
    return made


def left(volumes: list[Volume]) -> list[int]:
    return [number for number, volume in enumerate(volumes) if volume.path.exists()]


def trim(cache: Path, **changes: object) -> int:
    values = {"most_bytes": 1 << 40, "least_free": 0, "mounted": (), "before": NOW + 100}
    return trim_cache(cache, **(values | changes))  # type: ignore[arg-type]


def test_those_unused_for_longest_go_first_until_the_rest_fits(volumes, tmp_path):
    assert [v.size_bytes for v in cached_volumes(tmp_path / "cache")] == [SIZE] * 4
    assert trim(tmp_path / "cache", most_bytes=2 * SIZE) == 2 * SIZE
    assert left(volumes) == [2, 3]
    assert trim(tmp_path / "cache", most_bytes=2 * SIZE) == 0


def test_a_volume_that_is_given_out_again_is_the_newest(volumes, tmp_path):
    sample = sample_piece(tmp_path / "files", {})
    blocks = CarBlocks(io.BytesIO(sample.car))
    materialise(blocks, volumes[0].root, ("0.bin",), tmp_path / "cache")
    trim(tmp_path / "cache", most_bytes=2 * SIZE, before=1e12)
    assert left(volumes) == [0, 3]


def test_what_runs_read_and_what_was_just_given_out_stays(volumes, tmp_path):
    mounted = {volumes[0].path.parent}
    trim(tmp_path / "cache", most_bytes=0, mounted=mounted, before=NOW + 3)
    assert left(volumes) == [0, 3]


def test_volumes_go_until_the_disk_has_room_and_not_further(volumes, tmp_path, monkeypatch):
    def free(_cache: Path) -> int:
        return 50_000 - SIZE * len(left(volumes))

    monkeypatch.setattr("deals.volume_cache.free_bytes", free)
    trim(tmp_path / "cache", least_free=30_000)
    assert left(volumes) == [2, 3]


def test_a_volume_of_which_the_record_is_gone_is_made_anew(volumes, tmp_path):
    """As a kill in the middle of a removal leaves it."""
    home = volumes[1].path.parent
    (home / "volume.json").unlink()
    assert len(cached_volumes(tmp_path / "cache")) == 3
    sample = sample_piece(tmp_path / "files", {})
    again = materialise(
        CarBlocks(io.BytesIO(sample.car)), volumes[1].root, ("1.bin",), tmp_path / "cache"
    )
    assert again.path.read_bytes() == bytes([1]) + content(SIZE - 1)
    remove_home(home)
    remove_home(home)
    assert left(volumes) == [0, 2, 3]


def test_a_cache_that_was_never_used_has_nothing_to_give(tmp_path):
    assert cached_volumes(tmp_path / "none") == ()
    assert trim(tmp_path / "none", most_bytes=0) == 0
    assert free_bytes(tmp_path / "none" / "deeper") > 0


async def test_the_room_is_what_the_disk_has_above_what_it_keeps_free(
    volumes, tmp_path, monkeypatch
):
    free = 70_000

    def disk(_cache: Path) -> int:
        return free - SIZE * len(left(volumes))

    monkeypatch.setattr("deals.volume_cache.free_bytes", disk)
    monkeypatch.setattr("sp_plugin.input_cache.free_bytes", disk)
    cache = InputCache(
        tmp_path / "cache",
        most_bytes=1 << 40,
        keep_free=20_000,
        mounted=lambda: frozenset({volumes[0].path}),
        clock=lambda: int((NOW + 2000) * 1e9),
    )
    assert cache.make_room() == VolumeLimits(max_bytes=10_000)
    assert left(volumes) == [0, 1, 2, 3]  # there was enough
    free = 50_000
    assert cache.make_room() == VolumeLimits(max_bytes=0)
    assert left(volumes) == [0, 2, 3]  # one had to go, so that 20,000 stay free
    free = 5_000
    assert cache.make_room() == VolumeLimits(max_bytes=0)
    assert left(volumes) == [0]

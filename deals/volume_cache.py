"""Room for volumes: which of those in the cache were used last, and which go first when the disk gets full."""

from __future__ import annotations

import shutil
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from deals.volumes import recorded_size, remove_home, used_at

__all__ = ["CachedVolume", "cached_volumes", "free_bytes", "trim_cache"]


@dataclass(frozen=True, slots=True)
class CachedVolume:
    """A volume in the cache: its directory, the bytes of its files, and when it was last given out (Unix seconds)."""

    home: Path
    size_bytes: int
    used_at: float


def cached_volumes(cache: Path) -> tuple[CachedVolume, ...]:
    """All finished volumes, those unused for longest first."""
    if not cache.is_dir():
        return ()
    found = []
    for home in cache.iterdir():
        size = recorded_size(home)
        if size is not None:
            found.append(CachedVolume(home, size, used_at(home)))
    return tuple(sorted(found, key=lambda volume: volume.used_at))


def free_bytes(cache: Path) -> int:
    """What the disk of the cache, or of the directory it will be in, has free."""
    place = cache
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def trim_cache(
    cache: Path, *, most_bytes: int, least_free: int, mounted: Container[Path], before: float
) -> int:
    """Remove volumes, those unused for longest first, until all together have at most `most_bytes` and the disk has `least_free`.

    Spared are volumes whose directory is in `mounted`, and those used since `before` (Unix seconds), which somebody may be
    about to mount. Gives the bytes removed.
    """
    volumes = cached_volumes(cache)
    total = sum(volume.size_bytes for volume in volumes)
    removed = 0
    for volume in volumes:
        if total <= most_bytes and free_bytes(cache) >= least_free:
            break
        if volume.used_at >= before or volume.home in mounted:
            continue
        remove_home(volume.home)
        total -= volume.size_bytes
        removed += volume.size_bytes
    return removed

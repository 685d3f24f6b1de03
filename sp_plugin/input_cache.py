"""The files written out from pieces for jobs: how much room they may take, and which go when it is used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from deals.volume_cache import free_bytes, trim_cache
from deals.volumes import VolumeLimits

__all__ = ["InputCache"]

# Between the moment a volume is given out and that at which its run has started, nobody says that it is in use.
_SPARED_SECONDS: Final = 900.0

log = structlog.get_logger()


class InputCache:
    """The cache of volumes in `directory`. `mounted` gives the inputs of runs now, `clock` Unix nanoseconds."""

    def __init__(
        self,
        directory: Path,
        *,
        most_bytes: int,
        keep_free: int,
        mounted: Callable[[], frozenset[Path]],
        clock: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._most = most_bytes
        self._keep_free = keep_free
        self._mounted = mounted
        self._clock = clock

    def make_room(self) -> VolumeLimits:
        """What the next volume may take, after what can go has gone to keep the disk free. Blocking."""
        if free_bytes(self._directory) < 2 * self._keep_free:
            self._trim()
        room = max(0, free_bytes(self._directory) - self._keep_free)
        return VolumeLimits(max_bytes=min(VolumeLimits().max_bytes, room))

    async def step(self) -> bool:
        """Remove what is too much."""
        await asyncio.to_thread(self._trim)
        return False

    def _trim(self) -> None:
        removed = trim_cache(
            self._directory,
            most_bytes=self._most,
            least_free=self._keep_free,
            mounted=frozenset(path.parent for path in self._mounted()),
            before=self._clock() / 1e9 - _SPARED_SECONDS,
        )
        if removed:
            log.info("inputs_removed", bytes=removed)

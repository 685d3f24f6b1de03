"""Results of runs that ended long ago are removed from the disk; what is known of them in the store stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.removal import remove_tree
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.store.jobs import ExecutionRecord
from sp_plugin.store.outputs import OutputRepository

__all__ = ["Pruning"]

_DAY_NANOSECONDS: Final = 86_400 * 10**9

log = structlog.get_logger()


class Pruning:
    """Removes `results/<execution>` of ended runs after `keep_days`. `clock` gives Unix nanoseconds.

    A completed run stays until its blocks are known to the lineage, however old it is. Directories that belong to no
    known execution are left alone: they may be of a database that was restored from an older copy. Pieces staged for
    deals and CARs published by root lie elsewhere and are never removed.
    """

    def __init__(
        self,
        results_dir: Path,
        queue: JobQueue,
        outputs: OutputRepository,
        *,
        keep_days: int,
        clock: Callable[[], int],
    ) -> None:
        self._results_dir = results_dir
        self._queue = queue
        self._outputs = outputs
        self._keep = keep_days * _DAY_NANOSECONDS
        self._clock = clock

    async def step(self) -> bool:
        """Remove what is old enough."""
        directories = await asyncio.to_thread(lambda: sorted(self._results_dir.iterdir()))
        if not directories:
            return False
        traced = {record.execution_id for record in await self._outputs.all()}
        before = self._clock() - self._keep
        for directory in directories:
            execution = await self._queue.execution(directory.name)
            if execution is not None and _may_go(execution, traced, before):
                await asyncio.to_thread(remove_tree, directory)
                log.info("results_removed", execution_id=execution.id)
        return False


def _may_go(execution: ExecutionRecord, traced: set[str], before: int) -> bool:
    if not execution.state.is_terminal or execution.modified_at >= before:
        return False
    return execution.state is not ExecutionState.COMPLETED or execution.id in traced

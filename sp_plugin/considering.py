"""Jobs that are looked at as soon as there is news of them, beside the step that looks at all of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from lotus_client.errors import LotusError
from sp_plugin.admission import Admission
from sp_plugin.errors import SpPluginError
from sp_plugin.jobs.queue import InvalidTransition

__all__ = ["Considering"]


class Considering:
    """Asks admission for single jobs, in the background."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._tasks: set[asyncio.Task[None]] = set()

    def look_at(self, job_id: str) -> None:
        """Look at one waiting job soon; if that fails, the step `admit` does it."""
        task = asyncio.create_task(self._look(job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, job_id: str) -> None:
        with suppress(LotusError, SpPluginError, SQLAlchemyError, LookupError, InvalidTransition):
            await self._admission.consider(job_id)

    async def settle(self) -> None:
        """Return when no job is being looked at."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

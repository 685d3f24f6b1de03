"""Minding one run while jobs are held back: its history says so, and it is ended where it must give way."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from sp_plugin.executors.base import OutcomeKind
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.leases import Leases
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.store.jobs import ExecutionResult, Lease, LeaseLost

__all__ = ["Minder"]

_TOPIC: Final = "Guard"
_NANO: Final = 1_000_000_000
_HEEDS_SECONDS: Final = 10.0

log = structlog.get_logger()


class Minder:
    """Minds the run of a lease. Its `phase` is None while inputs are laid out, then the execution's state.

    `ended_for` says why the run was ended to be done again; None while it was not.
    """

    def __init__(self, queue: Leases, lease: Lease, hold: Hold, *, freezable: bool) -> None:
        self._queue, self._lease, self._hold = queue, lease, hold
        self._freezable = freezable
        self._stood = hold.pause.seconds
        self.phase: ExecutionState | None = None
        self.ended_for: str | None = None

    def stood(self) -> int:
        """Nanoseconds for which the run stood still since this was last asked."""
        before, self._stood = self._stood, self._hold.pause.seconds
        return int((self._stood - before) * _NANO)

    async def mind(self, running: asyncio.Future[ExecutionResult], cancel: asyncio.Event) -> None:
        """Until the run is over: note when it is frozen and when it goes on, and end it if it must.

        What it has computed is kept: a run whose results are being published is let be.
        """
        told: str | None = None
        while not running.done():
            change = self._hold.changes.moment()
            why = self._hold.why_stop(freezable=self._freezable)
            if why is not None and self.phase is not ExecutionState.PUBLISHING:
                await self._end(why, running, cancel)
                return
            if (self._hold.why_frozen is None) is not (told is None):
                told = self._hold.why_frozen
                await self._note(f"frozen: {told}" if told else "goes on")
            await _either(running, change)

    async def _end(
        self, why: str, running: asyncio.Future[ExecutionResult], cancel: asyncio.Event
    ) -> None:
        self.ended_for = why
        log.warning("execution_gives_way", job_id=self._lease.job.id, reason=why)
        cancel.set()
        if self.phase is not None:  # an executor heeds it, or it is one that does not
            await asyncio.wait({running}, timeout=_HEEDS_SECONDS)
        if self.phase is not ExecutionState.PUBLISHING:
            running.cancel()

    async def _note(self, text: str) -> None:
        try:
            await self._queue.note(self._lease, _TOPIC, text)
        except (LeaseLost, SQLAlchemyError) as error:  # the heartbeat deals with it
            log.warning("note_failed", job_id=self._lease.job.id, error=str(error))

    def gave_way(self, result: ExecutionResult | None) -> ExecutionResult | None:
        """What to record, to be queued again without an attempt lost, if the run (None: cut off) ended for us."""
        if self.ended_for is None:
            return None
        if result is not None and result.outcome != OutcomeKind.CANCELLED:
            return None  # it ended by itself a moment before
        return ExecutionResult(
            state=ExecutionState.FAILED,
            outcome=OutcomeKind.RUNTIME_FAULT.value,
            message=f"ended to give way: {self.ended_for}",
        )


async def _either(running: asyncio.Future[ExecutionResult], change: asyncio.Event) -> None:
    waiting = asyncio.ensure_future(change.wait())
    both: set[asyncio.Future[Any]] = {running, waiting}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()

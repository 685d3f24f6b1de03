"""The worker: takes a job from the queue, keeps its lease while it runs, and reports once.

Killed at any moment, the next start finds the lease, gives the job back to the queue under a higher token and removes
what the run left; a result of the old token is refused. Guests die with the process (see the executors).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from sp_plugin.executors.base import OutcomeKind
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.minding import Minder
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.running import JobRunner
from sp_plugin.jobs.signals import first_of
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.store.jobs import ExecutionResult, JobRecord, Lease, LeaseLost

__all__ = ["StartCheck", "Worker"]

log = structlog.get_logger()

_BEAT_SECONDS: Final = 1.0
_TIDY_SECONDS: Final = 1.0
_TELL_SECONDS: Final = 10.0

StartCheck = Callable[[JobRecord], Awaitable[str | None]]


class Worker:
    """Runs one job at a time. `why_not_start` has the last word: a reason sends the job back to `Pending`.

    While `hold` forbids it nothing is started; what runs then is frozen, or ended and queued again without an attempt lost.
    `on_end` is called when a run's end was recorded.
    """

    def __init__(
        self,
        queue: JobQueue,
        runner: JobRunner,
        node_id: str,
        *,
        why_not_start: StartCheck | None = None,
        hold: Hold | None = None,
        idle_seconds: float = 1.0,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._runner = runner
        self._node_id = node_id
        self._why_not_start = why_not_start
        self._hold = hold or Hold()
        self._tell_at = 0.0
        self._idle_seconds = idle_seconds
        self._on_end = on_end
        self._tidy_at = 0.0

    def wake(self) -> None:
        """Look at the queue now."""
        self._queue.work.give()

    async def run(self, stop: asyncio.Event) -> None:
        """Take and run jobs until `stop` is set; the one that runs then is killed and queued again."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                step = asyncio.create_task(self._step())
                await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    step.cancel()
                with suppress(asyncio.CancelledError):
                    await step
        finally:
            stopping.cancel()

    async def _step(self) -> None:
        # before looking: what is queued, or allowed, while we look counts
        work, change = self._queue.work.moment(), self._hold.changes.moment()
        try:
            if await self.run_once():
                return
        except SQLAlchemyError as error:  # the database is away for a moment
            log.warning("queue_unavailable", error=str(error))
        await first_of(work, change, seconds=self._idle_seconds)

    async def run_once(self) -> bool:
        """Run the next job, if there is one; whether there was."""
        await self._tidy()
        if (why := self._hold.why_no_start()) is not None:
            await self._tell_waiting(why)
            return False
        lease = await self._queue.take(self._node_id, self._why_not_start, self._why_wait)
        if lease is None:
            return False
        log.info("execution_started", job_id=lease.job.id, execution_id=lease.execution_id)
        try:
            await self._run(lease)
        except LeaseLost as error:
            log.warning("lease_lost", job_id=lease.job.id, error=str(error))
        except asyncio.CancelledError:
            with suppress(LeaseLost):
                await asyncio.shield(
                    self._queue.finish(lease, _interrupted(), retry=True, counted=False)
                )
            raise
        return True

    def _why_wait(self, job: JobRecord) -> str | None:
        return self._hold.why_no_start(freezable=self._runner.can_freeze(job))

    async def _tell_waiting(self, why: str) -> None:
        """Not at every look: for hours nothing may change."""
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            await self._queue.tell_waiting(why)

    async def _tidy(self) -> None:
        """Give leases back that ran out and end what is too late, about once a second and not once a job."""
        now = time.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + min(_TIDY_SECONDS, self._idle_seconds)
            await self._queue.requeue_expired()
            await self._queue.end_late()

    async def _run(self, lease: Lease) -> None:
        cancel, ended = asyncio.Event(), asyncio.Event()
        freezable = self._runner.can_freeze(lease.job)
        minder = Minder(self._queue, lease, self._hold, freezable=freezable)

        async def on_state(state: ExecutionState, message: str) -> None:
            minder.phase = state
            await self._queue.set_execution_state(lease, state, message)

        running = asyncio.ensure_future(self._runner.run(lease, cancel, on_state))
        beating = asyncio.create_task(self._keep_lease(lease, cancel, ended, minder))
        minding = asyncio.create_task(minder.mind(running, cancel))
        try:
            result = await self._result_of(lease, running, minder)
        finally:
            # Not cancelled: cut off inside its transaction, a heartbeat would leave SQLite's write lock behind.
            ended.set()
            await beating
            await minding
        gave_way = minder.gave_way(result)
        if gave_way is not None:
            await self._queue.finish(lease, gave_way, retry=True, counted=False)
            return
        assert result is not None
        retry = OutcomeKind(result.outcome).is_retryable
        await self._queue.finish(lease, result, retry=retry)
        self._on_end()
        log.info(
            "execution_ended",
            job_id=lease.job.id,
            execution_id=lease.execution_id,
            outcome=result.outcome,
            exit_code=result.exit_code,
        )

    async def _result_of(
        self, lease: Lease, running: asyncio.Future[ExecutionResult], minder: Minder
    ) -> ExecutionResult | None:
        """How the run ended; None if it was cut off because it had to give way."""
        try:
            return await running
        except LeaseLost:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if minder.ended_for is None or (task is not None and task.cancelling()):
                raise
            return None
        except Exception as error:  # the outermost place of a run: one job must not end the worker
            log.exception("execution_broke", job_id=lease.job.id)
            return _broken(error)

    async def _keep_lease(
        self, lease: Lease, cancel: asyncio.Event, ended: asyncio.Event, minder: Minder
    ) -> None:
        """Send heartbeats until the run has ended; ends the run when the job is to stop or the lease is lost."""
        pause = min(self._queue.rules.lease_seconds / 3, _BEAT_SECONDS)
        while not ended.is_set():
            stops = self._queue.stops.moment()
            try:
                if await self._queue.heartbeat(lease, minder.stood()):
                    cancel.set()
            except LeaseLost:
                cancel.set()  # its report will be refused
                return
            except SQLAlchemyError as error:  # the lease may still be alive at the next beat
                log.warning("heartbeat_failed", job_id=lease.job.id, error=str(error))
            await first_of(ended, stops, seconds=pause)


def _interrupted() -> ExecutionResult:
    return ExecutionResult(
        state=ExecutionState.FAILED,
        outcome=OutcomeKind.RUNTIME_FAULT.value,
        message="the sidecar was stopped during the run",
    )


def _broken(error: Exception) -> ExecutionResult:
    return ExecutionResult(
        state=ExecutionState.FAILED,
        outcome=OutcomeKind.RUNTIME_FAULT.value,
        message=f"the run broke: {type(error).__name__}: {error}"[:1000],
    )

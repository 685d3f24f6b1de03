"""The worker: takes a job from the queue, keeps its lease while it runs, and reports once.

Killed at any moment, the next start finds the lease. A container that runs on is waited for under the same lease (see
`Workshop.clear`); every other job goes back to the queue under a higher token, what its run left is removed, and a result
of the old token is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from lotus_client.errors import LotusError
from sp_plugin.executors.base import OutcomeKind
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.minding import Minder
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.retries import retry_rule
from sp_plugin.jobs.running import JobRunner
from sp_plugin.jobs.signals import first_of
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.jobs.transitions import Reached
from sp_plugin.store.jobs import ExecutionResult, JobRecord, Lease, LeaseLost

__all__ = ["StartCheck", "Worker"]

log = structlog.get_logger()

_BEAT_SECONDS: Final = 1.0
_TIDY_SECONDS: Final = 1.0
_MOMENT_SECONDS: Final = 0.25  # in which most small runs have ended
_TELL_SECONDS: Final = 10.0

StartCheck = Callable[[JobRecord], Awaitable[str | None]]


class Worker:
    """Runs one job at a time. `why_not_start` has the last word: a reason sends the job back to `Pending`.

    While `hold` forbids it nothing is started; what runs then is frozen, or ended and queued again without an attempt lost.
    `on_end` is called when a run's end was recorded. `resumed` are runs of an earlier process that go on first; workers
    may share the list. `wait_scale` shortens the waits before retries, for tests.
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
        resumed: list[Lease] | None = None,
        wait_scale: float = 1.0,
    ) -> None:
        self._queue = queue
        self._runner = runner
        self._node_id = node_id
        self._why_not_start = why_not_start
        self._hold = hold or Hold()
        self._tell_at = 0.0
        self._idle_seconds = idle_seconds
        self._on_end = on_end
        self._resumed = [] if resumed is None else resumed
        self._wait_scale = wait_scale
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
            if not await self.run_once(work):
                await first_of(work, change, seconds=self._idle_seconds)
        except SQLAlchemyError as error:  # the database is away for a moment
            log.warning("queue_unavailable", error=str(error))
            await asyncio.sleep(self._idle_seconds)
        except LotusError as error:  # nobody can say whether a job may start: it stays queued
            log.warning("start_not_decided", error=str(error))
            await asyncio.sleep(self._idle_seconds)
        finally:
            self._queue.work.forget(work)

    async def run_once(self, work: asyncio.Event | None = None) -> bool:
        """Run the next job, if there is one; whether there was. `work` is this worker's place among those who wait."""
        await self._tidy()
        # What an earlier process began runs already: it is minded at once, whatever the hold says.
        if not self._resumed and (why := self._hold.why_no_start()) is not None:
            await self._tell_waiting(why)
            return False
        stops = self._queue.stops.moment()  # before the job is ours: no wish to stop it is missed
        lease = self._resumed.pop() if self._resumed else None
        if lease is None:
            lease = await self._queue.take(self._node_id, self._why_not_start, self._why_wait)
        if lease is None:
            return False
        if work is not None:  # it is busy from now on, and there may be more
            self._queue.work.forget(work)
            self._queue.work.give()
        log.info("execution_started", job_id=lease.job.id, execution_id=lease.execution_id)
        freezable = self._runner.can_freeze(lease.job)
        minder = Minder(self._queue, lease, self._hold, freezable=freezable)
        keeper = _Keeper(self._queue, lease, minder)
        try:
            await self._run(lease, keeper, stops)
        except LeaseLost as error:
            log.warning("lease_lost", job_id=lease.job.id, error=str(error))
        except asyncio.CancelledError:
            with suppress(LeaseLost):
                await asyncio.shield(
                    self._queue.finish(
                        lease, _interrupted(), reached=keeper.reached, retry=True, counted=False
                    )
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

    async def _run(self, lease: Lease, keeper: _Keeper, stops: asyncio.Event) -> None:
        running = asyncio.ensure_future(self._runner.run(lease, keeper.cancel, keeper.on_state))
        beating = asyncio.create_task(keeper.keep(stops))
        minding = asyncio.create_task(keeper.minder.mind(running, keeper.cancel))
        try:
            result = await self._result_of(lease, running, keeper.minder)
        finally:
            # Not cancelled: cut off inside its transaction, a heartbeat would leave SQLite's write lock behind.
            keeper.ended.set()
            await beating
            await minding
        gave_way = keeper.minder.gave_way(result)
        if gave_way is not None:
            await self._queue.finish(
                lease, gave_way, reached=keeper.reached, retry=True, counted=False
            )
            return
        assert result is not None
        rule = retry_rule(result.outcome)
        wait = rule.wait_after(lease.attempt)
        await self._queue.finish(
            lease,
            result,
            reached=keeper.reached,
            retry=wait is not None,
            most_attempts=rule.attempts,
            wait_seconds=(wait or 0) * self._wait_scale,
        )
        await self._runner.recorded(lease, result)
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


class _Keeper:
    """Keeps the lease of one run by heartbeats, which carry the states that the run reached.

    A run that ends within a moment needs no heartbeat at all: its states are recorded with its end, in one transaction.
    """

    def __init__(self, queue: JobQueue, lease: Lease, minder: Minder) -> None:
        self._queue = queue
        self._lease = lease
        self.minder = minder
        self._stood = 0  # nanoseconds that no heartbeat has told yet
        self._news = asyncio.Event()
        self.cancel = asyncio.Event()
        self.ended = asyncio.Event()
        self.reached: list[Reached] = []  # not recorded yet

    async def on_state(self, state: ExecutionState, message: str) -> None:
        """The run reached a state."""
        self.minder.phase = state
        self.reached.append(Reached(state, message, self._queue.now()))
        self._news.set()

    async def keep(self, stops: asyncio.Event) -> None:
        """Send heartbeats until the run has ended; ends the run when the job is to stop or the lease is lost."""
        pause = min(self._queue.rules.lease_seconds / 3, _BEAT_SECONDS)
        while True:
            await first_of(self.ended, stops, self._news, seconds=pause)
            if self._news.is_set() and not stops.is_set():
                await first_of(self.ended, stops, seconds=_MOMENT_SECONDS)
            self._news.clear()
            if self.ended.is_set():
                return
            stops = self._queue.stops.moment()
            if not await self._beat():
                return

    async def _beat(self) -> bool:
        """Whether the lease still holds, as far as can be told."""
        told = tuple(self.reached)
        self._stood += self.minder.stood()
        try:
            if await self._queue.heartbeat(self._lease, told, stood=self._stood):
                self.cancel.set()
        except LeaseLost:
            self.cancel.set()  # its report will be refused
            return False
        except SQLAlchemyError as error:  # the lease may still be alive at the next beat
            log.warning("heartbeat_failed", job_id=self._lease.job.id, error=str(error))
        else:
            del self.reached[: len(told)]
            self._stood = 0
        return True


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

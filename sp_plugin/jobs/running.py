"""One execution from its inputs to its published results and its run record. Knows nothing of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

from lotus_client.types import Epoch
from sp_plugin.executors.base import (
    ExecutionOutcome,
    Executor,
    Freezable,
    OutcomeKind,
    OutlivesUs,
)
from sp_plugin.jobs.keeping import ResultKeeper, state_of
from sp_plugin.jobs.notes import Notes
from sp_plugin.jobs.preparing import CannotRun, Prepared, Preparer, RunSettings
from sp_plugin.jobs.programs import Programs
from sp_plugin.jobs.publishing import Publishing
from sp_plugin.jobs.reading import Kinds
from sp_plugin.jobs.records import RECORD_SCHEMA
from sp_plugin.jobs.removal import remove_soon, remove_tree
from sp_plugin.jobs.signals import Interrupted, unless
from sp_plugin.jobs.spec import JobSpec
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.jobs.verifying import Verification, run_again
from sp_plugin.store.jobs import ExecutionResult, JobRecord, Lease

__all__ = ["JobRunner"]

_FAILED_BEFORE_START: Final = {
    "Stdout": "",
    "StdoutTruncated": False,
    "stderr": "",  # lower case on Bacalhau's wire, unlike its neighbours
    "StderrTruncated": False,
    "ExitCode": -1,
}
OnState = Callable[[ExecutionState, str], Awaitable[None]]


class JobRunner:
    """Runs leased jobs. `clock` gives Unix nanoseconds, `head` the chain's newest epoch as far as it is known here."""

    def __init__(
        self,
        kinds: Kinds,
        programs: Programs,
        settings: RunSettings,
        clock: Callable[[], int],
        head: Callable[[], Epoch],
    ) -> None:
        self._executors = programs.executors
        self._preparer = Preparer(kinds, programs, settings)
        self._settings = settings
        self._clock = clock
        self._head = head
        self._mounted: dict[str, tuple[Path, ...]] = {}
        self._publishing = Publishing(
            kinds,
            settings.publishing,
            denylist=settings.denylist,
            key=settings.record_key,
            pauses=settings.publish_pauses,
        )
        self._keeper = ResultKeeper(settings, self._publishing, clock)

    def clean(self, keep: Collection[str] = ()) -> None:
        """Remove what runs of a killed process left in the work directory, but those of executions in `keep`.

        Call it before the first run.
        """
        work = self._settings.work_dir
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in work.iterdir():
            if left.name not in keep:
                remove_tree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        self._publishing.unpublished.tidy()

    def can_freeze(self, job: JobRecord) -> bool:
        """Whether a run of this job can be made to stand still."""
        tasks = job.spec.get("Tasks") or [{}]
        kind = str((tasks[0].get("Engine") or {}).get("Type", "")).casefold()
        return isinstance(self._executors.get(kind), Freezable)

    async def run(self, lease: Lease, cancel: asyncio.Event, on_state: OnState) -> ExecutionResult:
        """How the execution ended; its results are kept and published when it comes back.

        `on_state` hears of `Running` and `Publishing`; what it raises ends the run. A lease with `began_at` is one whose
        program is running already.
        """
        left = self._publishing.unpublished.take(lease)
        if left is not None:
            await on_state(ExecutionState.PUBLISHING, f"publishing what {left.ran_as} left")
            if lease.began_at is not None:
                await self._abandon(lease)
            spec = JobSpec.model_validate(lease.job.spec)
            await self._settings.hold.pause.wait_off(cancel)
            return await self._publishing.publish(lease, spec, left, cancel)
        run_dir = self._settings.work_dir / lease.execution_id
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=lease.began_at is not None)
        started = lease.began_at or self._clock()
        notes = Notes(lambda text: on_state(ExecutionState.RUNNING, text))
        is_handed_over = False  # from then on the executor ends what it runs
        try:
            try:
                prepared = await unless(cancel, self._preparer.prepare(lease, run_dir, notes.add))
            except Interrupted as error:
                message = "stopped while its inputs were laid out"
                raise CannotRun(OutcomeKind.CANCELLED, message) from error
            self._mounted[lease.execution_id] = tuple(
                volume.host_path for volume in prepared.inputs
            )
            await on_state(ExecutionState.RUNNING, "running")
            executor = self._executors[prepared.spec.task.engine.kind]
            is_handed_over = True
            outcome = await executor.run(prepared.request, cancel)
            await notes.close()
            verification = await self._verify(prepared, executor, outcome, cancel)
            await on_state(ExecutionState.PUBLISHING, outcome.message or "publishing results")
            await self._settings.hold.pause.wait_off(cancel)  # packing is work of ours
            return await self._conclude(
                lease, prepared, outcome, verification, started=started, cancel=cancel
            )
        except CannotRun as failure:
            record = {
                "schema": RECORD_SCHEMA,
                "job_id": lease.job.id,
                "execution_id": lease.execution_id,
                "bundle_digest": lease.job.bundle_digest,
                "outcome": failure.kind.value,
            }
            return ExecutionResult(
                state=state_of(failure.kind),
                outcome=failure.kind.value,
                message=str(failure),
                run_output={**_FAILED_BEFORE_START, "ErrorMsg": str(failure)},
                run_record=self._publishing.signed(record),
            )
        finally:
            if lease.began_at is not None and not is_handed_over:
                await self._abandon(lease)
            await notes.close()
            self._mounted.pop(lease.execution_id, None)
            if run_dir.exists():
                await remove_soon(run_dir)

    async def recorded(self, lease: Lease, result: ExecutionResult) -> None:
        """To be called when the queue knows the result: only then nothing of the run is needed to go on with it."""
        await self._publishing.recorded(lease, result)

    def mounted(self) -> frozenset[Path]:
        """The files and directories that are inputs of runs now."""
        return frozenset(path for paths in self._mounted.values() for path in paths)

    async def _abandon(self, lease: Lease) -> None:
        """End a program that runs already and cannot be waited for."""
        for executor in self._executors.values():
            if isinstance(executor, OutlivesUs):
                await executor.abandon(lease.execution_id)

    async def _verify(
        self,
        prepared: Prepared,
        executor: Executor,
        outcome: ExecutionOutcome,
        cancel: asyncio.Event,
    ) -> Verification | None:
        """Run a finished job again where its bundle asks for it."""
        times = prepared.bundle.get("verify", 0)
        if not times or outcome.kind is not OutcomeKind.FINISHED:
            return None
        return await run_again(executor, prepared.request, outcome, times, cancel)

    async def _conclude(
        self,
        lease: Lease,
        prepared: Prepared,
        outcome: ExecutionOutcome,
        verification: Verification | None,
        *,
        started: int,
        cancel: asyncio.Event,
    ) -> ExecutionResult:
        kept = await self._keeper.keep(
            lease, prepared, outcome, verification, started=started, epoch=self._head()
        )
        if isinstance(kept, ExecutionResult):
            return kept
        return await self._publishing.publish(lease, prepared.spec, kept, cancel)

"""One execution from its inputs to its published results and its run record. Knows nothing of the queue.

What was approved is what runs: arguments, environment, limits and outputs are taken from the bundle, and the inputs and
the program found now must be those of the bundle by content.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from deals.denylist import Denylist
from fil_plus.bundle import MAX_FUEL
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import Epoch
from sp_plugin.executors.base import (
    MIB,
    ExecutionLimits,
    ExecutionOutcome,
    ExecutionRequest,
    Executor,
    Freezable,
    InputVolume,
    OutcomeKind,
    OutlivesUs,
    OutputVolume,
    ProgramMissing,
    ResolvedProgram,
)
from sp_plugin.executors.capture import write_exit_code
from sp_plugin.inputs.base import InputContext, InputMissing, InputSealed, Materialised
from sp_plugin.jobs.approved import system_environment, what_changed
from sp_plugin.jobs.brought import note_brought
from sp_plugin.jobs.bundle import (
    identify_inputs,
    materialise_input,
    pinned_urls,
)
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.notes import Notes
from sp_plugin.jobs.outputs import (
    OutputRefused,
    OutputTooLarge,
    PackedResults,
    check_outputs,
    pack_results,
)
from sp_plugin.jobs.programs import Programs
from sp_plugin.jobs.publishing import PAUSES, Publishing, denied_in
from sp_plugin.jobs.reading import Kinds
from sp_plugin.jobs.records import RECORD_SCHEMA, run_record
from sp_plugin.jobs.removal import remove_soon, remove_tree
from sp_plugin.jobs.signals import Interrupted, unless
from sp_plugin.jobs.spec import InputSourceSpec, JobSpec
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.jobs.unpublished import FinishedRun, finished_run, run_output
from sp_plugin.jobs.verifying import Verification, run_again
from sp_plugin.publishers.base import PublishContext
from sp_plugin.store.jobs import ExecutionResult, JobRecord, Lease

__all__ = ["JobRunner", "RunSettings"]

_MILLI: Final = 1_000_000  # nanoseconds of a millisecond; RFC 8785 has no numbers as large as nanoseconds of today
_FAILED_BEFORE_START: Final = {
    "Stdout": "",
    "StdoutTruncated": False,
    "stderr": "",  # lower case on Bacalhau's wire, unlike its neighbours
    "StderrTruncated": False,
    "ExitCode": -1,
}
OnState = Callable[[ExecutionState, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Where runs work and what every one may use. `work_dir` belongs to this process alone.

    What is on `denylist` is dropped from results before they are published. By engine: `stream_bytes` is kept of stdout and of
    stderr each, `MIB` for an engine not named there; `cpu_seconds` is the most CPU time of a run, no limit where it is not named.
    """

    work_dir: Path
    context: InputContext
    publishing: PublishContext
    stream_bytes: Mapping[str, int] = field(default_factory=dict)
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    denylist: Callable[[], Denylist] = Denylist
    output_files: int = 10_000
    processes: int = 128
    hold: Hold = field(default_factory=Hold)  # no work of our own is begun against it
    record_key: Secp256k1Key | None = None  # signs run records
    publish_pauses: tuple[float, ...] = PAUSES  # seconds between tries to publish


class _Failed(Exception):
    def __init__(self, kind: OutcomeKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class _Prepared:
    spec: JobSpec
    bundle: Mapping[str, Any]
    program: ResolvedProgram
    inputs: Sequence[Materialised]
    request: ExecutionRequest


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
        self._kinds = kinds
        self._programs = programs
        self._executors = programs.executors
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
                prepared = await unless(cancel, self._prepare(lease, run_dir, notes.add))
            except Interrupted as error:
                message = "stopped while its inputs were laid out"
                raise _Failed(OutcomeKind.CANCELLED, message) from error
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
        except _Failed as failure:
            record = {
                "schema": RECORD_SCHEMA,
                "job_id": lease.job.id,
                "execution_id": lease.execution_id,
                "bundle_digest": lease.job.bundle_digest,
                "outcome": failure.kind.value,
            }
            return ExecutionResult(
                state=_state_of(failure.kind),
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

    async def _prepare(
        self, lease: Lease, run_dir: Path, notify: Callable[[str], None]
    ) -> _Prepared:
        bundle = lease.job.bundle
        if bundle is None:
            raise _Failed(OutcomeKind.RUNTIME_FAULT, "the job has no bundle; it was never resolved")
        spec = JobSpec.model_validate(lease.job.spec)
        task = spec.task
        pinned = pinned_urls(
            (item["source"], item["path"], Cid.parse(item["cid"])) for item in bundle["inputs"]
        )
        context = replace(self._settings.context, pinned=pinned)
        volumes: dict[str, Materialised] = {}
        try:
            identities = await identify_inputs(task, self._kinds, context)
            for item in task.inputs:
                if (
                    lease.began_at is None
                ):  # else it runs already, and is frozen only once it is watched
                    await self._may_read(item)
                volumes[item.target] = await materialise_input(item, self._kinds, context, run_dir)

            async def find(target: str) -> Path:
                return volumes[target].host_path

            program = await self._programs.find(task, identities, find)
        except InputSealed as error:
            raise _Failed(OutcomeKind.INPUT_SEALED, str(error)) from error
        except InputMissing as error:
            raise _Failed(OutcomeKind.INPUT_MISSING, str(error)) from error
        except ProgramMissing as error:
            raise _Failed(error.kind, str(error)) from error
        except OSError as error:
            message = f"the inputs cannot be laid out: {error}"
            raise _Failed(OutcomeKind.RUNTIME_FAULT, message) from error
        found = [(item.source, str(item.cid), item.target, item.path) for item in identities]
        if (changed := what_changed(found, task.engine.kind, program, bundle)) is not None:
            raise _Failed(OutcomeKind.INPUT_CHANGED, changed)
        result_dir = run_dir / "results"
        result_dir.mkdir(mode=0o755, exist_ok=lease.began_at is not None)
        inputs = [volumes[item.target] for item in task.inputs]
        volumes_by_place = tuple(
            InputVolume(volumes[item.target].host_path, item.target) for item in task.inputs
        )
        request = ExecutionRequest(
            execution_id=lease.execution_id,
            job_id=lease.job.id,
            program=program.program,
            result_dir=result_dir,
            arguments=tuple(bundle["arguments"]),
            environment={**bundle["env"], **system_environment(lease, spec)},
            inputs=volumes_by_place,
            outputs=tuple(OutputVolume(item["name"], item["path"]) for item in bundle["outputs"]),
            limits=self._limits(bundle),
            token=lease.token,
            is_resumed=lease.began_at is not None,
            notify=notify,
        )
        return _Prepared(spec, bundle, program, inputs, request)

    async def _may_read(self, item: InputSourceSpec) -> None:
        """Return when an input may be laid out. What is in the job itself is there at once, the rest cannot be frozen."""
        hold = self._settings.hold
        if item.source.kind == "inline":
            await hold.pause.wait_off()
        else:
            await hold.until_free()

    def _limits(self, bundle: Mapping[str, Any]) -> ExecutionLimits:
        engine, limits = bundle["engine"], bundle["limits"]
        fuel = bundle.get("fuel")
        if fuel is None and bundle.get("verify"):
            fuel = MAX_FUEL  # counted, because equal runs take equal fuel
        return ExecutionLimits(
            fuel=fuel,
            memory_bytes=limits["memory_bytes"],
            wall_seconds=float(limits["timeout_seconds"]),
            cpu_seconds=self._settings.cpu_seconds.get(engine),
            cpu_millis=limits["cpu_millis"],
            output_bytes=limits["disk_bytes"],
            stream_bytes=self._settings.stream_bytes.get(engine, MIB),
            output_files=self._settings.output_files,
            processes=self._settings.processes,
            gpus=limits.get("gpus", 0),
        )

    async def _verify(
        self,
        prepared: _Prepared,
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
        prepared: _Prepared,
        outcome: ExecutionOutcome,
        verification: Verification | None,
        *,
        started: int,
        cancel: asyncio.Event,
    ) -> ExecutionResult:
        kept = await asyncio.to_thread(
            self._kept, lease, prepared, outcome, verification, started=started, epoch=self._head()
        )
        if isinstance(kept, ExecutionResult):
            return kept
        return await self._publishing.publish(lease, prepared.spec, kept, cancel)

    def _kept(
        self,
        lease: Lease,
        prepared: _Prepared,
        outcome: ExecutionOutcome,
        verification: Verification | None,
        *,
        started: int,
        epoch: Epoch,
    ) -> ExecutionResult | FinishedRun:
        """How it ended, or a run that is to be published yet: its results are packed where they stay, the rest is noted. Blocking."""
        kind, message = outcome.kind, outcome.message
        if verification is not None:
            kind, message = verification.kind, verification.message
        packed: PackedResults | None = None
        try:
            packed = self._keep(lease.execution_id, prepared.request)
            if prepared.spec.task.publisher.kind == "filecoin":
                note_brought(packed.car.parent, prepared.inputs)
        except OutputTooLarge as error:
            kind, message = _first_fault(kind, message, OutcomeKind.OUT_OF_DISK, str(error))
        except OutputRefused as error:
            kind, message = _first_fault(kind, message, OutcomeKind.OUTPUT_REFUSED, str(error))
        except OSError as error:
            kind, message = _first_fault(kind, message, OutcomeKind.PUBLISH_FAILED, str(error))
        if kind is OutcomeKind.FINISHED and outcome.exit_code:
            message = f"the program ended with exit code {outcome.exit_code}"
        ended = self._clock()
        record = run_record(lease, prepared.bundle, prepared.inputs, outcome, packed)
        record |= {"epoch": epoch, "outcome": kind.value, "published": {}}
        record |= {"started_at_ms": started // _MILLI, "ended_at_ms": ended // _MILLI}
        record["verification"] = None if verification is None else verification.to_json()
        if kind is OutcomeKind.FINISHED and packed is not None:
            run = finished_run(lease, packed, outcome, record, message=message, ended_at=ended)
            try:
                return self._publishing.keep(lease, prepared.spec, run) or run
            except OSError as error:
                kind, message = OutcomeKind.PUBLISH_FAILED, f"the results cannot be kept: {error}"
                record["outcome"] = kind.value
        record = self._publishing.signed(record)
        self._publishing.lay_beside(lease.execution_id, record)
        return ExecutionResult(
            state=_state_of(kind),
            outcome=kind.value,
            message=message,
            exit_code=outcome.exit_code,
            run_output=run_output(outcome, message),
            published={"Type": "", "Params": {}},
            run_record=record,
        )

    def _keep(self, execution_id: str, request: ExecutionRequest) -> PackedResults:
        """Check and move the results to their final place and pack them; refused outputs are dropped, streams are kept."""
        home = self._settings.publishing.results_dir / execution_id
        remove_tree(home)
        home.mkdir(parents=True)
        directories = [request.result_dir / output.name for output in request.outputs]
        refusal: OutputRefused | None = None
        try:
            check_outputs([path for path in directories if path.exists()], request.limits)
        except OutputRefused as error:
            refusal = error
            for directory in directories:
                remove_tree(directory)
        if not (request.result_dir / "exitCode").exists():
            write_exit_code(request.result_dir, None)
        shutil.move(request.result_dir, home / "files")
        packed = pack_results(home / "files", home / "results.car")
        if denied := denied_in(packed.car, self._settings.denylist()):
            refusal = OutputRefused(str(denied))
            for output in request.outputs:
                remove_tree(home / "files" / output.name)
            for stream in ("stdout", "stderr"):
                (home / "files" / stream).write_bytes(b"")
            packed = pack_results(home / "files", home / "results.car")
        if refusal is not None:
            raise refusal
        return packed


def _state_of(kind: OutcomeKind) -> ExecutionState:
    if kind is OutcomeKind.FINISHED:
        return ExecutionState.COMPLETED
    if kind is OutcomeKind.CANCELLED:
        return ExecutionState.CANCELLED
    return ExecutionState.FAILED


def _first_fault(
    kind: OutcomeKind, message: str, other: OutcomeKind, other_message: str
) -> tuple[OutcomeKind, str]:
    """What went wrong first counts; a later fault only adds to a run that had finished."""
    if kind is OutcomeKind.FINISHED:
        return other, other_message
    return kind, f"{message}; then {other_message}"

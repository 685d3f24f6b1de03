"""One execution from its inputs to its published results and its run record. Knows nothing of the queue.

What was approved is what runs: arguments, environment, limits and outputs are taken from the bundle, and the inputs and
the program found now must be those of the bundle by content.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deals.car import CarReader
from deals.denylist import Denied, Denylist
from fil_plus.bundle import MAX_FUEL
from lotus_client.crypto import Secp256k1Key
from lotus_client.types import Epoch
from sp_plugin.executors.base import (
    MIB,
    ExecutionLimits,
    ExecutionOutcome,
    ExecutionRequest,
    Executor,
    InputVolume,
    OutcomeKind,
    OutputVolume,
    ProgramMissing,
    ResolvedProgram,
)
from sp_plugin.executors.capture import write_exit_code
from sp_plugin.inputs.base import InputContext, InputMissing, Materialised
from sp_plugin.jobs.bundle import (
    DEFAULT_PUBLISHER,
    find_program,
    identify_inputs,
    materialise_input,
    program_identity,
)
from sp_plugin.jobs.outputs import OutputRefused, PackedResults, check_outputs, pack_results
from sp_plugin.jobs.reading import Kinds, params_of
from sp_plugin.jobs.records import RECORD_SCHEMA, run_record, sign_record
from sp_plugin.jobs.removal import remove_soon, remove_tree
from sp_plugin.jobs.spec import JobSpec, SpecConfig
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.jobs.verifying import Verification, run_again
from sp_plugin.publishers.base import (
    PUBLISHERS,
    PublishContext,
    Published,
    PublishError,
    Results,
)
from sp_plugin.publishers.local import archive_path, pack_archive
from sp_plugin.store.jobs import ExecutionResult, Lease

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

    What is on `denylist` is dropped from results before they are published. `stream_bytes` is kept of stdout and of stderr each, by engine; `MIB` for an engine not named there.
    """

    work_dir: Path
    context: InputContext
    publishing: PublishContext
    stream_bytes: Mapping[str, int] = field(default_factory=dict)
    denylist: Callable[[], Denylist] = Denylist
    output_files: int = 10_000
    processes: int = 128
    record_key: Secp256k1Key | None = None  # signs run records


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
        executors: Mapping[str, Executor],
        settings: RunSettings,
        clock: Callable[[], int],
        head: Callable[[], Epoch],
    ) -> None:
        self._kinds = kinds
        self._executors = executors
        self._settings = settings
        self._clock = clock
        self._head = head
        self._mounted: dict[str, tuple[Path, ...]] = {}

    def clean(self) -> None:
        """Remove what runs of a killed process left in the work directory. Call it before the first run."""
        remove_tree(self._settings.work_dir)
        self._settings.work_dir.mkdir(mode=0o700, parents=True)

    async def run(self, lease: Lease, cancel: asyncio.Event, on_state: OnState) -> ExecutionResult:
        """How the execution ended; its results are kept and published when it comes back.

        `on_state` hears of `Running` and `Publishing`; what it raises ends the run.
        """
        run_dir = self._settings.work_dir / lease.execution_id
        run_dir.mkdir(mode=0o700, parents=True)
        started = self._clock()
        try:
            prepared = await self._prepare(lease, run_dir)
            self._mounted[lease.execution_id] = tuple(
                volume.host_path for volume in prepared.inputs
            )
            await on_state(ExecutionState.RUNNING, "running")
            executor = self._executors[prepared.spec.task.engine.kind]
            outcome = await executor.run(prepared.request, cancel)
            verification = await self._verify(prepared, executor, outcome, cancel)
            await on_state(ExecutionState.PUBLISHING, outcome.message or "publishing results")
            return await self._conclude(lease, prepared, outcome, verification, started)
        except _Failed as failure:
            record = {
                "schema": RECORD_SCHEMA,
                "job_id": lease.job.id,
                "execution_id": lease.execution_id,
                "bundle_digest": lease.job.bundle_digest,
                "outcome": failure.kind.value,
            }
            return ExecutionResult(
                state=ExecutionState.FAILED,
                outcome=failure.kind.value,
                message=str(failure),
                run_output={**_FAILED_BEFORE_START, "ErrorMsg": str(failure)},
                run_record=self._signed(record),
            )
        finally:
            self._mounted.pop(lease.execution_id, None)
            await remove_soon(run_dir)

    def mounted(self) -> frozenset[Path]:
        """The files and directories that are inputs of runs now."""
        return frozenset(path for paths in self._mounted.values() for path in paths)

    async def _prepare(self, lease: Lease, run_dir: Path) -> _Prepared:
        bundle = lease.job.bundle
        if bundle is None:
            raise _Failed(OutcomeKind.RUNTIME_FAULT, "the job has no bundle; it was never resolved")
        spec = JobSpec.model_validate(lease.job.spec)
        task, context = spec.task, self._settings.context
        try:
            identities = await identify_inputs(task, self._kinds, context)
            volumes = {
                item.target: await materialise_input(item, self._kinds, context, run_dir)
                for item in task.inputs
            }

            async def find(target: str) -> Path:
                return volumes[target].host_path

            program = await find_program(task, self._kinds, self._executors, find)
        except InputMissing as error:
            raise _Failed(OutcomeKind.INPUT_MISSING, str(error)) from error
        except ProgramMissing as error:
            raise _Failed(error.kind, str(error)) from error
        except OSError as error:
            message = f"the inputs cannot be laid out: {error}"
            raise _Failed(OutcomeKind.RUNTIME_FAULT, message) from error
        found = [(item.source, str(item.cid), item.target, item.path) for item in identities]
        _compare(found, task.engine.kind, program, bundle)
        result_dir = run_dir / "results"
        result_dir.mkdir(mode=0o755)
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
            environment={**bundle["env"], **_system_environment(lease, spec)},
            inputs=volumes_by_place,
            outputs=tuple(OutputVolume(item["name"], item["path"]) for item in bundle["outputs"]),
            limits=self._limits(bundle),
        )
        return _Prepared(spec, bundle, program, inputs, request)

    def _limits(self, bundle: Mapping[str, Any]) -> ExecutionLimits:
        engine, limits = bundle["engine"], bundle["limits"]
        fuel = bundle.get("fuel")
        if fuel is None and bundle.get("verify"):
            fuel = MAX_FUEL  # counted, because equal runs take equal fuel
        return ExecutionLimits(
            fuel=fuel,
            memory_bytes=limits["memory_bytes"],
            wall_seconds=float(limits["timeout_seconds"]),
            cpu_millis=limits["cpu_millis"],
            output_bytes=limits["disk_bytes"],
            stream_bytes=self._settings.stream_bytes.get(engine, MIB),
            output_files=self._settings.output_files,
            processes=self._settings.processes,
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
        started: int,
    ) -> ExecutionResult:
        kind, message = outcome.kind, outcome.message
        if verification is not None:
            kind, message = verification.kind, verification.message
        packed: PackedResults | None = None
        published = Published("")
        try:
            packed = await asyncio.to_thread(self._keep, lease.execution_id, prepared.request)
            if kind is OutcomeKind.FINISHED:
                published = await self._publish(lease, prepared.spec, packed)
        except OutputRefused as error:
            kind, message = _first_fault(kind, message, OutcomeKind.OUTPUT_REFUSED, str(error))
        except (PublishError, OSError) as error:
            kind, message = _first_fault(kind, message, OutcomeKind.PUBLISH_FAILED, str(error))
        if kind is OutcomeKind.FINISHED and outcome.exit_code:
            message = f"the program ended with exit code {outcome.exit_code}"
        record = run_record(lease, prepared.bundle, prepared.inputs, outcome, packed) | {
            "epoch": self._head()
        }
        record |= {"outcome": kind.value, "published": dict(published.details)}
        record |= {"started_at_ms": started // _MILLI, "ended_at_ms": self._clock() // _MILLI}
        record["verification"] = None if verification is None else verification.to_json()
        record = self._signed(record)
        if packed is not None:
            (packed.car.parent / "run-record.json").write_text(
                json.dumps(record, sort_keys=True) + "\n"
            )
        return ExecutionResult(
            state=_state_of(kind),
            outcome=kind.value,
            message=message,
            exit_code=outcome.exit_code,
            run_output=_run_output(outcome, message),
            published={"Type": published.kind, "Params": dict(published.params)},
            run_record=record,
        )

    def _signed(self, record: dict[str, Any]) -> dict[str, Any]:
        key = self._settings.record_key
        return record if key is None else sign_record(record, key)

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
        if denied := _denied_in(packed.car, self._settings.denylist()):
            refusal = OutputRefused(str(denied))
            for output in request.outputs:
                remove_tree(home / "files" / output.name)
            for stream in ("stdout", "stderr"):
                (home / "files" / stream).write_bytes(b"")
            packed = pack_results(home / "files", home / "results.car")
        results_dir = self._settings.publishing.results_dir
        pack_archive(home / "files", archive_path(results_dir, execution_id))
        if refusal is not None:
            raise refusal
        return packed

    async def _publish(self, lease: Lease, spec: JobSpec, packed: PackedResults) -> Published:
        config = spec.task.publisher
        if config.is_blank:
            config = SpecConfig.model_validate({"Type": DEFAULT_PUBLISHER})
        publisher = next(p for name, p in PUBLISHERS.items() if name.casefold() == config.kind)
        results = Results(
            lease.job.id,
            lease.execution_id,
            packed.car.parent / "files",
            packed.car,
            packed.root,
            packed.payload_bytes,
        )
        params = params_of(self._kinds, "publisher", config)
        return await publisher.publish(params, results, self._settings.publishing)


def _denied_in(car: Path, denylist: Denylist) -> Denied | None:
    """Why a CAR may not be published; None if nothing in it is on the denylist."""
    if not len(denylist):
        return None
    try:
        with car.open("rb") as file:
            for place in CarReader(file).places():
                denylist.check(place.cid)
    except Denied as error:
        return error
    return None


def _compare(
    found: list[tuple[str, str, str, str | None]],
    engine: str,
    program: ResolvedProgram,
    bundle: Mapping[str, Any],
) -> None:
    """Refuse to run anything but what the bundle names."""
    approved = [
        (item["source"], item["cid"], item["target"], item["path"]) for item in bundle["inputs"]
    ]
    if found != approved:
        pairs = zip(found, approved, strict=False)
        changed = [want[2] for have, want in pairs if have != want]
        names = ", ".join(changed) or "their number"
        raise _Failed(OutcomeKind.INPUT_MISSING, f"inputs changed since the approval: {names}")
    identity = program_identity(engine, program)
    entry_point = tuple(bundle["entry_point"])
    have = (identity.engine, identity.module_sha256, identity.image, identity.entry_point)
    if have != (bundle["engine"], bundle["module_sha256"], bundle["image"], entry_point):
        raise _Failed(
            OutcomeKind.INPUT_MISSING, "the module or image is not the approved one any more"
        )


def _system_environment(lease: Lease, spec: JobSpec) -> dict[str, str]:
    """What every Bacalhau job finds in its environment."""
    return {
        "BACALHAU_EXECUTION_ID": lease.execution_id,
        "BACALHAU_JOB_ID": lease.job.id,
        "BACALHAU_JOB_TYPE": spec.type,
        "BACALHAU_PARTITION_INDEX": "0",
        "BACALHAU_PARTITION_COUNT": "1",
    }


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


def _run_output(outcome: ExecutionOutcome, message: str) -> dict[str, Any]:
    return {
        "Stdout": outcome.stdout.head,
        "StdoutTruncated": outcome.stdout.is_longer_than_head,
        "stderr": outcome.stderr.head,
        "StderrTruncated": outcome.stderr.is_longer_than_head,
        "ExitCode": -1 if outcome.exit_code is None else outcome.exit_code,
        "ErrorMsg": "" if outcome.kind is OutcomeKind.FINISHED else message,
    }

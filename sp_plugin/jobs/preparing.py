"""What a run needs before it can begin: its inputs laid out and its program found.

What was approved is what runs: arguments, environment, limits and outputs are taken from the bundle, and the inputs and
the program found now must be those of the bundle by content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deals.denylist import Denylist
from fil_plus.bundle import MAX_FUEL
from lotus_client.cid import Cid
from lotus_client.crypto import Secp256k1Key
from sp_plugin.executors.base import (
    MIB,
    ExecutionLimits,
    ExecutionRequest,
    InputVolume,
    OutcomeKind,
    OutputVolume,
    ProgramMissing,
)
from sp_plugin.inputs.base import InputContext, InputMissing, InputSealed, Materialised
from sp_plugin.jobs.approved import system_environment, what_changed
from sp_plugin.jobs.bundle import identify_inputs, materialise_input, pinned_urls
from sp_plugin.jobs.hold import Hold
from sp_plugin.jobs.programs import Programs
from sp_plugin.jobs.publishing import PAUSES
from sp_plugin.jobs.reading import Kinds
from sp_plugin.jobs.spec import InputSourceSpec, JobSpec
from sp_plugin.publishers.base import PublishContext
from sp_plugin.store.jobs import Lease

__all__ = ["CannotRun", "Prepared", "Preparer", "RunSettings"]


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


class CannotRun(Exception):
    """A run that ends before its program starts; `kind` says how."""

    def __init__(self, kind: OutcomeKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can begin."""

    spec: JobSpec
    bundle: Mapping[str, Any]
    inputs: Sequence[Materialised]
    request: ExecutionRequest


class Preparer:
    """Prepares runs."""

    def __init__(self, kinds: Kinds, programs: Programs, settings: RunSettings) -> None:
        self._kinds = kinds
        self._programs = programs
        self._settings = settings

    async def prepare(self, lease: Lease, run_dir: Path, notify: Callable[[str], None]) -> Prepared:
        """The run of a lease, with all that is only its own in `run_dir`; `notify` is told what it waits for.

        Raises:
            CannotRun: see there.
        """
        bundle = lease.job.bundle
        if bundle is None:
            raise CannotRun(
                OutcomeKind.RUNTIME_FAULT, "the job has no bundle; it was never resolved"
            )
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
            raise CannotRun(OutcomeKind.INPUT_SEALED, str(error)) from error
        except InputMissing as error:
            raise CannotRun(OutcomeKind.INPUT_MISSING, str(error)) from error
        except ProgramMissing as error:
            raise CannotRun(error.kind, str(error)) from error
        except OSError as error:
            message = f"the inputs cannot be laid out: {error}"
            raise CannotRun(OutcomeKind.RUNTIME_FAULT, message) from error
        found = [(item.source, str(item.cid), item.target, item.path) for item in identities]
        if (changed := what_changed(found, task.engine.kind, program, bundle)) is not None:
            raise CannotRun(OutcomeKind.INPUT_CHANGED, changed)
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
            work_dir=run_dir,
            arguments=tuple(bundle["arguments"]),
            environment={**bundle["env"], **system_environment(lease, spec)},
            inputs=volumes_by_place,
            outputs=tuple(OutputVolume(item["name"], item["path"]) for item in bundle["outputs"]),
            limits=self.limits(bundle),
            token=lease.token,
            is_resumed=lease.began_at is not None,
            notify=notify,
        )
        return Prepared(spec, bundle, inputs, request)

    async def _may_read(self, item: InputSourceSpec) -> None:
        """Return when an input may be laid out. What is in the job itself is there at once, the rest cannot be frozen."""
        hold = self._settings.hold
        if item.source.kind == "inline":
            await hold.pause.wait_off()
        else:
            await hold.until_free()

    def limits(self, bundle: Mapping[str, Any]) -> ExecutionLimits:
        """What a run may use: what its bundle says, and what this provider gives every one."""
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

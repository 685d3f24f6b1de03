"""From a job's description to the bundle that approvers sign: every input and the program found and named by content.

`JobBundler.resolve` is asked when a job comes in; a run uses `identify_inputs` and `Programs.find` again and compares, so
that only what was approved is run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import uuid4

from fil_plus.bundle import (
    Bundle,
    BundleInput,
    BundleOutput,
    ResourceLimits,
)
from fil_plus.terms import ShareTerms
from lotus_client.cid import Cid
from lotus_client.types import ActorId, Epoch
from sp_plugin.errors import BadInput
from sp_plugin.executors.base import (
    OutcomeKind,
    ProgramMissing,
    ResolvedProgram,
)
from sp_plugin.inputs.base import (
    SOURCES,
    InputAway,
    InputContext,
    InputMissing,
    InputSource,
    Materialised,
)
from sp_plugin.jobs.programs import Programs, program_identity
from sp_plugin.jobs.reading import Kinds, params_of
from sp_plugin.jobs.removal import remove_soon
from sp_plugin.jobs.spec import InputSourceSpec, JobSpec, Task

__all__ = [
    "DEFAULT_PUBLISHER",
    "BundleConditions",
    "EngineLimits",
    "JobBundler",
    "identify_inputs",
    "materialise_input",
    "pinned_urls",
]

DEFAULT_PUBLISHER: Final = "local"


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What a job of one engine gets when it does not say, and the most it may ask for."""

    default: ResourceLimits
    most: ResourceLimits


@dataclass(frozen=True, slots=True)
class BundleConditions:
    """What the provider adds to a job. `terms` and `validity` (first and last epoch of a start) may look at the job.

    `check` raises for a job that is refused before anything of it is looked for.
    """

    network_name: str
    provider: ActorId
    limits: Mapping[str, EngineLimits]  # by engine
    terms: Callable[[JobSpec], ShareTerms]
    validity: Callable[[JobSpec], tuple[Epoch, Epoch]]
    check: Callable[[JobSpec], None] = lambda _: None


class JobBundler:
    """Resolves jobs into bundles."""

    def __init__(
        self,
        kinds: Kinds,
        programs: Programs,
        context: InputContext,
        conditions: BundleConditions,
        scratch_dir: Path,
    ) -> None:
        self._kinds = kinds
        self._programs = programs
        self._context = context
        self._conditions = conditions
        self._scratch_dir = scratch_dir

    async def resolve(self, spec: JobSpec, nonce: str) -> Bundle:
        """The bundle of a job that was read with the same kinds.

        Raises:
            InputMissing: an input or the program is not here.
            InputAway: who tells of them does not answer now.
            BadInput: it asks for more than this provider gives.
            RefusedByPolicy: for an input or a publisher, before anything is looked for.
            BundleError: its fields contradict each other.
        """
        task = spec.task
        self._conditions.check(spec)
        inputs = await identify_inputs(task, self._kinds, self._context)
        pinned = pinned_urls((item.source, item.path, item.cid) for item in inputs)
        resolved = await self._program(task, inputs, replace(self._context, pinned=pinned))
        limits = self._limits(task)
        first, last = self._conditions.validity(spec)
        identity = program_identity(task.engine.kind, resolved)
        most = spec.max_output_bytes
        return Bundle(
            network_name=self._conditions.network_name,
            provider=self._conditions.provider,
            engine=identity.engine,
            module_sha256=identity.module_sha256,
            image=identity.image,
            image_kind=identity.image_kind,
            entry_point=identity.entry_point,
            arguments=resolved.arguments,
            env=tuple(sorted({**resolved.environment, **task.env}.items())),
            inputs=inputs,
            outputs=_outputs(task),
            limits=limits,
            network_access="none",
            payee=spec.payee,
            terms=self._conditions.terms(spec),
            max_output_bytes=limits.disk_bytes if most is None else min(most, limits.disk_bytes),
            valid_from=first,
            valid_until=last,
            nonce=nonce,
            verify=spec.verify,
            fuel=spec.fuel,
        )

    async def _program(
        self, task: Task, inputs: Sequence[BundleInput], context: InputContext
    ) -> ResolvedProgram:
        scratch = self._scratch_dir / f"resolve-{uuid4().hex}"
        by_target = {item.target: item for item in task.inputs}

        async def find(target: str) -> Path:
            scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = await materialise_input(by_target[target], self._kinds, context, scratch)
            return found.host_path

        try:
            return await self._programs.find(task, inputs, find)
        except ProgramMissing as error:
            # an engine that does not answer says nothing of the job
            away = error.kind is OutcomeKind.RUNTIME_FAULT
            raise (InputAway if away else InputMissing)(str(error)) from error
        finally:
            if scratch.exists():
                await remove_soon(scratch)

    def _limits(self, task: Task) -> ResourceLimits:
        """What the job asks for, or the defaults.

        Raises:
            BadInput: more than the most.
        """
        rules = self._conditions.limits[task.engine.kind]
        asked = task.resources
        limits = ResourceLimits(
            cpu_millis=asked.cpu_millis or rules.default.cpu_millis,
            memory_bytes=asked.memory_bytes or rules.default.memory_bytes,
            disk_bytes=asked.disk_bytes or rules.default.disk_bytes,
            timeout_seconds=task.timeouts.execution
            or task.timeouts.total
            or rules.default.timeout_seconds,
            gpus=asked.gpus,
        )
        fields = {
            "Resources.CPU": (limits.cpu_millis, rules.most.cpu_millis, "thousandths of a CPU"),
            "Resources.Memory": (limits.memory_bytes, rules.most.memory_bytes, "bytes"),
            "Resources.Disk": (limits.disk_bytes, rules.most.disk_bytes, "bytes"),
            "Resources.GPU": (limits.gpus, rules.most.gpus, "GPUs"),
            "Timeouts.ExecutionTimeout": (
                limits.timeout_seconds,
                rules.most.timeout_seconds,
                "seconds",
            ),
        }
        too_much = [
            f"Tasks[0].{name}: {value} {unit} are more than this provider gives ({most})"
            for name, (value, most, unit) in fields.items()
            if value > most
        ]
        if too_much:
            raise BadInput("\n".join(too_much))
        return limits


async def identify_inputs(
    task: Task, kinds: Kinds, context: InputContext
) -> tuple[BundleInput, ...]:
    """What each input of a task is, in its order.

    Raises:
        InputMissing, InputAway: one is not here, or not now; the message names its target.
    """
    found = []
    for item in task.inputs:
        try:
            identity = await _source(item).identify(_params(item, kinds), context)
        except (InputMissing, InputAway) as error:
            raise type(error)(f"input {item.target}: {error}") from error
        found.append(
            BundleInput(
                source=identity.kind,
                cid=identity.cid,
                target=item.target,
                path=identity.path,
                padded_size=identity.padded_size,
                claim_id=identity.claim_id,
            )
        )
    return tuple(found)


def pinned_urls(inputs: Iterable[tuple[str, str | None, Cid]]) -> Mapping[str, Cid]:
    """What each URL among (source, path, CID) of identified inputs has to give from then on."""
    return {path: cid for source, path, cid in inputs if source == "urldownload" and path}


async def materialise_input(
    item: InputSourceSpec, kinds: Kinds, context: InputContext, parent: Path
) -> Materialised:
    """The bytes of one input, under a new name in `parent` or shared.

    Raises:
        InputMissing, InputAway: it is not here, or not now; the message names its target.
    """
    # not counted: a run that an earlier process began has its first ones there, and its container reads them
    into = parent / f"input-{secrets.token_hex(6)}"
    try:
        return await _source(item).materialise(_params(item, kinds), context, into)
    except (InputMissing, InputAway) as error:
        raise type(error)(f"input {item.target}: {error}") from error


def _source(item: InputSourceSpec) -> InputSource:
    return next(s for name, s in SOURCES.items() if name.casefold() == item.source.kind)


def _params(item: InputSourceSpec, kinds: Kinds) -> object:
    return params_of(kinds, "source", item.source)


def _outputs(task: Task) -> tuple[BundleOutput, ...]:
    publisher = task.publisher.kind or DEFAULT_PUBLISHER
    return tuple(BundleOutput(item.name, item.path, publisher) for item in task.results)

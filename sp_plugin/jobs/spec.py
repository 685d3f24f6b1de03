"""A job's description: Bacalhau's v1 job, as values. Reading it from text is `sp_plugin.jobs.reading`.

Field aliases are the exact names on the wire. Structure is checked here; what needs the registered engines, sources
and publishers is checked by the reader. Source: bacalhau v1.4 to v1.9, pkg/models/{job,task}.go.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lotus_client.address import Address
from sp_plugin.jobs.meta import (
    META_DATASET,
    META_FUEL,
    META_MAX_OUTPUT_BYTES,
    META_PAYEE,
    META_VERIFY,
    checked_meta,
    meta_text,
)
from sp_plugin.jobs.mount_points import clashes
from sp_plugin.jobs.params import Params, WireModel, is_blank, text_of_number, wrong
from sp_plugin.jobs.quantities import QuantityError, parse_cpu_millis, parse_size

__all__ = [
    "DockerParams",
    "InputSourceSpec",
    "JobSpec",
    "NetworkSpec",
    "Resources",
    "ResultPath",
    "SpecConfig",
    "Task",
    "Timeouts",
    "WasmParams",
    "absolute_guest_path",
]

_MAX_LIST: Final = 1000
_GPU_DIGITS: Final = 3
_NETWORKS: Final = {
    name.casefold(): name for name in ("None", "Default", "Full", "HTTP", "Host", "Bridge")
}
_JOB_TYPES: Final = ("batch", "ops", "service", "daemon")


def absolute_guest_path(text: str) -> str:
    """The path in the program's file system; relative ones start at `/`.

    Raises:
        ValueError: it is the root itself, leaves it by `..`, or has a NUL.
    """
    path = PurePosixPath("/") / text.strip()
    if "\0" in text or ".." in path.parts or path == PurePosixPath("/"):
        raise ValueError(f"{text[:80]!r} is not a path below /")
    return str(path) if not str(path).startswith("//") else str(path)[1:]


def _guest_path(text: str) -> str:
    try:
        return absolute_guest_path(text)
    except ValueError as error:
        raise wrong(str(error)) from error


def _count(value: int) -> int:
    if value > 1:
        raise wrong("this provider runs a job once; leave Count out")
    return value


def _cpu(text: str) -> str:
    return _checked(text, parse_cpu_millis)


def _size(text: str) -> str:
    return _checked(text, parse_size)


def _checked(text: str, parse: Any) -> str:
    squeezed = "".join(text.split()).lower()
    if squeezed in {"", "0"}:
        return ""
    try:
        parse(squeezed)
    except QuantityError as error:
        raise wrong(str(error)) from error
    return squeezed


def _plain_name(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise wrong("must not be blank")
    return text


def _output_name(text: str) -> str:
    if text in {".", ".."} or any(c in "/\\\0" for c in text) or not text.strip():
        raise wrong("must be a plain file name")
    if text in {"stdout", "stderr", "exitCode", "run-record.json"}:
        raise wrong(f"{text} is taken by the results themselves")
    if len(text.encode()) > 128:
        raise wrong("must be at most 128 bytes long")
    return text


_Name = Annotated[str, AfterValidator(_plain_name)]
_GuestPath = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_guest_path)]
_Cpu = Annotated[str, BeforeValidator(text_of_number), AfterValidator(_cpu)]
_Size = Annotated[str, BeforeValidator(text_of_number), AfterValidator(_size)]
_Seconds = Annotated[int, Field(ge=0, le=10 * 365 * 86_400)]
_TextMap = dict[str, str]


class SpecConfig(WireModel):
    """An engine, source or publisher: its type, and params that the type's owner reads."""

    type: str = Field("", alias="Type")
    params: dict[str, Any] = Field(default_factory=dict, alias="Params")

    @property
    def is_blank(self) -> bool:
        """Whether nothing is asked for."""
        return not self.type.strip()

    @property
    def kind(self) -> str:
        """The type for comparisons: trimmed, lower case."""
        return self.type.strip().casefold()


class InputSourceSpec(WireModel):
    """One input and where the program sees it."""

    source: SpecConfig = Field(alias="Source")
    alias: str = Field("", alias="Alias", max_length=1024)
    target: _GuestPath = Field(alias="Target")


class _OldModule(WireModel):
    """An input source as wasm engines up to v1.6 carried it, where the target may be blank."""

    source: SpecConfig = Field(alias="Source")
    alias: str = Field("", alias="Alias")
    target: str = Field("", alias="Target")


class ResultPath(WireModel):
    """One output directory."""

    name: Annotated[str, AfterValidator(_output_name)] = Field(alias="Name")
    path: _GuestPath = Field(alias="Path")


class Resources(WireModel):
    """What the job asks for; blank means the provider's default."""

    cpu: _Cpu = Field("", alias="CPU")
    memory: _Size = Field("", alias="Memory")
    disk: _Size = Field("", alias="Disk")
    gpu: Annotated[str, BeforeValidator(text_of_number)] = Field("", alias="GPU")

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        text = self.gpu.strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= _GPU_DIGITS):
            raise wrong(f"GPU: a whole number of GPUs, not {text[:20]!r}")
        return self

    @property
    def gpus(self) -> int:
        """Whole GPUs; 0 if none is asked for."""
        return int(self.gpu.strip() or 0)

    @property
    def cpu_millis(self) -> int | None:
        """Thousandths of a CPU, or `None` for the default."""
        return parse_cpu_millis(self.cpu) if self.cpu else None

    @property
    def memory_bytes(self) -> int | None:
        """Bytes, or `None` for the default."""
        return parse_size(self.memory) if self.memory else None

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of outputs, or `None` for the default."""
        return parse_size(self.disk) if self.disk else None


def _network_type(text: str) -> str:
    name = _NETWORKS.get(text.strip().casefold() or "none")
    if name is None:
        raise wrong(f"unknown network type {text[:40]!r}; jobs run with None")
    if name not in {"None", "Default"}:
        raise wrong(f"network {name} is not offered by this provider; jobs run with None")
    return "None"


class NetworkSpec(WireModel):
    """Network access: none. What real servers call `Default` is read as `None`, too."""

    type: Annotated[str, AfterValidator(_network_type)] = Field("None", alias="Type")
    domains: list[str] = Field(default_factory=list, alias="Domains", max_length=0)
    ports: list[Any] = Field(default_factory=list, alias="Ports", max_length=0)


class Timeouts(WireModel):
    """Whole seconds; 0 is "not set"."""

    execution: _Seconds = Field(0, alias="ExecutionTimeout")
    queue: _Seconds = Field(0, alias="QueueTimeout")
    total: _Seconds = Field(0, alias="TotalTimeout")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.total and self.execution + self.queue > self.total:
            raise wrong("ExecutionTimeout and QueueTimeout together exceed TotalTimeout")
        return self


def _env(env: _TextMap) -> _TextMap:
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise wrong(f"{name[:80]!r} cannot be the name of a variable, or its value has a NUL")
        if name.upper().startswith("BACALHAU_"):
            raise wrong(f"{name[:80]!r}: names with BACALHAU_ belong to the system")
        if value.startswith("env:"):
            raise wrong(f"{name[:80]!r}: the host's environment is not given to jobs")
    return env


def _publisher(value: Any) -> Any:
    return {} if is_blank(value) else value


class Task(WireModel):
    """What runs, over what, and where its results go."""

    name: _Name = Field(alias="Name")
    engine: SpecConfig = Field(alias="Engine")
    publisher: Annotated[SpecConfig, BeforeValidator(_publisher)] = Field(
        default_factory=lambda: SpecConfig.model_validate({}), alias="Publisher"
    )
    env: Annotated[_TextMap, AfterValidator(_env)] = Field(default_factory=dict, alias="Env")
    meta: _TextMap = Field(default_factory=dict, alias="Meta")
    inputs: list[InputSourceSpec] = Field(
        default_factory=list, alias="InputSources", max_length=_MAX_LIST
    )
    results: list[ResultPath] = Field(
        default_factory=list, alias="ResultPaths", max_length=_MAX_LIST
    )
    resources: Resources = Field(
        default_factory=lambda: Resources.model_validate({}), alias="Resources"
    )
    network: NetworkSpec = Field(
        default_factory=lambda: NetworkSpec.model_validate({}), alias="Network"
    )
    timeouts: Timeouts = Field(
        default_factory=lambda: Timeouts.model_validate({}), alias="Timeouts"
    )

    @model_validator(mode="after")
    def _places_are_apart(self) -> Self:
        places = [
            *((f"InputSources[{i}].Target", item.target) for i, item in enumerate(self.inputs)),
            *((f"ResultPaths[{i}].Path", item.path) for i, item in enumerate(self.results)),
        ]
        if found := clashes(places):
            raise wrong("; ".join(found[:5]))
        _refuse_repeats("InputSources.Alias", [item.alias for item in self.inputs if item.alias])
        _refuse_repeats("ResultPaths.Name", [item.name for item in self.results])
        return self


def _refuse_repeats(what: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise wrong(f"{what}: {', '.join(repeated[:5])} stands twice; each must be its own")


def _job_type(text: str) -> str:
    name = text.strip().casefold()
    if name not in _JOB_TYPES:
        raise wrong(f"unknown job type {text[:40]!r}; write batch")
    if name in {"service", "daemon"}:
        raise wrong(f"{name} jobs are not offered by this provider; write batch")
    return name


class JobSpec(WireModel):
    """A job as submitted. What a server sets (ID, State, times) is not part of it."""

    name: str = Field("", alias="Name", max_length=256)
    namespace: str = Field("default", alias="Namespace", max_length=256)
    type: Annotated[str, AfterValidator(_job_type)] = Field(alias="Type")
    priority: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = Field(0, alias="Priority")
    count: Annotated[int, Field(ge=0), AfterValidator(_count)] = Field(1, alias="Count")
    constraints: list[Any] = Field(default_factory=list, alias="Constraints", max_length=0)
    meta: Annotated[
        _TextMap,
        BeforeValidator(meta_text),
        AfterValidator(checked_meta),
    ] = Field(default_factory=dict, alias="Meta")
    labels: _TextMap = Field(default_factory=dict, alias="Labels")
    tasks: list[Task] = Field(alias="Tasks", min_length=1, max_length=_MAX_LIST)

    @property
    def task(self) -> Task:
        """The task that runs: the first one, as with Bacalhau."""
        return self.tasks[0]

    @property
    def payee(self) -> Address | None:
        """Who is to be paid, if the submitter named somebody."""
        text = self.meta.get(META_PAYEE)
        return None if text is None else Address.parse(text)

    @property
    def dataset(self) -> str | None:
        """The dataset the submitter named."""
        return self.meta.get(META_DATASET)

    @property
    def max_output_bytes(self) -> int | None:
        """The most payload bytes that may earn a share."""
        text = self.meta.get(META_MAX_OUTPUT_BYTES)
        return None if text is None else parse_size(text)

    @property
    def verify(self) -> int:
        """How many times the job is run again to check that it ends the same way; 0 for not at all."""
        return int(self.meta.get(META_VERIFY, "0"))

    @property
    def fuel(self) -> int | None:
        """The most WASM instructions, or `None` for no such limit."""
        text = self.meta.get(META_FUEL)
        return None if text is None else int(text)

    def to_wire(self) -> dict[str, Any]:
        """The job with exact casing and every map and list present."""
        return self.model_dump(mode="json", by_alias=True)


class WasmParams(Params):
    """Engine `wasm`: the new form names a target path, the old one carries the source itself."""

    entry_module: str | _OldModule = Field(alias="EntryModule")
    entry_point: str = Field("_start", alias="Entrypoint", max_length=1024)
    parameters: list[str] = Field(default_factory=list, alias="Parameters", max_length=_MAX_LIST)
    import_modules: list[str | _OldModule] = Field(
        default_factory=list, alias="ImportModules", max_length=32
    )
    environment: _TextMap = Field(default_factory=dict, alias="EnvironmentVariables")


class DockerParams(Params):
    """Engine `docker`."""

    image: _Name = Field(alias="Image", max_length=1024)
    entry_point: list[str] | None = Field(None, alias="Entrypoint", max_length=_MAX_LIST)
    parameters: list[str] = Field(default_factory=list, alias="Parameters", max_length=_MAX_LIST)
    environment: list[str] = Field(
        default_factory=list, alias="EnvironmentVariables", max_length=_MAX_LIST
    )
    working_directory: str | None = Field(None, alias="WorkingDirectory", max_length=4096)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.working_directory is not None and not self.working_directory.startswith("/"):
            raise wrong("WorkingDirectory must be absolute")
        for entry in self.environment:
            name, separator, value = entry.partition("=")
            if not separator:
                raise wrong(f"EnvironmentVariables: {entry[:80]!r} is not NAME=value")
            _env({name: value})
        return self

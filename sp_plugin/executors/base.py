"""What an executor is given, what it gives back, and where a new one registers.

To add an executor: write one module in this package with a class that has `engine`, `version()` and `run()` as
`Executor` says, make it from an `ExecutorSettings` and register it:

    @register_executor("lua")
    class LuaExecutor:
        engine = "lua"
        params = LuaParams  # the shape of Engine.Params in a job
        def __init__(self, settings: ExecutorSettings) -> None: ...
        async def version(self) -> str: ...
        async def resolve(self, params, find) -> ResolvedProgram: ...  # e.g. of a FileProgram
        async def run(self, request, cancel=None) -> ExecutionOutcome: ...

Every module of the package is imported by `sp_plugin.executors`, so nothing else must be edited. A provider offers the
engine once its name is in `policy.allowed_engines`; the bounds of its jobs are those of `jobs.wasm`. `run` never raises for
what a program does: each way to end is an `OutcomeKind`. It leaves nothing running behind, also when it is cancelled. One
that can make its runs stand still keeps `settings.pause` as `pause` and heeds it (`Freezable`).
`capture` has what executors do alike: output directories, streams read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from sp_plugin.executors.pause import Pause
from sp_plugin.jobs.params import Params

__all__ = [
    "EXECUTORS",
    "MIB",
    "DockerOptions",
    "DockerProgram",
    "EngineUnavailable",
    "ExecutionLimits",
    "ExecutionOutcome",
    "ExecutionRequest",
    "Executor",
    "ExecutorFactory",
    "ExecutorSettings",
    "FileProgram",
    "Freezable",
    "InputVolume",
    "LeavesTraces",
    "LeftRun",
    "OutcomeKind",
    "OutlivesUs",
    "OutputVolume",
    "ProgramMissing",
    "ResolvedProgram",
    "StreamCapture",
    "Usage",
    "WasmProgram",
    "ignore",
    "make_executors",
    "register_executor",
]

MIB: Final = 1 << 20


def ignore(_: str) -> None:
    """Tell nobody."""


class OutcomeKind(StrEnum):
    """How an execution ended. A non-zero exit code is `FINISHED`: the program spoke, its results count."""

    FINISHED = "finished"
    TRAPPED = "trapped"  # the program crashed in its sandbox (WASM trap)
    INVALID_PROGRAM = "invalid_program"  # it cannot be loaded: not WASM, missing entry point …
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_TIME = "out_of_time"  # wall time, CPU time or fuel; the message says which
    OUT_OF_DISK = "out_of_disk"  # more output bytes or files than allowed
    CANCELLED = "cancelled"
    INPUT_MISSING = "input_missing"  # not here
    INPUT_SEALED = "input_sealed"  # held here, but its bytes cannot be read now
    INPUT_CHANGED = "input_changed"  # an input or the program is not what was approved any more
    IMAGE_MISSING = "image_missing"
    OUTPUT_REFUSED = "output_refused"  # symlinks, devices … among the outputs
    UNVERIFIED = "unverified"  # run again to check, it ended another way; nothing of it counts
    PUBLISH_FAILED = "publish_failed"
    RUNTIME_FAULT = "runtime_fault"  # our side or the host failed


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionLimits:
    """Hard limits of one execution. `None` means unlimited where it is allowed at all."""

    memory_bytes: int = 512 * MIB
    wall_seconds: float = 300.0
    cpu_seconds: float | None = None
    cpu_millis: int | None = None  # share of CPUs, 1000 = one; used by engines that can
    fuel: int | None = None  # WASM only: a deterministic count of instructions
    stream_bytes: int = 16 * MIB  # kept of stdout and of stderr each; the rest is dropped
    output_bytes: int = 1024 * MIB  # all files of all outputs together
    output_files: int = 10_000  # files and directories together
    processes: int = 256  # Docker only
    gpus: int = 0  # whole ones; Docker only


@dataclass(frozen=True, slots=True)
class InputVolume:
    """A directory or a single file of the host, seen read-only by the program at `guest_path`."""

    host_path: Path
    guest_path: str  # absolute


@dataclass(frozen=True, slots=True)
class OutputVolume:
    """An output directory, writable by the program at `guest_path`, found afterwards in `<result_dir>/<name>`."""

    name: str
    guest_path: str  # absolute


@dataclass(frozen=True, slots=True)
class WasmProgram:
    """A WASI preview 1 command, or a component that is a WASI 0.2 command."""

    module: Path
    sha256: str  # of the module's bytes, hexadecimal; also the key of the compile cache
    entry_point: str = "_start"


@dataclass(frozen=True, slots=True)
class DockerProgram:
    """A container, started by the resolved image ID (`sha256:…`), never by a name that can move.

    An empty ID: the image is not here yet, and will be pulled by `reference` when the run starts.
    """

    image_id: str
    entry_point: tuple[str, ...] | None = None  # None: the image's own
    working_directory: str | None = None
    reference: str | None = None  # `name@sha256:<manifest>` if the job named a registry image so


@dataclass(frozen=True, slots=True)
class FileProgram:
    """A program in one file, for engines of one's own: approvers sign its SHA-256 (hexadecimal) and its entry point."""

    path: Path
    sha256: str
    entry_point: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedProgram:
    """What an engine's params say will run, found on this host and fixed by content."""

    program: WasmProgram | DockerProgram | FileProgram
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(
        default_factory=dict
    )  # the engine's own; the task's wins


class ProgramMissing(Exception):
    """The program of a job is not here or cannot be one; `kind` tells which."""

    def __init__(self, kind: OutcomeKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRequest:
    """One run of one program. `result_dir` exists, is empty and belongs to this run alone.

    So does `work_dir`, in which an executor may leave what it needed beside them: whoever asks removes it.
    """

    execution_id: str
    job_id: str
    program: WasmProgram | DockerProgram | FileProgram
    result_dir: Path
    work_dir: Path | None = None
    arguments: tuple[str, ...] = ()  # without argv[0]
    environment: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[InputVolume, ...] = ()
    outputs: tuple[OutputVolume, ...] = ()
    limits: ExecutionLimits = field(default_factory=ExecutionLimits)
    token: int = 0  # the fencing token of its lease
    is_resumed: bool = False  # it ran before this process began; `result_dir` is as it was left
    notify: Callable[[str], None] = ignore  # told what a person would like to know while waiting


@dataclass(frozen=True, slots=True)
class LeftRun:
    """A run that goes on, or ended, without anybody waiting for it."""

    execution_id: str
    token: int


@dataclass(frozen=True, slots=True)
class StreamCapture:
    """One stream of a run. The file holds at most `ExecutionLimits.stream_bytes` and a marker line behind them."""

    path: Path
    head: str = ""  # first 2,048 bytes, as Bacalhau's RunOutput
    tail: str = ""  # last 2,048 bytes of the file
    truncated: bool = False  # the program wrote more than the file holds
    is_longer_than_head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run used; `None` where the engine does not say."""

    wall_seconds: float
    cpu_seconds: float | None = None
    memory_bytes: int | None = None  # WASM: the linear memory at the end; Docker: the cgroup's peak
    fuel: int | None = None
    output_bytes: int | None = None
    output_files: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOutcome:
    """How a run ended. `exit_code` is the program's own, and `None` when it never got to say one."""

    kind: OutcomeKind
    message: str  # for a person; "" when finished with 0
    exit_code: int | None
    stdout: StreamCapture
    stderr: StreamCapture
    usage: Usage
    executor: str  # e.g. "wasm"
    executor_version: str  # e.g. "wasmtime 50.0.1"
    warnings: tuple[str, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether the program finished with 0."""
        return self.kind is OutcomeKind.FINISHED and self.exit_code == 0


class EngineUnavailable(Exception):
    """The engine that runs programs does not answer; the message names its address and the cause."""


class Executor(Protocol):
    """Runs programs of one engine."""

    engine: str
    params: type[Params]

    async def resolve(self, params: Any, find: Callable[[str], Awaitable[Path]]) -> ResolvedProgram:
        """The program that `params` name; `find` gives the host path of the input at a target path.

        Raises:
            ProgramMissing: it is not here, or not a program.
        """
        ...

    async def version(self) -> str:
        """Name and version of the runtime, for the run record."""
        ...

    async def run(
        self, request: ExecutionRequest, cancel: asyncio.Event | None = None
    ) -> ExecutionOutcome:
        """The outcome; the streams are in `request.result_dir` when it returns.

        Setting `cancel` ends the run at once with `CANCELLED`. Cancelling the task kills the program too.
        """
        ...


@runtime_checkable
class Freezable(Protocol):
    """An executor whose runs stand still while `pause` (that of its settings) is on; see `pause.Pause`.

    Runs of the others are ended and queued again when sealing or proving needs the host.
    """

    pause: Pause


@runtime_checkable
class LeavesTraces(Protocol):
    """An executor whose runs may outlive a killed sidecar, or that holds a connection."""

    async def remove_leftovers(self, keep: Collection[str] = ()) -> list[str]:
        """Remove runs of this sidecar that no one waits for; gives back their execution IDs. Called at start.

        Those in `keep` (execution IDs) will be run with `is_resumed`.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        ...

    async def close(self) -> None:
        """Give the connection back."""
        ...


@runtime_checkable
class OutlivesUs(Protocol):
    """An executor whose runs go on while the sidecar is away, and can be waited for by the next one."""

    async def left_runs(self) -> list[LeftRun]:
        """The runs of this sidecar that are there. Called at start.

        Raises:
            EngineUnavailable: the engine does not answer.
        """
        ...

    async def abandon(self, execution_id: str) -> None:
        """End a run that nobody wants any more; one that is not there is fine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    """How the Docker engine is used; `None` is the engine's own way."""

    runtime: str | None = None  # e.g. runsc
    # What a runtime with a kernel of its own takes of a container's limits, added to them; gVisor: 15 MB and 39 threads for `true`.
    runtime_memory_bytes: int = 0
    runtime_processes: int = 0
    pull_from: tuple[str, ...] = ()  # repositories (or what they begin with) images may come from
    pull_bytes: int = 8 << 30  # of one image, compressed
    io_bytes_per_second: int | None = None  # from and to the disk of outputs, each


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """What executors need from the configuration."""

    cache_dir: Path  # private to this process's user: it holds compiled code that is trusted
    runs_dir: Path | None = None  # where result directories are made
    docker_url: str | None = None  # None: the environment's usual engine
    docker: DockerOptions = DockerOptions()
    cache_bytes: int = 1024 * MIB
    owner: str = "sp-plugin"  # names this sidecar on what it leaves at an engine shared with others
    pause: Pause = field(default_factory=Pause)  # see `Freezable`


class ExecutorFactory(Protocol):
    """A class of executors, before it has its settings."""

    params: type[Params]

    def __call__(self, settings: ExecutorSettings) -> Executor:
        """The executor."""
        ...


EXECUTORS: dict[str, ExecutorFactory] = {}


def register_executor(engine: str) -> Callable[[Any], Any]:
    """A decorator that makes a class (or factory) the executor of the engine type `engine`.

    Raises:
        ValueError: the name is taken.
    """

    def register(factory: Any) -> Any:
        if engine in EXECUTORS:
            raise ValueError(f"an executor for {engine!r} is registered already")
        EXECUTORS[engine] = factory
        return factory

    return register


def make_executors(settings: ExecutorSettings) -> Iterator[tuple[str, Executor]]:
    """Each registered engine with its executor."""
    for engine, factory in EXECUTORS.items():
        yield engine, factory(settings)

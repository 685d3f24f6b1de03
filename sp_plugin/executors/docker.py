"""The Docker executor: a hardened container per run, started by image ID, removed in every case.

Where each protection is set: `_hardening`. What the program prints is read from the engine as it comes and written to files
that are cut at their limit. Containers carry labels, so that what a killed sidecar left behind is found and removed.
A sidecar that runs as root starts containers as nobody, so its input volumes must be readable by all (not so above them).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Mount, Ulimit

from sp_plugin.executors.base import (
    MIB,
    DockerProgram,
    EngineUnavailable,
    ExecutionLimits,
    ExecutionOutcome,
    ExecutionRequest,
    ExecutorSettings,
    OutcomeKind,
    ProgramMissing,
    ResolvedProgram,
    Usage,
    register_executor,
)
from sp_plugin.executors.capture import (
    CappedFile,
    OutputMeter,
    capture_stream,
    make_output_directories,
    write_exit_code,
)
from sp_plugin.executors.docker_pause import bring_to
from sp_plugin.executors.pause import Pause, Stopwatch
from sp_plugin.jobs.spec import DockerParams

__all__ = ["LABEL", "DockerExecutor", "EngineUnavailable", "probe_engine"]

LABEL: Final = "sp-plugin.execution"
_LABEL_JOB: Final = "sp-plugin.job"
_LABEL_OWNER: Final = "sp-plugin.owner"
_DEFAULT_URL: Final = "unix:///var/run/docker.sock"
_API_VERSION: Final = "1.41"  # Docker 20.10 and later, Podman 4 and later
_BY_DIGEST: Final = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_NOBODY: Final = 65534
_CPU_SHARES: Final = 102  # of 1024: a miner on this host goes first
_TMPFS_BYTES: Final = 64 * MIB
_REQUEST_SECONDS: Final = 30
_CPU_LIMIT_CODES: Final = (128 + 24, 128 + 9)  # SIGXCPU, then SIGKILL a second later
_FIRST_LOOK, _LONGEST_PAUSE = 0.05, 0.5


@dataclass(slots=True)
class _Sample:
    """The container's cgroup counters when last seen; `None` where the engine does not say."""

    cpu_seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(slots=True)
class _Ending:
    kind: OutcomeKind
    message: str = ""
    exit_code: int | None = None
    warnings: list[str] = field(default_factory=list)


@register_executor("docker")
class DockerExecutor:
    """Runs containers by a Docker engine (or Podman's Docker-compatible socket)."""

    engine = "docker"
    params = DockerParams

    def __init__(self, settings: ExecutorSettings) -> None:
        self._url = settings.docker_url
        self._owner = settings.owner
        self.pause = settings.pause
        self._client: docker.DockerClient | None = None

    async def version(self) -> str:
        """E.g. `docker 20.10.24`; raises `EngineUnavailable` when no engine answers."""
        info = await asyncio.to_thread(lambda: self._connect().version())
        return f"docker {info['Version']}"

    async def resolve(
        self, params: DockerParams, find: Callable[[str], Awaitable[Path]]
    ) -> ResolvedProgram:
        """See `Executor.resolve`. The image must be on this host: nothing is pulled."""
        try:
            image_id = await self.image_id(params.image)
        except EngineUnavailable as error:
            raise ProgramMissing(OutcomeKind.RUNTIME_FAULT, str(error)) from error
        if image_id is None:
            raise ProgramMissing(
                OutcomeKind.IMAGE_MISSING,
                f"the image {params.image} is not on this host; load or pull it first",
            )
        program = DockerProgram(
            image_id,
            None if params.entry_point is None else tuple(params.entry_point),
            params.working_directory,
            params.image if _BY_DIGEST.fullmatch(params.image) else None,
        )
        environment = dict(entry.split("=", 1) for entry in params.environment)
        return ResolvedProgram(program, tuple(params.parameters), environment)

    async def image_id(self, name: str) -> str | None:
        """The ID (`sha256:…`) of an image that is here, by name, digest or ID; `None` if it is not. Never pulls.

        Raises:
            EngineUnavailable: no engine answers.
        """

        def look() -> str | None:
            try:
                return str(self._connect().images.get(name).id)
            except ImageNotFound:
                return None
            except APIError as error:
                if error.response is not None and error.response.status_code == 400:
                    return None  # not a valid reference
                raise EngineUnavailable(f"the Docker engine refuses: {error}") from error

        return await asyncio.to_thread(look)

    async def remove_leftovers(self) -> list[str]:
        """See `LeavesTraces`: containers with this owner's label."""

        def remove() -> list[str]:
            label: dict[str, Any] = {"label": f"{_LABEL_OWNER}={self._owner}"}
            try:
                found = self._connect().containers.list(
                    all=True, filters=label, ignore_removed=True
                )
                for container in found:
                    _remove(container)
            except (APIError, requests.RequestException) as error:
                raise EngineUnavailable(f"the Docker engine failed: {_said(error)}") from error
            return [container.labels.get(LABEL, "") for container in found]

        return await asyncio.to_thread(remove)

    async def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def run(
        self, request: ExecutionRequest, cancel: asyncio.Event | None = None
    ) -> ExecutionOutcome:
        """See `Executor.run`."""
        watch = Stopwatch(self.pause)
        outputs = make_output_directories(request)
        for directory in outputs.values():
            _give_to_user(directory)
        meter = OutputMeter(tuple(outputs.values()), request.limits)
        streams = {
            name: CappedFile(request.result_dir / name, request.limits.stream_bytes)
            for name in ("stdout", "stderr")
        }
        sample = _Sample()
        try:
            ending = await self._run_container(
                request, outputs, streams, meter=meter, sample=sample, watch=watch, cancel=cancel
            )
        except _CannotStart as fault:
            ending = _Ending(fault.kind, str(fault))
        finally:
            for stream in streams.values():
                stream.close()
        if (excess := meter.excess()) and ending.kind is OutcomeKind.FINISHED:
            ending = _Ending(OutcomeKind.OUT_OF_DISK, excess)
        write_exit_code(request.result_dir, ending.exit_code)
        return ExecutionOutcome(
            kind=ending.kind,
            message=ending.message,
            exit_code=ending.exit_code,
            stdout=capture_stream(
                request.result_dir / "stdout", truncated=streams["stdout"].truncated
            ),
            stderr=capture_stream(
                request.result_dir / "stderr", truncated=streams["stderr"].truncated
            ),
            usage=Usage(
                wall_seconds=watch.seconds,
                cpu_seconds=sample.cpu_seconds,
                memory_bytes=sample.memory_bytes,
                output_bytes=meter.total_bytes,
                output_files=meter.total_files,
            ),
            executor=self.engine,
            executor_version=await self._version_or_unknown(),
            warnings=(*ending.warnings, *watch.warnings()),
        )

    async def _run_container(
        self,
        request: ExecutionRequest,
        outputs: Mapping[str, Path],
        streams: Mapping[str, CappedFile],
        *,
        meter: OutputMeter,
        sample: _Sample,
        watch: Stopwatch,
        cancel: asyncio.Event | None,
    ) -> _Ending:
        container = await _finished_or_undone(self._create, request, outputs)
        reader: threading.Thread | None = None
        try:
            # Attached before the start, so that no byte is lost; a thread of its own, since it waits all the time.
            frames = await asyncio.to_thread(
                container.attach, stdout=True, stderr=True, stream=True, demux=True
            )
            reader = threading.Thread(target=_copy, args=(frames, streams), daemon=True)
            reader.start()
            return await _follow(
                container, request.limits, meter, sample, cancel, pause=self.pause, watch=watch
            )
        except (APIError, requests.RequestException) as error:
            return _Ending(OutcomeKind.RUNTIME_FAULT, f"the Docker engine failed: {_said(error)}")
        finally:
            # Shielded: a cancelled task must not leave a container running.
            await asyncio.shield(asyncio.to_thread(_clean_up, container, reader))

    async def _version_or_unknown(self) -> str:
        try:
            return await self.version()
        except EngineUnavailable:
            return "docker (engine away)"

    def _connect(self) -> docker.DockerClient:
        if self._client is None:
            url = self._url or os.environ.get("DOCKER_HOST", _DEFAULT_URL)
            client = None
            try:
                probe_engine(url)
                client = docker.DockerClient(
                    base_url=url, version=_API_VERSION, timeout=_REQUEST_SECONDS
                )
                client.ping()
            except (DockerException, requests.RequestException, OSError) as error:
                if client is not None:
                    client.close()
                raise EngineUnavailable(f"no Docker engine answers at {url}: {error}") from error
            self._client = client
        return self._client

    def _create(self, request: ExecutionRequest, outputs: Mapping[str, Path]) -> Any:
        program = request.program
        assert isinstance(program, DockerProgram)
        try:
            client = self._connect()
            image = client.images.get(program.image_id)
            if image.id != program.image_id:
                raise _CannotStart(
                    OutcomeKind.IMAGE_MISSING,
                    f"the image is now {image.id}, not {program.image_id}",
                )
            return client.containers.create(
                image.id,
                command=list(request.arguments),
                entrypoint=None if program.entry_point is None else list(program.entry_point),
                environment=dict(request.environment),
                working_dir=program.working_directory,
                labels={
                    LABEL: request.execution_id,
                    _LABEL_JOB: request.job_id,
                    _LABEL_OWNER: self._owner,
                },
                **_hardening(request.limits),
                mounts=_mounts(request, outputs) + _declared_volumes(image),
            )
        except EngineUnavailable as error:
            raise _CannotStart(OutcomeKind.RUNTIME_FAULT, str(error)) from error
        except ImageNotFound as error:
            raise _CannotStart(
                OutcomeKind.IMAGE_MISSING,
                f"the image {program.image_id} is not on this host; load or pull it first",
            ) from error
        except (APIError, requests.RequestException) as error:
            raise _CannotStart(
                OutcomeKind.RUNTIME_FAULT, f"the container cannot be created: {_said(error)}"
            ) from error


def probe_engine(url: str) -> None:
    """Raise `OSError` when nobody listens on a Unix socket; docker-py would leave its own open on that."""
    if url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_REQUEST_SECONDS)
            probe.connect(url.removeprefix("unix://"))


class _CannotStart(Exception):
    def __init__(self, kind: OutcomeKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _hardening(limits: ExecutionLimits) -> dict[str, Any]:
    """What takes a container's powers away. The engine's default seccomp profile stays on because nothing replaces it."""
    cpu_seconds = None if limits.cpu_seconds is None else max(1, int(limits.cpu_seconds + 0.999))
    ulimits = [
        Ulimit(name="core", soft=0, hard=0),
        Ulimit(name="nofile", soft=1024, hard=1024),
        Ulimit(name="fsize", soft=limits.output_bytes, hard=limits.output_bytes),
    ]
    if cpu_seconds is not None:
        ulimits.append(Ulimit(name="cpu", soft=cpu_seconds, hard=cpu_seconds + 1))
    return {
        "user": "{}:{}".format(*_user()),
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "network_mode": "none",
        "pids_limit": limits.processes,
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,  # equal: no swap
        "cpu_shares": _CPU_SHARES,
        "nano_cpus": None if limits.cpu_millis is None else limits.cpu_millis * 1_000_000,
        "ulimits": ulimits,
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,noexec,size={_TMPFS_BYTES},mode=1777"},  # noqa: S108 - inside
        "shm_size": 1 * MIB,
        "ipc_mode": "private",
        "privileged": False,
        "restart_policy": {"Name": "no"},
        # We read the streams as they come; the engine's own log would cost it a minute of CPU per flood.
        "log_config": LogConfig(type=LogConfig.types.NONE),
        "healthcheck": {"test": ["NONE"]},
        "stdin_open": False,
        "tty": False,
    }


def _mounts(request: ExecutionRequest, outputs: Mapping[str, Path]) -> list[Mount]:
    mounts = [
        Mount(target=volume.guest_path, source=str(volume.host_path), type="bind", read_only=True)
        for volume in request.inputs
    ]
    mounts += [
        Mount(target=output.guest_path, source=str(outputs[output.name]), type="bind")
        for output in request.outputs
    ]
    return mounts


def _declared_volumes(image: Any) -> list[Mount]:
    """Small memory file systems over the image's VOLUMEs, which would otherwise be unlimited writable directories."""
    declared = (image.attrs.get("Config") or {}).get("Volumes") or {}
    return [
        Mount(target=path, source=None, type="tmpfs", tmpfs_size=_TMPFS_BYTES) for path in declared
    ]


def _user() -> tuple[int, int]:
    return (os.getuid(), os.getgid()) if os.getuid() else (_NOBODY, _NOBODY)


def _give_to_user(directory: Path) -> None:
    if os.getuid() == 0:
        os.chown(directory, *_user())


async def _finished_or_undone(create: Callable[..., Any], *args: Any) -> Any:
    """The container that `create` makes in a thread; if we are cancelled meanwhile it is removed again."""
    creating = asyncio.ensure_future(asyncio.to_thread(create, *args))
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        with suppress(_CannotStart):
            await asyncio.to_thread(_clean_up, await creating, None)
        raise


async def _follow(
    container: Any,
    limits: ExecutionLimits,
    meter: OutputMeter,
    sample: _Sample,
    cancel: asyncio.Event | None,
    *,
    pause: Pause,
    watch: Stopwatch,
) -> _Ending:
    """Start the container and watch it to its end."""
    await pause.wait_off(cancel)
    if cancel is not None and cancel.is_set():
        return _Ending(OutcomeKind.CANCELLED, "cancelled")
    try:
        await asyncio.to_thread(container.start)
    except APIError as error:
        return _start_failed(error)
    deadline = watch.seconds + limits.wall_seconds
    longest = _FIRST_LOOK
    while True:
        left = max(0.0, deadline - watch.seconds)
        await pause.next_change(cancel, longest if pause.is_on else min(longest, left))
        state = await asyncio.to_thread(_look, container, sample)
        if not state["Running"]:
            return _judge(state, limits, sample)
        await bring_to(pause, container, state)
        if cancel is not None and cancel.is_set():
            return await _killed(container, _Ending(OutcomeKind.CANCELLED, "cancelled"))
        if watch.seconds >= deadline:
            message = f"ran longer than {limits.wall_seconds:g} s"
            return await _killed(container, _Ending(OutcomeKind.OUT_OF_TIME, message))
        if _is_cpu_spent(limits, sample):
            message = f"used more than {limits.cpu_seconds:g} s of CPU time"
            return await _killed(container, _Ending(OutcomeKind.OUT_OF_TIME, message))
        if excess := await asyncio.to_thread(meter.excess):
            return await _killed(container, _Ending(OutcomeKind.OUT_OF_DISK, excess))
        longest = min(longest * 1.5, _LONGEST_PAUSE)


def _look(container: Any, sample: _Sample) -> dict[str, Any]:
    container.reload()
    state: dict[str, Any] = container.attrs["State"]
    if state["Running"]:
        with suppress(APIError, requests.RequestException):
            _read_counters(
                container.client.api.stats(container.id, stream=False, one_shot=True), sample
            )
    return state


def _read_counters(stats: Mapping[str, Any], sample: _Sample) -> None:
    memory = stats.get("memory_stats") or {}
    used = memory.get("max_usage", memory.get("usage"))  # cgroup v2 has no max_usage
    if used is not None:
        sample.memory_bytes = max(used, sample.memory_bytes or 0)
    nanoseconds = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    if nanoseconds:
        sample.cpu_seconds = nanoseconds / 1e9


def _is_cpu_spent(limits: ExecutionLimits, sample: _Sample) -> bool:
    return (
        limits.cpu_seconds is not None
        and sample.cpu_seconds is not None
        and sample.cpu_seconds > limits.cpu_seconds
    )


async def _killed(container: Any, ending: _Ending) -> _Ending:
    def kill() -> None:
        with suppress(APIError):  # it ended a moment ago
            container.kill()
        container.wait(timeout=_REQUEST_SECONDS)

    await asyncio.to_thread(kill)
    return ending


def _judge(state: Mapping[str, Any], limits: ExecutionLimits, sample: _Sample) -> _Ending:
    code = int(state["ExitCode"])
    if state.get("OOMKilled"):
        note = f"a process was killed for taking more than {limits.memory_bytes} bytes of memory"
        if code != 0:
            return _Ending(OutcomeKind.OUT_OF_MEMORY, note)
        return _Ending(OutcomeKind.FINISHED, "", 0, [note])
    if (
        limits.cpu_seconds is not None
        and code in _CPU_LIMIT_CODES
        and _nearly_spent(limits, sample)
    ):
        return _Ending(
            OutcomeKind.OUT_OF_TIME, f"used more than {limits.cpu_seconds:g} s of CPU time"
        )
    if state.get("Error"):
        return _Ending(OutcomeKind.RUNTIME_FAULT, f"the container failed: {state['Error']}")
    return _Ending(OutcomeKind.FINISHED, "", code)


def _nearly_spent(limits: ExecutionLimits, sample: _Sample) -> bool:
    """Counters are sampled, so the last sight may be a pause earlier than the kernel's own limit."""
    return limits.cpu_seconds is not None and (
        sample.cpu_seconds is None or sample.cpu_seconds + 2 * _LONGEST_PAUSE >= limits.cpu_seconds
    )


def _start_failed(error: APIError) -> _Ending:
    said = _said(error)
    missing = ("executable file not found", "no such file or directory", "permission denied")
    if any(words in said for words in missing):
        return _Ending(OutcomeKind.INVALID_PROGRAM, f"the image cannot be started: {said}")
    return _Ending(OutcomeKind.RUNTIME_FAULT, f"the container cannot be started: {said}")


def _said(error: Exception) -> str:
    text = getattr(error, "explanation", None) or str(error)
    return " ".join(str(text).split())[:500]


def _copy(frames: Any, streams: Mapping[str, CappedFile]) -> None:
    """Write what the program prints until it ends or the connection does."""
    try:
        with suppress(OSError, ValueError, APIError, requests.RequestException):
            for stdout, stderr in frames:
                if stdout:
                    streams["stdout"].write(stdout)
                if stderr:
                    streams["stderr"].write(stderr)
    finally:
        with suppress(OSError, DockerException):
            frames.close()
            frames._response.close()  # else the hijacked socket stays open until it is collected


def _clean_up(container: Any, reader: threading.Thread | None) -> None:
    """Kill and remove the container; the reader takes what is still in the pipe before."""
    with suppress(APIError):  # not running
        container.kill()
    with suppress(NotFound):
        container.reload()
        # The stream of a container that never ran ends only with the container.
        if reader is not None and not container.attrs["State"]["StartedAt"].startswith("0001-"):
            reader.join(timeout=_REQUEST_SECONDS)
    _remove(container)
    if reader is not None:
        reader.join(timeout=_REQUEST_SECONDS)


def _remove(container: Any) -> None:
    with suppress(NotFound):
        container.remove(force=True, v=True)

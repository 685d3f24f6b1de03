"""What a container is created with: no powers, hard limits, our labels. Pure: from values to the engine's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from sp_plugin.executors.base import (
    MIB,
    DockerOptions,
    DockerProgram,
    ExecutionLimits,
    ExecutionRequest,
)
from sp_plugin.executors.docker.facts import EngineFacts

__all__ = [
    "IO_WEIGHT",
    "LABEL",
    "LABEL_JOB",
    "LABEL_OWNER",
    "LABEL_ROLE",
    "LABEL_SPACE",
    "LABEL_TOKEN",
    "Place",
    "container_spec",
    "declared_volumes",
    "labels_of",
    "plain_ulimits",
]

LABEL: Final = "sp-plugin.execution"
LABEL_JOB: Final = "sp-plugin.job"
LABEL_OWNER: Final = "sp-plugin.owner"
LABEL_TOKEN: Final = "sp-plugin.token"  # noqa: S105  the fencing token of a lease, no secret
LABEL_SPACE: Final = "sp-plugin.space"  # the kind of space of its outputs
LABEL_ROLE: Final = "sp-plugin.role"  # absent: it runs a job
_CPU_SHARES: Final = 102  # of 1024: a miner on this host goes first
IO_WEIGHT: Final = 10  # of 10 to 1000
_TMPFS_BYTES: Final = 64 * MIB
_LOG_FILES: Final = 2
_PODMAN_PROCESSES: Final = 30_000
_FRAME_BYTES: Final = 4 * MIB  # room in the engine's log for its own words beside each line


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a container runs: the engine, the user inside it, where outputs go and on which disk they lie."""

    facts: EngineFacts
    user: tuple[int, int]
    owner: str
    options: DockerOptions
    outputs: tuple[Mount, ...] = ()
    space: str = ""
    output_memory: int = 0  # bytes of outputs that lie in memory and are counted as the container's
    disk: str | None = None  # e.g. /dev/sda; None where it is not known


def labels_of(owner: str, request: ExecutionRequest) -> dict[str, str]:
    """What names the container of a run to the sidecar that comes after this one."""
    return {
        LABEL: request.execution_id,
        LABEL_JOB: request.job_id,
        LABEL_OWNER: owner,
        LABEL_TOKEN: str(request.token),
    }


def container_spec(
    request: ExecutionRequest, program: DockerProgram, volumes: Iterable[str], place: Place
) -> dict[str, Any]:
    """Keyword arguments of docker-py's `containers.create` but the image; `volumes` are those its image declares."""
    taken = {volume.guest_path for volume in request.inputs}
    taken |= {volume.guest_path for volume in request.outputs}
    inputs = [
        Mount(target=volume.guest_path, source=str(volume.host_path), type="bind", read_only=True)
        for volume in request.inputs
    ]
    return {
        "command": list(request.arguments),
        "entrypoint": None if program.entry_point is None else list(program.entry_point),
        "environment": dict(request.environment),
        "working_dir": program.working_directory,
        "labels": labels_of(place.owner, request) | {LABEL_SPACE: place.space},
        "mounts": [*inputs, *place.outputs, *_small_volumes(set(volumes) - taken)],
        **_hardening(place),
        **_limits(request.limits, place),
        **_io(place),
    }


def _hardening(place: Place) -> dict[str, Any]:
    """What takes a container's powers away. The engine's default seccomp profile stays on because nothing replaces it."""
    return {
        "user": "{}:{}".format(*place.user),
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "network_mode": "none",
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,noexec,size={_TMPFS_BYTES},mode=1777"},  # noqa: S108 - inside
        "shm_size": 1 * MIB,
        "ipc_mode": "private",
        "privileged": False,
        "restart_policy": {"Name": "no"},
        "healthcheck": {"test": ["NONE"]},
        "stdin_open": False,
        "tty": False,
        "runtime": place.options.runtime,
    }


def _limits(limits: ExecutionLimits, place: Place) -> dict[str, Any]:
    memory = limits.memory_bytes + place.output_memory + place.options.runtime_memory_bytes
    return {
        "pids_limit": limits.processes + place.options.runtime_processes,
        "mem_limit": memory,
        "memswap_limit": memory,  # equal: no swap
        "cpu_shares": _CPU_SHARES,
        "nano_cpus": None if limits.cpu_millis is None else limits.cpu_millis * 1_000_000,
        "ulimits": _ulimits(limits, place.facts),
        "log_config": _log(limits, place.facts),
        **_gpus(limits.gpus),
    }


def _gpus(count: int) -> dict[str, Any]:
    """Any of the engine's GPUs: what `docker run --gpus COUNT` asks for. A host without any refuses to start the container."""
    if not count:
        return {}
    return {"device_requests": [DeviceRequest(count=count, capabilities=[["gpu"]])]}


def plain_ulimits(facts: EngineFacts) -> list[Ulimit]:
    """Those that every container has."""
    ulimits = [Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=1024, hard=1024)]
    if facts.name == "podman":
        # Left out, it would be raised to the kernel's highest, which an engine without CAP_SYS_RESOURCE may not do. It binds nobody: it
        # counts all processes of a user on the host, and each container has its own limit.
        ulimits.append(Ulimit(name="nproc", soft=_PODMAN_PROCESSES, hard=_PODMAN_PROCESSES))
    return ulimits


def _ulimits(limits: ExecutionLimits, facts: EngineFacts) -> list[Ulimit]:
    # One more than allowed, by which a file that was cut is known.
    file_bytes = limits.output_bytes + 1
    ulimits = [
        *plain_ulimits(facts),
        Ulimit(name="fsize", soft=file_bytes, hard=file_bytes),
        Ulimit(name="memlock", soft=64 << 10, hard=64 << 10),
        Ulimit(name="msgqueue", soft=0, hard=0),
    ]
    if limits.cpu_seconds is not None:
        seconds = max(1, int(limits.cpu_seconds + 0.999))
        ulimits.append(Ulimit(name="cpu", soft=seconds, hard=seconds + 1))
    return ulimits


def _log(limits: ExecutionLimits, facts: EngineFacts) -> LogConfig:
    """The engine's own log, read again where our stream broke off. It is bounded, and removed with the container."""
    config = {"max-size": str(2 * limits.stream_bytes + _FRAME_BYTES)}
    if facts.name == "docker":
        config["max-file"] = str(_LOG_FILES)
    if facts.log_driver == "local":
        config["compress"] = "false"
    return LogConfig(type=facts.log_driver, config=config)


def _io(place: Place) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if place.facts.has_io_weight:
        spec["blkio_weight"] = IO_WEIGHT
    rate = place.options.io_bytes_per_second
    if rate is not None and place.disk is not None and place.facts.has_io_rate:
        bound = [{"Path": place.disk, "Rate": rate}]
        spec |= {"device_read_bps": bound, "device_write_bps": bound}
    return spec


def _small_volumes(paths: Iterable[str]) -> list[Mount]:
    """Small memory file systems over the image's VOLUMEs, which would otherwise be unlimited writable directories."""
    return [
        Mount(target=path, source=None, type="tmpfs", tmpfs_size=_TMPFS_BYTES, tmpfs_mode=0o1777)
        for path in sorted(paths)
    ]


def declared_volumes(config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The volumes in an image's `Config`."""
    return tuple((config or {}).get("Volumes") or ())

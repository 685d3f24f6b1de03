"""What this sidecar is to Bacalhau's clients: one orchestrator with one compute node, both itself."""

from __future__ import annotations

import os
import platform
import shutil
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from lotus_client.address import Address
from sp_plugin.config.jobs import DockerLimits, WasmLimits
from sp_plugin.http.client_version import SPOKEN_VERSION
from sp_plugin.http.parts import Parts
from sp_plugin.jobs.states import JobState

__all__ = ["node_state", "own_version", "rfc3339", "version_info"]

_NEVER: Final = "0001-01-01T00:00:00Z"  # Go's zero time


@cache
def own_version() -> str:
    """The version of this program."""
    try:
        return version("sp-plugin")
    except PackageNotFoundError:
        return "unknown"


@cache
def version_info() -> dict[str, str]:
    """The API version we speak, and in GitCommit what we are. The build date is the API's, not ours."""
    machine = platform.machine()
    major, minor, _ = SPOKEN_VERSION.removeprefix("v").split(".")
    return {
        "Major": major,
        "Minor": minor,
        "GitVersion": SPOKEN_VERSION,
        "GitCommit": f"sp-plugin-{own_version()}",
        "BuildDate": "2026-01-01T00:00:00Z",
        "GOOS": platform.system().lower(),
        "GOARCH": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
    }


async def node_state(parts: Parts) -> dict[str, Any]:
    """This node as `bacalhau node list` reads it: always approved and connected, since it answers."""
    since = rfc3339(parts)
    return {
        "Info": await _node_info(parts),
        "Membership": "APPROVED",
        "Connection": "CONNECTED",
        "ConnectionState": {
            "Status": "CONNECTED",
            "LastHeartbeat": since,
            "ConnectedSince": since,
            "DisconnectedSince": _NEVER,
        },
    }


def rfc3339(parts: Parts) -> str:
    """When the sidecar began to serve."""
    return parts.started.strftime("%Y-%m-%dT%H:%M:%SZ")


async def _node_info(parts: Parts) -> dict[str, Any]:
    counts = await parts.queue.counts()
    jobs = parts.jobs
    limits: list[WasmLimits | DockerLimits] = [jobs.wasm]
    limits += [jobs.docker] if jobs.docker.enabled else []
    capacity = _capacity(parts)
    return {
        "NodeID": parts.node_id,
        "NodeType": "Compute",
        "Labels": {
            "os": platform.system().lower(),
            "arch": version_info()["GOARCH"],
            "sp-plugin": own_version(),
            "filecoin.network": parts.network,
            "filecoin.provider": Address.of_id(parts.provider).to_text(parts.prefix),
        },
        "SupportedProtocols": [],
        "ComputeNodeInfo": {
            "ExecutionEngines": sorted(parts.kinds.engines),
            "Publishers": sorted(set(parts.kinds.publishers) & set(jobs.allowed_publishers)),
            "StorageSources": sorted(parts.kinds.sources),
            "MaxCapacity": capacity,
            "QueueCapacity": {},
            "AvailableCapacity": capacity,
            "MaxJobRequirements": {
                "CPU": float(jobs.docker.cpus if jobs.docker.enabled else 1),
                "Memory": max(limit.memory_bytes for limit in limits),
                "Disk": max(limit.output_bytes for limit in limits),
                "GPU": capacity["GPU"],
            },
            "RunningExecutions": counts[JobState.RUNNING],
            "EnqueuedExecutions": counts[JobState.QUEUED],
            "address": "",
        },
        "BacalhauVersion": version_info(),
    }


def _capacity(parts: Parts) -> dict[str, float | int]:
    gpus = parts.jobs.docker.gpus if parts.jobs.docker.enabled else 0
    disk = shutil.disk_usage(parts.results_dir)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"CPU": float(os.cpu_count() or 1), "Memory": memory, "Disk": disk.free, "GPU": gpus}

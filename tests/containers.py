"""Requests for a shell script in a container, and what a run left at an engine; for tests of the Docker executor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import docker

from sp_plugin.executors.base import (
    DockerProgram,
    ExecutionLimits,
    ExecutionRequest,
    OutputVolume,
)

__all__ = ["left_at_engine", "script_request"]


def script_request(image: str, home: Path, text: str, **changes: Any) -> ExecutionRequest:
    """The execution `e-1` of a shell script with an output at /out; its results go to a new directory below `home`."""
    result_dir = home / "runs/e-1/results"
    result_dir.mkdir(parents=True)
    made = ExecutionRequest(
        execution_id="e-1",
        job_id="j-1",
        program=DockerProgram(image, ("/bin/sh", "-c")),
        arguments=(text,),
        outputs=(OutputVolume("out", "/out"),),
        result_dir=result_dir,
        limits=ExecutionLimits(memory_bytes=64 << 20, wall_seconds=30, output_bytes=4 << 20),
    )
    return replace(made, **changes)


def left_at_engine(owner: str) -> list[str]:
    """Containers and volumes with this owner's label, by name, and mounts of this host at places that contain it."""
    client = docker.from_env(timeout=20)
    label = {"label": f"sp-plugin.owner={owner}"}
    names = [
        str(found.name)
        for found in client.containers.list(all=True, filters=label, ignore_removed=True)
    ]
    names += [found.name for found in client.volumes.list(filters=label)]
    client.close()
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return names + [line for line in mounts if owner in line]

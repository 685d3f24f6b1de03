"""What `doctor` says of the container engine: one finding each, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sp_plugin.executors.base import EngineUnavailable
from sp_plugin.executors.docker.executor import DockerExecutor
from sp_plugin.executors.docker.probing import Abilities
from sp_plugin.executors.docker.spaces import SpaceKind

__all__ = ["Finding", "report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer about the engine."""

    name: str
    ok: bool
    detail: str


async def report(executor: DockerExecutor, runtime: str | None, rate: int | None) -> list[Finding]:
    """All findings; `runtime` and `rate` (bytes per second of disk) are what the configuration asks for."""
    try:
        abilities = await executor.abilities()
    except EngineUnavailable as error:
        detail = f"{error}. Start one, name its socket in jobs.docker.socket, or set jobs.docker.enabled: false"
        return [Finding("docker engine", ok=False, detail=detail)]
    return [
        *_engine(abilities, runtime),
        *_files(abilities),
        *_outputs(abilities),
        *_disk(abilities, rate),
    ]


def _engine(abilities: Abilities, runtime: str | None) -> Iterator[Finding]:
    facts = abilities.facts
    unfit = facts.why_unfit(runtime)
    used = f", runtime {runtime}" if runtime else ""
    found = f"{facts.title}, {facts.storage_driver}, cgroup version {facts.cgroup_version}{used}"
    yield Finding("docker engine", unfit is None, unfit or found)
    if facts.is_rootless:
        users = "rootless: root in a container is an ordinary user of this host"
    elif facts.id_offset is not None:
        users = f"remapped: root in a container is the user {facts.id_offset} of this host"
    else:
        users = (
            "not mapped: jobs run as an ordinary user, but root in a container would be root here; "
            "a rootless engine or userns-remap would be safer"
        )
    yield Finding("docker users", ok=True, detail=users)
    if facts.name == "podman":
        detail = (
            "Podman's own filter of system calls lets programs make user namespaces, as Docker's does not: "
            "set seccomp_profile in its containers.conf to Docker's default profile"
        )
        yield Finding("docker system calls", ok=True, detail=detail)
    lives = (
        "runs go on while the engine is restarted"
        if facts.lives_on
        else "an engine that is restarted ends its runs, which are tried again; set live-restore in its daemon.json"
    )
    yield Finding("docker restarts", ok=True, detail=lives)


def _files(abilities: Abilities) -> Iterator[Finding]:
    problem = abilities.files_problem
    yield Finding("docker files", problem is None, problem or "the engine sees the sidecar's files")


def _outputs(abilities: Abilities) -> Iterator[Finding]:
    better = [
        f"{kind}: {why}"
        for kind, why in abilities.why_not.items()
        if not abilities.kinds
        or list(SpaceKind).index(kind) < list(SpaceKind).index(abilities.kinds[0])
    ]
    reasons = f" ({'; '.join(better)})" if better else ""
    if not abilities.kinds:
        yield Finding("docker outputs", ok=False, detail=f"nowhere to write them{reasons}")
        return
    best = abilities.kinds[0]
    limit = (
        "the limit is hard"
        if best.is_hard
        else "the limit is soft: what is over it is seen a moment later, and the run is killed"
    )
    yield Finding("docker outputs", ok=True, detail=f"{best}, {limit}{reasons}")


def _disk(abilities: Abilities, rate: int | None) -> Iterator[Finding]:
    facts = abilities.facts
    weight = "a low weight" if facts.has_io_weight else "no weight (the kernel has none here)"
    if rate is None:
        yield Finding("docker disk", ok=True, detail=f"{weight}, no bound on bytes per second")
        return
    detail = (
        f"{weight}, {rate} bytes per second"
        if facts.has_io_rate
        else f"{facts.title} cannot bound bytes per second here: jobs.docker.io_bytes_per_second has no effect"
    )
    if facts.has_io_rate and facts.cgroup_version == 1:
        detail += "; cgroup version 1 does not bound what the kernel writes later from its cache"
    yield Finding("docker disk", facts.has_io_rate, detail)

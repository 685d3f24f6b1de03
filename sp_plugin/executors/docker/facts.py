"""What an engine says of itself: which limits it can set, whether its root is the host's, which log it keeps.

Field names are those of `GET /info` and `GET /version`, Docker Engine API v1.41 (moby api/swagger.yaml); the warnings are
those of moby daemon/info_unix.go. Podman's compatible socket answers in the same shape, with `Rootless` besides, but looks
for limits of CPU time where only cgroup version 1 has them: its own `GET /libpod/info` names the controllers (podman
libpod/define/info.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["EngineFacts", "is_podman", "read_facts"]

_NOBODY: Final = 65534
_REMAPPED: Final = re.compile(r"/(\d+)\.(\d+)/?$")  # the data root of an engine with userns-remap
_LIMITS: Final = {  # what says that it can be limited, for Docker and in Podman's words, and what that is
    ("MemoryLimit", "memory"): "memory",
    ("CpuCfsQuota", "cpu"): "CPU time",
    ("PidsLimit", "pids"): "the number of processes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """One engine. IDs are the host's, where the engine maps them."""

    name: str  # docker or podman
    version: str
    storage_driver: str
    cgroup_version: int
    is_rootless: bool
    id_offset: int | None  # with userns-remap: what is added to an ID in a container; None without
    has_seccomp: bool
    log_driver: str  # one whose log can be read back
    runtimes: frozenset[str]
    cannot_limit: tuple[str, ...]
    has_io_weight: bool
    has_io_rate: bool
    lives_on: bool  # its containers run on while it is restarted
    memory_bytes: int  # of its host

    @property
    def title(self) -> str:
        """E.g. `docker 20.10.24`."""
        return f"{self.name} {self.version}"

    @property
    def is_mapped(self) -> bool:
        """Whether root in a container is an ordinary user of the host."""
        return self.is_rootless or self.id_offset is not None

    def why_unfit(self, runtime: str | None = None) -> str | None:
        """Why no program of strangers may run here; None if it may."""
        if self.cannot_limit:
            return (
                f"{self.title} cannot limit {', '.join(self.cannot_limit)} on this host: no job runs there. "
                "Rootless engines need cgroup version 2 and systemd delegation"
            )
        if not self.has_seccomp:
            return f"{self.title} filters no system calls (seccomp is off): no job runs there"
        if runtime is not None and runtime not in self.runtimes:
            known = ", ".join(sorted(self.runtimes)) or "none"
            return (
                f"{self.title} has no runtime {runtime!r} (it has {known}): add it to the engine's daemon.json, "
                "or change jobs.docker.runtime"
            )
        return None

    @property
    def tells_oom(self) -> bool:
        """Whether it says of every container if a process of it was killed for memory."""
        return self.name != "podman"

    @property
    def needs_listener(self) -> bool:
        """Whether the kernel is to be heard about that: Docker reads a counter of version 2 that may be gone already."""
        return not self.tells_oom or self.cgroup_version == 2

    def why_no_gpus(self) -> str | None:
        """Why no job gets a GPU here, whatever the policy; None if one may."""
        if self.name == "podman":  # it starts the container, without any
            return f"{self.title} gives no GPUs to containers that are made through Docker's API"
        return None

    def user(self, uid: int, gid: int) -> tuple[int, int]:
        """User and group IDs inside the container, for a sidecar that runs as those; never root."""
        if uid and not self.is_mapped:
            return uid, gid
        return _NOBODY, _NOBODY

    def on_host(self, inside: int) -> int | None:
        """The host's ID for one inside a container; None if it cannot be known."""
        if self.is_rootless:
            return None
        return inside + (self.id_offset or 0)


def is_podman(version: Mapping[str, Any]) -> bool:
    """Whether the answer to `/version` is Podman's."""
    components = [str(item.get("Name", "")) for item in version.get("Components") or ()]
    return any("podman" in name.casefold() for name in components)


def read_facts(
    info: Mapping[str, Any], version: Mapping[str, Any], libpod: Mapping[str, Any] | None = None
) -> EngineFacts:
    """The facts in the answers to `/info` and `/version`, and Podman's own `/libpod/info` where there is one.

    What is not there is taken for not possible.
    """
    security = [str(item) for item in info.get("SecurityOptions") or ()]
    warnings = [str(item) for item in info.get("Warnings") or ()]
    drivers = (info.get("Plugins") or {}).get("Log") or ()
    is_rootless = _has(security, "rootless") or bool(info.get("Rootless"))
    mapped = _REMAPPED.search(str(info.get("DockerRootDir") or ""))
    has_offset = _has(security, "userns") and not is_rootless and mapped is not None
    return EngineFacts(
        name="podman" if is_podman(version) else "docker",
        version=str(version.get("Version", "?")),
        storage_driver=str(info.get("Driver") or "?"),
        cgroup_version=2 if str(info.get("CgroupVersion")) == "2" else 1,
        is_rootless=is_rootless,
        id_offset=int(mapped[1]) if has_offset and mapped else None,
        has_seccomp=any(
            option.startswith("name=seccomp") and "profile=unconfined" not in option
            for option in security
        ),
        log_driver="local" if "local" in drivers else "json-file",
        runtimes=frozenset(info.get("Runtimes") or ()),
        cannot_limit=_cannot_limit(info, libpod),
        has_io_weight=not _warned(warnings, "blkio weight", "io.weight"),
        has_io_rate=not _warned(
            warnings, "read_bps_device", "write_bps_device", "(rbps)", "(wbps)"
        ),
        lives_on=is_podman(version)
        or bool(info.get("LiveRestoreEnabled")),  # Podman's have no daemon above them
        memory_bytes=int(info.get("MemTotal") or 0),
    )


def _cannot_limit(info: Mapping[str, Any], libpod: Mapping[str, Any] | None) -> tuple[str, ...]:
    host = libpod.get("host") if isinstance(libpod, Mapping) else None
    controllers = host.get("cgroupControllers") if isinstance(host, Mapping) else None
    if not isinstance(controllers, list):
        return tuple(what for (key, _), what in _LIMITS.items() if not info.get(key))
    return tuple(what for (_, name), what in _LIMITS.items() if name not in controllers)


def _has(security: Iterable[str], name: str) -> bool:
    return any(option.split(",")[0] == f"name={name}" for option in security)


def _warned(warnings: Iterable[str], *words: str) -> bool:
    return any(word in warning for warning in warnings for word in words)

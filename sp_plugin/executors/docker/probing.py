"""What this host can really do for containers: tried, not believed. At the start of the sidecar, and by `doctor`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import requests
from docker.errors import DockerException
from docker.types import LogConfig, Mount

from sp_plugin.executors.base import (
    MIB,
    DockerProgram,
    ExecutionLimits,
    ExecutionRequest,
    OutputVolume,
)
from sp_plugin.executors.docker.engine import DockerEngine, remove_container, said
from sp_plugin.executors.docker.facts import EngineFacts
from sp_plugin.executors.docker.holder import holder_image
from sp_plugin.executors.docker.loop_image import LoopImage
from sp_plugin.executors.docker.memory_volume import MemoryVolume
from sp_plugin.executors.docker.spaces import SpaceKind, SpaceUnavailable
from sp_plugin.executors.docker.spec import IO_WEIGHT, LABEL, LABEL_OWNER, LABEL_ROLE
from sp_plugin.jobs.outputs import OutputRefused
from sp_plugin.jobs.removal import remove_tree

__all__ = ["Abilities", "disk_of", "probe_host"]

_LIMITS: Final = ExecutionLimits(output_bytes=MIB, output_files=16)
_MARKER: Final = "marker"


@dataclass(frozen=True, slots=True)
class Abilities:
    """How outputs can be bounded here. `why_not` has the reason for each kind that cannot be used."""

    facts: EngineFacts
    why_not: Mapping[SpaceKind, str]
    files_problem: str | None  # why containers cannot be given files of ours; None if they can

    @property
    def kinds(self) -> tuple[SpaceKind, ...]:
        """The kinds of space that work here, the best first."""
        return tuple(kind for kind in SpaceKind if kind not in self.why_not)


def probe_host(engine: DockerEngine, work: Path, owner: str) -> Abilities:
    """Try everything in a directory of its own below `work`; some hundred milliseconds.

    Raises:
        EngineUnavailable: no engine answers.
    """
    facts = engine.facts()
    why_not: dict[SpaceKind, str] = {}
    with _scratch(work) as place:
        trial = _Trial(engine, facts, place, owner)
        files_problem = trial.why_files_are_not_seen(place)
        if facts.is_rootless:
            reason = (
                "files that a rootless engine's containers write belong to IDs that are not ours"
            )
            why_not |= {SpaceKind.LOOP_IMAGE: reason, SpaceKind.WATCHED: reason}
        elif files_problem is not None:
            why_not |= {SpaceKind.LOOP_IMAGE: files_problem, SpaceKind.WATCHED: files_problem}
        elif (problem := trial.why_no_loop_image()) is not None:
            why_not[SpaceKind.LOOP_IMAGE] = problem
        if (problem := trial.why_no_memory_volume()) is not None:
            why_not[SpaceKind.MEMORY_VOLUME] = problem
        facts = replace(facts, has_io_weight=facts.has_io_weight and trial.has_io_weight)
    return Abilities(facts, why_not, files_problem)


@contextmanager
def _scratch(work: Path) -> Iterator[Path]:
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="probe-", dir=work))
    try:
        yield place
    finally:
        remove_tree(place)


@dataclass(slots=True)
class _Trial:
    engine: DockerEngine
    facts: EngineFacts
    place: Path
    owner: str
    has_io_weight: bool = False

    def why_files_are_not_seen(self, directory: Path) -> str | None:
        """An engine on another host, or in another mount namespace, binds other files, and says nothing."""
        (directory / _MARKER).touch()
        client = self.engine.client
        mount = Mount(target="/probe", source=str(directory), type="bind", read_only=True)
        try:
            made = client.api.create_container(  # this one tells of warnings
                holder_image(client, str(client.info().get("Architecture", ""))),
                labels={LABEL: self.place.name, LABEL_OWNER: self.owner, LABEL_ROLE: "probe"},
                host_config=client.api.create_host_config(
                    mounts=[mount],
                    network_mode="none",
                    log_config=LogConfig(type="none"),
                    blkio_weight=IO_WEIGHT if self.facts.has_io_weight else None,
                ),
            )
            # Docker says only here that the kernel has no weights.
            self.has_io_weight = not any("weight" in said for said in made.get("Warnings") or ())
            container = client.containers.get(made["Id"])
            try:
                container.get_archive(f"/probe/{_MARKER}")
            finally:
                remove_container(container)
        except ValueError as error:
            return str(error)
        except (DockerException, requests.RequestException) as error:
            return (
                f"the engine does not see the sidecar's files in {directory.parent} ({said(error)}): "
                "it must run on this host, with the same paths"
            )
        return None

    def why_no_loop_image(self) -> str | None:
        """Made, seen by the engine, and taken down again."""
        if os.getuid():
            return "mounting needs root"
        image = LoopImage(self._request("loop"), None)
        try:
            image.make()
            (output,) = (str(mount["Source"]) for mount in image.mounts())
            return self.why_files_are_not_seen(Path(output))
        except (SpaceUnavailable, OSError) as error:
            return str(error)
        finally:
            image.release()

    def why_no_memory_volume(self) -> str | None:
        """Made, read, and taken down again."""
        volume = MemoryVolume(self._request("memory"), self.engine, self.owner, (65534, 65534))
        return _why_not(volume)

    def _request(self, name: str) -> ExecutionRequest:
        result_dir = self.place / name
        result_dir.mkdir()
        return ExecutionRequest(
            execution_id=self.place.name,
            job_id="probe",
            program=DockerProgram(""),
            result_dir=result_dir,
            outputs=(OutputVolume("out", "/out"),),
            limits=_LIMITS,
        )


def _why_not(volume: MemoryVolume) -> str | None:
    try:
        volume.make()
        volume.collect()
    except (SpaceUnavailable, OutputRefused) as error:
        return str(error)
    finally:
        volume.release()
    return None


def disk_of(place: Path, devices: Path = Path("/sys/dev/block")) -> str | None:
    """The disk that `place` lies on, e.g. `/dev/sda`; None if it is not one disk of this host.

    A partition's disk, since the kernel throttles whole disks only (block/blk-throttle.c).
    """
    with suppress(OSError):
        number = place.stat().st_dev
        device = (devices / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        if (device / "partition").exists():
            device = device.parent
        names = [
            line.removeprefix("DEVNAME=")
            for line in (device / "uevent").read_text().splitlines()
            if line.startswith("DEVNAME=")
        ]
        return f"/dev/{names[0]}" if names else None
    return None

"""Where a container writes its outputs, and what bounds them there.

Project quotas are not among them: outside of user namespaces the owner of a file may take it out of its project (Linux
fs/file_attr.c, fileattr_set_prepare), so a hostile program would leave its quota behind.

A space is made for one run and released after it. It is found again by its run's directory and its kind, so that a
sidecar that was killed can go on with it. `probing` says which kinds this host can do; the first of `SpaceKind` is taken.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from docker.types import Mount

from sp_plugin.executors.base import ExecutionRequest
from sp_plugin.executors.capture import OutputMeter
from sp_plugin.jobs.outputs import check_outputs
from sp_plugin.jobs.removal import remove_tree

__all__ = [
    "LEAST_FREE",
    "OutputSpace",
    "SpaceKind",
    "SpaceUnavailable",
    "WatchedDirectory",
    "copy_outputs",
    "fullness",
    "make_directories",
    "output_mounts",
]

LEAST_FREE: Final = 64 << 10  # below that nothing useful can be written


class SpaceKind(StrEnum):
    """The best first."""

    LOOP_IMAGE = "loop-mounted image"
    MEMORY_VOLUME = "memory volume"
    WATCHED = "watched directory"

    @property
    def is_hard(self) -> bool:
        """Whether the host itself refuses what is over the limit, at once."""
        return self is not SpaceKind.WATCHED


class SpaceUnavailable(Exception):
    """The space cannot be made or read now; the message says why, `may_pass` whether asking again soon may help."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class OutputSpace(Protocol):
    """The outputs of one run. All methods block."""

    @property
    def kind(self) -> SpaceKind:
        """What bounds it."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes of outputs that lie in memory and count as the container's."""
        ...

    def mounts(self) -> tuple[Mount, ...]:
        """What the container gets."""
        ...

    def excess(self) -> str | None:
        """Why the run has to end, seen while it runs; None if it may go on."""
        ...

    def collect(self) -> None:
        """Bring the outputs to the result directory, once nobody writes any more.

        Raises:
            OutputRefused: something among them is not taken; none of them is there then.
            SpaceUnavailable: they cannot be read.
        """
        ...

    def release(self) -> None:
        """Give everything back that outlives a process; done twice it is fine."""
        ...


@dataclass(slots=True)
class WatchedDirectory:
    """Plain directories, measured again and again: what is over the limit is seen a moment later. A soft limit."""

    request: ExecutionRequest
    owner: (
        tuple[int, int] | None
    )  # the host's IDs of the container's user; None where they are its own
    kind: SpaceKind = SpaceKind.WATCHED
    memory_bytes: int = 0

    def make(self) -> None:
        """The directories of a new run."""
        make_directories(self.request, self.request.result_dir, self.owner)

    def mounts(self) -> tuple[Mount, ...]:
        """See `OutputSpace`."""
        return output_mounts(self.request, self._directories())

    def excess(self) -> str | None:
        """See `OutputSpace`."""
        meter = OutputMeter(tuple(self._directories().values()), self.request.limits)
        return meter.excess()

    def collect(self) -> None:
        """See `OutputSpace`: they are there already; looked through when results are kept."""

    def release(self) -> None:
        """See `OutputSpace`: nothing outlives us."""

    def _directories(self) -> dict[str, Path]:
        return {
            output.name: self.request.result_dir / output.name for output in self.request.outputs
        }


def make_directories(
    request: ExecutionRequest, where: Path, owner: tuple[int, int] | None
) -> dict[str, Path]:
    """A fresh directory for each output, by its name."""
    directories = {}
    for output in request.outputs:
        directory = where / output.name
        directory.mkdir(mode=0o700)
        if owner is not None:
            os.chown(directory, *owner)
        directories[output.name] = directory
    return directories


def output_mounts(request: ExecutionRequest, directories: Mapping[str, Path]) -> tuple[Mount, ...]:
    """The directories where the program writes."""
    return tuple(
        Mount(target=output.guest_path, source=str(directories[output.name]), type="bind")
        for output in request.outputs
    )


def fullness(place: Path) -> str | None:
    """Whether a file system of limited size is full, in words; None if something still fits."""
    found = os.statvfs(place)
    if found.f_bavail * found.f_frsize < LEAST_FREE:
        return "its outputs fill all the space it was given"
    if found.f_files and not found.f_ffree:
        return "its outputs are as many files and directories as it was given"
    return None


def copy_outputs(request: ExecutionRequest, where: Path) -> None:
    """Copy the outputs from `where` to the result directory, after looking through all of them.

    Raises:
        OutputRefused: a link, a device, too much; nothing was copied then.
        OSError: they cannot be read or written.
    """
    sources = [where / output.name for output in request.outputs]
    check_outputs(sources, request.limits)
    try:
        for source in sources:
            _copy_tree(source, request.result_dir / source.name)
    except OSError:
        for source in sources:
            remove_tree(request.result_dir / source.name)
        raise


def _copy_tree(source: Path, target: Path) -> None:
    """A tree of plain files and directories. Not recursive: its depth is that of a stranger's choice."""
    pending = [(source, target)]
    while pending:
        here, there = pending.pop()
        there.mkdir(mode=0o700)
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((Path(entry.path), there / entry.name))
                else:
                    shutil.copyfile(entry.path, there / entry.name, follow_symlinks=False)

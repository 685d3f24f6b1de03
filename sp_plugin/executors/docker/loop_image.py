"""Outputs in a file system of fixed size: an image file in the run's directory, mounted by way of a loop device.

Needs root, `mkfs.ext4` and loop devices. The kernel itself refuses bytes and inodes beyond the size. The mount outlives a
process that is killed; `release_below` finds such mounts by their place.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docker.types import Mount

from sp_plugin.executors.base import MIB, ExecutionLimits, ExecutionRequest
from sp_plugin.executors.docker.spaces import (
    SpaceKind,
    SpaceUnavailable,
    copy_outputs,
    fullness,
    make_directories,
    output_mounts,
)

__all__ = ["LoopImage", "image_bytes", "release_below", "unmount"]

_INODE_BYTES: Final = 256
_SPARE_INODES: Final = 64  # ext4 keeps eleven for itself
_COMMAND_SECONDS: Final = 60
_IMAGE: Final = "outputs.img"
_MOUNT: Final = "outputs.mnt"


@dataclass(slots=True)
class LoopImage:
    """One image, for all outputs of a run."""

    request: ExecutionRequest
    owner: tuple[int, int] | None
    kind: SpaceKind = SpaceKind.LOOP_IMAGE
    memory_bytes: int = 0

    def make(self) -> None:
        """A new file system with a directory for each output.

        Raises:
            SpaceUnavailable: it cannot be made.
        """
        size = image_bytes(self.request.limits)
        try:
            self._check_room(size)
            with self._image.open("xb") as file:
                file.truncate(size)
            self._format()
            self._mounted.mkdir(mode=0o700)
            _run(["mount", "-o", "loop,nosuid,nodev,noatime", str(self._image), str(self._mounted)])
            # ext4's own; nobody but root could look into it
            (self._mounted / "lost+found").rmdir()
            make_directories(self.request, self._mounted, self.owner)
        except OSError as error:
            self.release()
            raise SpaceUnavailable(f"no room for outputs can be made: {error}") from error

    def mounts(self) -> tuple[Mount, ...]:
        """See `OutputSpace`."""
        return output_mounts(
            self.request,
            {output.name: self._mounted / output.name for output in self.request.outputs},
        )

    def excess(self) -> str | None:
        """See `OutputSpace`."""
        return fullness(self._mounted)

    def collect(self) -> None:
        """See `OutputSpace`."""
        if not self._mounted.is_mount():
            raise SpaceUnavailable("the file system of its outputs is not mounted any more")
        try:
            copy_outputs(self.request, self._mounted)
        except OSError as error:
            raise SpaceUnavailable(f"its outputs cannot be copied: {error}") from error

    def release(self) -> None:
        """See `OutputSpace`."""
        unmount(self._mounted)
        with suppress(OSError):
            self._mounted.rmdir()
        self._image.unlink(missing_ok=True)

    @property
    def _image(self) -> Path:
        return self.request.result_dir.parent / f"{self.request.result_dir.name}.{_IMAGE}"

    @property
    def _mounted(self) -> Path:
        return self.request.result_dir.parent / f"{self.request.result_dir.name}.{_MOUNT}"

    def _check_room(self, size: int) -> None:
        """The image takes disk only as it fills; a disk that ran full under it would damage it."""
        free = shutil.disk_usage(self._image.parent).free
        if free < size:
            raise OSError(f"{self._image.parent} has {free} bytes free, the run may write {size}")

    def _format(self) -> None:
        inodes = self.request.limits.output_files + len(self.request.outputs) + _SPARE_INODES
        features = "^has_journal,^resize_inode"  # it lives for one run
        extended = "lazy_itable_init=1,nodiscard"
        _run(
            ["mkfs.ext4", "-q", "-F", "-b", "4096", "-I", str(_INODE_BYTES), "-N", str(inodes),
             "-m", "0", "-O", features, "-E", extended, str(self._image)]
        )  # fmt: skip


def image_bytes(limits: ExecutionLimits) -> int:
    """The size of an image in which so many bytes of files fit, with ext4's own tables.

    Inode tables, 2 % that ext4 keeps back for itself, bitmaps and directories. Files count in whole blocks of 4 KiB.
    """
    tables = limits.output_files * _INODE_BYTES
    return -(-(limits.output_bytes * 103 // 100 + tables + 4 * MIB) // 4096) * 4096


def unmount(place: Path) -> None:
    """Unmount it, at once if it is idle, else as soon as it is; nothing mounted there is fine."""
    for command in (["umount", str(place)], ["umount", "-l", str(place)]):
        if not place.is_mount():
            return
        with suppress(OSError):
            _run(command)


def release_below(place: Path, keep: frozenset[str]) -> None:
    """Unmount what killed sidecars left mounted below `place`, except in directories of the names in `keep`."""
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            mounted = Path(_unescaped(line.split(" ")[4]))
            if mounted.name.endswith(_MOUNT) and mounted.is_relative_to(place):
                run = mounted.relative_to(place).parts[0]
                if run not in keep:
                    unmount(mounted)


def _unescaped(text: str) -> str:
    r"""The kernel writes blanks in paths as `\040` (proc(5), mountinfo)."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _run(command: list[str]) -> None:
    """Run a tool of the system.

    Raises:
        OSError: it is not there or failed; with its own words.
    """
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_COMMAND_SECONDS
        )
    except subprocess.CalledProcessError as error:
        words = " ".join(error.stderr.split())[:300]
        raise OSError(f"{command[0]} failed: {words or error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took longer than {_COMMAND_SECONDS} s") from error

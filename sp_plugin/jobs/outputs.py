"""What a run left behind: looked through, and packed as a CAR with a root CID.

Programs of strangers filled these directories. Nothing is followed, nothing special is taken, sizes are counted before a
byte is read. By then nobody else writes to them: the program's process or container is gone.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deals.unixfs_write import UnsupportedFile, add_directory, add_path, pack_car
from lotus_client.cid import Cid
from sp_plugin.executors.base import ExecutionLimits
from sp_plugin.publishers.base import RECORD_NAME

__all__ = [
    "OutputRefused",
    "OutputTooLarge",
    "PackedResults",
    "check_outputs",
    "pack_results",
    "root_of_results",
    "write_exit_code",
]

_MAX_DEPTH: Final = 64


class OutputRefused(Exception):
    """Something among the outputs that is not taken; the message names it."""


class OutputTooLarge(OutputRefused):
    """More bytes, files or levels than the limits."""


@dataclass(frozen=True, slots=True)
class PackedResults:
    """The CAR of a results directory."""

    car: Path
    root: Cid
    car_bytes: int
    payload_bytes: int  # of all files
    blocks: int


def check_outputs(directories: list[Path], limits: ExecutionLimits) -> tuple[int, int]:
    """Bytes and entries of all output directories together.

    Raises:
        OutputTooLarge: more than the limits.
        OutputRefused: a symlink, a device, pipe or socket, a hard link, a name that is not UTF-8.
    """
    try:
        return _counted(directories, limits)
    except OSError as error:
        raise OutputRefused(f"the outputs cannot be read: {error}") from error


def _counted(directories: list[Path], limits: ExecutionLimits) -> tuple[int, int]:
    size = count = 0
    pending = [(directory, 0) for directory in directories]
    while pending:
        directory, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise OutputTooLarge(f"the outputs are nested deeper than {_MAX_DEPTH} directories")
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                status = entry.stat(follow_symlinks=False)
                _check_entry(entry, status)
                if stat.S_ISDIR(status.st_mode):
                    pending.append((Path(entry.path), depth + 1))
                else:
                    size += status.st_size  # holes count: a sparse file would be written out
                if size > limits.output_bytes:
                    raise OutputTooLarge(f"the outputs exceed {limits.output_bytes} bytes")
                if count > limits.output_files:
                    raise OutputTooLarge(f"the outputs exceed {limits.output_files} files")
    return size, count


def _check_entry(entry: os.DirEntry[str], status: os.stat_result) -> None:
    name = entry.name.encode(errors="backslashreplace").decode()[:100]
    try:
        entry.name.encode()
    except UnicodeEncodeError as error:
        raise OutputRefused(f"the name of output {name!r} is not UTF-8") from error
    if stat.S_ISLNK(status.st_mode):
        raise OutputRefused(f"output {name!r} is a symbolic link; write a copy of the file instead")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise OutputRefused(f"output {name!r} is a device, pipe or socket")
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise OutputRefused(f"output {name!r} is a hard link; write a copy of the file instead")


def write_exit_code(result_dir: Path, exit_code: int | None) -> None:
    """Write `exitCode` as Bacalhau has it: decimal text without a newline, -1 when there is none."""
    (result_dir / "exitCode").write_text("-1" if exit_code is None else str(exit_code))


def pack_results(directory: Path, car: Path, *, sync: bool = True) -> PackedResults:
    """The directory as a CAR at `car`, written under another name first; equal directories give equal bytes.

    Without `sync` it is not on the disk yet when this returns.

    Raises:
        OutputRefused: it cannot be packed (a directory with too many entries).
    """
    temporary = car.with_name(car.name + ".tmp")
    try:
        with temporary.open("wb+") as file:
            packed = pack_car(directory, file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(car)
    except UnsupportedFile as error:
        raise OutputRefused(str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return PackedResults(car, packed.root, packed.car_size, packed.content_size, packed.blocks)


def root_of_results(directory: Path) -> Cid:
    """The root of unpacked results, as they were packed: without the run record that was shipped beside them.

    Raises:
        OutputRefused: there is something else than files and directories.
        OSError: it cannot be read.
    """

    def forget(_cid: Cid, _block: bytes) -> None:
        return None

    try:
        entries = {
            child.name: add_path(child, forget)
            for child in sorted(directory.iterdir())
            if child.name != RECORD_NAME
        }
        return add_directory(entries, forget).cid
    except UnsupportedFile as error:
        raise OutputRefused(str(error)) from error

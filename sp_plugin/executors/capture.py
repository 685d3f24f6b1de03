"""What executors share at their edges: streams read back from files, outputs measured while a program runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sp_plugin.executors.base import ExecutionLimits, ExecutionRequest, StreamCapture

__all__ = [
    "CappedFile",
    "OutputMeter",
    "capture_stream",
    "make_output_directories",
]

_EXCERPT: Final = 2048  # bytes; Bacalhau keeps as much of each stream in RunOutput
_MAX_DEPTH: Final = 64


class CappedFile:
    """A file that takes the first `limit` bytes and a marker; what comes after them is dropped.

    It must be new, unless `is_resumed`: then it goes on where another process left it. `seen` is what was offered to it.
    The WASM child has its own copy of this, because it imports nothing of ours.
    """

    def __init__(self, path: Path, limit: int, *, is_resumed: bool = False) -> None:
        self._file = path.open("ab" if is_resumed else "xb", buffering=0)
        self.path = path
        self.seen = path.stat().st_size
        self._left = max(0, limit - self.seen)
        self._limit = limit
        self.truncated = self.seen > limit  # a marker is there

    def write(self, data: bytes) -> None:
        """Append as much as fits."""
        self.seen += len(data)
        if self.truncated:
            return
        kept = data[: self._left]
        self._file.write(kept)
        self._left -= len(kept)
        if len(kept) < len(data):
            self.truncated = True
            marker = f"\n[cut here: only the first {self._limit} bytes are kept]\n"
            self._file.write(marker.encode())

    def close(self) -> None:
        """No more is coming."""
        self._file.close()


def capture_stream(path: Path, *, truncated: bool) -> StreamCapture:
    """The stream kept in `path` with its first and last 2,048 bytes; an absent file is an empty stream."""
    try:
        with path.open("rb") as file:
            head = file.read(_EXCERPT)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _EXCERPT))
            tail = file.read(_EXCERPT)
    except FileNotFoundError:
        path.touch(mode=0o600)
        head = tail = b""
        size = 0
    return StreamCapture(
        path,
        head.decode("utf-8", "replace"),
        tail.decode("utf-8", "replace"),
        truncated,
        is_longer_than_head=size > len(head),
    )


def make_output_directories(request: ExecutionRequest) -> dict[str, Path]:
    """The fresh host directory of each output, by its name."""
    directories: dict[str, Path] = {}
    for output in request.outputs:
        directory = request.result_dir / output.name
        directory.mkdir(mode=0o700)
        directories[output.name] = directory
    return directories


@dataclass(slots=True)
class OutputMeter:
    """Counts bytes and entries below output directories; a file counts with its length, holes included."""

    directories: tuple[Path, ...]
    limits: ExecutionLimits
    total_bytes: int = 0
    total_files: int = 0

    def excess(self) -> str | None:
        """Measure anew; says what is over its limit, or `None`. Stops counting at the first excess."""
        self.total_bytes = self.total_files = 0
        pending = [(directory, 0) for directory in self.directories]
        while pending:
            directory, depth = pending.pop()
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        self._count(entry)
                        if reason := self._over():
                            return reason
                        if entry.is_dir(follow_symlinks=False):
                            pending.append((Path(entry.path), depth + 1))
            except FileNotFoundError:
                continue  # removed by the program meanwhile
            except OSError as error:
                return f"its outputs cannot be measured: {error.strerror}"
            if depth > _MAX_DEPTH:
                return f"its outputs are nested deeper than {_MAX_DEPTH} directories"
        return None

    def _count(self, entry: os.DirEntry[str]) -> None:
        self.total_files += 1
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if not entry.is_dir(follow_symlinks=False):
            self.total_bytes += max(status.st_size, status.st_blocks * 512)

    def _over(self) -> str | None:
        if self.total_bytes > self.limits.output_bytes:
            return f"its outputs exceed {self.limits.output_bytes} bytes"
        if self.total_files > self.limits.output_files:
            return f"its outputs exceed {self.limits.output_files} files and directories"
        return None

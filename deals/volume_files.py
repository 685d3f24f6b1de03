"""Writing a volume's files so that they outlive a power cut, at the speed of the hashing that goes on beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

__all__ = ["sync_tree", "write_file"]

# Files from here on are put on disk in steps, by a second thread, while the next ones are written.
_LARGE: Final = 4 << 20
_STEP: Final = 8 << 20


def write_file(path: Path, chunks: Iterator[bytes], size: int) -> None:
    """A new file of these chunks, `size` bytes by what is known before. Call `sync_tree` before anyone relies on it.

    Raises:
        OSError: it exists, or the disk is full. What `chunks` raises passes through; the file is then left as it is.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(path, flags, 0o666)
    try:
        if size < _LARGE:
            for chunk in chunks:
                _write_all(fd, chunk)
        else:
            _write_beside(fd, chunks)
    finally:
        os.close(fd)


def sync_tree(top: Path) -> None:
    """Returns when everything below `top` is on disk, names included."""
    if top.is_file():
        _sync(top)
        return
    for folder, _, names in os.walk(top, topdown=False):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))


def _write_beside(fd: int, chunks: Iterator[bytes]) -> None:
    """Write, and have the disk work meanwhile, so that not all of it is left for the end."""
    syncing: Future[None] | None = None
    unsynced = 0
    with ThreadPoolExecutor(1, "volume") as pool:
        for chunk in chunks:
            _write_all(fd, chunk)
            unsynced += len(chunk)
            if unsynced >= _STEP and (syncing is None or syncing.done()):
                if syncing is not None:
                    syncing.result()
                syncing = pool.submit(os.fsync, fd)
                unsynced = 0
        if syncing is not None:
            syncing.result()


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

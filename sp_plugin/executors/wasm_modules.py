"""Copies of the modules that runs need, named by their SHA-256: what was approved is what will run, whatever becomes of the input."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from sp_plugin.executors.base import MIB, OutcomeKind, ProgramMissing

__all__ = ["KeptModules"]

_MAX_MODULE: Final = 64 * MIB
_SMALL_MODULE: Final = 64 << 10  # read and hashed sooner than a thread is woken


class KeptModules:
    """The copies in `directory`; those used longest ago go when there are more than `most_bytes` of them."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self._directory = directory
        self._most_bytes = most_bytes

    async def keep(self, path: Path) -> Path:
        """The copy of a module; a directory with one `.wasm` file in it stands for that file.

        Raises:
            ProgramMissing: there is not exactly one, or it is too large.
        """
        wanted = (path, self._directory, self._most_bytes)
        if _is_small_file(path):
            return _keep(*wanted)
        return await asyncio.to_thread(_keep, *wanted)


def _is_small_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= _SMALL_MODULE


def _keep(path: Path, directory: Path, most_bytes: int) -> Path:
    """A copy of the module named by its SHA-256, so that what was approved is what will run."""
    if path.is_dir():
        found = sorted(path.glob("*.wasm"))
        if len(found) != 1:
            raise ProgramMissing(
                OutcomeKind.INVALID_PROGRAM,
                f"the module's input is a directory with {len(found)} .wasm files; it needs exactly one",
            )
        path = found[0]
    size = path.stat().st_size
    if size > _MAX_MODULE:
        raise ProgramMissing(
            OutcomeKind.INVALID_PROGRAM, f"the module has {size} bytes; the limit is {_MAX_MODULE}"
        )
    code = path.read_bytes()
    target = directory / f"{hashlib.sha256(code).hexdigest()}.wasm"
    if target.exists():
        with suppress(OSError):
            os.utime(target)
        return target
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{secrets.token_hex(8)}.tmp")
    temporary.write_bytes(code)
    temporary.rename(target)
    _prune(directory, target, most_bytes)
    return target


def _prune(directory: Path, keep: Path, most_bytes: int) -> None:
    """Remove the copies that were used longest ago until the rest fits."""
    entries = []
    for path in directory.iterdir():
        with suppress(FileNotFoundError):
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most_bytes:
            break
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size

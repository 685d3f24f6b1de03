"""The last words of a program that ended while its engine was away.

Docker reads a container's output from named pipes that containerd's shim keeps open while the program runs. An engine that
comes back after its end reads nothing more, and what was in the pipes is gone (seen with Docker 20.10). So we keep the
pipes open too, and read from them only then: otherwise we would take what the engine is to read. Only root on the engine's
host can. A program that fills a pipe (64 KiB) waits until somebody reads.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Pipes", "open_pipes", "parent_of"]

_STREAMS: Final = ("stdout", "stderr")
_CHUNK: Final = 64 << 10
_MOST: Final = 1 << 20  # the largest pipe an ordinary user can make


class Pipes:
    """Open ends of a container's pipes, by stream."""

    def __init__(self, descriptors: dict[str, int]) -> None:
        self._descriptors = descriptors

    def drain(self) -> dict[str, bytes]:
        """What is left in them; taken once, it is gone."""
        return {name: _drained(descriptor) for name, descriptor in self._descriptors.items()}

    def close(self) -> None:
        """Give them back."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def parent_of(pid: int, proc: Path = Path("/proc")) -> int | None:
    """The parent of a process; of a container's first one, that is the shim. None where it is not seen."""
    with suppress(OSError, ValueError, IndexError):
        # The name in parentheses may hold anything, so count from behind it: state, then the parent (proc(5), stat).
        return int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return None


def open_pipes(shim: int, container_id: str, proc: Path = Path("/proc")) -> Pipes:
    """The pipes of a container that its shim has; none where they cannot be opened."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for link in (proc / str(shim) / "fd").iterdir():
            with suppress(OSError):
                place = str(link.readlink())
                name = next((name for name in _STREAMS if place.endswith(name)), None)
                if name is None or name in found or container_id not in place:
                    continue
                if link.is_fifo():
                    found[name] = os.open(link, os.O_RDONLY | os.O_NONBLOCK)
    return Pipes(found)


def _drained(descriptor: int) -> bytes:
    taken = b""
    with suppress(BlockingIOError):
        while len(taken) < _MOST and (chunk := os.read(descriptor, _CHUNK)):
            taken += chunk
    return taken

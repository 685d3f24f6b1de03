"""What a program prints: kept up to a limit."""

from __future__ import annotations

import os

__all__ = ["CappedStream", "write_all"]


class CappedStream:
    """A file that takes the first `limit` bytes and a marker behind them; the rest is dropped and the program goes on."""

    def __init__(self, path: str, limit: int) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._left = limit
        self._limit = limit
        self.truncated = False

    def write(self, data: bytes) -> int:
        """All bytes count as written."""
        if not self.truncated:
            kept = data[: self._left]
            write_all(self._fd, kept)
            self._left -= len(kept)
            if len(kept) < len(data):
                self.truncated = True
                marker = f"\n[cut here: only the first {self._limit} bytes are kept]\n"
                write_all(self._fd, marker.encode())
        return len(data)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

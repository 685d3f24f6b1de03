"""What raw readers of so many bytes have in common: a position that may be moved anywhere."""

from __future__ import annotations

import io
import os

__all__ = ["SeekableReader"]


class SeekableReader(io.RawIOBase):
    """A raw reader of `_size` bytes; who derives from it reads from `_position` in `readinto`, and moves it on."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As any file; behind the end nothing is read.

        Raises:
            ValueError: before the start, or another kind of `whence`.
        """
        if whence == os.SEEK_SET:
            base = 0
        elif whence == os.SEEK_CUR:
            base = self._position
        elif whence == os.SEEK_END:
            base = self._end()
        else:
            raise ValueError(f"cannot seek by {whence}")
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def _end(self) -> int:
        return self._size

"""Progress of long work: one line that is rewritten on a terminal, plain lines now and then elsewhere; all on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

__all__ = ["ProgressLine"]

_LINE_SECONDS: Final = 10.0
_MIB: Final = 1 << 20


class ProgressLine:
    """Bytes, MB/s and what is left of the time. The speed is that of this work only, not of what was done before it."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._phase = ""
        self._began = 0.0
        self._began_at = 0
        self._last = float("-inf")
        self._width = 0

    def show(self, phase: str, done: int, total: int | None) -> None:
        """Show how far it is."""
        now = self._clock()
        if phase != self._phase:
            self._phase, self._began, self._began_at = phase, now, done
            self._last = float("-inf")
        terminal = self._stream.isatty()
        if not terminal and now - self._last < _LINE_SECONDS:
            return
        self._last = now
        text = self._text(phase, done, total, now - self._began)
        if terminal:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def _text(self, phase: str, done: int, total: int | None, seconds: float) -> str:
        if total is None:
            return f"{phase}, {seconds:.0f} s"
        text = f"{phase}: {done / _MIB:.1f} of {total / _MIB:.1f} MiB"
        speed = (done - self._began_at) / seconds if seconds > 0 else 0.0
        if speed <= 0:
            return text
        return f"{text}, {speed / 1e6:.1f} MB/s, {_duration((total - done) / speed)} left"

    def end(self) -> None:
        """Leave the line, so that what follows stands on its own."""
        if self._width and self._stream.isatty():
            self._stream.write("\n")
            self._stream.flush()
        self._width = 0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

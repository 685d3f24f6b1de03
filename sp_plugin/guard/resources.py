"""Load, memory, waiting for disks and free disk of this host. What the system does not tell is None."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

__all__ = ["disk_free", "io_wait_percent", "load_percent", "memory_available"]

_FULL_10: Final = re.compile(r"^full avg10=(\d+)", re.MULTILINE)
_AVAILABLE: Final = re.compile(r"^MemAvailable:\s+(\d+) kB", re.MULTILINE)


def load_percent() -> int | None:
    """The load average of the last minute in percent of the processors."""
    try:
        return round(os.getloadavg()[0] * 100 / (os.cpu_count() or 1))
    except OSError:
        return None


def io_wait_percent(proc: Path = Path("/proc")) -> int | None:
    """Percent of the last ten seconds in which all work that was to be done waited for disks (Linux PSI)."""
    return _found(_FULL_10, proc / "pressure" / "io")


def memory_available(proc: Path = Path("/proc")) -> int | None:
    """Bytes that new work can have without swapping (`MemAvailable`)."""
    kibibytes = _found(_AVAILABLE, proc / "meminfo")
    return None if kibibytes is None else kibibytes * 1024


def disk_free(place: Path) -> int | None:
    """Bytes free on the disk of a directory."""
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _found(pattern: re.Pattern[str], path: Path) -> int | None:
    try:
        found = pattern.search(path.read_text("ascii", "replace"))
    except OSError:
        return None
    return None if found is None else int(found.group(1))

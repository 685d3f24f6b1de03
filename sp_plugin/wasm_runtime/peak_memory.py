"""How much memory a guest took at most, where the runtime does not say: by what this process had resident, from /proc.

wasmtime shows a module's linear memory, but not the memories inside a component.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["forget_peak", "peak_since"]

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"  # proc(5): the peak becomes what is resident now


def forget_peak() -> int | None:
    """Resident bytes now, with the peak set back to them; `None` where the system cannot do that."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return None
    return _read("VmRSS:")


def peak_since(before: int | None) -> int | None:
    """By how many bytes the process has grown at most since `forget_peak` gave `before`; exact to some hundred KiB."""
    peak = None if before is None else _read("VmHWM:")
    return None if peak is None or before is None else max(0, peak - before)


def _read(name: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1]) << 10  # proc(5) gives kB, which are KiB
    return None

"""The provider's software as processes of this host: which there are, and whether they are at work. Reads /proc only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from sp_plugin.guard.sights import Activity

__all__ = ["ProcessEye", "ProcessSight"]

_NAMES: Final = ("lotus-miner", "lotus-worker", "curio")
_NOBODY: Final = 65534  # whom containers of jobs run as, beside a sidecar of root
_LIST_SECONDS: Final = 30.0  # new processes are looked for so often
_LEAST_SECONDS: Final = 1.0  # in less, one tick of the clock would look like work
_MOST_PROCESSES, _MOST_THREADS = 50_000, 5_000
_BUSY_CORES: Final = 0.25  # a miner that only follows the chain takes less
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessSight:
    """The names seen with their process IDs, and what they do; None before the second look, or where there are none."""

    activity: Activity | None
    found: tuple[str, ...]


class ProcessEye:
    """Watches processes named as the provider's programs, or of a systemd unit named so.

    Processes of this user, and of nobody, are left out: a job could call itself so. `proc` is where /proc is.
    """

    def __init__(
        self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._proc, self._clock = proc, clock
        self._not_counted = {_NOBODY} | ({os.getuid()} - {0})
        self._listed_at: float | None = None
        self._watched: dict[int, str] = {}
        self._ticks: dict[int, int] = {}
        self._looked_at: float | None = None
        self._last = ProcessSight(None, ())

    def look(self) -> ProcessSight:
        """What they did since the last look; after less than a second, what they did before it."""
        now = self._clock()
        if self._looked_at is None or now - self._looked_at >= _LEAST_SECONDS:
            self._last = self._look(now)
        return self._last

    def _look(self, now: float) -> ProcessSight:
        if self._listed_at is None or now - self._listed_at >= _LIST_SECONDS:
            self._watched = dict(self._list())
            self._listed_at = now
        ticks = {pid: used for pid in self._watched if (used := self._ticks_of(pid)) is not None}
        before, earlier = self._ticks, self._looked_at
        known = [pid for pid in ticks if pid in before]
        self._ticks, self._looked_at = ticks, now
        activity = None
        if known and earlier is not None:
            passed = now - earlier
            cores = sum(ticks[pid] - before[pid] for pid in known) / _TICKS / passed
            busy = cores > _BUSY_CORES or self._waits_for_disk(known)
            activity = Activity.BUSY if busy else Activity.IDLE
        return ProcessSight(
            activity, tuple(f"{self._watched[pid]} ({pid})" for pid in sorted(ticks))
        )

    def _list(self) -> Iterator[tuple[int, str]]:
        try:
            entries = [entry for entry in self._proc.iterdir() if entry.name.isdecimal()]
        except OSError:
            return
        for entry in entries[:_MOST_PROCESSES]:
            with suppress(OSError):
                if entry.stat().st_uid not in self._not_counted and (name := _name_of(entry)):
                    yield int(entry.name), name

    def _ticks_of(self, pid: int) -> int | None:
        fields = _stat(self._proc / str(pid) / "stat")
        # proc(5): state is field 3, utime and stime are 14 and 15; the list begins with field 3
        return None if fields is None or fields[0] == "Z" else int(fields[11]) + int(fields[12])

    def _waits_for_disk(self, pids: list[int]) -> bool:
        """Whether a thread stands in a read or write: sectors are read for a proof with hardly any CPU time."""
        return any(
            (fields := _stat(thread / "stat")) is not None and fields[0] == "D"
            for thread in islice(self._threads(pids), _MOST_THREADS)
        )

    def _threads(self, pids: list[int]) -> Iterator[Path]:
        for pid in pids:
            with suppress(OSError):
                yield from (self._proc / str(pid) / "task").iterdir()


def _name_of(directory: Path) -> str | None:
    """Which program it is, by its own name or by its systemd unit."""
    own = (directory / "comm").read_text("utf-8", "replace").strip()
    for name in _NAMES:
        if own == name:
            return name
    for line in (directory / "cgroup").read_text("utf-8", "replace").splitlines()[:50]:
        for part in line.rpartition(":")[2].split("/"):
            unit = part.removesuffix(".service").partition("@")[0]
            if part.endswith(".service") and unit in _NAMES:
                return unit
    return None


def _stat(path: Path) -> list[str] | None:
    """The fields behind the name; None if the process is gone."""
    try:
        fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (
        fields if len(fields) > 12 and fields[11].isdecimal() and fields[12].isdecimal() else None
    )

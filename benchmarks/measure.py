"""A benchmark's rows: what was aimed at beside what was measured, and how much of a core it took."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Row", "Sample", "Timer", "print_rows"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: the value in the row's unit, and the CPU seconds (user and system) behind it, where they mean something."""

    value: float
    cpu: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What to measure, in which unit, what was aimed at ("" for nothing), and how many times."""

    name: str
    unit: str
    target: str
    run: Callable[[], Sample]
    rounds: int = 3


class Timer:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def wall(self) -> float:
        """Seconds that passed."""
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        """Seconds of a core that this process took."""
        return time.process_time() - self._cpu


def print_rows(rows: Sequence[Row]) -> None:
    """Run and print each: the median, the best and the CPU seconds of the median run."""
    load = os.getloadavg()[0]
    _print("what", "unit", "target", "median", "least", "most", "CPU s")
    for row in rows:
        samples = sorted((row.run() for _ in range(row.rounds)), key=lambda one: one.value)
        middle = statistics.median_low([one.value for one in samples])
        cpu = next(one.cpu for one in samples if one.value == middle)
        values = [_number(one) for one in (middle, samples[0].value, samples[-1].value)]
        _print(row.name, row.unit, row.target, *values, "" if cpu is None else f"{cpu:.2f}")
    sys.stdout.write(f"(1-minute load average at the start: {load:.1f})\n\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print(name: str, unit: str, *columns: str) -> None:
    sys.stdout.write(f"{name:<52}{unit:<10}" + "".join(f"{one:>10}" for one in columns) + "\n")
    sys.stdout.flush()

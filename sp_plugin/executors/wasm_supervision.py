"""Watching a WASM child from outside: time, memory and outputs while it runs, and what its end means."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sp_plugin.executors.base import MIB, ExecutionLimits, OutcomeKind
from sp_plugin.executors.capture import OutputMeter
from sp_plugin.executors.pause import Pause
from sp_plugin.executors.wasm_zygote import Ended, Run, Zygote

__all__ = ["Ending", "judge", "supervise"]

_RUNTIME_BYTES: Final = 1024 * MIB  # what the process may take beside the guest's own memory
_FIRST_LOOK, _LONGEST_PAUSE = 0.02, 0.25  # seconds between two looks at a running child


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, with the child's own report if there is one."""

    kind: OutcomeKind
    message: str = ""
    exit_code: int | None = None
    report: Mapping[str, Any] | None = None
    cpu_seconds: float | None = None


async def supervise(
    zygote: Zygote,
    run: Run,
    limits: ExecutionLimits,
    time_left: Callable[[], float],
    meter: OutputMeter,
    *,
    cancel: asyncio.Event | None,
    pause: Pause,
) -> tuple[Ending | None, Ended]:
    """Why we killed the child (`None`: it ended by itself), and how it ended. The child is gone when this returns or raises.

    It stands still while `pause` is on; `time_left` gives the seconds it still has.
    """
    stop = None if cancel is None else asyncio.ensure_future(cancel.wait())
    longest, still = _FIRST_LOOK, False
    try:
        while True:
            switched = asyncio.ensure_future(pause.change().wait())
            if pause.is_on is not still:
                still = pause.is_on
                zygote.hold(run, still=still)
            waiting: set[asyncio.Future[Any]] = {run.ended, switched}
            if stop is not None:
                waiting.add(stop)
            seconds = longest if still else max(0.0, min(longest, time_left()))
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            switched.cancel()
            if run.ended.done():
                return None, run.ended.result()
            verdict = _verdict(run, limits, meter, time_left())
            if stop is not None and stop.done():
                verdict = Ending(OutcomeKind.CANCELLED, "cancelled")
            if verdict is not None:
                return verdict, await zygote.kill(run)
            longest = min(longest * 1.5, _LONGEST_PAUSE)
    finally:
        if stop is not None:
            stop.cancel()
        if not run.ended.done():
            await asyncio.shield(zygote.kill(run))


def _verdict(
    run: Run, limits: ExecutionLimits, meter: OutputMeter, time_left: float
) -> Ending | None:
    resident, cpu = (None, None) if run.pid is None else _look_at(run.pid)
    if time_left <= 0:
        return Ending(OutcomeKind.OUT_OF_TIME, f"ran longer than {limits.wall_seconds:g} s")
    if cpu is not None and limits.cpu_seconds is not None and cpu > limits.cpu_seconds:
        return Ending(OutcomeKind.OUT_OF_TIME, _cpu_message(limits))
    if resident is not None and resident > limits.memory_bytes + _RUNTIME_BYTES:
        return Ending(OutcomeKind.OUT_OF_MEMORY, f"its process took {resident} bytes of memory")
    if excess := meter.excess():
        return Ending(OutcomeKind.OUT_OF_DISK, excess)
    return None


def _look_at(pid: int) -> tuple[int | None, float | None]:
    """Resident bytes and CPU seconds of a process, from /proc; `None` where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    # proc(5): utime and stime are fields 14 and 15, rss is 24; the list starts with field 3
    ticks = int(fields[11]) + int(fields[12])
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK")


def judge(ended: Ended, limits: ExecutionLimits) -> Ending:
    """What the end of a child that nobody killed means."""
    cpu = ended.cpu_seconds
    if ended.status is None:
        return Ending(OutcomeKind.RUNTIME_FAULT, f"the run was lost: {ended.why}")
    try:
        found = json.loads(ended.report)
        if found["kind"] != "damaged":
            kind = OutcomeKind(found["kind"])
            return Ending(kind, found["message"], found["exit_code"], found, cpu)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # it died without a report, or while it wrote it
    else:
        return Ending(OutcomeKind.RUNTIME_FAULT, found["message"], report=found, cpu_seconds=cpu)
    code = ended.exit_code
    if code == -signal.SIGXCPU or (
        limits.cpu_seconds is not None and cpu is not None and cpu >= limits.cpu_seconds
    ):
        return Ending(OutcomeKind.OUT_OF_TIME, _cpu_message(limits), cpu_seconds=cpu)
    said = ended.said.strip()
    if "memory allocation of" in said or "MemoryError" in said:
        message = f"the WASM runtime found no more memory for it: {said}"
        return Ending(OutcomeKind.OUT_OF_MEMORY, message, cpu_seconds=cpu)
    how = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
    message = f"the WASM runtime ended with {how}" + (f": {said}" if said else "")
    return Ending(OutcomeKind.RUNTIME_FAULT, message, cpu_seconds=cpu)


def _cpu_message(limits: ExecutionLimits) -> str:
    return f"used more than {limits.cpu_seconds:g} s of CPU time"

"""The three timeouts of a job. Execution time is the executor's affair; queue and total time are kept by the queue.

Both clocks begin when the job is first queued, that is, approved: how long people take to sign is bounded by the bundle's
last epoch, and must not eat the time that the submitter gave the machine. A timeout of 0 is no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Deadlines", "deadlines_of", "earliest", "why_too_late"]

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Unix nanoseconds; None is no limit."""

    queue: int | None
    total: int | None


def deadlines_of(spec: Mapping[str, Any], queued_at: int, first_queued_at: int) -> Deadlines:
    """The deadlines of a job queued (again) at `queued_at`; `spec` is its wire form."""
    tasks = spec.get("Tasks") or [{}]
    timeouts = tasks[0].get("Timeouts") or {}
    queue, total = (int(timeouts.get(key) or 0) for key in ("QueueTimeout", "TotalTimeout"))
    return Deadlines(
        queued_at + queue * _SECOND if queue else None,
        first_queued_at + total * _SECOND if total else None,
    )


def earliest(*moments: int | None) -> int | None:
    """The first of them; None if all are None."""
    return min((moment for moment in moments if moment is not None), default=None)


def why_too_late(spec: Mapping[str, Any], total_deadline: int | None, now: int) -> str:
    """Which timeout a job ran into, for its submitter."""
    timeouts = (spec.get("Tasks") or [{}])[0].get("Timeouts") or {}
    if total_deadline is not None and total_deadline <= now:
        return f"timed out: not over {timeouts.get('TotalTimeout')} s after it was queued (TotalTimeout)"
    return f"timed out: not started {timeouts.get('QueueTimeout')} s after it was queued (QueueTimeout)"

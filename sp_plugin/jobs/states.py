"""The states of jobs and executions, as Bacalhau names and numbers them, and which step follows which.

Names and numbers: bacalhau v1.6 and later, pkg/models/{job,execution}.go.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

__all__ = ["DesiredState", "ExecutionState", "JobState"]


class JobState(StrEnum):
    """A job's state. `PENDING` with a message also means "waiting for approval"."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows this state."""
        return self in {JobState.COMPLETED, JobState.FAILED, JobState.STOPPED}

    def can_become(self, other: JobState) -> bool:
        """Whether `other` may follow directly."""
        return other in _NEXT[self]


class ExecutionState(IntEnum):
    """An execution's state; executions here are made when they begin, so the bidding states never occur."""

    BID_ACCEPTED = 5
    RUNNING = 6
    PUBLISHING = 7
    COMPLETED = 9
    FAILED = 10
    CANCELLED = 11

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows this state."""
        return self >= ExecutionState.COMPLETED


class DesiredState(IntEnum):
    """What the orchestrator wants of an execution."""

    PENDING = 0
    RUNNING = 1
    STOPPED = 2


_NEXT: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.PENDING: frozenset({JobState.QUEUED, JobState.FAILED, JobState.STOPPED}),
    # back to Pending when the policy or an approval changed before the start
    JobState.QUEUED: frozenset(
        {JobState.PENDING, JobState.RUNNING, JobState.FAILED, JobState.STOPPED}
    ),
    # back to Queued when a lease expired or a retryable outcome came
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.COMPLETED, JobState.FAILED, JobState.STOPPED}
    ),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.STOPPED: frozenset(),
}

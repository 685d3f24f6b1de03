"""What follows each way in which a run can end: whether the job is tried again, how often, and after which wait.

Tried again is what may end differently without anybody changing the job. A program that took too much takes as much the
next time, and one that ended by itself has finished, whatever its exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sp_plugin.executors.base import OutcomeKind

__all__ = ["RETRY_RULES", "RetryRule", "retry_rule"]


@dataclass(frozen=True, slots=True)
class RetryRule:
    """`attempts` of a job, the first included; `waits` in seconds before the second, the third …, the last for all later."""

    attempts: int = 1
    waits: tuple[float, ...] = ()

    def wait_after(self, attempt: int) -> float | None:
        """Seconds to wait after that attempt (1 is the first) has ended so; None if it was the last."""
        if attempt >= self.attempts:
            return None
        return self.waits[min(attempt, len(self.waits)) - 1]


_NEVER: Final = RetryRule()

RETRY_RULES: Final[Mapping[OutcomeKind, RetryRule]] = {
    OutcomeKind.FINISHED: _NEVER,
    OutcomeKind.TRAPPED: _NEVER,
    OutcomeKind.INVALID_PROGRAM: _NEVER,
    OutcomeKind.OUT_OF_MEMORY: _NEVER,
    OutcomeKind.OUT_OF_TIME: _NEVER,
    OutcomeKind.OUT_OF_DISK: _NEVER,
    OutcomeKind.CANCELLED: _NEVER,
    OutcomeKind.INPUT_MISSING: _NEVER,
    OutcomeKind.INPUT_CHANGED: _NEVER,
    # An unsealing that was asked for takes hours, a storage path that is mounted again a minute.
    OutcomeKind.INPUT_SEALED: RetryRule(4, (60, 900, 3600)),
    # Somebody loads it, or its registry is back.
    OutcomeKind.IMAGE_MISSING: RetryRule(3, (60, 900)),
    OutcomeKind.OUTPUT_REFUSED: _NEVER,
    OutcomeKind.UNVERIFIED: _NEVER,
    # Results are kept and nothing runs again; a server that is away for a night must not cost a run of days.
    OutcomeKind.PUBLISH_FAILED: RetryRule(14, (10, 60, 600, 3600)),
    OutcomeKind.RUNTIME_FAULT: RetryRule(3, (2, 60)),
}


def retry_rule(outcome: str) -> RetryRule:
    """The rule for an outcome as executions record it."""
    return RETRY_RULES[OutcomeKind(outcome)]

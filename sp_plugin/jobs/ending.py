"""What follows the end of an execution for its job, and what of it counts against its submitter. Pure."""

from __future__ import annotations

from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.store.jobs import ExecutionResult, JobRecord

__all__ = ["used_by", "what_follows"]


def what_follows(
    job: JobRecord, result: ExecutionResult, most: int, wait: float, *, counted: bool
) -> tuple[JobState, str, int]:
    """What follows for a job whose execution ended: its state, the message, the attempts that count.

    `most` attempts are made in all; 0 is no other one.
    """
    attempts, again = job.attempts, f"again: {result.message}"
    if result.state is ExecutionState.COMPLETED:
        return JobState.COMPLETED, result.message, attempts
    if job.stop_requested:
        return JobState.STOPPED, job.message, attempts
    if job.timed_out:
        return JobState.FAILED, job.message, attempts
    if most and not counted:
        return JobState.QUEUED, again, attempts - 1
    if attempts < most:
        if wait:
            again = f"again in {wait:g} s, after attempt {attempts} of {most}: {result.message}"
        return JobState.QUEUED, again, attempts
    return JobState.FAILED, result.message, attempts


def used_by(result: ExecutionResult) -> tuple[int, int]:
    """Milliseconds of compute and bytes of output that count against the submitter's share, those of check runs too."""
    if result.run_record.get("usage_counted"):
        return 0, 0  # only publishing was tried again
    checks = (result.run_record.get("verification") or {}).get("usage") or {}
    milliseconds = written = 0
    for usage in (result.run_record.get("usage") or {}, checks):
        seconds = usage.get("cpu_seconds")
        if seconds is None:
            seconds = usage.get("wall_seconds") or 0
        milliseconds += max(0, int(float(seconds) * 1000))
        written += int(usage.get("output_bytes") or 0)
    return milliseconds, written

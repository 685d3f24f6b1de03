"""What runs next: a pure choice among the first queued job of each submitter.

Submitters take turns by what they use, not by how much they hand in or how loudly: whoever runs least now goes first, then
whoever used least compute in the last day, each divided by the submitter's weight. Priority orders the jobs of one
submitter only, so that nobody gains on others by writing a larger number. Who is over a quota is passed by and told why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

__all__ = ["NO_SHARE", "Candidate", "Choice", "Quota", "Share", "decide_next", "over_quota"]


@dataclass(frozen=True, slots=True)
class Quota:
    """What one submitter may have; None is no limit. `weight` is the size of its share beside others."""

    max_queued: int | None = None
    max_running: int | None = None
    compute_seconds_per_day: int | None = None
    output_bytes_per_day: int | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Share:
    """What a submitter has now and used in the day before. `last_start` is in Unix nanoseconds, 0 if never."""

    running: int = 0
    compute_ms: int = 0
    output_bytes: int = 0
    last_start: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """The queued job that its submitter wants next."""

    job_id: str
    submitter: str
    priority: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The job to start, if one may, and why the candidates of some submitters were passed by (by job ID)."""

    job_id: str | None = None
    passed_by: Mapping[str, str] = field(default_factory=dict)


NO_SHARE: Final = Share()


def over_quota(quota: Quota, share: Share) -> str | None:
    """Why a submitter may not start another job now; None if it may."""
    if quota.max_running is not None and share.running >= quota.max_running:
        return f"{share.running} of its jobs run; {quota.max_running} may at a time (max_running)"
    most = quota.compute_seconds_per_day
    if most is not None and share.compute_ms >= most * 1000:
        used = share.compute_ms // 1000
        return f"used {used} of {most} compute seconds in a day (compute_seconds_per_day)"
    most = quota.output_bytes_per_day
    if most is not None and share.output_bytes >= most:
        return f"wrote {share.output_bytes} of {most} output bytes in a day (output_bytes_per_day)"
    return None


def decide_next(
    candidates: Sequence[Candidate], shares: Mapping[str, Share], quotas: Mapping[str, Quota]
) -> Choice:
    """Which candidate starts. A submitter missing in `shares` used nothing; one missing in `quotas` has no limits.

    Equal arguments give an equal choice, in whatever order the candidates come.
    """
    passed_by: dict[str, str] = {}
    best: tuple[tuple[Fraction, Fraction, int, int, str], str] | None = None
    for candidate in candidates:
        share = shares.get(candidate.submitter, NO_SHARE)
        quota = quotas.get(candidate.submitter) or Quota()
        if (reason := over_quota(quota, share)) is not None:
            passed_by[candidate.job_id] = f"waits for its submitter's quota: {reason}"
            continue
        key = (
            Fraction(share.running, quota.weight),
            Fraction(share.compute_ms, quota.weight),
            share.last_start,
            candidate.created_at,
            candidate.job_id,
        )
        if best is None or key < best[0]:
            best = key, candidate.job_id
    return Choice(None if best is None else best[1], passed_by)

"""What the steps tell beside their work: gauges, and words for readyz."""

from __future__ import annotations

from collections.abc import Sequence

from deals.event_sources import SourceName, SourceStatus
from deals.gaps import Gap, GapKind
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.metrics import EVENT_SOURCE, JOBS, PIECES, UNKNOWN_EPOCHS
from sp_plugin.pieces import Pieces

__all__ = ["measure", "source_text", "waits_for"]


async def measure(pieces: Pieces, queue: JobQueue, gaps: Sequence[Gap]) -> None:
    """Bring the gauges of pieces, unknown epochs and jobs up to date."""
    PIECES.set(len(await pieces.known()))
    for kind in GapKind:
        epochs = sum(gap.to_epoch - gap.from_epoch for gap in gaps if gap.kind is kind)
        UNKNOWN_EPOCHS.labels(kind.value).set(epochs)
    for state, count in (await queue.counts()).items():
        JOBS.labels(state).set(count)


def source_text(source: SourceStatus) -> str:
    """Where events come from, which the metrics tell too; empty while it is the best source."""
    for name in SourceName:
        EVENT_SOURCE.labels(name.value).set(name is source.name)
    if source.name is SourceName.EVENTS_API:
        return ""
    return f"events from {source.name.value}: {source.why}; lost: {source.lost}"


def waits_for(reasons: Sequence[str]) -> str:
    """Why a period cannot be closed yet, for people; empty if nothing is waited for."""
    if not reasons:
        return ""
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"a period waits for {reasons[0]}{more}"

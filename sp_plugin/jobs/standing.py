"""What the queue is told while jobs are held back: why they wait or stand still, and time that must not count against them."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from sp_plugin.jobs.states import JobState
from sp_plugin.store.base import Store
from sp_plugin.store.jobs import JobRecord, change_job, find_job
from sp_plugin.store.submitters import queue_heads

__all__ = ["put_off_deadline", "tell_queue_heads"]


async def tell_queue_heads(store: Store, why: str, now: int) -> None:
    """Say at the job that each submitter waits for why nothing starts. The history is left alone: it would fill with this."""
    async with store.reading() as connection:
        waiting = await queue_heads(connection, now)
    for job in waiting:
        if job.message == why:
            continue
        async with store.transaction(durable=False, brief=True) as connection:
            found = await find_job(connection, job.id, lock=True)
            if found.state is JobState.QUEUED and found.revision == job.revision:
                await change_job(connection, job.id, message=why, modified_at=now)


async def put_off_deadline(connection: AsyncConnection, job: JobRecord, stood: int) -> JobRecord:
    """The job with `stood` nanoseconds more until its total time is over: so long its run stood still."""
    if stood <= 0 or job.total_deadline is None:
        return job
    later = job.total_deadline + stood
    await change_job(connection, job.id, total_deadline=later, deadline=later)
    return await find_job(connection, job.id)

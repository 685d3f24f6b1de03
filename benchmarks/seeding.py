"""A queue filled beforehand, so that reading it can be measured without waiting for thousands of requests."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import insert, select

from benchmarks.stand import nothing_job
from sp_plugin.config import load_config
from sp_plugin.jobs.kinds import load_kinds
from sp_plugin.jobs.queue import JobQueue
from sp_plugin.jobs.reading import read_job_values
from sp_plugin.store.job_tables import job_labels, jobs
from sp_plugin.store.migrate import open_store

__all__ = ["fill_queue"]


async def fill_queue(config: Path, count: int) -> None:
    """So many queued jobs in the database of a sidecar that does not run: one as it comes in, and copies of it."""
    settings = load_config(config, {})
    settings.data_dir.mkdir(mode=0o700, exist_ok=True)
    store = await open_store(settings.database_url)
    try:
        queue = JobQueue(store, time.time_ns)
        spec = read_job_values(nothing_job() | {"Labels": {"of": "many"}}, load_kinds()).spec
        first = await queue.submit(spec.to_wire(), bundle=("ab" * 32, {"nonce": "many"}))
        await queue.admit(first.id)
        async with store.transaction() as connection:
            row = (await connection.execute(select(jobs).where(jobs.c.id == first.id))).one()
            copies = [
                {
                    **row._mapping,
                    "id": f"{first.id}-{number}",
                    "created_at": row.created_at + number,
                }
                for number in range(1, count)
            ]
            await connection.execute(insert(jobs), copies)
            labels = [{"job_id": copy["id"], "key": "of", "value": "many"} for copy in copies]
            await connection.execute(insert(job_labels), labels)
    finally:
        await store.close()

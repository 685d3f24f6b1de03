"""A database that an earlier version wrote, with jobs in it, goes on in this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, text

from sp_plugin.jobs.queue import JobQueue, QueueRules
from sp_plugin.jobs.states import JobState
from sp_plugin.store.base import Store
from sp_plugin.store.job_lists import JobFilter, LabelTerm
from sp_plugin.store.migrate import _config, differences, open_store
from tests.databases import database_url

BEFORE = "202611250230"
NOW = 1_800_000_000 * 10**9
COLUMNS = (
    "id, name, namespace, submitter, spec, state, message, priority, stop_requested, bundle_digest, bundle, attempts, "
    "revision, created_at, modified_at"
)
INSERT = f"INSERT INTO jobs ({COLUMNS}) VALUES (:{COLUMNS.replace(', ', ', :')})"


def old_job(number: int, state: str, submitter: str | None, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"j-{number:04}", "name": f"job {number}", "namespace": "default", "submitter": submitter,
        "spec": json.dumps(spec), "state": state, "message": "as it was", "priority": 0,
        "stop_requested": False, "bundle_digest": "ab" * 32, "bundle": "{}", "attempts": 0, "revision": 3,
        "created_at": number, "modified_at": number,
    }  # fmt: skip


async def old_database(url: str, rows: list[dict[str, Any]]) -> None:
    def make(connection: Connection) -> None:
        command.upgrade(_config(connection), BEFORE)
        connection.execute(text(INSERT), rows)

    store = Store(url)
    async with store.transaction() as connection:
        await connection.run_sync(make)
    await store.close()


async def test_jobs_of_an_older_database_are_listed_found_by_label_and_run(tmp_path: Path):
    task = {"Timeouts": {"QueueTimeout": 5, "TotalTimeout": 9}}
    rows = [
        old_job(n, "Pending", None, {"Labels": {"old": str(n % 2)}, "Tasks": [task]})
        for n in range(450)
    ]
    rows += [old_job(450, "Queued", "ada", {"Tasks": [task]}), old_job(451, "Completed", "ada", {})]
    url = database_url(tmp_path)
    await old_database(url, rows)
    store = await open_store(url)
    try:
        assert await differences(store) == []
        queue = JobQueue(store, lambda: NOW, QueueRules())
        assert (await queue.counts())[JobState.PENDING] == 450
        old = await queue.page(JobFilter(labels=[LabelTerm("old", ("1",), negated=False)]))
        assert [json.loads(item)["ID"] for item in old.items] == [
            f"j-{n:04}" for n in range(1, 450, 2)
        ]
        job = await queue.job("j-0000")
        assert (job.submitter, job.spec["Name"], job.spec["Meta"]) == (None, "job 0", {})
        assert await queue.end_late() == []  # its clocks begin when it is queued by this version
        lease = await queue.take("node")
        assert lease is not None
        assert (lease.job.id, lease.job.submitter) == ("j-0450", "ada")
        admitted = await queue.admit("j-0000")
        assert admitted.deadline == NOW + 5 * 10**9
    finally:
        await store.close()

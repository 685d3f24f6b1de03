"""A process that does nothing but use the queue, and says each thing once it is done, until it is killed.

    python -m tests.queue_writer <database URL> <seed>

A line is `[what, …]` as JSON. What was said must be in the database, whatever happens to the process afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from typing import Any

from sp_plugin.jobs.queue import InvalidTransition, JobQueue, QueueRules
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.jobs.transitions import Reached
from sp_plugin.store.base import Store
from sp_plugin.store.jobs import ExecutionResult, Lease

__all__ = ["NODE", "RULES"]

NODE = "n-writer"
RULES = QueueRules(lease_seconds=600, max_attempts=100)


def say(*words: Any) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


class Writer:
    """Submitters, workers and one who stops, all at once."""

    def __init__(self, queue: JobQueue, seed: int) -> None:
        self.queue = queue
        self.chance = random.Random(seed)
        self.ids: list[str] = []

    async def submit_for_ever(self, submitter: str) -> None:
        """Jobs with every priority and every combination of timeouts."""
        while True:
            priority = self.chance.randrange(-3, 4)
            timeouts = {
                "QueueTimeout": self.chance.choice((0, 500)),
                "TotalTimeout": self.chance.choice((0, 300, 900)),
            }
            spec = {"Priority": priority, "Tasks": [{"Name": "main", "Timeouts": timeouts}]}
            job = await self.queue.submit(spec, submitter=submitter, bundle=("ab" * 32, {}))
            say("submitted", job.id, submitter, priority, timeouts)
            await self.queue.admit(job.id)
            say("admitted", job.id)
            self.ids.append(job.id)

    async def work_for_ever(self) -> None:
        """Take, keep and end runs, some of them to be tried again."""
        while True:
            lease = await self.queue.take(NODE)
            if lease is None:
                await asyncio.sleep(0)
                continue
            say("taken", lease.job.id, lease.execution_id, lease.token)
            await asyncio.sleep(self.chance.random() * 0.01)
            reached = [Reached(ExecutionState.RUNNING, "running", self.queue.now())]
            if self.chance.random() < 0.5:
                await self.queue.heartbeat(lease, reached)
                reached = []
            await self._end(lease, reached)

    async def _end(self, lease: Lease, reached: list[Reached]) -> None:
        if self.chance.random() < 0.3:
            result = ExecutionResult(
                state=ExecutionState.FAILED, outcome="runtime_fault", message="broke"
            )
            await self.queue.finish(lease, result, reached=reached, retry=True)
            say("again", lease.job.id, lease.token)
            return
        record = {"usage": {"cpu_seconds": 0.001, "output_bytes": 5}}
        result = ExecutionResult(
            state=ExecutionState.COMPLETED, outcome="finished", message="", run_record=record
        )
        await self.queue.finish(lease, result, reached=reached)
        say("completed", lease.job.id, lease.execution_id)

    async def stop_for_ever(self) -> None:
        """Stop some jobs, in whatever state."""
        while True:
            await asyncio.sleep(0.01)
            if not self.ids:
                continue
            job_id = self.chance.choice(self.ids)
            try:
                await self.queue.stop(job_id, "soak")
            except InvalidTransition:
                continue
            say("stopped", job_id)


async def _main(url: str, seed: int) -> None:
    writer = Writer(JobQueue(Store(url), time.time_ns, RULES), seed)
    say("ready")
    await asyncio.gather(
        writer.submit_for_ever("ada"),
        writer.submit_for_ever("ben"),
        *(writer.work_for_ever() for _ in range(3)),
        writer.stop_for_ever(),
    )


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))

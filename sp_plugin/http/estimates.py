"""What a job would be and take, were it handed in now: for people who write one."""

from __future__ import annotations

import statistics
from typing import Final

from aiohttp import web

from sp_plugin.config import Scope
from sp_plugin.http.auth import CALLER, needs
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import job_in, json_body
from sp_plugin.jobs.states import JobState

__all__ = ["routes"]

_LOOKED_AT: Final = 200  # earlier runs

routes = web.RouteTableDef()


@routes.post("/api/v1/sp/jobs/estimate")
@needs(Scope.READ)
async def estimate(request: web.Request) -> web.Response:
    """The bounds a job would run in, the data it would read, who waits before it, and what earlier runs of its program took.

    `seconds` is the median of earlier runs of the same module or image, null without any: nothing is guessed.
    """
    parts = request.app[PARTS]
    job = job_in(await json_body(request))
    bundle = await parts.admission.estimate(job)
    program = bundle.module_sha256 or bundle.image
    runs = await parts.queue.earlier_runs(program or "", _LOOKED_AT)
    counts = await parts.queue.counts()
    quota = parts.queue.rules.quota_of(request[CALLER])
    return web.json_response(
        {
            "engine": str(bundle.engine),
            "program": program,
            "limits": {
                "cpu_millis": bundle.limits.cpu_millis,
                "memory_bytes": bundle.limits.memory_bytes,
                "disk_bytes": bundle.limits.disk_bytes,
                "timeout_seconds": bundle.limits.timeout_seconds,
            },
            "inputs": [
                {"target": item.target, "cid": str(item.cid), "padded_size": item.padded_size}
                for item in bundle.inputs
            ],
            "input_padded_bytes": sum(item.padded_size or 0 for item in bundle.inputs),
            "earlier_runs": len(runs),
            "seconds": round(statistics.median(runs), 3) if runs else None,
            "ahead": {
                "waiting": counts[JobState.PENDING],
                "queued": counts[JobState.QUEUED],
                "running": counts[JobState.RUNNING],
            },
            "quota": {
                "max_queued": quota.max_queued,
                "max_running": quota.max_running,
                "compute_seconds_per_day": quota.compute_seconds_per_day,
                "output_bytes_per_day": quota.output_bytes_per_day,
            },
        }
    )

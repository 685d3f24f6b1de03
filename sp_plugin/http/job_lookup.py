"""Finding the job that a request names."""

from __future__ import annotations

from aiohttp import web

from sp_plugin.http.parts import PARTS
from sp_plugin.store.jobs import JobRecord

__all__ = ["job_of"]


async def job_of(request: web.Request) -> JobRecord:
    """The job named by `{id}`: its name, its ID, or the beginning of its ID.

    Raises:
        JobNotFound: there is none.
        SeveralJobs: several begin so.
    """
    return await request.app[PARTS].queue.named(request.match_info["id"])

"""Finding the job that a request names."""

from __future__ import annotations

from aiohttp import web

from sp_plugin.errors import Conflict, NotFound
from sp_plugin.http.parts import PARTS
from sp_plugin.store.jobs import JobRecord

__all__ = ["job_of"]

_SHORTEST_PREFIX = 3
_ALL = 100_000


async def job_of(request: web.Request) -> JobRecord:
    """The job named by `{id}`: its ID, its name, or the beginning of its ID.

    Raises:
        NotFound: there is none.
        Conflict: several begin so.
    """
    wanted = request.match_info["id"]
    jobs = await request.app[PARTS].queue.list_jobs(limit=_ALL)
    found = [job for job in jobs if job.id == wanted] or [job for job in jobs if job.name == wanted]
    if found:
        return found[0]
    if len(wanted) >= _SHORTEST_PREFIX:
        found = [job for job in jobs if job.id.startswith(wanted)]
    if len(found) > 1:
        raise Conflict(f"{len(found)} jobs begin with {wanted}; write more of the ID")
    if not found:
        raise NotFound("job", wanted)
    return found[0]

"""What Bacalhau v1.8 added: comparing a job before it is handed in, its versions, running it again.

A job here has one version: its approvals are signatures over what it does, so a changed or repeated job is a new one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import yaml
from aiohttp import web

from sp_plugin.config import Scope
from sp_plugin.errors import BadInput
from sp_plugin.http.auth import needs
from sp_plugin.http.described import answers
from sp_plugin.http.errors import error_response
from sp_plugin.http.job_lookup import job_of
from sp_plugin.http.job_shapes import job_json
from sp_plugin.http.jobs import JOBS_PATH
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import job_in, json_body
from sp_plugin.http.shapes import Diff, JobList, PutJob

__all__ = ["routes"]

_MOST_LINE: Final = 2000  # an inline module is one line of megabytes

routes = web.RouteTableDef()


@routes.put(JOBS_PATH + "/diff")
@needs(Scope.READ)
@answers(Diff, body=PutJob)
async def diff(request: web.Request) -> web.Response:
    """How a job differs from the newest one of its name, as lines with + and -."""
    parts = request.app[PARTS]
    read = parts.admission.read(job_in(await json_body(request)))
    if not read.spec.name:
        raise BadInput("is needed to find the job to compare with", field="Name")
    there = await parts.queue.named(read.spec.name)
    before, after = _lines(there.spec), _lines(read.spec.to_wire())
    lines = list(difflib.unified_diff(before, after, "now", "then", lineterm="", n=3))
    return web.json_response({"Diff": "\n".join(lines), "Warnings": list(read.warnings)})


def _lines(spec: Mapping[str, Any]) -> list[str]:
    text = yaml.safe_dump(dict(spec), sort_keys=True, width=10**6)
    return [line[:_MOST_LINE] for line in text.splitlines()]


@routes.get(JOBS_PATH + "/{id}/versions")
@needs(Scope.READ)
@answers(JobList)
async def versions(request: web.Request) -> web.Response:
    """The one version of a job."""
    return web.json_response({"Items": [job_json(await job_of(request))], "NextToken": ""})


@routes.put(JOBS_PATH + "/{id}/rerun")
@needs(Scope.SUBMIT)
async def rerun(request: web.Request) -> web.Response:
    """Refused: a run needs approvals of its own."""
    job = await job_of(request)
    return error_response(
        501,
        "NotImplemented",
        f"job {job.id} cannot be run again under its ID: approvers signed one run of it",
        hint="hand the same job in once more, and let it be approved",
    )

"""Bacalhau's orchestrator API v1, as far as jobs, their results and the agent are concerned.

Always 200 with a JSON body on success: the CLIs take any other status for an error.
"""

from __future__ import annotations

import base64
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from uuid import uuid4

from aiohttp import web

from sp_plugin.config import Scope
from sp_plugin.errors import BadInput
from sp_plugin.http.auth import CALLER, needs
from sp_plugin.http.job_lookup import job_of
from sp_plugin.http.job_shapes import (
    execution_json,
    history_json,
    job_json,
    old_execution_numbers,
)
from sp_plugin.http.labels import parse_selector
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import json_body, number, text
from sp_plugin.jobs.states import ExecutionState

__all__ = ["routes"]

_API: Final = "/api/v1/orchestrator/jobs"
_MOST: Final = 1000
_SPOKEN: Final = "v1.9.3"  # the API version we speak; GitCommit says who we are

routes = web.RouteTableDef()


@routes.get("/api/v1/agent/alive")
@needs(None)
async def alive(_request: web.Request) -> web.Response:
    """That an API is here."""
    return web.json_response({"Status": "OK"})


@routes.get("/api/v1/agent/version")
@needs(None)
async def agent_version(_request: web.Request) -> web.Response:
    """The API version we speak, and in GitCommit what we are."""
    try:
        own = version("sp-plugin")
    except PackageNotFoundError:
        own = "unknown"
    return web.json_response(
        {
            "Major": "1",
            "Minor": "9",
            "GitVersion": _SPOKEN,
            "GitCommit": f"sp-plugin-{own}",
            "BuildDate": "2026-01-01T00:00:00Z",
            "GOOS": platform.system().lower(),
            "GOARCH": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                platform.machine(), platform.machine()
            ),
        }
    )


@routes.put(_API)
@routes.post(_API)
@needs(Scope.SUBMIT)
async def submit(request: web.Request) -> web.Response:
    """Take a job in; it waits for its approvals."""
    body = await json_body(request)
    job = next((value for key, value in body.items() if key.lower() == "job"), None)
    if not isinstance(job, dict):
        raise BadInput('must be a job: {"Job": {"Type": "batch", "Tasks": [...]}}', field="Job")
    parts = request.app[PARTS]
    record, warnings = await parts.admission.submit(job, request[CALLER])
    parts.wake("admit")
    return web.json_response(
        {"JobID": record.id, "EvaluationID": str(uuid4()), "Warnings": list(warnings)}
    )


@routes.get(_API)
@needs(Scope.READ)
async def list_jobs(request: web.Request) -> web.Response:
    """Jobs, newest first (`reverse` turns it round), filtered by namespace and labels."""
    limit = number(request, "limit", _MOST, _MOST)
    offset = _offset(text(request, "next_token"))
    order = text(request, "order_by") or "created_at"
    if order not in ("created_at", "modified_at", "id"):
        raise BadInput("must be created_at, modified_at or id", field="order_by")
    wanted = parse_selector(",".join(part for part in request.query.getall("labels", []) if part))
    namespace = text(request, "namespace")
    jobs = [
        job
        for job in await request.app[PARTS].queue.list_jobs(limit=10_000)
        if (namespace in (None, "*", job.namespace)) and wanted(job.spec.get("Labels") or {})
    ]
    if order == "modified_at":
        jobs.sort(key=lambda job: job.modified_at, reverse=True)
    elif order == "id":
        jobs.sort(key=lambda job: job.id)
    if request.query.get("reverse", "").lower() == "true":
        jobs.reverse()
    page = jobs[offset : offset + limit]
    more = offset + limit < len(jobs)
    return web.json_response(
        {
            "Items": [job_json(job) for job in page],
            "NextToken": _token(offset + limit) if more else "",
        }
    )


@routes.get(_API + "/{id}")
@needs(Scope.READ)
async def get_job(request: web.Request) -> web.Response:
    """One job, with executions and history where asked for."""
    job = await job_of(request)
    queue, old = request.app[PARTS].queue, _old(request)
    include = {part.strip().lower() for part in request.query.get("include", "").split(",")}
    body: dict[str, Any] = {"Job": job_json(job)}
    if "executions" in include:
        items = await queue.executions_of(job.id)
        body["Executions"] = _page([execution_json(item, old_numbers=old) for item in items])
    if "history" in include:
        history = await queue.history(job.id)
        body["History"] = _page([history_json(item, old_numbers=old) for item in history])
    return web.json_response(body)


@routes.delete(_API + "/{id}")
@needs(Scope.SUBMIT)
async def stop(request: web.Request) -> web.Response:
    """Stop a job; the reason comes in the body (CLI) or the query (SDK)."""
    job = await job_of(request)
    reason = (await json_body(request)).get("reason") or text(request, "reason") or ""
    await request.app[PARTS].queue.stop(job.id, "" if reason == "None" else str(reason)[:500])
    return web.json_response({"EvaluationID": str(uuid4())})


@routes.get(_API + "/{id}/executions")
@needs(Scope.READ)
async def executions(request: web.Request) -> web.Response:
    """A job's executions, newest first."""
    job = await job_of(request)
    items = await request.app[PARTS].queue.executions_of(job.id)
    shown = [execution_json(item, old_numbers=_old(request)) for item in reversed(items)]
    return web.json_response(_page(shown[: number(request, "limit", _MOST, _MOST)]))


@routes.get(_API + "/{id}/history")
@needs(Scope.READ)
async def history(request: web.Request) -> web.Response:
    """What happened to a job, oldest first. Until the job is over there is always a token for what comes next."""
    job = await job_of(request)
    limit = number(request, "limit", 100, _MOST)
    after = _offset(text(request, "next_token"))
    items = await request.app[PARTS].queue.history(job.id, after=after, limit=limit + 1)
    more, items = len(items) > limit, items[:limit]
    last = items[-1].seq if items else after
    kind = (text(request, "event_type") or "all").lower()
    only = text(request, "execution_id")
    since = number(request, "since", 0, 1 << 40) * 1_000_000_000
    shown = [
        history_json(item, old_numbers=_old(request))
        for item in items
        if kind in ("all", "execution" if item.execution_id else "job")
        and (only is None or (item.execution_id or "").startswith(only))
        and item.at >= since
    ]
    token = _token(last) if more or not job.state.is_terminal else ""
    return web.json_response({"Items": shown, "NextToken": token})


@routes.get(_API + "/{id}/results")
@needs(Scope.READ)
async def results(request: web.Request) -> web.Response:
    """Where to download the results of each completed execution, without a token: the links are signed."""
    job = await job_of(request)
    parts = request.app[PARTS]
    base = (parts.http.public_url or f"{request.scheme}://{request.host}").rstrip("/")
    items = [
        {"Type": "urlDownload", "Params": {"URL": base + parts.links.path_of(item.id)}}
        for item in await parts.queue.executions_of(job.id)
        if item.state is ExecutionState.COMPLETED and (item.published or {}).get("Type")
    ]
    return web.json_response(_page(items))


def _old(request: web.Request) -> bool:
    return old_execution_numbers(request.headers.get("X-Bacalhau-Git-Version", ""))


def _page(items: list[Any]) -> dict[str, Any]:
    return {"Items": items, "NextToken": ""}


def _token(position: int) -> str:
    raw = json.dumps({"at": position}).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        value = json.loads(base64.urlsafe_b64decode(token[:200] + "=" * (-len(token[:200]) % 4)))
        position = value["at"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput("is not a token of this server", field="next_token") from error
    if not isinstance(position, int) or not 0 <= position < 1 << 62:
        raise BadInput("is not a token of this server", field="next_token")
    return position

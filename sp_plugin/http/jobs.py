"""Bacalhau's orchestrator API v1: jobs, their executions, history and results.

Always 200 with a JSON body on success: the CLIs take any other status for an error. Where real servers answer a state
conflict or an ambiguous ID with 500, we say 409: no client reads more than "not 200", and 5xx is for faults of ours.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from aiohttp import web

from sp_plugin.config import Scope
from sp_plugin.errors import BadInput
from sp_plugin.http.auth import needs
from sp_plugin.http.client_version import speaks_old_numbers
from sp_plugin.http.described import answers
from sp_plugin.http.job_lookup import job_of
from sp_plugin.http.job_shapes import execution_json, history_json, job_json
from sp_plugin.http.labels import parse_selector
from sp_plugin.http.paging import read_token, write_token
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import flag, json_body, number, text
from sp_plugin.http.shapes import (
    ExecutionList,
    HistoryList,
    JobAnswer,
    JobList,
    PutJob,
    PutJobAnswer,
    ResultList,
    StopAnswer,
    StopJob,
)
from sp_plugin.http.signed_jobs import handed_in
from sp_plugin.jobs.states import ExecutionState, JobState
from sp_plugin.store.job_lists import JobFilter
from sp_plugin.store.jobs import ExecutionRecord

__all__ = ["JOBS_PATH", "routes"]

JOBS_PATH: Final = "/api/v1/orchestrator/jobs"
_MOST: Final = 10_000
_MOST_HISTORY: Final = 1000

routes = web.RouteTableDef()


@routes.put(JOBS_PATH)
@routes.post(JOBS_PATH)
@needs(Scope.SUBMIT, asks_itself=True)
@answers(PutJobAnswer, body=PutJob)
async def submit(request: web.Request) -> web.Response:
    """Take a job in; it waits for its approvals. Its submitter's signature in it may stand for the token."""
    parts = request.app[PARTS]
    handed = await handed_in(request)
    if isinstance(handed, web.Response):
        return handed
    record, warnings = await parts.admission.take(handed.read, handed.submitter, handed.signed)
    if not record.message.startswith("waits"):  # nothing is missing, so it need not wait its turn
        parts.consider(record.id)
    return web.json_response(
        {"JobID": record.id, "EvaluationID": str(uuid4()), "Warnings": list(warnings)}
    )


@routes.get(JOBS_PATH)
@needs(Scope.READ)
@answers(JobList, "limit", "next_token", "order_by", "reverse", "namespace", "labels")
async def list_jobs(request: web.Request) -> web.Response:
    """Jobs, oldest first (`reverse` turns it round), filtered by namespace and labels."""
    page = await request.app[PARTS].queue.page(_filter(request))
    order, newest_first, limit, _ = _order(request)
    token = ""
    if page.after is not None:
        token = write_token(o=order, r=newest_first, l=limit, a=page.after[0], i=page.after[1])
    body = f'{{"Items":[{",".join(page.items)}],"NextToken":"{token}"}}'
    return web.Response(text=body, content_type="application/json")


def _filter(request: web.Request) -> JobFilter:
    order, newest_first, limit, after = _order(request)
    namespace = text(request, "namespace")
    return JobFilter(
        namespace=None if namespace == "*" else namespace,
        labels=parse_selector(",".join(filter(None, request.query.getall("labels", [])))),
        order_by=order,
        newest_first=newest_first,
        after=after,
        limit=limit,
    )


def _order(request: web.Request) -> tuple[str, bool, int, tuple[int | str, str] | None]:
    """Column, newest first, limit, and where to go on: a token says all of it again."""
    if (token := text(request, "next_token")) is not None:
        kinds: dict[str, Any] = {"o": str, "r": bool, "l": int, "a": (int, str), "i": str}
        values = read_token(token, **kinds)
        is_text = isinstance(values["a"], str)
        if values["o"] not in _ORDERS.values() or is_text is not (values["o"] == "id"):
            raise BadInput("is not a token of this server", field="next_token")
        return values["o"], values["r"], values["l"], (values["a"], values["i"])
    order = _ORDERS.get((text(request, "order_by") or "created_at").lower())
    if order is None:
        raise BadInput("must be created_at, modified_at or id", field="order_by")
    return order, flag(request, "reverse"), number(request, "limit", _MOST, _MOST), None


_ORDERS: Final = {
    "created_at": "created_at",
    "create_time": "created_at",
    "modified_at": "modified_at",
    "modify_time": "modified_at",
    "id": "id",
}


@routes.get(JOBS_PATH + "/{id}")
@needs(Scope.READ)
@answers(JobAnswer, "include", "limit", "job_version", "namespace")
async def get_job(request: web.Request) -> web.Response:
    """One job, with executions and history where asked for."""
    job = await job_of(request)
    queue, old = request.app[PARTS].queue, speaks_old_numbers(request)
    include = {part.strip().lower() for part in request.query.get("include", "").split(",")}
    body: dict[str, Any] = {"Job": job_json(job)}
    if "executions" in include:
        items = await queue.executions_of(job.id)
        body["Executions"] = _page([execution_json(item, job, old_numbers=old) for item in items])
    if "history" in include:
        history = await queue.history(job.id)
        body["History"] = _page([history_json(item, old_numbers=old) for item in history])
    return web.json_response(body)


@routes.delete(JOBS_PATH + "/{id}")
@needs(Scope.SUBMIT)
@answers(StopAnswer, "reason", body=StopJob)
async def stop(request: web.Request) -> web.Response:
    """Stop a job; the reason comes in the body (CLI) or the query (SDK). Empty if it was stopped before."""
    job = await job_of(request)
    body = {key.casefold(): value for key, value in (await json_body(request)).items()}
    reason = body.get("reason") or text(request, "reason") or ""
    again = job.state is JobState.STOPPED or job.stop_requested
    await request.app[PARTS].queue.stop(job.id, "" if reason == "None" else str(reason)[:500])
    return web.json_response({"EvaluationID": "" if again else str(uuid4())})


@routes.post("/api/v1/sp/jobs/{id}/retry")
@needs(Scope.SUBMIT)
async def retry(request: web.Request) -> web.Response:
    """Let a job that waits for its next attempt be tried at once; 409 for one that does not."""
    job = await request.app[PARTS].queue.retry_now((await job_of(request)).id)
    return web.json_response({"Job": job_json(job)})


@routes.get(JOBS_PATH + "/{id}/executions")
@needs(Scope.READ)
@answers(ExecutionList, "limit", "order_by", "reverse", "job_version", "all_job_versions")
async def executions(request: web.Request) -> web.Response:
    """A job's executions, oldest first (`reverse` turns it round)."""
    job = await job_of(request)
    items = await request.app[PARTS].queue.executions_of(job.id)
    orders: dict[str, Any] = {
        "created_at": lambda item: (item.created_at, item.token),
        "modified_at": lambda item: (item.modified_at, item.token),
        "id": lambda item: item.id,
        "state": lambda item: (int(item.state), item.token),
    }
    name = (text(request, "order_by") or "created_at").lower()
    order = orders.get(_ORDERS.get(name, name))
    if order is None:
        raise BadInput("must be created_at, modified_at, id or state", field="order_by")
    items.sort(key=order, reverse=flag(request, "reverse"))
    old = speaks_old_numbers(request)
    shown = [execution_json(item, job, old_numbers=old) for item in items]
    return web.json_response(_page(shown[: number(request, "limit", _MOST, _MOST)]))


@routes.get(JOBS_PATH + "/{id}/history")
@needs(Scope.READ)
@answers(HistoryList, "event_type", "execution_id", "since", "limit", "next_token", "job_version")
async def history(request: web.Request) -> web.Response:
    """What happened to a job, oldest first. Until the job is over there is always a token for what comes next."""
    job = await job_of(request)  # read first: a job seen as over has its whole history
    limit = number(request, "limit", 100, _MOST_HISTORY)
    token = text(request, "next_token")
    after = 0 if token is None else read_token(token, at=int)["at"]
    items = await request.app[PARTS].queue.history(job.id, after=after, limit=limit + 1)
    more, items = len(items) > limit, items[:limit]
    last = items[-1].seq if items else after
    kind = (text(request, "event_type") or "all").lower()
    only, node = text(request, "execution_id") or "", text(request, "node_id")
    since = number(request, "since", 0, 1 << 40) * 1_000_000_000
    old = speaks_old_numbers(request)
    shown = [
        history_json(item, old_numbers=old)
        for item in items
        if kind in ("all", "execution" if item.execution_id else "job")
        and (item.execution_id or "").startswith(only)
        and node in (None, request.app[PARTS].node_id)
        and item.at >= since
    ]
    goes_on = more or not job.state.is_terminal
    return web.json_response({"Items": shown, "NextToken": write_token(at=last) if goes_on else ""})


@routes.get(JOBS_PATH + "/{id}/results")
@needs(Scope.READ)
@answers(ResultList)
async def results(request: web.Request) -> web.Response:
    """Where to download the results of each completed execution, without a token: the links are signed."""
    job = await job_of(request)
    parts = request.app[PARTS]
    base = (parts.http.public_url or f"{request.scheme}://{request.host}").rstrip("/")
    items = [
        {"Type": "urlDownload", "Params": {"URL": base + parts.links.path_of(item.id)}}
        for item in await parts.queue.executions_of(job.id)
        if _has_results(item)
    ]
    return web.json_response(_page(items))


def _has_results(item: ExecutionRecord) -> bool:
    return item.state is ExecutionState.COMPLETED and bool((item.published or {}).get("Type"))


def _page(items: list[Any]) -> dict[str, Any]:
    return {"Items": items, "NextToken": ""}

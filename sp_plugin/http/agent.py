"""Bacalhau's API v1: the agent and its nodes, with the routes of older clients. There is one node, this one."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any, Final

from aiohttp import web

from sp_plugin.config import Scope
from sp_plugin.errors import BadInput, NotFound
from sp_plugin.http.auth import needs
from sp_plugin.http.described import answers
from sp_plugin.http.errors import error_response
from sp_plugin.http.labels import parse_selector
from sp_plugin.http.node_facts import node_state, own_version, version_info
from sp_plugin.http.parts import PARTS, Parts
from sp_plugin.http.requests import text
from sp_plugin.http.shapes import Alive, NodeAnswer, NodeInfo, NodeList, VersionAnswer, VersionInfo

__all__ = ["routes"]

_AGENT: Final = "/api/v1/agent"
_NODES: Final = "/api/v1/orchestrator/nodes"

routes = web.RouteTableDef()


@routes.get(_AGENT + "/alive")
@needs(None)
@answers(Alive)
async def alive(_request: web.Request) -> web.Response:
    """That an API is here."""
    return web.json_response({"Status": "OK"})


@routes.get(_AGENT + "/version")
@needs(None)
@answers(VersionInfo)
async def agent_version(_request: web.Request) -> web.Response:
    """The API version we speak, and in GitCommit what we are."""
    return web.json_response(version_info())


@routes.post("/api/v1/version")
@needs(None)
@answers(VersionAnswer)
async def old_version(_request: web.Request) -> web.Response:
    """The same, as clients before v1.5 and the Python client ask for it."""
    return web.json_response({"build_version_info": version_info()})


@routes.get(_AGENT + "/node")
@routes.get("/api/v1/node_info")
@needs(Scope.READ)
@answers(NodeInfo)
async def agent_node(request: web.Request) -> web.Response:
    """This node: the keys of its description and, for clients before v1.6, those of its state."""
    state = await node_state(request.app[PARTS])
    return web.json_response({**state["Info"], **state})


@routes.get(_AGENT + "/config")
@needs(Scope.READ)
async def agent_config(request: web.Request) -> web.Response:
    """What of the configuration concerns jobs; no secrets, no paths."""
    parts = request.app[PARTS]
    jobs = parts.jobs
    bounds = {"memory_bytes", "wall_seconds", "output_bytes", "log_bytes"}
    shown: dict[str, Any] = {
        "engines": sorted(parts.kinds.engines),
        "sources": sorted(parts.kinds.sources),
        "publishers": list(jobs.allowed_publishers),
        "workers": jobs.workers,
        "max_queued": jobs.max_queued,
        "wasm": jobs.wasm.model_dump(mode="json", include=bounds | {"cpu_seconds"}),
        "docker": jobs.docker.model_dump(mode="json", include=bounds | {"enabled", "cpus", "pids"}),
    }
    return web.json_response({"config": shown})


@routes.get(_AGENT + "/debug")
@needs(Scope.READ)
async def debug(request: web.Request) -> web.Response:
    """What runs here, for a person."""
    counts = await request.app[PARTS].queue.counts()
    jobs = {str(state): count for state, count in counts.items()}
    return web.json_response({"program": f"sp-plugin {own_version()}", "jobs": jobs})


@routes.get("/api/v1/livez")
@needs(None)
async def old_livez(_request: web.Request) -> web.Response:
    """`OK`, for old clients."""
    return web.Response(text="OK")


@routes.get("/api/v1/id")
@needs(Scope.READ)
async def old_id(request: web.Request) -> web.Response:
    """This node's ID as plain text, for old clients."""
    return web.Response(text=request.app[PARTS].node_id)


@routes.get("/api/v1/healthz")
@needs(Scope.READ)
async def old_healthz(request: web.Request) -> web.Response:
    """Free space in bytes where results are kept, for old clients."""
    usage = await asyncio.to_thread(shutil.disk_usage, request.app[PARTS].results_dir)
    space = {"All": usage.total, "Free": usage.free, "Used": usage.used}
    return web.json_response({"FreeSpace": {"root": space, "tmp": space}})


@routes.get("/version")
@needs(None)
async def short_version(_request: web.Request) -> web.Response:
    """For browsers."""
    raise web.HTTPMovedPermanently(_AGENT + "/version")


@routes.get("/livez")
@needs(None)
async def short_livez(_request: web.Request) -> web.Response:
    """For browsers."""
    raise web.HTTPMovedPermanently(_AGENT + "/alive")


@routes.get(_NODES)
@needs(Scope.READ)
@answers(NodeList, "labels", "filter-approval", "filter-status", "limit", "order_by", "reverse")
async def nodes(request: web.Request) -> web.Response:
    """This node, unless the filters leave it out."""
    parts = request.app[PARTS]
    terms = parse_selector(",".join(filter(None, request.query.getall("labels", []))))
    state = await node_state(parts)
    approval = text(request, "filter-approval") or text(request, "filter_approval") or "approved"
    status = text(request, "filter-status") or "connected"
    if (order := text(request, "order_by") or "id").lower() not in _NODE_ORDERS:
        raise BadInput(f"{order[:40]!r} is none of {', '.join(_NODE_ORDERS)}", field="order_by")
    is_shown = (approval.upper(), status.upper()) == ("APPROVED", "CONNECTED")
    is_shown = is_shown and all(term.fits(state["Info"]["Labels"]) for term in terms)
    found = [state] if is_shown else []
    return web.json_response({"Nodes": found, "nodes": found, "NextToken": ""})


_NODE_ORDERS: Final = (
    "id",
    "type",
    "available_cpu",
    "available_memory",
    "available_disk",
    "available_gpu",
    "approval",
    "status",
)


@routes.get(_NODES + "/{id}")
@needs(Scope.READ)
@answers(NodeAnswer)
async def node(request: web.Request) -> web.Response:
    """This node, by its ID or the beginning of it."""
    parts = request.app[PARTS]
    _check_own(parts, request.match_info["id"])
    state = await node_state(parts)
    return web.json_response({"Node": state, "node": state})


@routes.put(_NODES + "/{id}")
@needs(Scope.OPERATE)
async def put_node(request: web.Request) -> web.Response:
    """Refused: no other node can join."""
    _check_own(request.app[PARTS], request.match_info["id"])
    return error_response(
        501, "NotImplemented", "this provider's only node can be neither rejected nor deleted"
    )


def _check_own(parts: Parts, wanted: str) -> None:
    if len(wanted) < 3 or not parts.node_id.startswith(wanted):
        raise NotFound("node", wanted[:80])

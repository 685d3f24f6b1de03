"""Health and metrics: open to everybody, and saying no more than what an orchestrator or Prometheus needs."""

from __future__ import annotations

from aiohttp import web

from lotus_client.address import Address
from sp_plugin.config import Scope
from sp_plugin.http.auth import needs
from sp_plugin.http.gaps import gaps_json
from sp_plugin.http.parts import PARTS
from sp_plugin.metrics import READY, metrics_text

__all__ = ["routes"]

routes = web.RouteTableDef()


@routes.get("/health/livez")
@needs(None)
async def livez(_request: web.Request) -> web.Response:
    """200 while the process answers at all."""
    return web.json_response({"status": "alive"})


@routes.get("/health/readyz")
@needs(None)
async def readyz(request: web.Request) -> web.Response:
    """200 if every part works, else 503; either way each part with its reason."""
    health = request.app[PARTS].health
    body = {
        "ready": health.is_ready,
        "parts": [
            {
                "name": state.name,
                "ready": state.ready,
                "reason": state.reason,
                "note": state.note,
                "since": state.since.isoformat(),
            }
            for state in health.states
        ],
    }
    return web.json_response(body, status=200 if health.is_ready else 503)


@routes.get("/api/v1/sp/status")
@needs(Scope.READ)
async def status(request: web.Request) -> web.Response:
    """Where the sidecar stands: network, provider, how far the chain is followed and by what, and what of it is unknown."""
    parts = request.app[PARTS]
    source = parts.event_source()
    return web.json_response(
        {
            "network": parts.network,
            "provider": Address.of_id(parts.provider).to_text(parts.prefix),
            "head_epoch": await parts.head(),
            "followed_epoch": parts.followed(),
            "ready": parts.health.is_ready,
            "events": None
            if source is None
            else {"source": source.name.value, "why": source.why, "lost": source.lost},
            "gaps": gaps_json(await parts.gaps()),
        }
    )


@routes.get("/metrics")
@needs(None)
async def metrics(request: web.Request) -> web.Response:
    """Prometheus' text format."""
    for state in request.app[PARTS].health.states:
        READY.labels(state.name).set(state.ready)
    return web.Response(
        body=metrics_text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )

"""The aiohttp application, from the sidecar's parts."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from sp_plugin.http import approvals, health, holdings, jobs, money, piece_work
from sp_plugin.http.auth import auth_middleware
from sp_plugin.http.errors import error_middleware
from sp_plugin.http.origin import origin_middleware
from sp_plugin.http.parts import PARTS, Parts
from sp_plugin.metrics import HTTP_REQUESTS

__all__ = ["make_app"]


def make_app(parts: Parts) -> web.Application:
    """The application; it holds no state of its own."""
    app = web.Application(
        middlewares=[_count, error_middleware, origin_middleware, auth_middleware],
        client_max_size=parts.http.max_body_bytes,
    )
    app[PARTS] = parts
    for module in (health, jobs, approvals, holdings, piece_work, money):
        app.add_routes(module.routes)
    return app


@web.middleware
async def _count(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    resource = request.match_info.route.resource
    route = (
        resource.canonical if resource else "unknown"
    )  # not the path: it would grow without bound
    HTTP_REQUESTS.labels(request.method, route, response.status).inc()
    return response

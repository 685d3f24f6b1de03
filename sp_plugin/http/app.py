"""The aiohttp application, from the sidecar's parts."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from sp_plugin.http import (
    agent,
    approvals,
    estimates,
    guard,
    health,
    holdings,
    job_logs,
    job_versions,
    jobs,
    login,
    money,
    openapi,
    piece_work,
    signed_jobs,
    sub_pieces,
)
from sp_plugin.http.auth import auth_middleware
from sp_plugin.http.client_version import version_middleware
from sp_plugin.http.errors import error_middleware
from sp_plugin.http.origin import origin_middleware
from sp_plugin.http.parts import PARTS, Parts
from sp_plugin.metrics import HTTP_REQUESTS

__all__ = ["make_app"]

# job_versions before jobs: `/jobs/diff` must not be taken for a job's ID
_MODULES: Final = (
    health,
    guard,
    agent,
    login,
    job_versions,
    jobs,
    signed_jobs,
    job_logs,
    approvals,
    estimates,
    holdings,
    piece_work,
    sub_pieces,
    money,
    openapi,
)


def make_app(parts: Parts) -> web.Application:
    """The application; of its own it holds only how many logs are followed, and who knocked without a token."""
    app = web.Application(
        middlewares=[
            _count,
            error_middleware,
            origin_middleware,
            version_middleware,
            auth_middleware,
        ],
        client_max_size=parts.http.max_body_bytes,
    )
    app[PARTS] = parts
    app[job_logs.FOLLOWERS] = job_logs.Followers()
    app[signed_jobs.DOOR] = signed_jobs.Door()
    for module in _MODULES:
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

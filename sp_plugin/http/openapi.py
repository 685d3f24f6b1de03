"""The OpenAPI document, made of the routes themselves: what they answer, what they read, and the scope they need."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sp_plugin.config import Scope
from sp_plugin.http.auth import needs, scope_of
from sp_plugin.http.described import described
from sp_plugin.http.node_facts import own_version

__all__ = ["openapi_document", "routes"]

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_INTEGERS: Final = frozenset({"limit", "since", "job_version"})
_FLAGS: Final = frozenset({"reverse", "follow", "tail", "all_job_versions"})

routes = web.RouteTableDef()


class Error(BaseModel):
    """Every error, whatever the route."""

    Status: int
    Message: str
    RequestID: str
    Code: str
    Component: str
    Hint: str
    Details: dict[str, str]


@routes.get("/openapi.json")
@needs(None)
async def openapi(request: web.Request) -> web.Response:
    """This document."""
    return web.json_response(openapi_document(request.app))


def openapi_document(app: web.Application) -> dict[str, Any]:
    """The document of an application's routes."""
    paths: dict[str, dict[str, Any]] = {}
    models: set[type[BaseModel]] = {Error}
    for route in app.router.routes():
        resource = route.resource
        if resource is None or route.method in ("HEAD", "OPTIONS", "*"):
            continue
        said = described(route.handler)
        models |= {model for model in (said.answer, said.body) if model is not None}
        paths.setdefault(resource.canonical, {})[route.method.lower()] = _operation(route)
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "serialization") for model in ordered], ref_template=_REF
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sp-plugin",
            "version": own_version(),
            "description": "Bacalhau's orchestrator API v1, and below /api/v1/sp this sidecar's own.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: web.AbstractRoute) -> dict[str, Any]:
    said, scope = described(route.handler), scope_of(route.handler)
    doc = inspect.getdoc(route.handler) or ""
    summary, _, rest = doc.partition("\n")
    resource = route.resource
    names = _PARAMETER.findall(resource.canonical) if resource else []
    answer: dict[str, Any] = {"description": summary}
    if said.answer is not None:
        answer["content"] = {"application/json": {"schema": _ref(said.answer)}}
    error = {"application/json": {"schema": _ref(Error)}}
    operation: dict[str, Any] = {
        "summary": summary,
        "description": rest.strip(),
        "tags": [_tag(resource.canonical if resource else "")],
        "parameters": [_path_parameter(name) for name in names]
        + [_query_parameter(name) for name in said.query],
        "responses": {"200": answer, "default": {"description": "An error", "content": error}},
        "security": [{"token": [str(scope)]}] if isinstance(scope, Scope) else [],
    }
    if said.body is not None:
        operation["requestBody"] = {
            "content": {"application/json": {"schema": _ref(said.body)}},
        }
    return operation


def _tag(path: str) -> str:
    if path.startswith("/api/v1/sp/"):
        return "sp-plugin"
    return "bacalhau" if path.startswith("/api/") else "server"


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameter(name: str) -> dict[str, Any]:
    kind = "integer" if name in _INTEGERS else "boolean" if name in _FLAGS else "string"
    return {"name": name, "in": "query", "required": False, "schema": {"type": kind}}

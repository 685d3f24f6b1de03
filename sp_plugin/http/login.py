"""How Bacalhau's CLI gets its token: it asks for the ways before its first request, and fails where there are none.

Where a token is needed, it is asked for (`ask`): the CLI prompts for one that `sp-plugin token create` made, keeps it and
sends it from then on. Where everybody may hand jobs in, the CLI's own key is enough (`challenge`); it opens nothing that
is not open anyway, so its signature is not looked at. Source: Bacalhau v1.4 to v1.9, `pkg/authn`.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any, Final

from aiohttp import web

from lotus_client.json_text import read_json
from lotus_client.secrets import Secret
from sp_plugin.config import Scope
from sp_plugin.errors import NotFound
from sp_plugin.http.auth import needs
from sp_plugin.http.described import answers
from sp_plugin.http.parts import PARTS, Parts
from sp_plugin.http.requests import json_body
from sp_plugin.http.shapes import AuthConfig, Authenticated, AuthMethods

__all__ = ["routes"]

_KEY: Final = "ClientKey"
_TOKEN: Final = "token"  # noqa: S105  a method's name
_LONGEST: Final = 8192

routes = web.RouteTableDef()


@routes.get("/api/v1/auth")
@needs(None)
@answers(AuthMethods)
async def methods(request: web.Request) -> web.Response:
    """The one way to a token that this server has now."""
    return web.json_response({"NextToken": "", "Methods": _methods(request.app[PARTS])})


@routes.get("/api/v1/auth/{method}")
@needs(None)
async def method(request: web.Request) -> web.Response:
    """What that way needs."""
    return web.json_response(_method(request))


@routes.post("/api/v1/auth/{method}")
@needs(None)
@answers(Authenticated)
async def authenticate(request: web.Request) -> web.Response:
    """The token to send from now on, or 401 with the reason."""
    _method(request)
    body = {key.casefold(): value for key, value in (await json_body(request)).items()}
    given = _decoded(body.get("methoddata"))
    if request.match_info["method"] == _KEY:
        return _granted("anonymous")
    token = {key.casefold(): value for key, value in given.items()}.get(_TOKEN)
    if isinstance(token, str) and await request.app[PARTS].tokens.find(Secret(token.strip())):
        return _granted(token.strip())
    reason = "the token is not known here; the operator makes one with: sp-plugin token create"
    answer = {"Authentication": {"success": False, "reason": reason}}
    return web.json_response(answer, status=401)


@routes.get("/api/v1/agent/authconfig")
@needs(None)
@answers(AuthConfig)
async def auth_config(_request: web.Request) -> web.Response:
    """No single sign-on is offered."""
    return web.json_response({"Version": "1.0.0", "Config": {}})


def _granted(token: str) -> web.Response:
    return web.json_response({"Authentication": {"success": True, "token": token}})


def _methods(parts: Parts) -> dict[str, Any]:
    if Scope.SUBMIT in parts.http.anonymous_scopes:
        phrase = base64.b64encode(secrets.token_bytes(32)).decode()
        return {_KEY: {"type": "challenge", "params": {"InputPhrase": phrase}}}
    asked = {"type": "string", "writeOnly": True, "title": "sp-plugin token"}
    schema = {"type": "object", "properties": {_TOKEN: asked}, "required": [_TOKEN]}
    return {_TOKEN: {"type": "ask", "params": schema}}


def _method(request: web.Request) -> Any:
    name = request.match_info["method"]
    found = _methods(request.app[PARTS]).get(name)
    if found is None:
        raise NotFound("authentication method", name[:80])
    return found


def _decoded(data: Any) -> dict[str, Any]:
    """`MethodData`: JSON in base64, or JSON as it is; empty if it is neither."""
    if isinstance(data, str) and len(data) <= _LONGEST:
        try:
            data = read_json(base64.b64decode(data, validate=True))
        except (ValueError, binascii.Error):
            return {}
    return data if isinstance(data, dict) else {}

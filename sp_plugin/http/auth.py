"""Who may call what: bearer tokens with scopes. Every route says which scope it needs when it is added."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from lotus_client.secrets import Secret
from sp_plugin.config import Scope
from sp_plugin.errors import NotAllowed
from sp_plugin.http.errors import error_response
from sp_plugin.http.parts import PARTS

__all__ = ["CALLER", "auth_middleware", "needs", "refusal_of", "scope_of"]

CALLER: Final = web.RequestKey("caller", str)  # the token's name; "anonymous" without one
_SCOPE: Final = "_sp_plugin_scope"
_ASKS: Final = "_sp_plugin_asks_itself"

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def needs(scope: Scope | None, *, asks_itself: bool = False) -> Callable[[Endpoint], Endpoint]:
    """Mark a handler with the scope it needs; `None` is open to everybody, no mark is open to nobody.

    A handler that `asks_itself` calls `refusal_of` first thing, because it knows another way in.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _SCOPE, (scope,))
        setattr(endpoint, _ASKS, asks_itself)
        return endpoint

    return mark


def scope_of(handler: Any) -> Scope | None:
    """The scope a handler needs; None where it is open to everybody."""
    marked: tuple[Scope | None] = getattr(handler, _SCOPE, (None,))
    return marked[0]


@web.middleware
async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the request pass if its token has the scope of its route.

    401 without a valid credential, 403 with one that lacks the scope, as Bacalhau's servers answer.
    """
    request[CALLER] = "anonymous"
    marked = getattr(request.match_info.handler, _SCOPE, None)
    asks = getattr(request.match_info.handler, _ASKS, False)
    if request.match_info.http_exception is not None or marked == (None,) or asks:
        return await handler(request)
    if marked is None:
        raise NotAllowed(f"{request.path} is open to nobody")
    if (refusal := await refusal_of(request, marked[0])) is not None:
        return refusal
    return await handler(request)


async def refusal_of(request: web.Request, scope: Scope) -> web.Response | None:
    """None if the request's token, or no token, may do what needs `scope`; else the 401 answer.

    Raises:
        NotAllowed: the token is known but lacks the scope.
    """
    parts = request.app[PARTS]
    scopes = frozenset(parts.http.anonymous_scopes)
    header = request.headers.get("Authorization", "")
    if header:
        kind, _, text = header.partition(" ")
        known = await parts.tokens.find(Secret(text.strip())) if kind.lower() == "bearer" else None
        if known is not None:
            request[CALLER] = known.name
            scopes |= known.scopes
        elif scope not in scopes:
            return error_response(401, "Unauthorized", "the token is not known here")
    elif scope not in scopes:
        return error_response(
            401,
            "Unauthorized",
            "a token is needed",
            hint="send Authorization: Bearer <token>; `sp-plugin token create` makes one",
        )
    if scope not in scopes:
        raise NotAllowed(
            f"this token may {', '.join(sorted(scopes)) or 'nothing'}; {scope} is needed"
        )
    return None

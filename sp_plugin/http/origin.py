"""Which names this server answers to: a web page in the operator's browser must not reach it by a name of its own.

A page of `evil.example` can point that name at 127.0.0.1 (DNS rebinding) and is then, for the browser, of the same
origin as the sidecar. It cannot change the Host header, so on loopback only loopback names and `http.public_url` are
answered. And requests that change something, coming from a page of another origin, are refused wherever we listen.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from sp_plugin.errors import NotAllowed
from sp_plugin.http.parts import PARTS

__all__ = ["is_loopback", "origin_middleware"]

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@lru_cache(maxsize=256)  # every request asks, mostly the same
def is_loopback(host: str) -> bool:
    """Whether a host, without port, is this machine itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


@web.middleware
async def origin_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the request pass if it was meant for this server.

    Raises:
        NotAllowed: it names another host, or comes from a page of another origin.
    """
    http = request.app[PARTS].http
    public = _host_of(http.public_url or "")
    asked = _host_of(f"//{request.headers.get('Host', '')}")
    if is_loopback(http.host) and not is_loopback(asked) and (not asked or asked != public):
        raise NotAllowed(
            f"this server does not answer to the name {asked[:100]!r}: it listens on {http.host}; "
            "behind a proxy, set http.public_url to the name that clients use"
        )
    origin = request.headers.get("Origin")
    # A browser lets any page open a WebSocket and read from it: only what it says of its origin tells them apart.
    guarded = request.method not in _READING or "Upgrade" in request.headers
    if origin is not None and guarded:
        page = _host_of(origin)
        if not page or page not in (asked, public):
            raise NotAllowed(f"a page of {origin[:100]!r} may not change anything or listen here")
    return await handler(request)


def _host_of(url: str) -> str:
    """The host in a URL, in lower case; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""

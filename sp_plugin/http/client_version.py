"""Which Bacalhau client speaks, by its `X-Bacalhau-Git-Version`, and what that changes. Source: Bacalhau v1.4 to v1.9."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = [
    "SPOKEN_VERSION",
    "client_version",
    "speaks_old_numbers",
    "version_middleware",
    "version_of",
]

SPOKEN_VERSION: Final = "v1.9.3"  # the API version we speak; GitCommit says who we are
_LEAST: Final = (1, 4)  # real servers refuse older clients, which compare versions themselves
_NEW_NUMBERS: Final = (1, 6)  # since then executions have two more states
_HEADER: Final = "X-Bacalhau-Git-Version"
_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.|$|-)", re.ASCII)


def client_version(request: web.Request) -> tuple[int, int] | None:
    """The client's version as its header says it."""
    return version_of(request.headers.get(_HEADER, ""))


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor; None for a development build, no header, or text that is no version: the newest behaviour."""
    match = _VERSION.match(text.strip())
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    return None if version == (0, 0) else version


def speaks_old_numbers(request: web.Request) -> bool:
    """Whether the client knows the execution states by their numbers before v1.6."""
    version = client_version(request)
    return version is not None and version < _NEW_NUMBERS


@web.middleware
async def version_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse clients before v1.4 as real servers do, with the keys that those clients read."""
    version = client_version(request)
    if version is not None and version < _LEAST:
        body = {
            "Error": "this client is too old for this server",
            "MinVersion": "v1.4.0",
            "ClientVersion": request.headers[_HEADER][:40],
            "ServerVersion": SPOKEN_VERSION,
        }
        return web.json_response(body, status=403)
    return await handler(request)

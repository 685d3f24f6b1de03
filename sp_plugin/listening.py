"""Where the sidecar's API listens, and the token that commands on this machine use."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from sp_plugin.config import HttpConfig, Scope
from sp_plugin.data_dir import DataDir
from sp_plugin.errors import Conflict
from sp_plugin.store.tokens import TokenRepository

__all__ = ["keep_local_token", "listen"]

_LOCAL_TOKEN: Final = "local operator"  # noqa: S105  a name


async def listen(runner: web.AppRunner, http: HttpConfig) -> str:
    """The URL at which the API now answers.

    Raises:
        Conflict: the address or port cannot be had.
    """
    try:
        site = web.TCPSite(runner, http.host, http.port)
        await site.start()
    except OSError as error:
        raise Conflict(f"cannot listen on {http.host}:{http.port}: {error.strerror}") from error
    port = runner.addresses[0][1]
    host = "127.0.0.1" if http.host in ("0.0.0.0", "") else http.host  # noqa: S104  compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def keep_local_token(data: DataDir, tokens: TokenRepository, now: int) -> None:
    """Make sure that commands on this machine, by this user, may operate the sidecar."""
    token = data.local_token()
    if token is None or await tokens.find(token) is None:
        token = await tokens.create(_LOCAL_TOKEN, tuple(Scope), now)
        data.write_private(data.api_token, token.reveal())

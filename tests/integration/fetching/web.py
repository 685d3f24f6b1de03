"""A small web server on this machine that a fetcher reaches under names that look public, and a record of what was dialled."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from sp_plugin.executors.pause import Pause
from sp_plugin.fetching.client import Fetcher, FetchRules

PUBLIC = "93.184.215.14"  # what the names of the fake resolver look like

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Net:
    """A fake resolver, and sockets that are led to this machine; `dialled` has each address a socket was made for."""

    def __init__(self, names: dict[str, Sequence[str]] | None = None) -> None:
        self.names = names or {}
        self.asked: list[str] = []
        self.dialled: list[str] = []
        self.port = 0
        self.pause = Pause()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror(-2, "Name or service not known")
        return self.names[host]

    def make_socket(self, address: Any) -> socket.socket:
        self.dialled.append(str(address[4][0]))
        return _LedHome(self.port)

    def fetcher(self, **rules: Any) -> Fetcher:
        rules.setdefault("timeout_seconds", 20.0)
        return Fetcher(FetchRules(**rules), self.resolve, self.make_socket, self.pause)


class _LedHome(socket.socket):
    """A socket whose connection ends at the test's server, whatever address it was made for."""

    def __init__(self, port: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self._home = port

    def connect(self, _address: Any) -> None:
        super().connect(("127.0.0.1", self._home))


@asynccontextmanager
async def serving(
    net: Net, tls: ssl.SSLContext | None = None, **handlers: Handler
) -> AsyncIterator[str]:
    """`handlers` by the path's first part (`any` for all others), at http://data.example; its port is the usual one."""
    app = web.Application()

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.path.split("/")[1]
        return await handlers.get(name, handlers.get("any", _absent))(request)

    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    net.port = runner.addresses[0][1]
    net.names.setdefault("data.example", [PUBLIC])
    try:
        yield "http://data.example"
    finally:
        await runner.cleanup()


async def _absent(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


def sends(body: bytes, **headers: str) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return handler


def redirects(to: str, status: int = 302) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": to})

    return handler


def endless(chunk: bytes = bytes(1 << 16), pause: float = 0.0) -> Handler:
    """A body that does not end and whose length is not announced."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(chunk)
            await asyncio.sleep(pause)

    return handler

"""Faults of a miner node's `/remote` tree, which is plain HTTP beside the RPC; its method is called `remote`."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from devstack.faults.seam import FaultySeam
from devstack.rpc.interfere import interfere
from devstack.rpc.server import token_of

__all__ = ["strike_remote"]


def strike_remote(seam: FaultySeam) -> Middleware:
    """A middleware: refused tokens, delays, silence and statuses for `/remote`. What is sent is never cut."""

    @web.middleware
    async def strike(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/remote/"):
            return await handler(request)
        if seam.revoked(token_of(request)):
            raise web.HTTPUnauthorized(text="")
        instead = await interfere(request, seam.wire(["remote"], socket=False))
        return instead if instead is not None else await handler(request)

    return strike

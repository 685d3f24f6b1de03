"""Boost's HTTP server of pieces: `/piece/<cid>`, `/ipfs/<cid>`, `/info`. No token, as Boost has none.

A piece comes whole: its unpadded size, the zeros behind the payload included. Only pieces with an unsealed copy are
served; the first deal that has one wins. Source: Boost `cmd/booster-http/{server,piecehandler}.go`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from deals.fr32 import unpadded_length
from devstack.flavours.car_gateway import CarGateway
from devstack.flavours.content import (
    CACHE_FOREVER,
    LAST_MODIFIED,
    Content,
    accepts_gzip,
    serve_content,
)
from devstack.flavours.held_blocks import BlockIndex
from devstack.flavours.held_pieces import HeldPieces, PieceCopy
from devstack.provider import SealingProvider
from lotus_client.cid import Cid, CidError

__all__ = ["booster_http_app"]

_VERSION: Final = "0.3.0"
_GZIP_LEVEL: Final = 1  # booster-http's default, --compression-level


def booster_http_app(provider: SealingProvider) -> web.Application:
    """booster-http over what this provider holds."""
    pieces = HeldPieces(provider)
    handler = _Pieces(pieces)
    gateway = CarGateway(BlockIndex(pieces), serves_raw=False, answers_head=False)
    app = web.Application()
    app.router.add_route("*", "/piece/{cid:.*}", handler.serve)
    app.router.add_route("*", "/ipfs/{path:.+}", gateway.handle)
    app.router.add_route("*", "/info", _info)
    return app


async def _info(_request: web.Request) -> web.Response:
    return web.json_response({"Version": _VERSION})


class _Pieces:
    def __init__(self, pieces: HeldPieces) -> None:
        self._pieces = pieces

    async def serve(self, request: web.Request) -> web.StreamResponse:
        text = request.match_info["cid"]
        if not text:
            return _error(400, f"path '{request.path}' is missing piece CID")
        try:
            cid = Cid.parse(text)
        except CidError as error:
            return _error(400, f"parsing piece CID '{text}': {error}")
        # Boost looks the CID up as its deals have it, so version 2 piece CIDs are not found.
        copies = self._pieces.copies(cid)
        if not copies:
            return _error(404, f"getting sector info for piece {cid}: not found")
        for copy in copies:
            reader = await asyncio.to_thread(self._pieces.open, copy)
            if reader is not None:
                size = unpadded_length(copy.padded_size)
                content = Content(reader, size, _headers(request, cid), _GZIP_LEVEL)
                return await serve_content(request, content)
        return _error(404, _none_unsealed(cid, copies))


def _none_unsealed(cid: Cid, copies: list[PieceCopy]) -> str:
    where = ", ".join(f"Allocation {copy.allocation or 0}: Sector {copy.sector}" for copy in copies)
    return (
        f"getting unsealed CAR file: checked unsealed status of {len(copies)} deals containing piece {cid}: "
        f"none are unsealed: {where}: not found"
    )


def _headers(request: web.Request, cid: Cid) -> dict[str, str]:
    headers = {
        "Vary": "Accept-Encoding",
        "ETag": f'"{cid}.gz"' if accepts_gzip(request) else f'"{cid}"',
        "Content-Type": "application/piece",
        "Cache-Control": CACHE_FOREVER,
    }
    if request.method != "HEAD":
        headers["Last-Modified"] = LAST_MODIFIED
    return headers


def _error(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=f"{message}\n")

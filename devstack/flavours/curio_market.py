"""Curio's market HTTP server as far as it serves data: `/piece/<cid>`, `/ipfs/<cid>`, `/info`, `/health`.

A version 2 piece CID gives exactly the payload, a version 1 CID the unpadded size of the largest piece of that
commitment. Unknown pieces are a 404; a piece that is only sealed is a 500, as curio#797 has it. Errors have no body.
Source: Curio `market/retrieval/{piecehandler,retrieval}.go`, `cuhttp/{server,server_common}.go`.
"""

from __future__ import annotations

import asyncio
import mimetypes
from typing import BinaryIO, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from deals.fr32 import unpadded_length
from devstack.flavours.car_gateway import CarGateway
from devstack.flavours.content import CACHE_FOREVER, LAST_MODIFIED, Content, serve_content
from devstack.flavours.held_blocks import BlockIndex
from devstack.flavours.held_pieces import HeldPieces, PieceCopy, wanted_piece
from devstack.flavours.sniff import SNIFF_LENGTH, content_type_of
from devstack.provider import SealingProvider
from lotus_client.cid import Cid, CidError

__all__ = ["MOST_PARALLEL_PIECES", "curio_market_app"]

MOST_PARALLEL_PIECES: Final = 256  # requests of /piece at once; the next one gets a 429

_INFO: Final = '{"Version":"0.4.0", "Server": "Curio/0.0.0"}'
_CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, Accept, Accept-Encoding",
    "Access-Control-Expose-Headers": "Location",
}


def curio_market_app(
    provider: SealingProvider, *, most_parallel: int = MOST_PARALLEL_PIECES
) -> web.Application:
    """The market server over what this provider holds."""
    pieces = HeldPieces(provider)
    handler = _Pieces(pieces, most_parallel)
    gateway = CarGateway(BlockIndex(pieces), serves_raw=True, answers_head=True)
    app = web.Application(middlewares=[_common])
    app.router.add_get("/piece/{cid}", handler.serve)
    app.router.add_get("/ipfs/{path:.+}", gateway.handle)
    app.router.add_get("/info", _info)
    app.router.add_route("*", "/health", _health)
    app.router.add_get("/", _hello)
    return app


@web.middleware
async def _common(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=_CORS)
    try:
        response = await handler(request)
    except web.HTTPNotFound:
        response = web.Response(status=404, text="Requested resource not found")
    if not response.prepared:
        response.headers.update(_CORS)
    return response


async def _info(_request: web.Request) -> web.Response:
    return web.Response(text=_INFO)


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="Service is up and running")


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(text="Hello, World!\n -Curio\n")


class _Pieces:
    def __init__(self, pieces: HeldPieces, most_parallel: int) -> None:
        self._pieces = pieces
        self._most_parallel = most_parallel
        self._running = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self._running >= self._most_parallel:
            return web.Response(status=429)
        self._running += 1
        try:
            return await self._serve(request)
        finally:
            self._running -= 1

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            cid = Cid.parse(request.match_info["cid"])
            piece_cid, padded_size, payload_size = wanted_piece(cid)
        except (CidError, ValueError):
            return web.Response(status=400)
        copies = self._pieces.copies(piece_cid)
        copies.sort(key=lambda copy: copy.padded_size, reverse=True)
        if padded_size is not None:
            copies = [copy for copy in copies if copy.padded_size == padded_size]
        if not copies:
            return web.Response(status=404)
        found = await asyncio.to_thread(self._first_unsealed, copies)
        if found is None:
            return web.Response(status=500)
        reader, copy = found
        size = unpadded_length(copy.padded_size) if payload_size is None else payload_size
        kind = content_type_of(await asyncio.to_thread(reader.read, min(SNIFF_LENGTH, size)))
        return await serve_content(request, Content(reader, size, _headers(request, cid, kind)))

    def _first_unsealed(self, copies: list[PieceCopy]) -> tuple[BinaryIO, PieceCopy] | None:
        for copy in copies:
            reader = self._pieces.open(copy)
            if reader is not None:
                return reader, copy
        return None


def _headers(request: web.Request, cid: Cid, kind: str) -> dict[str, str]:
    headers = {
        **_CORS,
        "Vary": "Accept-Encoding",
        "ETag": str(cid),  # without quotes, as Curio sends it
        "Content-Type": kind,
        "Cache-Control": CACHE_FOREVER,
    }
    extension = mimetypes.guess_extension(kind.partition(";")[0])
    if kind != "application/octet-stream" and extension:
        name = f"{cid}{extension}"
        headers["Content-Disposition"] = f"inline; filename=\"{name}\"; filename*=UTF-8''{name}"
    if request.method != "HEAD":
        headers["Last-Modified"] = LAST_MODIFIED
    return headers

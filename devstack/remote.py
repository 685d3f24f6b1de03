"""`/remote/…`: a miner's sector files over HTTP, for holders of its admin token.

Files answer byte ranges over *padded* offsets; directories come as a tar. Source: Lotus `storage/paths/http_handler.go`.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Final

from aiohttp import web

from deals.fr32 import padded_length
from deals.unsealed import UnsealedError, UnsealedFile
from devstack.auth import Permission
from devstack.miner_node import MinerNode
from devstack.rpc.server import authenticate
from devstack.storage import FileType
from lotus_client.types import ActorId, SectorNumber

__all__ = ["add_remote_routes"]

_FOLDERS: Final = {kind.folder: kind for kind in FileType}


def add_remote_routes(app: web.Application, node: MinerNode) -> None:
    """Serve the provider's storage path under `/remote`."""
    remote = _Remote(node)
    app.router.add_get("/remote/{folder}/{sector}", remote.fetch)
    app.router.add_delete("/remote/{folder}/{sector}", remote.delete)
    app.router.add_get(
        "/remote/{folder}/{sector}/{proof}/allocated/{offset}/{size}", remote.allocated
    )


class _Remote:
    def __init__(self, node: MinerNode) -> None:
        self._node = node

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        path = self._path(request)
        if path.is_dir():
            body = await asyncio.to_thread(_tar, path)
            return web.Response(body=body, content_type="application/x-tar")
        # FileResponse handles Range, If-Range and HEAD.
        return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        path = self._path(request)
        if path.is_dir():
            for inner in path.iterdir():
                inner.unlink()
            path.rmdir()
        else:
            path.unlink()
        return web.Response()

    async def allocated(self, request: web.Request) -> web.StreamResponse:
        """200 when the unpadded range is present in the unsealed file, 416 when not."""
        path = self._path(request)
        try:
            start = padded_length(int(request.match_info["offset"]))
            size = padded_length(int(request.match_info["size"]))
        except ValueError as error:
            raise web.HTTPInternalServerError(text="") from error
        try:
            with UnsealedFile.open(path, self._node.provider.sector_size) as file:
                present = file.has(start, size)
        except (OSError, UnsealedError, ValueError) as error:
            raise web.HTTPInternalServerError(text="") from error
        return web.Response(status=200 if present else 416)

    def _path(self, request: web.Request) -> Path:
        caller = authenticate(request, self._node.tokens)
        if not caller.may(Permission.ADMIN):
            raise web.HTTPUnauthorized(text='{"Error":"unauthorized: missing admin permission"}')
        kind = _FOLDERS.get(request.match_info["folder"])
        miner, number = _sector_id(request.match_info["sector"])
        if kind is None:
            raise web.HTTPInternalServerError(text="")
        path = self._node.provider.storage.file(kind, miner, number)
        if not path.exists():
            raise web.HTTPNotFound(text="")
        return path


def _sector_id(name: str) -> tuple[ActorId, SectorNumber]:
    miner, _, number = name.removeprefix("s-t0").partition("-")
    if not (name.startswith("s-t0") and miner.isdecimal() and number.isdecimal()):
        raise web.HTTPInternalServerError(text="")
    return ActorId(int(miner)), SectorNumber(int(number))


def _tar(path: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=path.name)
    return buffer.getvalue()

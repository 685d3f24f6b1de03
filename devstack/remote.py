"""`/remote/…`: a miner's sector files over HTTP, for holders of its admin token.

Files answer byte ranges over *padded* offsets; directories come as a tar. What is not there is a 500 without a body, as in
Lotus, whose store cannot acquire it. Source: Lotus `storage/paths/http_handler.go`, `storage/paths/local.go`.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import tarfile
from pathlib import Path
from typing import Final

from aiohttp import web

from deals.fr32 import padded_length
from deals.unsealed import UnsealedError, UnsealedFile
from devstack.auth import Permission
from devstack.miner_node import MinerNode
from devstack.rpc.server import authenticate
from devstack.rpc.storage_index import stat_json
from devstack.storage import FileType
from lotus_client.types import ActorId, SectorNumber

__all__ = ["add_remote_routes"]

_FOLDERS: Final = {kind.folder: kind for kind in FileType}

# go-state-types abi/sector.go: in each block of five seal proofs the sizes are these.
_SECTOR_SIZES: Final = (2 << 10, 8 << 20, 512 << 20, 32 << 30, 64 << 30)
_SEAL_PROOFS: Final = 20


def add_remote_routes(app: web.Application, node: MinerNode) -> None:
    """Serve the provider's storage paths under `/remote`."""
    remote = _Remote(node)
    app.router.add_get("/remote/stat/{id}", remote.stat)
    app.router.add_post("/remote/vanilla/single", remote.vanilla)
    app.router.add_get(
        "/remote/{folder}/{sector}/{proof}/allocated/{offset}/{size}", remote.allocated
    )
    app.router.add_get("/remote/{folder}/{sector}", remote.fetch)
    app.router.add_delete("/remote/{folder}/{sector}", remote.delete)


class _Remote:
    def __init__(self, node: MinerNode) -> None:
        self._node = node

    async def stat(self, request: web.Request) -> web.StreamResponse:
        """The space of a storage path, 404 for an unknown one."""
        self._authorize(request)
        path = self._node.provider.storage.by_id(request.match_info["id"])
        if path is None:
            return web.Response(status=404)
        return web.json_response(stat_json(path))

    async def vanilla(self, request: web.Request) -> web.StreamResponse:
        """Always a 500: nothing is sealed here, so no proof can be made of it."""
        self._authorize(request)
        return web.Response(status=500, text="generating vanilla proof: the sector is not sealed\n")

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        self._authorize(request)
        path = self._existing(*_named(request))
        if path.is_dir():
            if "Range" in request.headers:
                raise web.HTTPInternalServerError(text="")
            body = await asyncio.to_thread(_tar, path)
            return web.Response(body=body, content_type="application/x-tar")
        # FileResponse handles Range, If-Range and HEAD.
        return web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a sector's files of one kind in every path but those that `keep` names."""
        self._authorize(request)
        kind, miner, number = _named(request)
        kept = set(filter(None, request.query.get("keep", "").split(",")))
        self._existing(kind, miner, number)
        for path in self._node.provider.storage.paths:
            found = path.file(kind, miner, number)
            if path.id not in kept and found.exists():
                await asyncio.to_thread(_remove, found)
        return web.Response()

    async def allocated(self, request: web.Request) -> web.StreamResponse:
        """200 when the unpadded range is present in the unsealed file, 416 when not."""
        self._authorize(request)
        kind, miner, number = _named(request)
        try:
            sector_size = _sector_size(int(request.match_info["proof"]))
            start = padded_length(int(request.match_info["offset"]))
            size = padded_length(int(request.match_info["size"]))
        except ValueError as error:
            raise web.HTTPInternalServerError(text="") from error
        if kind is not FileType.UNSEALED:
            raise web.HTTPInternalServerError(text="")
        try:
            with UnsealedFile.open(self._existing(kind, miner, number), sector_size) as file:
                present = file.has(start, size)
        except (OSError, UnsealedError, ValueError) as error:
            raise web.HTTPInternalServerError(text="") from error
        return web.Response(status=200 if present else 416)

    def _authorize(self, request: web.Request) -> None:
        caller = authenticate(request, self._node.tokens)
        if not caller.may(Permission.ADMIN):
            raise web.HTTPUnauthorized(text='{"Error":"unauthorized: missing admin permission"}')

    def _existing(self, kind: FileType, miner: ActorId, number: SectorNumber) -> Path:
        path = self._node.provider.storage.file(kind, miner, number)
        if not path.exists():
            raise web.HTTPInternalServerError(text="")
        return path


def _named(request: web.Request) -> tuple[FileType, ActorId, SectorNumber]:
    kind = _FOLDERS.get(request.match_info["folder"])
    miner, number = _sector_id(request.match_info["sector"])
    if kind is None:
        raise web.HTTPInternalServerError(text="")
    return kind, miner, number


def _sector_id(name: str) -> tuple[ActorId, SectorNumber]:
    miner, _, number = name.removeprefix("s-t0").partition("-")
    if not (name.startswith("s-t0") and miner.isdecimal() and number.isdecimal()):
        raise web.HTTPInternalServerError(text="")
    return ActorId(int(miner)), SectorNumber(int(number))


def _sector_size(proof: int) -> int:
    if not 0 <= proof < _SEAL_PROOFS:
        raise ValueError(f"unsupported proof type: {proof}")
    return _SECTOR_SIZES[proof % len(_SECTOR_SIZES)]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _tar(path: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=path.name)
    return buffer.getvalue()

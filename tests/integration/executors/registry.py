"""A small image registry on 127.0.0.1, from the OCI distribution specification: manifests and blobs by digest, read only."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Registry:
    """Blobs by digest. `pause` seconds pass before each piece of a layer; `port` is where it listens."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    pause: float = 0.0
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def add_image(self, program: bytes, extra: int = 0) -> str:
        """The reference of an image with one program, `/program`, and `extra` bytes that do not compress."""
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            import os

            for name, data in (("program", program), ("extra", os.urandom(extra))):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o755
                tar.addfile(entry, io.BytesIO(data))
        layer = gzip.compress(raw.getvalue(), 1)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Entrypoint": ["/program"]},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(raw.getvalue())]},
            }
        ).encode()
        parts = [(_CONFIG, config), (_LAYER, layer)]
        described = [
            {"mediaType": kind, "size": len(data), "digest": digest_of(data)}
            for kind, data in parts
        ]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": described[0],
                "layers": described[1:],
            }
        ).encode()
        for data in (config, layer, manifest):
            self.blobs[digest_of(data)] = data
        return f"127.0.0.1:{self.port}/test/app@{digest_of(manifest)}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append(path)
        if path == "/v2/":
            return web.json_response({})
        data = self.blobs.get(path.rpartition("/")[2])
        if data is None:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        kind = _MANIFEST if "/manifests/" in path else "application/octet-stream"
        headers = {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)}
        response = web.StreamResponse(headers=headers)
        response.content_length = len(data)
        await response.prepare(request)
        if request.method != "HEAD":
            for start in range(0, len(data), 1 << 18):
                if "/blobs/" in path:
                    await asyncio.sleep(self.pause)
                await response.write(data[start : start + (1 << 18)])
        return response


@asynccontextmanager
async def registry_at_work() -> AsyncIterator[Registry]:
    """One that listens until the block is left."""
    registry = Registry()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", registry.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        registry.port = runner.addresses[0][1]
        yield registry
    finally:
        await runner.cleanup()

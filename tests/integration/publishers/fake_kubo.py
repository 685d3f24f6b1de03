"""A FAKE of a Kubo node: the two calls that publishing makes, written from Kubo's HTTP RPC API (kubo core/commands/dag).

It parses the multipart form, reads the CAR with every block hashed, pins a root only if its block came, and answers the JSON lines
that Kubo answers. It stores nothing on disk and knows no other call.
"""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from deals.car import CarReader
from lotus_client.cid import Cid


class FakeKubo:
    """`authorization` is what the header must be; `broken` are answers given instead, first to last."""

    def __init__(self, authorization: str | None = None) -> None:
        self.authorization = authorization
        self.broken: list[web.Response] = []
        self.blocks: dict[Cid, bytes] = {}
        self.pinned: list[Cid] = []
        self.imports = 0
        self.refuse_pin: str | None = None
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":  # as Kubo: every call is a POST
            return web.Response(status=405, text="405 - Method Not Allowed\n")
        if self.authorization not in (None, request.headers.get("Authorization")):
            return web.Response(status=403, text="403 - Forbidden\n")
        if self.broken:
            await request.read()
            return self.broken.pop(0)
        if request.path == "/api/v0/version":
            return web.json_response(
                {"Version": "0.38.1", "Commit": "", "Repo": "17", "System": "amd64/linux"}
            )
        if request.path == "/api/v0/dag/import":
            return await self._import(request)
        return web.Response(status=404, text="404 page not found\n")

    async def _import(self, request: web.Request) -> web.Response:
        lines: list[dict[str, Any]] = []
        self.imports += 1
        count = size = 0
        roots: list[Cid] = []
        async for part in await request.multipart():
            assert part.name == "file"
            try:
                reader = CarReader(io.BytesIO(bytes(await part.read())))
                for place, data in reader:
                    self.blocks[place.cid] = data
                    count, size = count + 1, size + len(data)
            except ValueError as error:
                return web.json_response(
                    {"Message": str(error), "Code": 0, "Type": "error"}, status=500
                )
            roots += reader.roots
        if request.query.get("pin-roots", "true") == "true":
            for root in roots:
                missing = "" if root in self.blocks else f"block was not found locally: {root}"
                problem = self.refuse_pin or missing
                lines.append({"Root": {"Cid": {"/": str(root)}, "PinErrorMsg": problem}})
                if not problem:
                    self.pinned.append(root)
        if request.query.get("stats") == "true":
            lines.append({"Stats": {"BlockCount": count, "BlockBytesCount": size}})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        return web.Response(text=text, content_type="application/json")


@asynccontextmanager
async def running_kubo(kubo: FakeKubo) -> AsyncIterator[FakeKubo]:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", kubo.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kubo.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield kubo
    finally:
        await runner.cleanup()

"""Byte streams as parameters of calls: the caller posts them beside the call, to `/rpc/streams/v0/push/{uuid}`.

Source: Lotus `lib/rpcenc/reader.go`. The body of a post is not read before a call has asked for it.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from devstack.auth import TokenIssuer
from devstack.rpc.server import authenticate

__all__ = ["PushedStreams", "StreamNotPushed", "add_stream_routes"]

_PATIENCE_SECONDS: Final = 30.0
_CHUNK: Final = 1 << 20


class StreamNotPushed(RuntimeError):
    """The caller named a stream and did not post it."""


@dataclass(slots=True)
class _Meeting:
    """Where a post and the call that wants it meet, whoever comes first."""

    request: asyncio.Future[web.Request]
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class PushedStreams:
    """The streams posted to one node, by their UUIDs; what a call took lies in `root` as a file."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._meetings: dict[uuid.UUID, _Meeting] = {}

    async def save(self, name: uuid.UUID, limit: int) -> Path:
        """The file of the stream called `name`, cut after `limit` bytes.

        Raises:
            StreamNotPushed: nobody posted it within half a minute.
        """
        meeting = self._meeting(name)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                request = await meeting.request
            self._root.mkdir(parents=True, exist_ok=True)
            path = self._root / str(name)
            await _write(request, path, limit)
        except TimeoutError as error:
            raise StreamNotPushed(f"the stream {name} was not pushed") from error
        finally:
            meeting.taken.set()
            self._meetings.pop(name, None)
        return path

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a post when its stream has been read; 408 when no call asks for it."""
        try:
            name = uuid.UUID(request.match_info["uuid"])
        except ValueError:
            return web.Response(status=400, text="parsing reader uuid: invalid UUID")
        meeting = self._meeting(name)
        if meeting.request.done():
            return web.Response(status=409, text="this stream was pushed before")
        meeting.request.set_result(request)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await meeting.taken.wait()
        except TimeoutError:
            self._meetings.pop(name, None)
            return web.Response(status=408)
        return web.Response()

    def _meeting(self, name: uuid.UUID) -> _Meeting:
        if name not in self._meetings:
            self._meetings[name] = _Meeting(asyncio.get_running_loop().create_future())
        return self._meetings[name]


async def _write(request: web.Request, path: Path, limit: int) -> None:
    left = limit
    with path.open("wb") as file:
        async for chunk in request.content.iter_chunked(_CHUNK):
            file.write(chunk[:left])
            left -= min(len(chunk), left)
            if not left:
                break


def add_stream_routes(app: web.Application, streams: PushedStreams, tokens: TokenIssuer) -> None:
    """Serve the posts of `streams`; a bad token is refused, none is needed: the UUID is the caller's secret."""

    async def serve(request: web.Request) -> web.Response:
        authenticate(request, tokens)
        return await streams.serve(request)

    async def announce(_request: web.Request) -> web.Response:
        return web.Response()  # Lotus' client asks first whether it is to go elsewhere

    app.router.add_post("/rpc/streams/v0/push/{uuid}", serve)
    app.router.add_head("/rpc/streams/v0/push/{uuid}", announce)

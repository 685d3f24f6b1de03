"""Logs of a job: Bacalhau's WebSocket stream, and plain text for whoever asks without one.

A frame is `{"value":{"Type":1,"Line":"…"}}` (1 stdout, 2 stderr) or `{"error":"…"}`; at the end comes a close frame with
code 1000. What is wrong is said in a frame, since the CLI drops the text of a refused handshake.
Source: Bacalhau v1.4 to v1.9, `pkg/publicapi/endpoint/orchestrator/job.go`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import WSCloseCode, web

from sp_plugin.config import Scope
from sp_plugin.errors import NotFound, SpPluginError, TooMany
from sp_plugin.http.auth import needs, refusal_of
from sp_plugin.http.job_lookup import job_of
from sp_plugin.http.jobs import JOBS_PATH
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import flag, text
from sp_plugin.jobs.following import Chunk, follow_execution, follow_job
from sp_plugin.jobs.queue import SeveralJobs
from sp_plugin.store.jobs import JobNotFound

__all__ = ["FOLLOWERS", "routes"]

_MOST_FOLLOWERS: Final = 256  # each holds two files and a connection
_PING_SECONDS: Final = 30.0
_SEND_SECONDS: Final = 60.0  # a client that takes nothing for so long is gone

routes = web.RouteTableDef()


class Followers:
    """How many log streams are open."""

    def __init__(self) -> None:
        self.count = 0


FOLLOWERS: Final = web.AppKey("followers", Followers)


@routes.get(JOBS_PATH + "/{id}/logs")
@needs(None)  # asked for below, so that a refusal can be told in a frame
async def logs(request: web.Request) -> web.StreamResponse:
    """What a job wrote, and with `follow` what it writes; `tail` leaves out what was written before.

    Query: `execution_id`, `tail`, `follow`.
    """
    if request.headers.get("Upgrade", "").casefold() != "websocket":
        return await _plain(request)
    socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False)
    await socket.prepare(request)
    sending = asyncio.create_task(_send_all(request, socket))
    listening = asyncio.create_task(_until_closed(socket))
    try:
        await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, listening):
            task.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)
        await socket.close(code=WSCloseCode.OK)
    return socket


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for _message in socket:
        pass  # clients send nothing but their close frame


async def _send_all(request: web.Request, socket: web.WebSocketResponse) -> None:
    error = ""
    try:
        if await refusal_of(request, Scope.READ) is not None:
            error = "a token is needed: `sp-plugin token create` makes one"
        else:
            async for chunk in _chunks(request):
                value = {"Type": chunk.stream, "Line": chunk.text}
                await _send(socket, {"value": value})
    except (SpPluginError, JobNotFound, SeveralJobs, LookupError) as problem:
        error = str(problem)
    if error:
        await _send(socket, {"error": error, "value": {"Type": 0, "Line": ""}})


async def _send(socket: web.WebSocketResponse, frame: dict[str, object]) -> None:
    async with asyncio.timeout(_SEND_SECONDS):
        await socket.send_str(json.dumps(frame, ensure_ascii=False))


async def _plain(request: web.Request) -> web.StreamResponse:
    """Both streams as text; the Python client asks so, though real servers refuse it."""
    if (refusal := await refusal_of(request, Scope.READ)) is not None:
        return refusal
    chunks = aiter(_chunks(request))
    try:
        first = await anext(chunks, None)
    except LookupError as error:
        if isinstance(error, JobNotFound):
            raise
        raise NotFound("log", str(error)) from error
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    if first is not None:
        await response.write(first.text.encode("utf-8", "replace"))
        async for chunk in chunks:
            await response.write(chunk.text.encode("utf-8", "replace"))
    await response.write_eof()
    return response


async def _chunks(request: web.Request) -> AsyncIterator[Chunk]:
    parts, followers = request.app[PARTS], request.app[FOLLOWERS]
    if followers.count >= _MOST_FOLLOWERS:
        raise TooMany(f"{_MOST_FOLLOWERS} logs are being followed already; try again later")
    followers.count += 1
    try:
        job = await job_of(request)
        follow, tail = flag(request, "follow"), flag(request, "tail")
        wanted = text(request, "execution_id")
        if wanted is None:
            chunks = follow_job(parts.queue, parts.logs, job.id, follow=follow, tail=tail)
        else:
            known = [item.id for item in await parts.queue.executions_of(job.id)]
            found = [name for name in known if name.startswith(wanted)]
            if len(found) != 1:
                raise NotFound("execution", wanted[:80])
            chunks = follow_execution(parts.queue, parts.logs, found[0], follow=follow, tail=tail)
        async for chunk in chunks:
            yield chunk
    finally:
        followers.count -= 1

"""Doing to an answer what a `Wire` says: holding it back, replacing it, or sending half of it and hanging up."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from devstack.rpc.seam import Wire

__all__ = ["interfere", "pause", "send_half", "send_half_frame"]

_LOOK_SECONDS: Final = (
    0.05  # how often a handler that never answers looks whether its peer has gone
)
_TEXT_FRAME: Final = 0x81  # RFC 6455: final fragment, text


async def interfere(request: web.Request, wire: Wire) -> web.Response | None:
    """Wait as the wire says; the answer to send instead, if there is one."""
    if wire.delay_seconds:
        await asyncio.sleep(wire.delay_seconds)
    if wire.silent:
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 -- aiohttp has no event for it
            await asyncio.sleep(_LOOK_SECONDS)
        return web.Response()  # nobody is there to read it
    if wire.status == 429:
        headers = {"Retry-After": str(wire.retry_after)}
        return web.Response(status=429, text="Too Many Requests\n", headers=headers)
    if wire.status:
        return web.Response(status=wire.status, text="upstream failure\n")
    return None


async def pause(wire: Wire) -> None:
    """Wait as the wire says; for ever (until the connection ends) when it is silent."""
    if wire.delay_seconds:
        await asyncio.sleep(wire.delay_seconds)
    if wire.silent:
        await asyncio.Event().wait()


async def send_half(request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Send the whole answer's header and half of its body, then close the connection."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    partial = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    partial.content_length = max(len(body), 2)
    partial.force_close()
    await partial.prepare(request)
    await partial.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return partial


def send_half_frame(request: web.Request, text: str) -> None:
    """Send a text frame's header and half of its payload on an open WebSocket, then close the connection."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    payload = text.encode()
    size = len(payload)
    if size < 126:
        length = bytes((size,))
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    transport.write(bytes((_TEXT_FRAME,)) + length + payload[: size // 2])
    transport.close()

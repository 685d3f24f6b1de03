"""Bytes of known length over HTTP with ranges, as Go's `http.ServeContent` serves a piece.

One range is a 206, several are a multipart 206, a bad one is a 416; HEAD gives the headers. `If-Range` and
`If-None-Match` work by ETag. Reads happen in worker threads; a read that fails cuts the connection, which is all that a
server can do once it has sent its headers.
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from aiohttp import web

from devstack.flavours.byte_ranges import BadRange, ByteRange, NoOverlap, parse_ranges

__all__ = ["CACHE_FOREVER", "LAST_MODIFIED", "Content", "accepts_gzip", "serve_content"]

# Boost and Curio name this moment for all content-addressed data: one millisecond after the epoch of Unix time.
LAST_MODIFIED: Final = "Thu, 01 Jan 1970 00:00:00 GMT"
CACHE_FOREVER: Final = "public, max-age=29030400, immutable"

_CHUNK: Final = 1 << 20
_GZIP_MINIMUM: Final = 1400  # gziphandler's DefaultMinSize
_GZIP_WINDOW: Final = 31  # zlib: 15 bits of window, with gzip's header


@dataclass(frozen=True, slots=True)
class Content:
    """A seekable reader of `size` bytes with the headers that go with it; gzip at this level for those who accept it."""

    reader: BinaryIO
    size: int
    headers: Mapping[str, str]
    gzip_level: int | None = None


def accepts_gzip(request: web.Request) -> bool:
    """Whether the client takes gzip (`q=0` refuses it)."""
    for part in request.headers.get("Accept-Encoding", "").split(","):
        coding, _, quality = part.strip().partition(";")
        if coding.strip().lower() == "gzip":
            return quality.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def serve_content(request: web.Request, content: Content) -> web.StreamResponse:
    """The answer to a GET or HEAD of the content; closes its reader."""
    try:
        return await _serve(request, content)
    finally:
        await asyncio.to_thread(content.reader.close)


async def _serve(request: web.Request, content: Content) -> web.StreamResponse:
    headers = {**content.headers, "Accept-Ranges": "bytes"}
    etag = headers.get("ETag", "")
    comparable = etag.startswith('"')  # Go compares no ETag without quotes, as Curio's is
    if comparable and etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers={"ETag": etag})
    wanted, condition = request.headers.get("Range", ""), request.headers.get("If-Range")
    if condition is not None and not (comparable and condition == etag):
        wanted = ""
    try:
        ranges = parse_ranges(wanted, content.size)
    except BadRange as error:
        return web.Response(status=416, text=f"{error}\n")
    except NoOverlap as error:
        size = {"Content-Range": f"bytes */{content.size}"}
        return web.Response(status=416, text=f"{error}\n", headers=size)
    if len(ranges) > 1:
        return await _send_multipart(request, content, headers, ranges)
    part = ranges[0] if ranges else ByteRange(0, content.size)
    if ranges:
        headers["Content-Range"] = part.content_range(content.size)
    gzip = content.gzip_level is not None and accepts_gzip(request)
    response = web.StreamResponse(status=206 if ranges else 200, headers=headers)
    if gzip and part.length >= _GZIP_MINIMUM:
        response.headers["Content-Encoding"] = "gzip"
        deflater = zlib.compressobj(content.gzip_level or 0, zlib.DEFLATED, _GZIP_WINDOW)
        return await _send(request, response, content, [(b"", part)], deflater)
    response.content_length = part.length
    return await _send(request, response, content, [(b"", part)])


async def _send_multipart(
    request: web.Request, content: Content, headers: dict[str, str], ranges: list[ByteRange]
) -> web.StreamResponse:
    boundary = secrets.token_hex(30)
    kind = headers["Content-Type"]
    pieces = [
        (
            f"{'' if index == 0 else chr(13) + chr(10)}--{boundary}\r\n"
            f"Content-Range: {part.content_range(content.size)}\r\nContent-Type: {kind}\r\n\r\n".encode(),
            part,
        )
        for index, part in enumerate(ranges)
    ]
    end = f"\r\n--{boundary}--\r\n".encode()
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    response = web.StreamResponse(status=206, headers=headers)
    response.content_length = sum(len(head) + part.length for head, part in pieces) + len(end)
    return await _send(request, response, content, [*pieces, (end, ByteRange(0, 0))])


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    content: Content,
    parts: list[tuple[bytes, ByteRange]],
    deflater: zlib._Compress | None = None,
) -> web.StreamResponse:
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    encode: Callable[[bytes], bytes] = deflater.compress if deflater else bytes
    for head, part in parts:
        if head:
            await response.write(encode(head))
        done = 0
        while done < part.length:
            length = min(_CHUNK, part.length - done)
            chunk = await asyncio.to_thread(_read, content.reader, part.start + done, length)
            await response.write(encode(chunk))
            done += length
    if deflater:
        await response.write(deflater.flush())
    await response.write_eof()
    return response


def _read(reader: BinaryIO, start: int, length: int) -> bytes:
    reader.seek(start)
    chunk = reader.read(length)
    return chunk + bytes(length - len(chunk))  # a reader may leave out the zeros at the end

"""`GET /ipfs/<cid>[/path]`: a trustless gateway over the CARs held, as Boost's and Curio's frisbii.

Source: Boost `cmd/booster-http/frisbii/httpipfs.go`, ipld/frisbii `httpipfs.go`, ipld/go-trustless-utils `http/parse.go`.
The hash in the ETag is another one than theirs; it only tells answers apart. `entity-bytes` is refused with a 501.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from deals.blocks import MissingBlock
from devstack.flavours.content import CACHE_FOREVER
from devstack.flavours.dag_walk import DagScope, PathNotFound, walk_dag
from devstack.flavours.held_blocks import BlockIndex, HeldBlocks
from lotus_client import cbor
from lotus_client.cid import Cid, CidError
from lotus_client.varint import encode_uvarint

__all__ = ["CarGateway"]

_CAR: Final = "application/vnd.ipld.car"
_RAW: Final = "application/vnd.ipld.raw"
_ANY: Final = ("*/*", "application/*")


@dataclass(frozen=True, slots=True)
class _Wanted:
    root: Cid
    names: tuple[str, ...]
    scope: DagScope
    duplicates: bool
    raw: bool
    file_name: str

    @property
    def etag(self) -> str:
        told = f"{self.root}/{'/'.join(self.names)}.{self.scope}.{self.duplicates}"
        return f'"{self.root}.car.{hashlib.sha256(told.encode()).hexdigest()[:13]}"'

    @property
    def content_type(self) -> str:
        if self.raw:
            return _RAW
        return f"{_CAR}; version=1; order=dfs; dups={'y' if self.duplicates else 'n'}"


class CarGateway:
    """The handler of `/ipfs/`. `serves_raw` and `answers_head` are what Curio's newer library adds to Boost's."""

    def __init__(self, index: BlockIndex, *, serves_raw: bool, answers_head: bool) -> None:
        self._index = index
        self._serves_raw = serves_raw
        self._answers_head = answers_head

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer to one request."""
        allowed = ["GET", "HEAD"] if self._answers_head else ["GET"]
        if request.method not in allowed:
            allow = {"Allow": ", ".join(allowed)}
            return web.Response(status=405, text="method not allowed", headers=allow)
        try:
            wanted = self._wanted(request)
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        if "entity-bytes" in request.query:
            return web.Response(status=501, text="entity-bytes is not served here")
        with HeldBlocks(self._index) as blocks:
            return await self._answer(request, wanted, blocks)

    async def _answer(
        self, request: web.Request, wanted: _Wanted, blocks: HeldBlocks
    ) -> web.StreamResponse:
        parts = _body(wanted, blocks)
        try:
            first = await asyncio.to_thread(next, parts, b"")
        except MissingBlock as error:
            text = f"failed to load root node: ipld: could not find {error.cid}"
            return web.Response(status=500, text=text)
        except (PathNotFound, ValueError) as error:
            return web.Response(status=500, text=str(error))
        response = web.StreamResponse(headers=_headers(request, wanted))
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            while first:
                await response.write(first)
                first = await asyncio.to_thread(next, parts, b"")
        except (MissingBlock, PathNotFound, ValueError, OSError):
            _cut(request)  # the client sees an answer without its end
            return response
        await response.write_eof()
        return response

    def _wanted(self, request: web.Request) -> _Wanted:
        raw, duplicates = self._format(request)
        root_text, *names = [part for part in request.match_info["path"].split("/") if part]
        try:
            root = Cid.parse(root_text)
        except CidError as error:
            raise ValueError("failed to parse CID path parameter") from error
        if raw and names:
            raise ValueError("path not supported for raw requests")
        file_name = request.query.get("filename", "")
        if file_name and not file_name.endswith(".car"):
            raise ValueError(f"invalid filename parameter; unsupported extension: {file_name!r}")
        scope = request.query.get("dag-scope", "all")
        if scope not in tuple(DagScope):
            raise ValueError(f"invalid dag-scope parameter: {json.dumps(scope)}")
        return _Wanted(
            root, tuple(names), DagScope(scope), duplicates, raw, file_name or f"{root}.car"
        )

    def _format(self, request: web.Request) -> tuple[bool, bool]:
        """Whether a raw block is wanted, and whether a CAR may repeat blocks (it does unless told not to)."""
        named = request.query.get("format", "")
        if named not in ("", "car") and not (named == "raw" and self._serves_raw):
            raise ValueError(f"invalid format parameter; unsupported: {json.dumps(named)}")
        accept = request.headers.get("Accept", "")
        if not accept and not named:
            raise ValueError("neither a valid Accept header nor format parameter were provided")
        for item in accept.split(",") if accept else ():
            kind, *options = (part.strip().lower() for part in item.split(";"))
            if kind in _ANY:
                return named == "raw", True
            if kind == _CAR:
                return False, "dups=n" not in options
            if kind == _RAW and self._serves_raw:
                return True, True
        if accept and not (named and self._serves_raw):
            raise ValueError(f"invalid Accept header; unsupported: {json.dumps(accept)}")
        return named == "raw", True


def _body(wanted: _Wanted, blocks: HeldBlocks) -> Iterator[bytes]:
    """The answer's bytes; the first portion comes only when its first block was found."""
    if wanted.raw:
        yield blocks.get(wanted.root)
        return
    header = cbor.encode({"roots": [wanted.root], "version": 1})
    head = encode_uvarint(len(header)) + header
    sent: set[Cid] = set()
    for cid, data in walk_dag(blocks, wanted.root, wanted.names, wanted.scope):
        if wanted.duplicates or cid not in sent:
            sent.add(cid)
            yield head + encode_uvarint(len(cid.raw) + len(data)) + cid.raw + data
            head = b""


def _headers(request: web.Request, wanted: _Wanted) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="{wanted.file_name}"',
        "Cache-Control": CACHE_FOREVER,
        "Content-Type": wanted.content_type,
        "ETag": wanted.etag,
        "X-Content-Type-Options": "nosniff",
        "X-Ipfs-Path": request.path,
        "Vary": "Accept, Accept-Encoding",
    }


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()

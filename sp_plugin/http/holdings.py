"""Our own routes about data: datasets, held pieces, results."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

import structlog
from aiohttp import web

from lotus_client.address import Address
from sp_plugin.config import DatasetConfig, Scope
from sp_plugin.config.example import plain_values
from sp_plugin.errors import Away, Conflict, NotFound
from sp_plugin.http.auth import needs, refusal_of
from sp_plugin.http.gaps import gaps_json
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import number
from sp_plugin.jobs.states import ExecutionState
from sp_plugin.known_pieces import KnownPiece, PieceName, datasets_naming, find_inside
from sp_plugin.publishers.local import kept_archive
from sp_plugin.store.sub_pieces import SubPieceRepository, outer_of

__all__ = ["piece_json", "routes"]

_CHUNK: Final = 1 << 20
_ALL: Final = 100_000
_MOST: Final = 1 << 62
_EXECUTION: Final = re.compile(r"e-[0-9a-f-]{36}")

log = structlog.get_logger()

routes = web.RouteTableDef()


@routes.get("/api/v1/sp/datasets")
@needs(Scope.READ)
async def datasets(request: web.Request) -> web.Response:
    """The datasets of the config, each with the keys of the held pieces in it."""
    parts = request.app[PARTS]
    known = await parts.pieces.known()
    named = await named_inside(parts.datasets, known, parts.pieces.segments)
    items = []
    for dataset in parts.datasets:
        keys = [item.key for item in (*known, *named) if datasets_naming(item, [dataset])]
        items.append(plain_values(dataset) | {"pieces": keys})
    return web.json_response({"items": items, "gaps": gaps_json(await parts.gaps())})


async def named_inside(
    datasets: Sequence[DatasetConfig], known: Sequence[KnownPiece], segments: SubPieceRepository
) -> list[KnownPiece]:
    """The sub-pieces that a dataset names by their own piece CID."""
    found = []
    for cid in {cid for dataset in datasets for cid in dataset.selector.pieces}:
        name = PieceName.parse(str(cid))
        found += [] if name is None else await find_inside(known, name, segments)
    return sorted(found, key=lambda one: one.key)


@routes.get("/api/v1/sp/pieces")
@needs(Scope.READ)
async def pieces(request: web.Request) -> web.Response:
    """The pieces this provider holds now, with what reading them has shown; `segments` is null until its index was looked for."""
    parts = request.app[PARTS]
    counts = await parts.pieces.segments.read()
    return web.json_response(
        {
            "items": [
                piece_json(request, item) | {"segments": counts.get(outer_of(item.piece))}
                for item in await parts.pieces.known()
            ],
            "gaps": gaps_json(await parts.gaps()),
        }
    )


@routes.get("/api/v1/sp/pieces/{key}")
@needs(Scope.READ)
async def piece(request: web.Request) -> web.Response:
    """One held piece, or sub-piece of one, by key or piece CID."""
    return web.json_response(
        piece_json(request, await request.app[PARTS].pieces.get(request.match_info["key"]))
    )


@routes.post("/api/v1/sp/pieces/{key}/verify")
@needs(Scope.OPERATE)
async def verify(request: web.Request) -> web.Response:
    """Read a piece's bytes now and say whether they are the piece."""
    pieces = request.app[PARTS].pieces
    known = await pieces.get(request.match_info["key"])
    await pieces.verify(known.key)
    return web.json_response(piece_json(request, await pieces.get(known.key)))


@routes.get("/api/v1/sp/pieces/{key}/bytes")
@needs(Scope.OPERATE)
async def read(request: web.Request) -> web.StreamResponse:
    """The unpadded bytes of a piece, of `offset` and `length` if these are given.

    Of a piece that was verified each byte is verified again; the answer breaks off before the first one that is wrong.
    """
    offset, length = number(request, "offset", 0, _MOST), number(request, "length", _MOST, _MOST)
    pieces, key = request.app[PARTS].pieces, request.match_info["key"]
    with await pieces.open(key) as reader:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await asyncio.to_thread(reader.seek, offset)
        try:
            chunk = await asyncio.to_thread(reader.read, min(_CHUNK, length))
        except OSError as error:
            await pieces.changed(key, error)
            raise Conflict(str(error)) from error
        await response.prepare(request)
        while chunk:
            await response.write(chunk)
            length -= len(chunk)
            try:
                chunk = await asyncio.to_thread(reader.read, min(_CHUNK, length))
            except OSError as error:
                await pieces.changed(key, error)
                raise
    await response.write_eof()
    return response


@routes.get("/api/v1/sp/results")
@needs(Scope.READ)
async def results(request: web.Request) -> web.Response:
    """Completed executions with what was published of them."""
    parts = request.app[PARTS]
    queue = parts.queue
    items = [
        {
            "execution_id": execution.id,
            "job_id": job.id,
            "exit_code": execution.exit_code,
            "published": dict(execution.published or {}),
            "record": dict(execution.run_record or {}),
            "available": (parts.results_dir / execution.id / "files").is_dir(),
        }
        for job in await queue.list_jobs(limit=_ALL)
        for execution in await queue.executions_of(job.id)
        if execution.state is ExecutionState.COMPLETED
    ]
    return web.json_response({"items": items})


@routes.get("/api/v1/sp/record-key")
@needs(Scope.READ)
async def record_key(request: web.Request) -> web.Response:
    """The address whose key signs run records."""
    return web.json_response({"address": str(request.app[PARTS].record_signer)})


@routes.get("/api/v1/sp/results/{name}.tar.gz")
@needs(None)
async def download(request: web.Request) -> web.StreamResponse:
    """An execution's results as a gzip tar: stdout, stderr, exitCode and one directory per output.

    For whoever has a signed link (`http.links`), because `bacalhau job get` sends no token; else for tokens with `read`.
    """
    parts = request.app[PARTS]
    name = request.match_info["name"]
    if not parts.links.is_ours(name, request.query.get("sig", "")):
        refusal = await refusal_of(request, Scope.READ)
        if refusal is not None:
            return refusal
    directory = parts.results_dir / name
    if not _EXECUTION.fullmatch(name) or not (directory / "files").is_dir():
        raise NotFound("result", name)
    try:
        archive = await asyncio.to_thread(kept_archive, directory)
    except OSError as error:
        log.warning("archive_not_made", execution_id=name, error=str(error))
        raise Away(f"the archive cannot be made now: {error.strerror}; try again later") from error
    return web.FileResponse(archive, headers={"Content-Type": "application/gzip"})


def piece_json(request: web.Request, known: KnownPiece) -> dict[str, Any]:
    """A held piece, or a sub-piece of one, as plain values; `within` says where in which piece a sub-piece lies."""
    parts = request.app[PARTS]
    piece, check, names = known.piece, known.check, known.names
    named = datasets_naming(known, parts.datasets)
    return {
        "key": known.key,
        "piece_cid": str(known.piece_cid),
        "piece_cid_v2": str(names[1]) if len(names) > 1 else None,
        "padded_size": known.padded_size,
        "payload_size": known.payload_size,
        "sector": piece.sector,
        "offset": known.offset,
        "provenance": piece.provenance.kind.value,
        "claim_id": known.claim_id,
        "client": None
        if piece.client is None
        else Address.of_id(piece.client).to_text(parts.prefix),
        "from_epoch": piece.from_epoch,
        "to_epoch": piece.to_epoch,
        "datasets": [dataset.name for dataset in named],
        "state": str(check.state) if check else "unread",
        "detail": check.detail if check else "",
        "roots": [str(root) for root in known.roots],
        "within": None
        if known.part is None
        else {
            "key": piece.key,
            "piece_cid": str(piece.piece_cid),
            "padded_size": piece.padded_size,
            "offset": known.part.part.offset,
            "index_entry": known.part.entry,
            "confirmed_by": known.part.confirmed_by.value,
        },
    }

"""Our own routes about where pieces lie, and about long work on them: verifying and unsealing."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from sp_plugin.config import Scope
from sp_plugin.errors import BadInput, NotFound
from sp_plugin.http.auth import needs
from sp_plugin.http.parts import PARTS
from sp_plugin.locating import LocatedCopy, Location, locate
from sp_plugin.piece_work import Kind, Work

__all__ = ["routes"]

_MOST_INSIDE: Final = 50

routes = web.RouteTableDef()


@routes.get("/api/v1/sp/pieces/{key}/location")
@needs(Scope.READ)
async def location(request: web.Request) -> web.Response:
    """Where every copy of a piece lies, and which sources give its bytes now. By key or piece CID.

    `inside` are the places of the same piece within others; of a sub-piece that is nowhere held whole, the copies are those of
    the piece around the first of them.
    """
    pieces = request.app[PARTS].pieces
    known = await pieces.known()
    held = [item.piece for item in known]
    checks = {item.piece.key: item.check for item in known if item.check is not None}
    wanted = await pieces.get(request.match_info["key"])
    found = await locate(pieces.where, held, checks, wanted.piece)
    inside = await pieces.inside(str(wanted.piece_cid))
    body = {
        "key": wanted.key,
        "piece_cid": str(wanted.piece_cid),
        "padded_size": wanted.padded_size,
        "inside": [
            {
                "key": one.key,
                "around": one.piece.key,
                "sector": one.piece.sector,
                "offset": one.offset,
                "state": str(one.check.state) if one.check else "unread",
            }
            for one in inside[:_MOST_INSIDE]
            if one.padded_size == wanted.padded_size
        ],
    }
    states = pieces.where.sources.states() if pieces.where.sources else ()
    sources = [
        {
            "source": state.name,
            "paused_seconds": round(state.paused_seconds, 1),
            "failures": state.failures,
            "reason": state.reason,
        }
        for state in states
    ]
    return web.json_response(body | _location_json(found) | {"sources": sources})


def _location_json(found: Location) -> dict[str, Any]:
    return {
        "readable": found.is_readable,
        "advice": found.advice,
        "left_out": found.left_out,
        "copies": [_copy_json(copy) for copy in found.copies],
    }


def _copy_json(located: LocatedCopy) -> dict[str, Any]:
    piece = located.copy.piece
    return {
        "key": piece.key,
        "provenance": piece.provenance.kind.value,
        "id": piece.provenance.id,
        "sector": piece.sector,
        "offset": piece.offset,
        "offset_known_by": located.copy.known_by.value,
        "offset_problem": located.copy.problem,
        "proven": located.is_proven,
        "state": str(located.check.state) if located.check else "unread",
        "detail": located.check.detail if located.check else "",
        "sources": [
            {
                "source": answer.source,
                "readable": answer.readable,
                "reason": answer.reason,
                "detail": answer.detail,
            }
            for answer in located.answers
        ],
    }


@routes.post("/api/v1/sp/pieces/{key}/work/{kind}")
@needs(Scope.OPERATE)
async def start(request: web.Request) -> web.Response:
    """Begin to verify or unseal a piece, or join what is under way; answers at once with how far it is."""
    parts, kind = request.app[PARTS], _kind(request)
    key = request.match_info["key"]
    if kind is Kind.VERIFY:
        return web.json_response(_work_json(await parts.pieces.start_verifying(key)))
    return web.json_response(_work_json(await parts.unsealing.start(key)))


@routes.get("/api/v1/sp/pieces/{key}/work/{kind}")
@needs(Scope.READ)
async def progress(request: web.Request) -> web.Response:
    """How far the last work of that kind on a piece is, or how it ended."""
    pieces, kind = request.app[PARTS].pieces, _kind(request)
    piece = (await pieces.get(request.match_info["key"])).piece
    work = pieces.work.get(kind, piece.key)
    if work is None:
        raise NotFound(f"{kind} of a held piece", piece.key)
    return web.json_response(_work_json(work))


@routes.delete("/api/v1/sp/pieces/{key}/work/{kind}")
@needs(Scope.OPERATE)
async def stop(request: web.Request) -> web.Response:
    """Stop it. A verification goes on from where it came to when it is begun again; a miner that unseals is not stopped."""
    pieces, kind = request.app[PARTS].pieces, _kind(request)
    piece = (await pieces.get(request.match_info["key"])).piece
    return web.json_response({"stopped": await pieces.work.stop(kind, piece.key)})


@routes.get("/api/v1/sp/pieces/{key}/unseal-plan")
@needs(Scope.READ)
async def unseal_plan(request: web.Request) -> web.Response:
    """What unsealing the piece would do; nothing is done."""
    plan = await request.app[PARTS].unsealing.plan(request.match_info["key"])
    body = {"key": plan.piece.key, "sector": plan.piece.sector, "sector_bytes": plan.sector_bytes}
    return web.json_response(body | {"is_there": plan.is_there, "command": plan.command})


def _kind(request: web.Request) -> Kind:
    try:
        return Kind(request.match_info["kind"])
    except ValueError:
        raise BadInput(f"is one of {', '.join(Kind)}", field="kind") from None


def _work_json(work: Work) -> dict[str, Any]:
    return {
        "kind": work.kind.value,
        "key": work.key,
        "running": work.is_running,
        "phase": work.phase,
        "began_at_bytes": work.began_at,
        "done_bytes": work.done,
        "total_bytes": work.total,
        "started_at": work.started_at,
        "ended_at": work.ended_at,
        "error": work.error,
    }

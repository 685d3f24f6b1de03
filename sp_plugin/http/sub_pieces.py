"""Our own routes about the pieces inside held pieces: which there are, and the proof that one lies in the piece around it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from deals.aggregates import encode_proof, prove_entry
from deals.data_segment import IndexEntry, ProofError
from deals.piece_cid import encode_piece_cid_v1, root_of
from sp_plugin.config import Scope
from sp_plugin.errors import Conflict, NotFound
from sp_plugin.http.auth import needs
from sp_plugin.http.holdings import piece_json
from sp_plugin.http.parts import PARTS
from sp_plugin.http.requests import number
from sp_plugin.known_pieces import KnownPiece, parts_of
from sp_plugin.pieces import Pieces
from sp_plugin.store.sub_pieces import outer_of

__all__ = ["routes"]

_MOST: Final = 10_000

routes = web.RouteTableDef()


@routes.get("/api/v1/sp/pieces/{key}/segments")
@needs(Scope.READ)
async def segments(request: web.Request) -> web.Response:
    """The confirmed sub-pieces of a held piece by offset, `limit` of them; and the entries of its index that were refused."""
    pieces = request.app[PARTS].pieces
    known = await pieces.get(request.match_info["key"])
    if known.part is not None:
        raise NotFound("index of a held piece", f"{known.key}: it is a sub-piece itself")
    found = await parts_of(known, pieces.segments, number(request, "limit", 1000, _MOST))
    reading = await pieces.segments.reading(outer_of(known.piece))
    return web.json_response(
        {
            "items": [piece_json(request, item) for item in found],
            "segments": reading.segments if reading else None,
            "refused": reading.fault_count if reading else None,
            "faults": list(reading.faults) if reading else [],
        }
    )


@routes.get("/api/v1/sp/pieces/{key}/proof")
@needs(Scope.READ)
async def proof(request: web.Request) -> web.Response:
    """The proof (PoDSI) that a sub-piece lies in the held piece around it, as `pieces proof verify` reads it."""
    pieces, key = request.app[PARTS].pieces, request.match_info["key"]
    candidates = await pieces.inside(key)
    if not candidates:
        hint = "verify the piece around it first, or name its file"
        raise NotFound("sub-piece of a held piece", f"{key} ({hint})")
    problem: Exception | None = None
    for known in candidates:
        try:
            return web.json_response(await _prove(pieces, known))
        except (NotFound, Conflict, OSError, ProofError) as error:
            problem = problem or error
    raise Conflict(f"{key} cannot be proven now: {problem}") from problem


async def _prove(pieces: Pieces, known: KnownPiece) -> dict[str, Any]:
    assert known.part is not None
    part, around = known.part.part, KnownPiece(known.piece, known.check)
    with await pieces.open(known.piece.key) as reader:  # first: it verifies a piece that is not yet
        roots = await pieces.subtree_roots(around) or await pieces.subtree_roots(
            await pieces.get(known.piece.key)
        )
        if roots is None:
            raise Conflict(f"the subtree roots of {known.piece.key} are gone; verify it again")
        entry = IndexEntry(root_of(part.piece_cid), part.offset, part.padded_size)
        made = await asyncio.to_thread(prove_entry, reader, roots, known.part.entry, entry)
    return {
        "key": known.key,
        "piece_cid": str(part.piece_cid),
        "padded_size": part.padded_size,
        "aggregate": str(encode_piece_cid_v1(roots.commitment())),
        "aggregate_padded_size": roots.padded_size,
        "offset": part.offset,
        "proof_cbor": encode_proof(made).hex(),
    }

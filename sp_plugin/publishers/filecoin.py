"""Publisher `filecoin`: the results' CAR staged as a piece, with its CommP and sizes, ready to be offered for a deal.

In the staging directory: `<piece CID>.car`, the payload, `<piece CID>.json`, what a deal or allocation needs to know, and
`<piece CID>.run-record.json`, the signed record of the last run that gave it. It is not in the CAR: equal results are equal pieces.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from deals.commp import PieceCommitment, commp
from sp_plugin.jobs.params import Params
from sp_plugin.publishers.base import (
    RECORD_NAME,
    PublishContext,
    Published,
    PublishError,
    Results,
    register_publisher,
)
from sp_plugin.publishers.ipfs import copy_whole

__all__ = ["MANIFEST_SCHEMA", "FilecoinParams", "FilecoinPublisher"]

MANIFEST_SCHEMA: Final = "sp-plugin/staged-piece/1"


class FilecoinParams(Params):
    """None."""


@register_publisher("filecoin")
class FilecoinPublisher:
    """Makes a piece of results; an allocation and a sector are other people's decisions."""

    params = FilecoinParams

    async def publish(
        self, params: FilecoinParams, results: Results, context: PublishContext
    ) -> Published:
        """See `Publisher.publish`."""
        try:
            manifest = await asyncio.to_thread(_stage, results, context)
        except OSError as error:
            raise PublishError(f"the piece cannot be staged: {error}") from error
        return Published("filecoin", {"PieceCID": manifest["piece_cid"]}, manifest)


def _stage(results: Results, context: PublishContext) -> dict[str, Any]:
    with results.car.open("rb") as reader:
        piece = commp(reader)
    if piece.padded_size < context.min_piece_size:
        piece = piece.raised_to(context.min_piece_size)
    manifest = _manifest(results, piece)
    by = results.ran_as
    copy_whole(results.car, context.staging_dir / manifest["car"], by=by)
    copy_whole(results.record, context.staging_dir / manifest["run_record"], by=by, again=True)
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    path = context.staging_dir / f"{piece.piece_cid}.json"
    temporary = path.with_name(f"{path.name}.{by}.tmp")
    temporary.write_text(text)
    temporary.rename(path)
    return manifest


def _manifest(results: Results, piece: PieceCommitment) -> dict[str, Any]:
    return {
        "schema": MANIFEST_SCHEMA,
        "piece_cid": str(piece.piece_cid),
        "piece_cid_v2": str(piece.piece_cid_v2),
        "padded_size": int(piece.padded_size),
        "payload_size": piece.payload_size,  # of the CAR
        "root_cid": str(results.root),
        "file_bytes": results.payload_bytes,
        "job_id": results.job_id,
        "execution_id": results.execution_id,
        "car": f"{piece.piece_cid}.car",
        "run_record": f"{piece.piece_cid}.{RECORD_NAME}",
    }

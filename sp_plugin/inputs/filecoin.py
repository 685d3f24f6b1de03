"""Source `filecoin`: the files in a piece that this provider holds, or in one inside it, named by piece CID or claim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from deals.piece_cid import root_of
from lotus_client.cid import Cid, CidError
from lotus_client.types import ClaimId
from sp_plugin.inputs.base import (
    InputContext,
    InputIdentity,
    InputMissing,
    Materialised,
    PieceLibrary,
    PieceRef,
    register_source,
)
from sp_plugin.jobs.params import Params

__all__ = ["FilecoinParams", "FilecoinSource", "library_of"]


def _piece_cid(text: str) -> str:
    try:
        cid = Cid.parse(text)
    except CidError as error:
        raise PydanticCustomError("cid", "{message}", {"message": str(error)}) from error
    try:
        root_of(cid)
    except CidError as error:
        message = "is not a piece CID (they begin with baga6ea4sea or bafkzci)"
        raise PydanticCustomError("cid", "{message}", {"message": message}) from error
    return text


class FilecoinParams(Params):
    """`PieceCID`, or `ClaimID`, or both; `Path` narrows to a file or directory inside."""

    piece_cid: Annotated[str, AfterValidator(_piece_cid)] | None = Field(None, alias="PieceCID")
    claim_id: int | None = Field(None, alias="ClaimID", ge=1, lt=1 << 63)
    path: str | None = Field(None, alias="Path", max_length=4096)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.piece_cid is None and self.claim_id is None:
            message = "PieceCID or ClaimID is needed"
            raise PydanticCustomError("piece", "{message}", {"message": message})
        return self


@register_source("filecoin")
class FilecoinSource:
    """Verified bytes of held pieces."""

    params = FilecoinParams

    async def identify(self, params: FilecoinParams, context: InputContext) -> InputIdentity:
        """See `InputSource.identify`: the piece by CID and size, and the claim if the job named one."""
        piece = await _find(params, context)
        claim_id = None if params.claim_id is None else ClaimId(params.claim_id)
        return InputIdentity("filecoin", piece.piece_cid, params.path, piece.padded_size, claim_id)

    async def materialise(
        self, params: FilecoinParams, context: InputContext, into: Path
    ) -> Materialised:
        """See `InputSource.materialise`."""
        piece = await _find(params, context)
        volume = await library_of(context).materialise(piece, None, params.path, into)
        key = volume.piece_key or piece.key
        return Materialised(volume.host_path, volume.payload_bytes, volume.blocks_read, key)


def library_of(context: InputContext) -> PieceLibrary:
    """The pieces this provider holds.

    Raises:
        InputMissing: this process has no access to pieces.
    """
    if context.library is None:
        raise InputMissing("this process cannot read pieces; no storage is configured")
    return context.library


async def _find(params: FilecoinParams, context: InputContext) -> PieceRef:
    piece_cid = None if params.piece_cid is None else Cid.parse(params.piece_cid)
    claim_id = None if params.claim_id is None else ClaimId(params.claim_id)
    piece = await library_of(context).find_piece(piece_cid, claim_id)
    if piece is None:
        name = " of ".join(
            str(part)
            for part in (piece_cid, None if claim_id is None else f"claim {claim_id}")
            if part is not None
        )
        raise InputMissing(f"this provider holds no piece {name}")
    return piece

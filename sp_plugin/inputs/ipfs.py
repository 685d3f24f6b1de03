"""Source `ipfs`: a DAG whose root lies in the CAR of a piece that this provider holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lotus_client.cid import Cid, CidError
from sp_plugin.inputs.base import (
    InputContext,
    InputIdentity,
    InputMissing,
    Materialised,
    register_source,
)
from sp_plugin.inputs.filecoin import library_of
from sp_plugin.jobs.params import Params

__all__ = ["IpfsParams", "IpfsSource"]


def _rooted_path(text: str) -> str:
    try:
        _split(text)
    except CidError as error:
        raise PydanticCustomError("cid", "{message}", {"message": str(error)}) from error
    return text


def _split(text: str) -> tuple[Cid, str | None]:
    root, _, path = text.strip().removeprefix("/ipfs/").partition("/")
    return Cid.parse(root), path or None


class IpfsParams(Params):
    """`CID`, with a path behind it where wanted: `bafy…/2020/data.csv`."""

    cid: Annotated[str, AfterValidator(_rooted_path)] = Field(alias="CID", max_length=4096)


@register_source("ipfs")
class IpfsSource:
    """Verified DAGs inside CARs that this provider holds."""

    params = IpfsParams

    async def identify(self, params: IpfsParams, context: InputContext) -> InputIdentity:
        """See `InputSource.identify`: the DAG's root and the path in it, wherever it is held."""
        root, path = _split(params.cid)
        if await library_of(context).find_root(root) is None:
            raise InputMissing(f"no piece of this provider holds {root}")
        return InputIdentity("ipfs", root, path)

    async def materialise(
        self, params: IpfsParams, context: InputContext, into: Path
    ) -> Materialised:
        """See `InputSource.materialise`."""
        root, path = _split(params.cid)
        piece = await library_of(context).find_root(root)
        if piece is None:
            raise InputMissing(f"no piece of this provider holds {root}")
        volume = await library_of(context).materialise(piece, root, path, into)
        key = volume.piece_key or piece.key
        return Materialised(volume.host_path, volume.payload_bytes, volume.blocks_read, key)

"""Source `ipfs`: a DAG whose root lies in the CAR of a piece that this provider holds; else, where allowed, from a gateway.

What a gateway gives is of no held piece: it belongs to no dataset and nobody earns by its use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from lotus_client.cid import Cid, CidError
from sp_plugin.fetching.client import FetchFailed, FetchRefused
from sp_plugin.fetching.gateways import Gateways
from sp_plugin.inputs.base import (
    InputAway,
    InputContext,
    InputIdentity,
    InputMissing,
    Materialised,
    register_source,
)
from sp_plugin.inputs.filecoin import library_of
from sp_plugin.jobs.params import Params

__all__ = ["IpfsParams", "IpfsSource"]

_NOWHERE: Final = "no piece of this provider holds {}, and no gateway gives it"


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
        if context.library is None or await context.library.find_root(root) is None:
            try:
                await _asked(root, context).has(root)
            except FetchRefused as error:
                raise InputMissing(f"{_NOWHERE.format(root)}: {error}") from error
        return InputIdentity("ipfs", root, path)

    async def materialise(
        self, params: IpfsParams, context: InputContext, into: Path
    ) -> Materialised:
        """See `InputSource.materialise`."""
        root, path = _split(params.cid)
        library = context.library
        piece = None if library is None else await library.find_root(root)
        if library is None or piece is None:
            return await _from_gateway(root, path, context)
        volume = await library.materialise(piece, root, path, into)
        key = volume.piece_key or piece.key
        return Materialised(volume.host_path, volume.payload_bytes, volume.blocks_read, key)


def _asked(root: Cid, context: InputContext) -> Gateways:
    if context.gateways is None:
        library_of(context)
        raise InputMissing(
            f"no piece of this provider holds {root}, and jobs.fetch.gateways names no gateway to ask"
        )
    return context.gateways


async def _from_gateway(root: Cid, path: str | None, context: InputContext) -> Materialised:
    names = tuple(part for part in (path or "").split("/") if part)
    try:
        found = await _asked(root, context).materialise(root, names)
    except FetchRefused as error:
        raise InputMissing(f"{_NOWHERE.format(root)}: {error}") from error
    except FetchFailed as error:
        raise InputAway(f"{_NOWHERE.format(root)}: {error}") from error
    volume = found.volume
    return Materialised(
        volume.path, volume.size_bytes, volume.blocks_read, fetched_from=found.gateway
    )

"""Data in and out of the miner: adding pieces, commitments, unsealing, storage paths. Source: Lotus `api/api_storage.go`."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deals.commp import PieceCommitment, commp
from devstack.auth import Permission
from devstack.miner_node import MinerNode
from devstack.rpc.encode import cid_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import (
    BOOL,
    BYTES,
    STRING,
    UINT64,
    decode_cid,
    decode_int,
    decode_object,
    decode_string,
)
from devstack.sectors import open_payload
from devstack.streams import StreamNotPushed
from lotus_client.cid import Cid
from lotus_client.types import AllocationId, SectorNumber

__all__ = ["METHODS"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Stream:
    """A `storiface.Data` parameter: a posted stream by its UUID, or that many zeros."""

    name: uuid.UUID | None
    zeros: int = 0


async def _saved(node: MinerNode, stream: _Stream, size: int) -> bytes | Path:
    if stream.name is None:
        return bytes(min(stream.zeros, size))
    try:
        return await node.streams.save(stream.name, size)
    except StreamNotPushed as error:
        raise RpcError(1, str(error)) from error


async def _compute_data_cid(node: MinerNode, size: int, stream: _Stream) -> Json:
    padded = _padded(size)
    data = await _saved(node, stream, size)
    commitment = (await asyncio.to_thread(_commitment, data)).raised_to(padded)
    return {"Size": commitment.padded_size, "PieceCID": cid_json(commitment.piece_cid)}


def _commitment(data: bytes | Path) -> PieceCommitment:
    with open_payload(data) as reader:
        return commp(reader)


def _padded(size: int) -> int:
    """The padded size of an unpadded one."""
    padded = size + size // 127
    if size % 127 or padded.bit_count() != 1 or padded < 128:
        raise RpcError(1, "unpadded piece size must be a power of 2 multiple of 127")
    return padded


async def _add_piece(
    node: MinerNode, size: int, stream: _Stream, kept_for: tuple[AllocationId | None, int | None]
) -> Json:
    _padded(size)
    allocation, deal = kept_for
    payload = await _saved(node, stream, size)
    sector = await node.provider.add_piece(payload, allocation, deal=deal)
    piece = next(piece for piece in sector.pieces if piece.staged is not None)
    return {"Sector": sector.number, "Offset": piece.offset}


def _unseal(node: MinerNode, number: SectorNumber) -> None:
    """Answers at once; the work is done in the background, and its errors are only logged."""
    _known(node, number)
    node.unsealing.start(number)


async def _unseal_piece(
    node: MinerNode,
    number: SectorNumber,
    _offset: int,
    _size: int,
    _ticket: bytes,
    unsealed_cid: Cid | None,
) -> None:
    if unsealed_cid is None:
        raise RpcError(1, "unsealing needs the sector's CommD")
    await _unseal_sector(node, number)


async def _unseal_sector(node: MinerNode, number: SectorNumber) -> None:
    _known(node, number)
    await node.unsealing.unseal(number)


def _known(node: MinerNode, number: SectorNumber) -> None:
    if number not in node.provider.sectors:
        raise RpcError(1, f"sector info not found: sector {number}")


def _refs(node: MinerNode) -> Json:
    """Where the data of each market deal is. Offsets are padded, sizes are not."""
    return {
        str(piece.staged.deal): [
            {"SectorID": number, "Offset": piece.offset, "Size": piece.size * 127 // 128}
        ]
        for number, sector in sorted(node.provider.sectors.items())
        for piece in sector.pieces
        if piece.staged is not None and piece.staged.deal is not None
    }


def _redeclare(node: MinerNode, storage_id: str, _drop_missing: bool) -> None:
    # null means all paths; what lies in them is looked up with each call
    if storage_id and node.provider.storage.by_id(storage_id) is None:
        raise RpcError(1, f"path not registered: {storage_id}")


def _decode_stream(value: Any) -> _Stream:
    body = decode_object(value)
    kind, info = decode_string(body.get("Type")), decode_string(body.get("Info"))
    if kind == "null":
        if not info.isdecimal() or len(info) > 15:
            raise ValueError(f"parsing null byte count: {info[:40]!r}")
        return _Stream(None, int(info))
    if kind != "push":
        raise ValueError(f"unknown stream type {kind[:40]!r}")
    return _Stream(uuid.UUID(info))


def _decode_deal_info(value: Any) -> tuple[AllocationId | None, int | None]:
    """The allocation of a direct deal, or the id of a published market deal, whose proposal the chain has."""
    body = decode_object(value)
    if body.get("DealProposal") is not None:
        return None, decode_int(body.get("DealID"), 0)
    manifest = body.get("PieceActivationManifest")
    key = None if manifest is None else decode_object(manifest).get("VerifiedAllocationKey")
    if key is None:
        return None, None
    return AllocationId(decode_int(decode_object(key).get("ID"), 0)), None


def _decode_sector_ref(value: Any) -> SectorNumber:
    return SectorNumber(decode_int(decode_object(decode_object(value).get("ID")).get("Number"), 0))


_READ, _ADMIN = Permission.READ, Permission.ADMIN
_DATA = Param("storiface.Data", _decode_stream)
_DEAL_INFO = Param("piece.PieceDealInfo", _decode_deal_info)
_OPTIONAL_CID = Param("*cid.Cid", lambda value: None if value is None else decode_cid(value))
_SECTOR_REF = Param("storiface.SectorRef", _decode_sector_ref)

METHODS: tuple[Method[MinerNode], ...] = (
    Method("ComputeDataCid", _ADMIN, (UINT64, _DATA), _compute_data_cid),
    Method("SectorAddPieceToAny", _ADMIN, (UINT64, _DATA, _DEAL_INFO), _add_piece),
    Method("SectorUnseal", _ADMIN, (UINT64,), _unseal),
    Method("SectorsRefs", _READ, (), _refs),
    Method(
        "SectorsUnsealPiece",
        _ADMIN,
        (_SECTOR_REF, UINT64, UINT64, BYTES, _OPTIONAL_CID),
        _unseal_piece,
    ),
    Method("StorageRedeclareLocal", _ADMIN, (STRING, BOOL), _redeclare),
)

"""The storage index over RPC, the same from lotus-miner and Curio. Source: Lotus `storage/paths/index.go`."""

from __future__ import annotations

import os
from typing import Any, Final

from devstack.auth import Permission
from devstack.miner_node import MinerNode
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import BOOL, STRING, UINT64, decode_int, decode_object
from devstack.storage import FileType, StoragePath
from lotus_client.types import ActorId, SectorNumber

__all__ = ["STORAGE_METHODS", "STORAGE_STAT", "stat_json"]

Json = dict[str, Any]

_LISTS: Final = ("Groups", "AllowTo", "AllowTypes", "DenyTypes", "AllowMiners", "DenyMiners")


def _list(node: MinerNode) -> Json:
    miner = node.provider.miner.actor_id
    return {
        path.id: [
            {"Miner": miner, "Number": number, "SectorFileType": int(kind)}
            for number, kinds in _own_files(node, path)
            for kind in FileType
            if kind in kinds
        ]
        for path in node.provider.storage.paths
    }


def _own_files(node: MinerNode, path: StoragePath) -> list[tuple[int, FileType]]:
    prefix = f"s-t0{node.provider.miner.actor_id}-"
    return [
        (int(name.removeprefix(prefix)), kinds)
        for name, kinds in path.sectors()
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    ]


def _local(node: MinerNode) -> dict[str, str]:
    return {path.id: str(path.root) for path in node.provider.storage.paths}


def _path(node: MinerNode, storage_id: str) -> StoragePath:
    found = node.provider.storage.by_id(storage_id)
    if found is None:
        raise RpcError(1, "sector store not found")
    return found


def _info(node: MinerNode, storage_id: str) -> Json:
    path = _path(node, storage_id)
    return {
        "ID": path.id,
        "URLs": [node.remote_url],
        "Weight": path.metadata["Weight"],
        "MaxStorage": path.metadata["MaxStorage"],
        "CanSeal": path.metadata["CanSeal"],
        "CanStore": path.metadata["CanStore"],
        **{name: path.metadata[name] for name in _LISTS},
    }


def stat_json(path: StoragePath) -> Json:
    """The space of a path's file system, in bytes; `Max` and `Used` are 0 as for a path without a limit of its own."""
    stat = os.statvfs(path.root)
    available = stat.f_bavail * stat.f_frsize
    return {
        "Capacity": stat.f_blocks * stat.f_frsize,
        "Available": available,
        "FSAvailable": available,
        "Reserved": 0,
        "Max": path.metadata["MaxStorage"],
        "Used": 0,
    }


def _stat(node: MinerNode, storage_id: str) -> Json:
    return stat_json(_path(node, storage_id))


def _find_sector(
    node: MinerNode,
    sector: tuple[ActorId, SectorNumber],
    kinds: int,
    _sector_size: int,
    _allow_fetch: bool,
) -> list[Json]:
    if sector[0] != node.provider.miner.actor_id:
        return []
    wanted = [kind for kind in FileType if kind & kinds]
    found = []
    for path in node.provider.storage.paths:
        held = [kind for kind in wanted if path.file(kind, *sector).exists()]
        if held:
            found.append(_found(node, path, [path.file(kind, *sector).name for kind in held], held))
    return found


def _found(node: MinerNode, path: StoragePath, names: list[str], held: list[FileType]) -> Json:
    pairs = zip(held, names, strict=True)
    return {
        "ID": path.id,
        "URLs": [f"{node.remote_url}/{kind.folder}/{name}" for kind, name in pairs],
        "BaseURLs": [node.remote_url],
        "Weight": path.metadata["Weight"],
        "CanSeal": path.metadata["CanSeal"],
        "CanStore": path.metadata["CanStore"],
        "Primary": True,
        "AllowTypes": None,
        "DenyTypes": None,
        "AllowMiners": None,
        "DenyMiners": None,
    }


def _decode_sector_id(value: Any) -> tuple[ActorId, SectorNumber]:
    body = decode_object(value)
    return ActorId(decode_int(body.get("Miner"), 0)), SectorNumber(
        decode_int(body.get("Number"), 0)
    )


_ADMIN: Final = Permission.ADMIN
_SECTOR_ID: Final = Param("abi.SectorID", _decode_sector_id)

STORAGE_STAT: Method[MinerNode] = Method("StorageStat", _ADMIN, (STRING,), _stat)

STORAGE_METHODS: tuple[Method[MinerNode], ...] = (
    Method("StorageList", _ADMIN, (), _list),
    Method("StorageLocal", _ADMIN, (), _local),
    Method("StorageInfo", _ADMIN, (STRING,), _info),
    Method("StorageFindSector", _ADMIN, (_SECTOR_ID, UINT64, UINT64, BOOL), _find_sector),
)

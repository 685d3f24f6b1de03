"""`ChainReadObj` and its kin: the chain's and the states' blocks by CID (Lotus `node/impl/full/chain.go`)."""

from __future__ import annotations

import base64
from typing import Any

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.params import CID, STRING, decode_cid
from devstack.rpc.paths import resolve_path
from lotus_client import cbor
from lotus_client.cid import FIL_COMMITMENT_SEALED, FIL_COMMITMENT_UNSEALED, RAW, Cid

__all__ = ["METHODS"]

_COMMITMENTS = (FIL_COMMITMENT_SEALED, FIL_COMMITMENT_UNSEALED)


def _read(node: FullNode, cid: Cid) -> str:
    block = node.network.blocks.get(cid)
    if block is None:
        raise RpcError(1, f"blockstore get: ipld: could not find {cid}")
    return base64.b64encode(block).decode()


def _has(node: FullNode, cid: Cid) -> bool:
    return node.network.blocks.get(cid) is not None


def _stat(node: FullNode, cid: Cid, base: Cid | None) -> dict[str, int]:
    """How many blocks are under a CID and not under `base`, and their bytes together."""
    seen: set[Cid] = set()
    if base is not None:
        _sizes(node, base, seen)
    sizes = _sizes(node, cid, seen)
    return {"Size": sum(sizes), "Links": len(sizes)}


def _sizes(node: FullNode, root: Cid, seen: set[Cid]) -> list[int]:
    sizes = []
    todo = [root]
    while todo:
        cid = todo.pop()
        if cid in seen:
            continue
        seen.add(cid)
        if cid.codec in _COMMITMENTS:
            continue
        block = node.network.blocks.get(cid)
        if block is None:
            raise RpcError(1, f"block was not found locally (offline): ipld: could not find {cid}")
        sizes.append(len(block))
        if cid.codec != RAW:
            todo += _linked(cbor.decode(block))
    return sizes


def _linked(value: Any) -> list[Cid]:
    if isinstance(value, Cid):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [cid for item in value for cid in _linked(item)]
    return []


def _get_node(node: FullNode, path: str) -> dict[str, Any]:
    return resolve_path(node.network.blocks, path)


def _optional_cid(value: Any) -> Cid | None:
    return None if value is None else decode_cid(value)


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("ChainReadObj", _READ, (CID,), _read),
    Method("ChainHasObj", _READ, (CID,), _has),
    Method("ChainStatObj", _READ, (CID, Param("cid.Cid", _optional_cid)), _stat),
    Method("ChainGetNode", _READ, (STRING,), _get_node),
)

"""`/rpc/v2`: tipsets by selector. Source: Lotus `chain/types/tipset_selector.go`, `node/impl/full/chain_v2.go`."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.encode import actor_json, address_json, tipset_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, RawParams
from devstack.rpc.params import (
    decode_address,
    decode_bool,
    decode_int,
    decode_object,
    decode_tipset_key,
)
from devstack.rpc.resolve import existing_id
from lotus_client.chain import TipSet
from lotus_client.types import Epoch

__all__ = ["METHODS"]

Selector = dict[str, Any]

_SAFE_DISTANCE = (
    200  # Lotus `node/impl/full/chain_v2.go`: safe is head-200, or finalized when that is newer
)


def _decode_selector(value: Any) -> Selector:
    body = decode_object(value)
    known = {name: body[name] for name in ("key", "height", "tag") if body.get(name) is not None}
    if len(known) != 1:
        raise ValueError("exactly one of key, height or tag must be specified")
    return known


def _one_selector(params: list[Any]) -> tuple[Selector]:
    if len(params) != 1:
        raise ValueError(f"expected one tipset selector, got {len(params)} parameters")
    return (_decode_selector(params[0]),)


def _address_and_selector(params: list[Any]) -> tuple[Any, Selector]:
    if len(params) != 2:
        raise ValueError(f"expected an address and a tipset selector, got {len(params)} parameters")
    return decode_address(params[0]), _decode_selector(params[1])


def _select(node: FullNode, selector: Selector) -> TipSet:
    network = node.network
    if "key" in selector:
        return network.tipset(_decoded(decode_tipset_key, selector["key"]))
    if "tag" in selector:
        return _by_tag(node, selector["tag"])
    height = _decoded(decode_object, selector["height"])
    at = Epoch(_decoded(decode_int, height.get("at")))
    anchor = _select(node, _decoded(_decode_selector, height.get("anchor") or {"tag": "finalized"}))
    if at < 0 or at > anchor.height:
        raise RpcError(1, f"looking for tipset with height {at} outside 0..{anchor.height}")
    tipset = network.tipset_by_height(at, anchor.key)
    if tipset.height != at and not _decoded(decode_bool, height.get("previous")):
        raise RpcError.null_round(at)
    return tipset


def _by_tag(node: FullNode, tag: Any) -> TipSet:
    network = node.network
    finalized = network.finalized()
    if tag == "latest":
        return network.head
    if tag == "finalized":
        return finalized
    if tag == "safe":
        height = Epoch(max(network.head.height - _SAFE_DISTANCE, 0))
        safe = network.tipset_by_height(height)
        return safe if safe.height > finalized.height else finalized
    raise RpcError(1, f"unknown tag: {tag}")


def _decoded(decode: Any, value: Any) -> Any:
    try:
        return decode(value)
    except ValueError as error:
        raise RpcError(1, f"decoding tipset selector: {error}") from error


def _tipset(node: FullNode, selector: Selector) -> dict[str, Any]:
    return tipset_json(_select(node, selector))


def _finality(node: FullNode) -> dict[str, Any]:
    finalized = tipset_json(node.network.finalized())
    return {
        "ecFinalityThresholdDepth": -1,  # the calculator of FRC-0089 is not run here
        "ecFinalizedTipSet": finalized,
        "f3FinalizedTipSet": None,
        "finalizedTipSet": finalized,
        "head": tipset_json(node.network.head),
    }


def _actor(node: FullNode, address: Any, selector: Selector) -> dict[str, Any]:
    state = node.network.state(_select(node, selector).key)
    return actor_json(state.actor(existing_id(state, address)))


def _lookup_id(node: FullNode, address: Any, selector: Selector) -> str:
    return address_json(existing_id(node.network.state(_select(node, selector).key), address))


METHODS: tuple[Method[FullNode], ...] = (
    Method("ChainGetTipSet", Permission.READ, RawParams(_one_selector), _tipset),
    Method("ChainGetTipSetFinalityStatus", Permission.READ, (), _finality),
    Method("StateGetActor", Permission.READ, RawParams(_address_and_selector), _actor),
    Method("StateGetID", Permission.READ, RawParams(_address_and_selector), _lookup_id),
)

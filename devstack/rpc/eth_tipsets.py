"""Which tipset a block parameter of eth_* means. Source: Lotus `node/impl/eth/tipsetresolver.go`.

`latest` is the head's parent: the newest tipset whose messages have been executed.
"""

from __future__ import annotations

from typing import Final

from devstack.chain import ChainLookupError
from devstack.node import FullNode
from devstack.rpc.errors import RpcError
from devstack.rpc.eth_forms import BlockParam
from lotus_client.chain import TipSet
from lotus_client.types import Epoch

__all__ = ["resolve", "resolve_number"]

_SAFE_DISTANCE: Final = 200  # Lotus build/buildconstants SafeHeightDistance


def resolve(node: FullNode, param: BlockParam) -> TipSet:
    """The tipset of a tag, number or hash; for the number of a null round the tipset below.

    Raises:
        RpcError: `earliest`, a future epoch, an unknown hash.
    """
    if param.hash is None:
        return resolve_number(node, param, strict=False)
    try:
        tipset = node.network.tipset_by_hash(param.hash)
    except ChainLookupError as error:
        raise RpcError(1, str(error)) from error
    if param.canonical and not node.network.is_canonical(tipset):
        raise RpcError(1, "tipset is not canonical")
    return tipset


def resolve_number(node: FullNode, param: BlockParam, *, strict: bool) -> TipSet:
    """The tipset of a tag or number; with `strict` a null round is an error (code 12)."""
    if param.tag is not None:
        return _by_tag(node, param.tag)
    number = param.number or 0
    head = node.network.head
    if number > head.height - 1:
        raise RpcError(1, "requested a future epoch (beyond 'latest')")
    tipset = node.network.tipset_by_height(Epoch(number))
    if strict and tipset.height != number:
        raise RpcError.null_round(number)
    return tipset


def _by_tag(node: FullNode, tag: str) -> TipSet:
    network = node.network
    head = network.head
    if tag == "pending":
        return head
    if tag == "latest":
        if not head.parents:
            raise RpcError(1, "failed to get parent tipset")
        return network.tipset(head.parents)
    if tag == "safe":
        safe = network.tipset_by_height(Epoch(max(head.height - _SAFE_DISTANCE, 0)))
        finalized = network.finalized()
        return safe if safe.height >= finalized.height else finalized
    if tag == "finalized":
        return network.finalized()
    raise RpcError(1, f'block param "{tag}" is not supported')

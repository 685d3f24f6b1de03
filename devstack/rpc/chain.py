"""`Chain*`: tipsets, blocks, messages and head changes."""

from __future__ import annotations

from typing import Any

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.encode import (
    chain_message_json,
    cid_json,
    event_entry_json,
    head_change_json,
    header_json,
    list_json,
    message_json,
    receipt_json,
    signed_message_json,
    tipset_json,
)
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method
from devstack.rpc.params import CID, EPOCH, TIPSET_KEY
from devstack.rpc.subscription import Subscription
from lotus_client.chain import TipSetKey
from lotus_client.cid import Cid
from lotus_client.crypto import SignatureType
from lotus_client.types import Epoch

__all__ = ["METHODS"]

Json = dict[str, Any]


def _head(node: FullNode) -> Json:
    return tipset_json(node.network.head)


def _notify(node: FullNode) -> Subscription:
    return node.heads.subscribe()


def _genesis(node: FullNode) -> Json:
    return tipset_json(node.network.genesis)


def _finalized(node: FullNode) -> Json:
    return tipset_json(node.network.finalized())


def _tipset(node: FullNode, key: TipSetKey) -> Json:
    if not key:
        # Lotus loads the empty key as it stands, and v1 refuses it (`node/impl/full/chain.go`).
        raise RpcError(1, "NewTipSet called with zero length array of blocks")
    return tipset_json(node.network.tipset(key))


def _check_height(node: FullNode, height: Epoch, key: TipSetKey) -> None:
    if height < 0:
        raise RpcError(1, f"tipset height must be non-negative, got {height}")
    if height > node.network.tipset(key).height:
        raise RpcError(1, "looking for tipset with height greater than start point")


def _tipset_by_height(node: FullNode, height: Epoch, key: TipSetKey) -> Json:
    _check_height(node, height, key)
    return tipset_json(node.network.tipset_by_height(height, key))


def _tipset_after_height(node: FullNode, height: Epoch, key: TipSetKey) -> Json:
    _check_height(node, height, key)
    return tipset_json(node.network.tipset_after_height(height, key))


def _path(node: FullNode, start: TipSetKey, end: TipSetKey) -> list[Json] | None:
    return list_json(node.network.path(start, end), head_change_json)


def _block(node: FullNode, cid: Cid) -> Json:
    return header_json(node.network.block(cid))


def _block_messages(node: FullNode, cid: Cid) -> Json:
    messages = node.network.messages_in_block(cid)
    bls = [signed for signed in messages if signed.signature.type is SignatureType.BLS]
    secp = [signed for signed in messages if signed.signature.type is not SignatureType.BLS]
    return {
        "BlsMessages": list_json(bls, lambda signed: message_json(signed.message)),
        "SecpkMessages": list_json(secp, signed_message_json),
        # Lotus allocates this one with its length, so an empty one is no nil slice.
        "Cids": [cid_json(signed.cid) for signed in (*bls, *secp)],
    }


def _message(node: FullNode, cid: Cid) -> Json:
    return message_json(node.network.message(cid).message)


def _messages_in_tipset(node: FullNode, key: TipSetKey) -> list[Json] | None:
    return list_json(node.network.messages_in_tipset(key), chain_message_json)


def _parent_messages(node: FullNode, block: Cid) -> list[Json] | None:
    return list_json(node.network.parent_messages(block), chain_message_json)


def _parent_receipts(node: FullNode, block: Cid) -> list[Json] | None:
    return list_json(node.network.parent_receipts(block), receipt_json)


def _events(node: FullNode, root: Cid) -> list[Json] | None:
    return list_json(
        node.network.events_of_root(root),
        lambda event: {
            "Emitter": event.emitter,
            "Entries": list_json(event.entries, event_entry_json),
        },
    )


_READ = Permission.READ

METHODS: tuple[Method[FullNode], ...] = (
    Method("ChainHead", _READ, (), _head),
    Method("ChainNotify", _READ, (), _notify, channel=True),
    Method("ChainGetGenesis", _READ, (), _genesis),
    Method("ChainGetFinalizedTipSet", _READ, (), _finalized),
    Method("ChainGetTipSet", _READ, (TIPSET_KEY,), _tipset),
    Method("ChainGetTipSetByHeight", _READ, (EPOCH, TIPSET_KEY), _tipset_by_height),
    Method("ChainGetTipSetAfterHeight", _READ, (EPOCH, TIPSET_KEY), _tipset_after_height),
    Method("ChainGetPath", _READ, (TIPSET_KEY, TIPSET_KEY), _path),
    Method("ChainGetBlock", _READ, (CID,), _block),
    Method("ChainGetBlockMessages", _READ, (CID,), _block_messages),
    Method("ChainGetMessage", _READ, (CID,), _message),
    Method("ChainGetMessagesInTipset", _READ, (TIPSET_KEY,), _messages_in_tipset),
    Method("ChainGetParentMessages", _READ, (CID,), _parent_messages),
    Method("ChainGetParentReceipts", _READ, (CID,), _parent_receipts),
    Method("ChainGetEvents", _READ, (CID,), _events),
)

"""`Msig*` builders: the messages that create, propose, approve and cancel. Source: Lotus `node/impl/full/multisig.go`.

`/rpc/v1` hands the message back for the caller to sign and push; `/rpc/v0` pushes it and answers with its CID.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devstack.auth import Permission
from devstack.node import FullNode
from devstack.rpc.encode import cid_json, message_json
from devstack.rpc.errors import RpcError
from devstack.rpc.methods import Method, Param
from devstack.rpc.mpool import push_message
from devstack.rpc.msig_calls import Calls
from devstack.rpc.params import ADDRESS, ADDRESSES, AMOUNT, BOOL, BYTES, EPOCH, UINT64, SendSpec
from lotus_client.messages import Message

__all__ = ["METHODS", "METHODS_V0"]

Json = dict[str, Any]
Build = Callable[..., Message]


def _prototype(build: Build) -> Callable[..., Json]:
    def answer(node: FullNode, *arguments: Any) -> Json:
        return {"Message": message_json(_built(build, node, arguments)), "ValidNonce": False}

    return answer


def _pushed(build: Build) -> Callable[..., Json]:
    def answer(node: FullNode, *arguments: Any) -> Json:
        return cid_json(push_message(node, _built(build, node, arguments), SendSpec()).cid)

    return answer


def _built(build: Build, node: FullNode, arguments: tuple[Any, ...]) -> Message:
    try:
        return build(node, *arguments)
    except ValueError as error:
        raise RpcError(1, str(error)) from error


# name -> (what builds it, its parameters); `Calls` says what they are.
Row = tuple[Build, tuple[Param, ...]]
_SAME_ON_BOTH: dict[str, Row] = {
    "MsigCreate": (Calls.create, (UINT64, ADDRESSES, EPOCH, AMOUNT, ADDRESS, AMOUNT)),
    "MsigPropose": (Calls.propose, (ADDRESS, ADDRESS, AMOUNT, ADDRESS, UINT64, BYTES)),
    "MsigApprove": (Calls.approve, (ADDRESS, UINT64, ADDRESS)),
    "MsigApproveTxnHash": (
        Calls.approve_hash,
        (ADDRESS, UINT64, ADDRESS, ADDRESS, AMOUNT, ADDRESS, UINT64, BYTES),
    ),
    "MsigAddPropose": (Calls.add_propose, (ADDRESS, ADDRESS, ADDRESS, BOOL)),
    "MsigAddApprove": (Calls.add_approve, (ADDRESS, ADDRESS, UINT64, ADDRESS, ADDRESS, BOOL)),
    "MsigAddCancel": (Calls.add_cancel, (ADDRESS, ADDRESS, UINT64, ADDRESS, BOOL)),
    "MsigSwapPropose": (Calls.swap_propose, (ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
    "MsigSwapApprove": (Calls.swap_approve, (ADDRESS, ADDRESS, UINT64, ADDRESS, ADDRESS, ADDRESS)),
    "MsigSwapCancel": (Calls.swap_cancel, (ADDRESS, ADDRESS, UINT64, ADDRESS, ADDRESS)),
    "MsigRemoveSigner": (Calls.remove_signer, (ADDRESS, ADDRESS, ADDRESS, BOOL)),
}
_CANCEL_HASH: Row = (Calls.cancel_hash, (ADDRESS, UINT64, ADDRESS, AMOUNT, ADDRESS, UINT64, BYTES))
_V1: dict[str, Row] = {
    **_SAME_ON_BOTH,
    "MsigCancel": (Calls.cancel, (ADDRESS, UINT64, ADDRESS)),
    "MsigCancelTxnHash": _CANCEL_HASH,
}
_V0: dict[str, Row] = {**_SAME_ON_BOTH, "MsigCancel": _CANCEL_HASH}

METHODS: tuple[Method[FullNode], ...] = tuple(
    Method(name, Permission.SIGN, params, _prototype(build))
    for name, (build, params) in _V1.items()
)
METHODS_V0: tuple[Method[FullNode], ...] = tuple(
    Method(name, Permission.SIGN, params, _pushed(build)) for name, (build, params) in _V0.items()
)
